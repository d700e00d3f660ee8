//! Key stores that are down, slow, wrong or lying.
