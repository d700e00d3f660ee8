//! Fleets to test, and what is seen of them from outside.
