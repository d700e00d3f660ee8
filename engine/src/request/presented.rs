//! What a request bears in the place of `Authorization: Bearer …`, so that its
//! refusal can say so. Looked at only when it is refused.
//!
//! Nothing of what the client sent is kept: it may be a secret, and is wiped like
//! one (I6). What is told is one of the names below.

use rekey_protocol::{KEY_PREFIX, begins_as_a_key};
use zeroize::Zeroizing;

use crate::host::env::RequestHead;

/// Schemes of `Authorization` that are called by their name.
const SCHEMES: [&str; 14] = [
    "Basic",
    "Digest",
    "Token",
    "ApiKey",
    "Api-Key",
    "X-API-Key",
    "Key",
    "JWT",
    "OAuth",
    "DPoP",
    "Negotiate",
    "NTLM",
    "AWS4-HMAC-SHA256",
    "HMAC",
];
/// Headers that other APIs take a key in.
const HEADERS: [&str; 4] = ["x-api-key", "api-key", "apikey", "x-auth-token"];
/// Query parameters that other APIs take a key in.
const PARAMETERS: [&str; 6] = [
    "api_key",
    "apikey",
    "api-key",
    "access_token",
    "token",
    "key",
];
/// What a WebSocket subprotocol holds that is a key or the word for one.
const SUBPROTOCOLS: [&str; 6] = [
    KEY_PREFIX,
    "bearer",
    "token",
    "api-key",
    "apikey",
    "authorization",
];

/// What there is in the place of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presented {
    /// Nothing that was looked for.
    Nothing,
    /// `Authorization` has this scheme.
    Scheme(&'static str),
    /// `Authorization` has a scheme that is not in the list.
    OtherScheme,
    /// `Authorization` has a key without a scheme.
    BareKey,
    /// `Authorization` has Bearer and something else than a space behind it.
    BearerUnspaced,
    /// `Authorization` has Bearer, and no more.
    BearerAlone,
    /// There is this header.
    Header(&'static str),
    /// There is this query parameter.
    Parameter(&'static str),
    /// There is a WebSocket subprotocol that looks like a key.
    Subprotocol,
}

impl Presented {
    /// What stands in `Authorization`, which holds no key behind Bearer.
    pub fn in_authorization(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        if value.is_empty() {
            return Self::Nothing;
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Self::BearerAlone;
        }
        if begins_as_a_key(value) {
            return Self::BareKey;
        }
        let starts = scheme.get(..b"bearer".len()).unwrap_or_default();
        if starts.eq_ignore_ascii_case(b"bearer") {
            return Self::BearerUnspaced;
        }
        let named = SCHEMES.into_iter();
        let named = named.filter(|name| scheme.eq_ignore_ascii_case(name.as_bytes()));
        named.map(Self::Scheme).next().unwrap_or(Self::OtherScheme)
    }

    /// What stands in the other places that clients put a key, if `Authorization`
    /// has nothing.
    pub fn or_elsewhere(self, head: &dyn RequestHead) -> Self {
        if self != Self::Nothing {
            return self;
        }
        let header = |name: &str| head.header(name).map(Zeroizing::new);
        let in_header = || {
            let is_there = |name: &&str| header(name).is_some_and(|value| !value.is_empty());
            HEADERS.into_iter().find(is_there).map(Self::Header)
        };
        let in_query = || parameter(&Zeroizing::new(head.path())).map(Self::Parameter);
        let in_subprotocol = || {
            let offered = header("sec-websocket-protocol")?;
            looks_like_a_key(&offered).then_some(Self::Subprotocol)
        };
        let found = in_header().or_else(in_query).or_else(in_subprotocol);
        found.unwrap_or(Self::Nothing)
    }

    /// What the client is told of it; nothing of nothing.
    pub fn in_words(self) -> Option<String> {
        let logged = "If that was your API key, it may have been logged on its way: regenerate it.";
        Some(match self {
            Self::Nothing => return None,
            Self::Scheme(name) => format!("Authorization has the scheme {name}, not Bearer."),
            Self::OtherScheme => "Authorization has another scheme than Bearer.".to_owned(),
            Self::BareKey => "Authorization has a key without Bearer before it.".to_owned(),
            Self::BearerUnspaced => "Authorization has no space behind Bearer.".to_owned(),
            Self::BearerAlone => "Authorization has nothing behind Bearer.".to_owned(),
            Self::Header(name) => format!("The header {name} is not read."),
            Self::Parameter(name) => format!("The query parameter {name} is not read. {logged}"),
            Self::Subprotocol => format!("Sec-WebSocket-Protocol is not read. {logged}"),
        })
    }
}

/// The first of our names that the query has a value for.
fn parameter(path: &[u8]) -> Option<&'static str> {
    let start = path.iter().position(|byte| *byte == b'?')?;
    let query = path.get(start + 1..)?;
    let is_given = |name: &&str| {
        query.split(|byte| *byte == b'&').any(|field| {
            let field = field.split_at_checked(name.len());
            field.is_some_and(|(found, value)| {
                found.eq_ignore_ascii_case(name.as_bytes())
                    && value.len() > 1
                    && value.starts_with(b"=")
            })
        })
    };
    PARAMETERS.into_iter().find(is_given)
}

fn looks_like_a_key(subprotocols: &[u8]) -> bool {
    SUBPROTOCOLS.iter().any(|word| {
        let mut parts = subprotocols.windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const KEY: &str = "sb_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    #[derive(Default)]
    struct Head {
        path: String,
        headers: BTreeMap<&'static str, String>,
    }

    impl RequestHead for Head {
        fn path(&self) -> Vec<u8> {
            self.path.clone().into_bytes()
        }
        fn method(&self) -> Vec<u8> {
            b"GET".to_vec()
        }
        fn header(&self, name: &str) -> Option<Vec<u8>> {
            let value = self.headers.get(name)?;
            Some(value.clone().into_bytes())
        }
        fn body_follows(&self) -> bool {
            false
        }
        fn client_address(&self) -> Option<String> {
            None
        }
    }

    fn elsewhere(path: &str, headers: &[(&'static str, &str)]) -> Presented {
        let headers = headers.iter();
        let head = Head {
            path: path.to_owned(),
            headers: headers
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        };
        Presented::Nothing.or_elsewhere(&head)
    }

    #[test]
    fn authorization_is_told_by_its_scheme_or_by_what_is_wrong_with_bearer() {
        for (value, presented) in [
            ("", Presented::Nothing),
            ("  ", Presented::Nothing),
            ("bAsIc dTpw", Presented::Scheme("Basic")),
            (
                "AWS4-HMAC-SHA256 Credential=x",
                Presented::Scheme("AWS4-HMAC-SHA256"),
            ),
            ("NTLM", Presented::Scheme("NTLM")),
            ("s3cret x", Presented::OtherScheme),
            ("s3cret", Presented::OtherScheme),
            (KEY, Presented::BareKey),
            ("sb_live_short", Presented::BareKey),
            ("BEARER", Presented::BearerAlone),
            ("Bearer:sb_live_x", Presented::BearerUnspaced),
            ("Bearer\tsb_live_x", Presented::BearerUnspaced),
        ] {
            assert_eq!(
                Presented::in_authorization(value.as_bytes()),
                presented,
                "{value}"
            );
        }
    }

    #[test]
    fn other_places_are_looked_at_in_a_fixed_order() {
        let protocol = ("sec-websocket-protocol", "chat, bearer, x");
        let header = ("x-api-key", KEY);
        let query = "/?token=x&api_key=x";
        let all = [("api-key", KEY), protocol, header];
        assert_eq!(elsewhere(query, &all), Presented::Header("x-api-key"));
        assert_eq!(
            elsewhere(query, &[protocol]),
            Presented::Parameter("api_key")
        );
        assert_eq!(elsewhere("/", &[protocol]), Presented::Subprotocol);
        assert_eq!(elsewhere("/", &[("cookie", "token=x")]), Presented::Nothing);
        assert_eq!(elsewhere("/", &[("x-api-key", "")]), Presented::Nothing);
        let basic = Presented::Scheme("Basic");
        assert_eq!(basic.or_elsewhere(&Head::default()), basic);
    }

    #[test]
    fn a_query_parameter_is_told_by_its_whole_name_and_only_with_a_value() {
        for (path, name) in [
            ("/?api_key=x", Some("api_key")),
            ("/v1/x?url=https://e.com&APIKEY=x", Some("apikey")),
            ("/?a=b?key=c&api-key=x", Some("api-key")),
            ("/?access_token=x", Some("access_token")),
            ("/?key=x", Some("key")),
            ("/?key=", None),
            ("/?key", None),
            ("/?monkey=x", None),
            ("/?keys=x", None),
            ("/key=x", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(parameter(path.as_bytes()), name, "{path}");
        }
    }

    #[test]
    fn a_subprotocol_that_only_names_a_protocol_is_no_key() {
        for (offered, is_key) in [
            (KEY, true),
            ("realtime, openai-insecure-api-key.x", true),
            ("base64url.Bearer.authorization.k8s.io.x", true),
            ("access_token, x", true),
            ("graphql-transport-ws", false),
            ("chat, superchat", false),
            ("", false),
        ] {
            assert_eq!(looks_like_a_key(offered.as_bytes()), is_key, "{offered}");
        }
    }
}
