//! Gateways and stores killed at any moment of a rotation.
