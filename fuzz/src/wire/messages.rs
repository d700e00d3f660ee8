//! The messages between gateway and store, in both directions, and what each
//! side makes of bytes that are none.

use rekey_engine::CallOutcome;
use rekey_engine::fuzzing::{RotateOutcome, StoreFault, read_decided, read_feed, read_resolved};
use rekey_protocol::{
    ErrorBody, FeedRequest, FeedResponse, HINT_LEN, KEY_PREFIX, ResolveRequest, ResolveResponse,
    RotateRequest, RotateResponse,
};
use rekey_store::api::{
    AddUserRequest, ImportRow, IssueRequest, RevokeRequest, SetPasswordRequest,
};
use rekey_store::http;
use rekey_store::rules::answers;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::holds;

/// Bytes at the front choose the status and the marker of an answer.
pub fn messages(data: &[u8]) {
    let Some(([high, low, marked], json)) = data.split_first_chunk() else {
        return;
    };
    let status = 200 + u16::from_be_bytes([*high, *low]) % 400;
    as_answer(status, *marked != 0, json);
    as_answer(200, true, json);
    cut(json);
    as_request(json);
    as_row(json);
}

/// What the gateway makes of an answer.
fn as_answer(status: u16, marked: bool, body: &[u8]) {
    let answer = CallOutcome::Answer {
        status,
        marked,
        body,
    };
    let (resolved, decided) = (read_resolved(answer), read_decided(answer));
    let feed = read_feed(answer);
    let faults = [
        resolved.as_ref().err().copied(),
        decided.as_ref().err().copied(),
        feed.as_ref().err().copied(),
    ];
    if !marked {
        // A proxy's own says nothing, whatever it says.
        assert_eq!(faults, [Some(StoreFault::NoAnswer); 3]);
    }
    if status != 200 {
        // The only other answer that decides is that the key is unknown.
        let unknown = decided == Ok(RotateOutcome::Unknown);
        assert!(feed.is_err() && (unknown || decided.is_err()));
        assert_eq!(resolved.is_ok(), unknown);
        assert!(!unknown || status == 404);
    }
    if let Ok(RotateOutcome::RateLimited { retry_after, .. }) = decided {
        assert!((1..=3600).contains(&retry_after));
    }
    stable::<ResolveResponse>(body);
    stable::<RotateResponse>(body);
    stable::<FeedResponse>(body);
    stable::<ErrorBody>(body);
}

/// A body cut by EOF looks complete to the gateway.
fn cut(body: &[u8]) {
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return;
    }
    let Some((_, body)) = body.trim_ascii_end().split_last() else {
        return;
    };
    let answer = CallOutcome::Answer {
        status: 200,
        marked: true,
        body,
    };
    assert_eq!(read_resolved(answer), Err(StoreFault::Unreadable));
    assert_eq!(read_decided(answer), Err(StoreFault::Unreadable));
    assert_eq!(read_feed(answer), Err(StoreFault::Unreadable));
}

/// What the store makes of a request.
fn as_request(body: &[u8]) {
    stable::<ResolveRequest>(body);
    stable::<FeedRequest>(body);
    stable::<RotateRequest>(body);
    let rotate = told::<RotateRequest>(body);
    if let Some(rotate) = rotate.filter(|rotate| answers::check_rotate(rotate).is_ok()) {
        let hint = rotate.hint.as_bytes();
        assert!(hint.len() == HINT_LEN && hint.iter().all(u8::is_ascii_alphanumeric));
        assert!(rotate.attempt > 0 && rotate.old_digest != rotate.new_digest);
    }
    told::<FeedRequest>(body);
    told::<ResolveRequest>(body);
    told::<AddUserRequest>(body);
    told::<SetPasswordRequest>(body);
    told::<IssueRequest>(body);
    told::<RevokeRequest>(body);
}

/// A row of an import, as one line.
fn as_row(line: &[u8]) {
    if let Ok(row) = serde_json::from_slice::<ImportRow<'_>>(line) {
        let again = serde_json::to_string(&row).unwrap();
        assert!(!again.contains('\n'), "one line stays one line");
        let read: ImportRow<'_> = serde_json::from_str(&again).unwrap();
        assert_eq!(again, serde_json::to_string(&read).unwrap());
    }
}

/// What can be read is written and read again as the same.
fn stable<T>(bytes: &[u8])
where
    T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    let Ok(message) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&message).unwrap();
    let read: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(read, message);
    assert_eq!(serde_json::to_vec(&read).unwrap(), written);
}

/// Reads a request as the store does. What it says of one that it cannot read
/// goes into an answer and a log: it holds no key, and is short.
fn told<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    match serde_json::from_slice(body) {
        Ok(request) => Some(request),
        Err(error) => {
            let text = http::explain(&error);
            assert!(text.len() <= 500, "{text}");
            assert!(!holds(text.as_bytes(), KEY_PREFIX.as_bytes()), "{text}");
            None
        }
    }
}
