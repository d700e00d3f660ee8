//! Who the client is: the address at the other end, or what trusted proxies
//! say of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use rekey_protocol::Client;

use crate::dashboard::Dashboard;

/// The client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// For the audit log.
    pub(crate) fn client(self) -> Client {
        Client {
            address: Some(self.0.to_string()),
            request_id: None,
        }
    }
}

impl FromRequestParts<Dashboard> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Dashboard,
    ) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip());
        let hops = dashboard.settings.trusted_proxies;
        let address = match forwarded(&parts.headers, hops) {
            Some(address) => address,
            None => {
                if hops > 0 && !dashboard.has_warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %peer,
                        "x-forwarded-for holds no address of a client where \
                         --dashboard-trusted-proxies says: log-ins are throttled by the proxy's \
                         address, all of them together"
                    );
                }
                peer
            }
        };
        Ok(Self(address.to_canonical()))
    }
}

/// The address that the outermost of `hops` trusted proxies saw: each adds one
/// at the end of `x-forwarded-for`, and what stands before those is the
/// client's own word. `None` where the header is shorter.
///
/// Read as bytes: the client's own word may be in any encoding, and the rest of
/// its line is still our proxies'.
pub(crate) fn forwarded(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for").iter();
    let hop: Vec<_> = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .collect();
    let index = hop.len().checked_sub(hops).filter(|_| hops > 0)?;
    address(std::str::from_utf8(hop.get(index)?).ok()?.trim())
}

/// Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = text.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or(with_port).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let found = |values: &[&str], hops| {
            let mut headers = HeaderMap::new();
            for value in values {
                // As Latin-1, which is what bytes outside ASCII come from.
                let bytes: Vec<u8> = value.chars().map(|c| c as u8).collect();
                let value = HeaderValue::from_bytes(&bytes).unwrap();
                headers.append("x-forwarded-for", value);
            }
            forwarded(&headers, hops).map(|address| address.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(&["192.0.2.1"], 0), None);
        assert_eq!(found(&["192.0.2.1"], 1), some("192.0.2.1"));
        assert_eq!(found(&["10.9.9.9, 192.0.2.1"], 1), some("192.0.2.1"));
        assert_eq!(
            found(&["10.9.9.9, 192.0.2.1", "10.0.0.1"], 2),
            some("192.0.2.1")
        );
        assert_eq!(found(&["192.0.2.1"], 2), None);
        assert_eq!(found(&["192.0.2.1:4711"], 1), some("192.0.2.1"));
        assert_eq!(found(&["[2001:db8::1]:4711"], 1), some("2001:db8::1"));
        assert_eq!(found(&["[2001:db8::1]"], 1), some("2001:db8::1"));
        assert_eq!(found(&["2001:db8::1"], 1), some("2001:db8::1"));
        assert_eq!(found(&["m\u{fc}ll, 192.0.2.1"], 1), some("192.0.2.1"));
        assert_eq!(found(&["\u{ff}", "192.0.2.1"], 1), some("192.0.2.1"));
        assert_eq!(
            found(&["\u{80}, 10.9.9.9", "192.0.2.1, 10.0.0.1"], 2),
            some("192.0.2.1")
        );
        assert_eq!(found(&["192.0.2.1, m\u{fc}ll"], 1), None);
        assert_eq!(found(&["nonsense"], 1), None);
        assert_eq!(found(&[], 1), None);
    }
}
