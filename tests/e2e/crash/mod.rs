//! Gateways and stores killed at any moment of a rotation: nobody ever has two
//! keys or none, and nobody is told what is not so.

mod anywhere;
mod points;
mod verdict;

use serde_json::{Value, json};

/// What a dead process trusted, or granted, is waited out after each of its
/// deaths: here there are hundreds.
fn short_lease() -> Value {
    json!({ "lease_ms": 300 })
}
