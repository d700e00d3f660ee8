//! Which rule a path falls under: the endpoint, a public path, or the rest,
//! which needs a key.

/// The documented endpoint; compared byte by byte.
pub const REGENERATE_PATH: &str = "/v1/user/api-key/regenerate";

/// Which rule a request falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The gateway answers it itself.
    Regenerate,
    /// Goes on without a key.
    Public,
    /// Goes on with a valid key only.
    Protected,
}

/// Sorts a `:path` (with its query) by the configured public paths. The
/// endpoint comes first, so no public prefix can open it.
pub fn classify(path: &[u8], public_paths: &[String]) -> Route {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path == REGENERATE_PATH.as_bytes() {
        return Route::Regenerate;
    }
    // An upstream may read such a path as another one than we do.
    if !public_paths.is_empty() && !is_ambiguous(path) {
        let matches = |public: &String| {
            let public = public.as_bytes();
            if public.ends_with(b"/") {
                path.starts_with(public)
            } else {
                path == public
            }
        };
        if public_paths.iter().any(matches) {
            return Route::Public;
        }
    }
    Route::Protected
}

/// Checks a public path of the configuration; the error says what it takes.
pub fn check_public_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        Err("takes a path that begins with /")
    } else if path.contains(['?', '#']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("takes visible ASCII characters without ? and #")
    } else if is_ambiguous(path.as_bytes()) {
        Err("takes a path without .. // \\ ; and encoded dots, slashes or backslashes")
    } else {
        Ok(())
    }
}

/// Whether a path has a part that another program may resolve differently.
fn is_ambiguous(path: &[u8]) -> bool {
    let pair = |found: &[u8; 2]| path.windows(2).any(|window| window == found);
    let encoded = |digits: &[u8; 2]| {
        path.windows(3).any(|window| {
            window.first() == Some(&b'%')
                && window
                    .get(1..)
                    .is_some_and(|rest| rest.eq_ignore_ascii_case(digits))
        })
    };
    pair(b"..")
        || pair(b"//")
        || path.iter().any(|byte| matches!(byte, b'\\' | b';'))
        || encoded(b"2e")
        || encoded(b"2f")
        || encoded(b"5c")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(path: &str, public_paths: &[&str]) -> bool {
        let public_paths: Vec<_> = public_paths.iter().map(|path| path.to_string()).collect();
        classify(path.as_bytes(), &public_paths) == Route::Public
    }

    #[test]
    fn the_endpoint_is_matched_to_the_byte() {
        assert_eq!(
            classify(b"/v1/user/api-key/regenerate", &[]),
            Route::Regenerate
        );
        assert_eq!(
            classify(b"/v1/user/api-key/regenerate?x=1", &[]),
            Route::Regenerate
        );
        for other in [
            "/v1/user/api-key/regenerate/",
            "/V1/user/api-key/regenerate",
            "/v1/user/api-key/regenerate;x",
            "/v1/user/api%2dkey/regenerate",
            "/v1/user/api-key/regenerat",
            "",
        ] {
            assert_eq!(classify(other.as_bytes(), &[]), Route::Protected, "{other}");
        }
    }

    #[test]
    fn a_public_prefix_does_not_open_the_endpoint() {
        let everything = ["/".to_owned()];
        assert_eq!(
            classify(b"/v1/user/api-key/regenerate", &everything),
            Route::Regenerate
        );
        assert_eq!(classify(b"/x", &everything), Route::Public);
    }

    #[test]
    fn public_paths_are_exact_or_prefixes() {
        assert!(public("/status", &["/status"]));
        assert!(public("/status?verbose", &["/status"]));
        assert!(!public("/status/", &["/status"]));
        assert!(!public("/statusx", &["/status"]));
        assert!(public("/docs/a/b", &["/docs/"]));
        assert!(!public("/docs", &["/docs/"]));
        assert!(!public("/Docs/", &["/docs/"]));
        assert!(!public("/private?x=/docs/", &["/docs/"]));
    }

    #[test]
    fn an_ambiguous_path_is_never_public() {
        for path in [
            "/docs/../v1",
            "/docs//v1",
            "/docs/\\v1",
            "/docs/;v1",
            "/docs/%2e%2E/v1",
            "/docs/a%2Fb",
            "/docs/a%5cb",
        ] {
            assert!(!public(path, &["/docs/", "/"]), "{path}");
        }
        // In the query they are of no account.
        assert!(public("/docs/a?b=..//;", &["/docs/"]));
    }

    #[test]
    fn bad_public_paths_are_refused() {
        for path in [
            "", "docs/", "/a?b", "/a#b", "/a b", "/a//b", "/a/..", "/a;b", "/%2e", "/é",
        ] {
            assert!(check_public_path(path).is_err(), "{path}");
        }
        assert!(check_public_path("/").is_ok());
    }
}
