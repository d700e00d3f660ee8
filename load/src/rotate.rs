//! A rotation by the documented API, entered in the book.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{Book, Connection, Key, regenerate};

/// A rotation that was confirmed.
#[derive(Debug)]
pub struct Rotated {
    /// The key that died.
    pub old: Arc<Key>,
    /// The key in its place.
    pub new: Arc<Key>,
    /// From the request's first byte to the answer's last.
    pub took: Duration,
}

/// Rotates a key through `gateway`. When this returns, the book knows that the
/// old one is dead and has the new one.
///
/// # Errors
/// No answer, or another one than 200: the key then stays `dying`, for nobody
/// knows its end.
pub fn rotate(gateway: &mut Connection, key: &Arc<Key>, book: &Book) -> anyhow::Result<Rotated> {
    key.is_dying();
    let answer = gateway.exchange(&regenerate(&key.text));
    let answer = answer.context("a rotation without an answer")?;
    if answer.status != 200 {
        bail!("a rotation ended with {}: {}", answer.status, answer.body);
    }
    key.is_dead(answer.received);
    let body: Value = serde_json::from_str(&answer.body)?;
    let text = body.pointer("/data/api_key").and_then(Value::as_str);
    // The text holds a key: it must not become part of an error.
    let new = Key::alive(text.context("a 200 without a new key")?, &key.user);
    // The old one again, so that traffic asks often with what has just died.
    book.enter(Arc::clone(key));
    book.enter(Arc::clone(&new));
    Ok(Rotated {
        old: Arc::clone(key),
        new,
        took: answer.received.duration_since(answer.sent),
    })
}
