//! What a gateway is answered, without HTTP, database or waiting: facts in, a
//! message of `rekey-protocol` or a [`Fault`] out. The server and the simulator
//! answer by it.

use rekey_protocol::{
    CreatedAt, Digest, ErrorCode, HINT_LEN, Head, Replayed, ResolveResponse, RotateRequest,
    RotateResponse,
};

use crate::clock::UnixMillis;
use crate::operations::keys::rotate::Rotated;
use crate::operations::keys::{ResolvedAt, Unknown};
use crate::rules::rotation::{Refusal, RotationLimit};

/// An error answer. The text never holds a key or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// For programs; [`status`] follows from it.
    pub code: ErrorCode,
    /// For people.
    pub message: &'static str,
    /// Of a key that is not known: where the history stood.
    pub head: Option<Head>,
}

/// S8: what this database says may be older than what gateways were told.
pub const RESTORED: Fault = Fault {
    code: ErrorCode::Unavailable,
    message: "more was served than this database knows: it is an older backup, or another store's; if \
              this is meant, start it with --accept-restore",
    head: None,
};

const UNKNOWN_KEY: Fault = fault(ErrorCode::UnknownKey, "this store does not know the key");

const fn fault(code: ErrorCode, message: &'static str) -> Fault {
    let head = None;
    Fault {
        code,
        message,
        head,
    }
}

/// The HTTP status of an error.
pub const fn status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::BadRequest => 400,
        ErrorCode::Unauthorized => 401,
        ErrorCode::NotFound | ErrorCode::UnknownKey | ErrorCode::UnknownUser => 404,
        ErrorCode::MethodNotAllowed => 405,
        ErrorCode::RotationConflict | ErrorCode::AlreadyExists => 409,
        ErrorCode::PayloadTooLarge => 413,
        ErrorCode::Unavailable => 503,
        ErrorCode::Internal | ErrorCode::Unknown => 500,
    }
}

/// To a resolve, where `interval` is the one of this store.
pub fn resolve(
    found: Result<ResolvedAt, Unknown>,
    interval: RotationLimit,
) -> Result<ResolveResponse, Fault> {
    let ResolvedAt {
        key,
        rotation_allowed_in,
        is_replayable,
    } = found.map_err(|Unknown(head)| Fault {
        head: Some(head),
        ..UNKNOWN_KEY
    })?;
    Ok(ResolveResponse {
        state: key.state,
        user: key.user,
        revision: key.revision,
        head: key.head,
        rotation_allowed_in,
        rotation_interval: interval.told(),
        replayable: is_replayable,
    })
}

/// What the types of a rotate request alone do not say.
pub fn check_rotate(request: &RotateRequest) -> Result<(), Fault> {
    let hint = request.hint.as_bytes();
    let bad = |message| Err(fault(ErrorCode::BadRequest, message));
    if request.attempt == 0 {
        return bad("attempt is counted from 1");
    }
    if hint.len() != HINT_LEN || !hint.iter().all(u8::is_ascii_alphanumeric) {
        return bad("hint is the new key's last 4 characters");
    }
    if request.old_digest == request.new_digest {
        return bad("old_digest and new_digest are the same");
    }
    Ok(())
}

/// The revision whose barrier has to be open before this outcome is told
/// (S7): that of the first answer and of every repeated one, by whatever it is
/// repeated.
pub fn waits_for(rotated: &Rotated) -> Option<u64> {
    match rotated {
        Rotated::Done { revision, .. } => Some(*revision),
        Rotated::Replayed(again) => Some(again.revision),
        Rotated::Refused(_) | Rotated::Replayable(_) | Rotated::Conflict => None,
    }
}

fn created_at(at: UnixMillis) -> Result<CreatedAt, Fault> {
    let no_time = fault(ErrorCode::Internal, "the time of the rotation is no time");
    CreatedAt::try_from(at.rfc3339()).map_err(|_| no_time)
}

/// To a rotate for `new_digest`, behind the barrier.
pub fn rotate(
    rotated: Rotated,
    new_digest: Digest,
    interval: RotationLimit,
) -> Result<RotateResponse, Fault> {
    match rotated {
        Rotated::Done {
            at, user, revision, ..
        } => Ok(RotateResponse::Rotated {
            created_at: created_at(at)?,
            revision,
            new_digest,
            user,
        }),
        Rotated::Replayed(again) => Ok(RotateResponse::Revoked {
            revision: again.revision,
            replayable: true,
            replayed: Some(Box::new(Replayed {
                rotation_id: again.id,
                new_digest: again.new_digest,
                created_at: created_at(again.at)?,
                sealed: again.sealed,
            })),
        }),
        Rotated::Replayable(revision) => Ok(RotateResponse::Revoked {
            revision,
            replayable: true,
            replayed: None,
        }),
        Rotated::Refused(Refusal::Revoked(revision)) => Ok(RotateResponse::Revoked {
            revision,
            replayable: false,
            replayed: None,
        }),
        Rotated::Refused(Refusal::RateLimited(retry_after)) => Ok(RotateResponse::RateLimited {
            retry_after,
            rotation_interval: interval.told(),
        }),
        Rotated::Refused(Refusal::UnknownKey) => Err(UNKNOWN_KEY),
        Rotated::Refused(Refusal::NewKeyExists) => Err(fault(
            ErrorCode::AlreadyExists,
            "the new key is known to this store already; draw another one",
        )),
        Rotated::Conflict => Err(fault(
            ErrorCode::RotationConflict,
            "this rotation_id was used with other digests",
        )),
    }
}
