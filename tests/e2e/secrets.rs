//! Secrets that must not be found anywhere.
