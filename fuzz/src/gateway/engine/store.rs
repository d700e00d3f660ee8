//! What something in the store's place answers: what a store would, what one
//! would not, or bytes.

use arbitrary::{Result, Unstructured};
use rekey_engine::StoreRequest;
use rekey_protocol::{FEED_PATH, FeedRequest, RESOLVE_PATH, RotateRequest, USED_MOST};
use serde_json::{Value, json};

use crate::gateway::head::issued;

pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Something that a store may answer to this call.
pub(super) fn answer(request: &StoreRequest, input: &mut Unstructured<'_>) -> Result<Answer> {
    let good = match request.path {
        RESOLVE_PATH => resolved(input)?,
        FEED_PATH => changes(request, input)?,
        _ => decided(request, input)?,
    };
    let mut body = good.to_string().into_bytes();
    let status = match input.int_in_range(0..=11)? {
        0 => {
            let code = *input.choose(&[
                "unknown_key",
                "unauthorized",
                "bad_request",
                "unavailable",
                "internal",
                "rotation_conflict",
                "of_tomorrow",
            ])?;
            body = json!({"error": {"code": code, "message": "m"}, "head": head(input)?})
                .to_string()
                .into();
            *input.choose(&[404, 401, 400, 503, 500, 409, 302])?
        }
        1 => {
            body.truncate(input.choose_index(body.len() + 1)?);
            200
        }
        2 => {
            body = input.arbitrary::<&[u8]>()?.to_vec();
            input.arbitrary()?
        }
        _ => 200,
    };
    Ok(Answer { status, body })
}

fn head(input: &mut Unstructured<'_>) -> Result<Value> {
    let life = if input.ratio(1, 10)? { "02" } else { "01" };
    let revision = number(input)?;
    Ok(json!({"incarnation": life.repeat(16), "revision": revision}))
}

/// Mostly small, so that one follows on another.
fn number(input: &mut Unstructured<'_>) -> Result<u64> {
    match input.arbitrary::<u8>()? {
        255 => Ok(u64::MAX - u64::from(input.arbitrary::<u8>()?)),
        small => Ok(u64::from(small % 32)),
    }
}

fn resolved(input: &mut Unstructured<'_>) -> Result<Value> {
    let state = if input.ratio(2, 3)? {
        "active"
    } else {
        "revoked"
    };
    let user = *input.choose(&["u_1", "u_2"])?;
    let (revision, head, seconds) = (number(input)?, head(input)?, number(input)?);
    Ok(
        json!({"state": state, "user": user, "revision": revision, "head": head,
        "rotation_allowed_in": seconds, "rotation_interval": seconds,
        "replayable": input.arbitrary::<bool>()?}),
    )
}

fn changes(request: &StoreRequest, input: &mut Unstructured<'_>) -> Result<Value> {
    let asked: FeedRequest = serde_json::from_slice(&request.body).unwrap();
    let mut changes = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let digest = issued(input.int_in_range(1..=4)?).digest();
        changes.push(json!({"digest": digest, "revision": number(input)?,
            "replayable": input.arbitrary::<bool>()?}));
    }
    let poll = asked.poll + u64::from(input.ratio(1, 20)?);
    let granted_ms = if input.ratio(4, 5)? {
        asked.lease_ms
    } else {
        input.arbitrary()?
    };
    Ok(
        json!({"poll": poll, "changes": changes, "cursor": head(input)?,
        "granted_ms": granted_ms, "used_most": USED_MOST, "keys_imported_at": number(input)?, "reset": asked.cursor.is_none() || input.ratio(1, 10)?}),
    )
}

fn decided(request: &StoreRequest, input: &mut Unstructured<'_>) -> Result<Value> {
    let asked: RotateRequest = serde_json::from_slice(&request.body).unwrap();
    let other = issued(9).digest();
    let new = if input.ratio(9, 10)? {
        asked.new_digest
    } else {
        other
    };
    let at = "2025-01-31T16:00:00Z";
    let replayed = match &asked.replay {
        // The rotation of this very attempt, as another one's.
        Some(replay) if input.arbitrary()? => json!({"rotation_id": asked.rotation_id,
            "new_digest": new, "created_at": at, "sealed": replay.sealed}),
        _ => Value::Null,
    };
    Ok(match input.int_in_range(0..=2)? {
        0 => json!({"outcome": "rotated", "created_at": at, "revision": number(input)?,
            "new_digest": new, "user": "u_1"}),
        1 => json!({"outcome": "revoked", "revision": number(input)?,
            "replayable": input.arbitrary::<bool>()?, "replayed": replayed}),
        _ => {
            let seconds = number(input)?;
            json!({"outcome": "rate_limited", "retry_after": seconds, "rotation_interval": seconds})
        }
    })
}
