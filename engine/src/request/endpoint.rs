//! The checks of the regenerate endpoint that need no key.

use rekey_protocol::Client;
use rekey_protocol::contract::{IDEMPOTENCY_KEY_HEADER, REQUEST_ID_HEADER};
use zeroize::Zeroizing;

use crate::host::env::RequestHead;
use crate::request::credentials;
use crate::request::refusal::ApiRefusal;

/// The longest request id that goes to the audit log, in bytes.
const REQUEST_ID_MAX: usize = 128;

/// As Envoy tells a gRPC call: by its content type.
pub(crate) fn is_grpc(head: &dyn RequestHead) -> bool {
    let content_type = head.header("content-type").unwrap_or_default();
    content_type.starts_with(b"application/grpc")
}

/// Whether a body is on its way that will end. What follows a GET is an upgraded
/// connection, if anything, and so it is behind a CONNECT.
pub(crate) fn sends_a_body(head: &dyn RequestHead) -> bool {
    head.body_follows() && !matches!(&*head.method(), b"GET" | b"HEAD" | b"CONNECT")
}

/// What a request to the endpoint brings beside its key.
pub(crate) struct RegenerateRequest {
    /// The client, for the audit log.
    pub client: Client,
    /// By which the answer can be asked for again. A secret, like the key.
    pub idempotency_key: Option<Zeroizing<Vec<u8>>>,
}

/// The checks of the endpoint that come before the key, in the contract's
/// order: method, then Idempotency-Key.
pub(crate) fn check(head: &dyn RequestHead) -> Result<RegenerateRequest, ApiRefusal> {
    if head.method() != b"POST" {
        return Err(ApiRefusal::MethodNotAllowed);
    }
    let idempotency_key = head.header(IDEMPOTENCY_KEY_HEADER).map(Zeroizing::new);
    credentials::check_idempotency_key(idempotency_key.as_ref().map(|key| key.as_slice()))
        .map_err(ApiRefusal::InvalidIdempotencyKey)?;
    // A gateway may be told to keep the client's own, which can be anything: one
    // that made the rotate call too large for the store would cost the rotation.
    let request_id = head
        .header(REQUEST_ID_HEADER)
        .filter(|id| id.len() <= REQUEST_ID_MAX);
    Ok(RegenerateRequest {
        client: Client {
            address: head.client_address(),
            // In any encoding: the store keeps what is plain of it.
            request_id: request_id.map(|id| String::from_utf8_lossy(&id).into_owned()),
        },
        idempotency_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with this id.
    struct Named(&'static [u8]);

    impl RequestHead for Named {
        fn path(&self) -> Vec<u8> {
            b"/".to_vec()
        }

        fn method(&self) -> Vec<u8> {
            b"POST".to_vec()
        }

        fn header(&self, name: &str) -> Option<Vec<u8>> {
            (name == "x-request-id").then(|| self.0.to_vec())
        }

        fn body_follows(&self) -> bool {
            false
        }

        fn client_address(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn a_request_id_in_any_encoding_goes_to_the_audit_log() {
        let told = |id| check(&Named(id)).ok().unwrap().client.request_id.unwrap();
        assert_eq!(told(b"job-7"), "job-7");
        assert_eq!(told(b"caf\xe9-7"), "caf\u{fffd}-7");
        assert_eq!(told("café-7".as_bytes()), "café-7");
        assert!(told(b"\xff\xfe7").ends_with('7'));
    }
}
