//! Where browsers reach the dashboard (RFC 6454), and whether a request came
//! from there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Scheme;
use axum::http::{Uri, header};

/// `https://host[:port]`; with `http` on loopback only, for the password and
/// the session would cross a network in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: String,
    authority: String,
    is_secure: bool,
}

/// Why a text is no origin to serve a dashboard at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// Not of that form.
    #[error("it must be https://host or https://host:port, in ASCII and without a path")]
    Form,
    /// `http` where somebody could listen.
    #[error("it must begin with https:// (http:// is for loopback only)")]
    Insecure,
}

impl Origin {
    /// Parses and normalises it, as browsers do in `Origin` and `Host`.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let uri: Uri = text.parse().map_err(|_| BadOrigin::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(BadOrigin::Form);
        };
        let default_port = match scheme {
            scheme if *scheme == Scheme::HTTPS => 443,
            scheme if *scheme == Scheme::HTTP => 80,
            _ => return Err(BadOrigin::Form),
        };
        let bare = uri.path() == "/" && uri.query().is_none() && !text.contains(['#', '@']);
        let host = authority.host().to_ascii_lowercase();
        if !bare || host.is_empty() {
            return Err(BadOrigin::Form);
        }
        let is_secure = default_port == 443;
        if !is_secure && !is_loopback(&host) {
            return Err(BadOrigin::Insecure);
        }
        let host = match host.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) if is_name(&host) => host,
            Err(_) => return Err(BadOrigin::Form),
        };
        let rest = authority.as_str().get(authority.host().len()..);
        let authority = match (rest, authority.port_u16()) {
            (Some(""), _) => host,
            (_, Some(port)) if port == default_port => host,
            (_, Some(port @ 1..)) => format!("{host}:{port}"),
            _ => return Err(BadOrigin::Form),
        };
        Ok(Self {
            text: format!("{scheme}://{authority}"),
            authority,
            is_secure,
        })
    }

    /// Of a listener on loopback, as browsers name it: without the scheme's own
    /// port.
    pub fn of_loopback(listening: SocketAddr) -> Self {
        let host = match listening.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let authority = match listening.port() {
            80 => host,
            port => format!("{host}:{port}"),
        };
        Self {
            text: format!("http://{authority}"),
            authority,
            is_secure: false,
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The port, where it is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        let (_, port) = self.authority.rsplit_once(':')?;
        // What ends an IPv6 address is no number: it has a bracket.
        port.parse().ok()
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether the request was sent to this host. A page of another name that
    /// resolves to this machine (DNS rebinding) would be of one origin with us.
    pub fn is_host_of(&self, request: &Parts) -> bool {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let host = hosts.next().map(|host| host.as_bytes());
        let uri = request.uri.authority();
        let uri = uri.map(|authority| authority.as_str().as_bytes());
        // Browsers leave the scheme's own port out; some proxies put it in.
        let own_port: &[u8] = if self.is_secure { b":443" } else { b":80" };
        let is_ours = |named: &[u8]| {
            let named = named.strip_suffix(own_port).unwrap_or(named);
            named.eq_ignore_ascii_case(self.authority.as_bytes())
        };
        hosts.next().is_none()
            && (host.is_some() || uri.is_some())
            && host.is_none_or(is_ours)
            && uri.is_none_or(is_ours)
    }

    /// Whether a page of ours sent the request: every browser of today says
    /// where a POST comes from, and no page can say otherwise.
    pub fn sent(&self, request: &Parts) -> bool {
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let one = origins.next().filter(|_| origins.next().is_none());
        one.is_some_and(|origin| origin.as_bytes() == self.text.as_bytes())
    }
}

/// What the URI's parser leaves open: a bracket in the middle, say.
fn is_name(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host.bytes().all(known)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = |address: IpAddr| address.is_loopback();
    host == "localhost" || address.parse().is_ok_and(is_local)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn origins_are_normalised() {
        for (text, origin) in [
            ("https://Keys.Example.com", "https://keys.example.com"),
            ("https://keys.example.com:443/", "https://keys.example.com"),
            (
                "https://keys.example.com:8443",
                "https://keys.example.com:8443",
            ),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:8001", "http://[::1]:8001"),
            ("http://[0:0:0:0:0:0:0:1]:8001", "http://[::1]:8001"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), origin);
        }
    }

    #[test]
    fn a_listener_on_loopback_is_named_as_browsers_name_it() {
        for (listening, origin) in [
            ("127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("[::1]:8001", "http://[::1]:8001"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("[::1]:80", "http://[::1]"),
        ] {
            let ours = Origin::of_loopback(listening.parse().unwrap());
            assert_eq!(ours, Origin::parse(origin).unwrap());
        }
    }

    #[test]
    fn what_is_no_origin_or_not_safe_is_refused() {
        for text in [
            "",
            "keys.example.com",
            "/",
            "ftp://keys.example.com",
            "https://keys.example.com/keys",
            "https://keys.example.com?x",
            "https://user@keys.example.com",
            "https://",
            "https://keys.e[2001:db8::1]:4711",
            "https://keys.example.com:",
            "https://keys.example.com:99999",
            "http://127.0.0.1:0",
        ] {
            assert_eq!(Origin::parse(text), Err(BadOrigin::Form), "{text}");
        }
        for text in [
            "http://keys.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
        ] {
            assert_eq!(Origin::parse(text), Err(BadOrigin::Insecure), "{text}");
        }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_this_host_and_this_origin_are_ours() {
        let origin = Origin::parse("https://keys.example.com").unwrap();
        let host = |uri, headers| origin.is_host_of(&request(uri, headers));
        assert!(host("/", &[("host", "keys.example.com")]));
        assert!(host("/", &[("host", "KEYS.example.com")]));
        assert!(host("/", &[("host", "keys.example.com:443")]));
        assert!(!host("/", &[("host", "keys.example.com:80")]));
        assert!(host("https://keys.example.com/", &[]));
        assert!(!host("/", &[]));
        assert!(!host("/", &[("host", "keys.example.com.evil.example")]));
        assert!(!host("/", &[("host", "keys.example.com:444")]));
        assert!(!host(
            "/",
            &[("host", "keys.example.com"), ("host", "evil.example")]
        ));
        assert!(!host(
            "http://evil.example/",
            &[("host", "keys.example.com")]
        ));
        let sent = |headers| origin.sent(&request("/", headers));
        assert!(sent(&[("origin", "https://keys.example.com")]));
        for bad in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://keys.example.com")],
            &[("origin", "https://keys.example.com:444")],
            &[
                ("origin", "https://keys.example.com"),
                ("origin", "https://evil.example"),
            ],
        ] {
            assert!(!sent(bad), "{bad:?}");
        }
    }
}
