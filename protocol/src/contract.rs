//! What the documented API tells its clients, and under which names: the one place
//! for header names, the endpoint's path and the texts that the gateway and the
//! dashboard both show.
//!
//! Envoy has to know some of these names, too: `envoy.yaml` takes [`KEY_HEADER`] off
//! before the request goes on, and adds [`USER_HEADER`]. A tidy test compares the two.

use std::ops::RangeInclusive;

use crate::RotationInterval;

/// The endpoint that replaces the key of the request.
pub const REGENERATE_PATH: &str = "/v1/user/api-key/regenerate";

/// The header that carries the API key, behind [`KEY_SCHEME`] and a space. The
/// gateway takes it off before the request goes on.
pub const KEY_HEADER: &str = "authorization";
/// The scheme of [`KEY_HEADER`] (RFC 6750).
pub const KEY_SCHEME: &str = "Bearer";
/// The header by which a client asks for a lost answer again.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// Characters of an `Idempotency-Key`. The least is what 128 random bits take in
/// base64.
pub const IDEMPOTENCY_KEY_LEN: RangeInclusive<usize> = 22..=255;
/// The header of the answer that says whether it is an earlier one once more.
pub const REPLAYED_HEADER: &str = "idempotent-replayed";
/// The header that tells the upstream which user the key belongs to. The gateway
/// takes off what a client sends under this name.
pub const USER_HEADER: &str = "x-rekey-user";
/// The gateway's id of a request, which goes to the audit log.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// What the 200 of the endpoint and the dashboard say when a key was replaced.
pub const REGENERATED: &str = "API key regenerated successfully. Your old key is now invalid.";

/// What the 429 and the dashboard say to a user that rotates too early.
pub fn too_early(interval: RotationInterval) -> String {
    let how_often = interval.in_words();
    format!("You can only regenerate your API key {how_often}. Please try again later.")
}

/// The message of the 429: the documented text, and where the operator has set
/// another interval than the documented one, also what to do with a leaked key.
pub fn rate_limited(interval: RotationInterval) -> String {
    let text = too_early(interval);
    match interval {
        RotationInterval::HOUR => text,
        _ => {
            format!("{text} A leaked key can be revoked at any time: Revoke now, in the dashboard.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_the_documented_text() {
        let documented =
            "You can only regenerate your API key once per hour. Please try again later.";
        assert_eq!(too_early(RotationInterval::HOUR), documented);
        assert_eq!(rate_limited(RotationInterval::HOUR), documented);
    }
}
