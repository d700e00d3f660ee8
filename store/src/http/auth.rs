//! Bearer tokens of the two listeners, checked before a body is read.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rekey_protocol::{BadToken, Digest, ErrorCode, TokenText};
use subtle::ConstantTimeEq;

use super::body::discard;
use super::error::ApiError;

/// A token, as its digest: the plain text is not kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BearerToken(Digest);

impl BearerToken {
    /// Checks the token's form.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text = TokenText::parse(text)?;
        Ok(Self(Digest::of(text.as_str().as_bytes())))
    }

    /// Digests are compared in constant time, so neither the token's text nor
    /// its length shows in the time taken.
    fn is(&self, presented: &[u8]) -> bool {
        let presented = Digest::of(presented);
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

/// What a listener demands.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    /// `None`: mTLS or the like in front has checked the caller.
    pub token: Option<BearerToken>,
    /// The variable that the caller's operator has to set.
    pub variable: &'static str,
}

/// Lets a request pass that bears the token.
pub(super) async fn check(State(demand): State<Demand>, request: Request, next: Next) -> Response {
    let Some(token) = demand.token else {
        return next.run(request).await;
    };
    match bearer(request.headers()) {
        Some(presented) if token.is(presented) => next.run(request).await,
        presented => {
            let what = match presented {
                Some(_) => "the bearer token is not the one of this listener",
                None => "this listener wants a bearer token",
            };
            // Who waits to be asked for the body never sends it.
            if !request.headers().contains_key(header::EXPECT) {
                discard(request.into_body()).await;
            }
            let message = format!("{what}; it is in {}", demand.variable);
            ApiError::new(ErrorCode::Unauthorized, message).into_response()
        }
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750; the scheme in any case).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_found() {
        let found = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(found(&["Bearer abc"]), Some(b"abc".to_vec()));
        assert_eq!(found(&["bEARER abc"]), Some(b"abc".to_vec()));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["Basic abc"]), None);
        assert_eq!(found(&["Bear"]), None);
        assert_eq!(found(&["Bearer abc", "Bearer abc"]), None);
    }

    #[test]
    fn only_the_whole_token_is_right() {
        let token = BearerToken::parse("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        assert!(!token.is(b"0123456789abcdeg"));
        assert!(!token.is(b"0123456789abcde"));
        assert!(!token.is(b""));
    }
}
