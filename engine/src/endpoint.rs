//! The checks of the regenerate endpoint that need no key.

use rekey_protocol::Client;
use zeroize::Zeroizing;

use crate::credentials;
use crate::env::RequestHead;
use crate::refusal::Refusal;

/// The longest request id that goes to the audit log, in bytes.
const REQUEST_ID_MAX: usize = 128;

/// As Envoy tells a gRPC call: by its content type.
pub fn is_grpc(head: &dyn RequestHead) -> bool {
    let content_type = head.header("content-type").unwrap_or_default();
    content_type.starts_with(b"application/grpc")
}

/// Whether a body is on its way that will end. What follows a GET is an upgraded
/// connection, if anything, and so it is behind a CONNECT.
pub fn sends_a_body(head: &dyn RequestHead) -> bool {
    head.body_follows() && !matches!(&*head.method(), b"GET" | b"HEAD" | b"CONNECT")
}

/// What a request to the endpoint brings beside its key.
pub struct Asked {
    /// Who asks.
    pub client: Client,
    /// By which the answer can be asked for again. A secret, like the key.
    pub idempotency_key: Option<Zeroizing<Vec<u8>>>,
}

/// The checks of the endpoint that come before the key, in the contract's
/// order: method, then Idempotency-Key.
pub fn check(head: &dyn RequestHead) -> Result<Asked, Refusal> {
    if head.method() != b"POST" {
        return Err(Refusal::MethodNotAllowed);
    }
    let idempotency_key = head.header("idempotency-key").map(Zeroizing::new);
    credentials::check_idempotency_key(idempotency_key.as_ref().map(|key| key.as_slice()))
        .map_err(Refusal::InvalidIdempotencyKey)?;
    // A gateway may be told to keep the client's own, which can be anything: one
    // that made the rotate call too large for the store would cost the rotation.
    let request_id = head
        .header("x-request-id")
        .filter(|id| id.len() <= REQUEST_ID_MAX);
    Ok(Asked {
        client: Client {
            address: head.client_address(),
            request_id: request_id.and_then(|id| String::from_utf8(id).ok()),
        },
        idempotency_key,
    })
}
