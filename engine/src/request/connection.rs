//! What `Connection` may name. The next hop takes off the fields that it names
//! (RFC 9110, 7.6.1), and on an upgrade the gateway hands it on as it came. So a
//! client could have the user's id taken off, whose header the gateway adds and
//! the filter does not know by name, and be served as nobody.

use crate::host::env::RequestHead;
use crate::request::refusal::ApiRefusal;

/// What clients do name. Each is about this one connection, so neither a user
/// nor a bill can hang on it. `Transfer-Encoding` is not among them: a body's
/// end hangs on it, and no client has to name it.
const HARMLESS: [&str; 5] = ["upgrade", "keep-alive", "close", "te", "http2-settings"];

/// Refuses a request whose `Connection` names anything else. The gateway has
/// taken the header off all others than upgrades.
pub(crate) fn check(head: &dyn RequestHead) -> Result<(), ApiRefusal> {
    let value = head.header("connection").unwrap_or_default();
    let is_harmless = |option: &[u8]| {
        let option = option.trim_ascii();
        // RFC 9110, 5.6.1.2: an empty element says nothing.
        option.is_empty()
            || HARMLESS
                .iter()
                .any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
    };
    if value.split(|byte| *byte == b',').all(is_harmless) {
        Ok(())
    } else {
        Err(ApiRefusal::InvalidConnectionHeader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that has this `Connection`, or none.
    struct Head(Option<&'static [u8]>);

    impl RequestHead for Head {
        fn path(&self) -> Vec<u8> {
            b"/".to_vec()
        }
        fn method(&self) -> Vec<u8> {
            b"GET".to_vec()
        }
        fn header(&self, name: &str) -> Option<Vec<u8>> {
            let value = self.0.filter(|_| name == "connection");
            value.map(<[u8]>::to_vec)
        }
        fn body_follows(&self) -> bool {
            false
        }
        fn client_address(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn what_is_about_the_connection_may_be_named() {
        assert_eq!(check(&Head(None)), Ok(()));
        for value in [
            &b""[..],
            b"Upgrade",
            b"upgrade",
            b"keep-alive, Upgrade",
            b"Upgrade, HTTP2-Settings",
            b"TE,close",
            b" \t,, Upgrade\t , ,",
        ] {
            assert_eq!(check(&Head(Some(value))), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn nothing_else_may_be_named() {
        for value in [
            &b"x-rekey-user"[..],
            b"Upgrade, x-rekey-user",
            b"x-rekey-user,upgrade",
            b"Upgrade,\tX-Rekey-User\t",
            b"upgrade x-rekey-user",
            b"upgrade;x-rekey-user",
            b"upgradex",
            b"up",
            b"\"upgrade\"",
            b"authorization",
            b"transfer-encoding",
            b"content-length",
            b"\xff",
            b"upgrade, \xc2\xa0",
            b"upgrade\0",
        ] {
            let refused = Err(ApiRefusal::InvalidConnectionHeader);
            assert_eq!(check(&Head(Some(value))), refused, "{value:?}");
        }
    }
}
