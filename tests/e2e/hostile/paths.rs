//! Paths that mean one thing to the gateway and might mean another to the
//! upstream.

use super::{
    Differences, Outcome, PUBLIC, anonymous, method_not_allowed, missing_key, received, request,
    send, start,
};

/// Without a key a GET tells the three kinds of paths apart: the endpoint
/// refuses the method, a public path serves nobody, the rest wants a key.
#[test]
fn a_path_is_what_it_is_after_normalisation() {
    let Some(fleet) = start() else { return };
    let endpoint = method_not_allowed;
    let protected = missing_key;
    let envoy = || Outcome::Envoy(400);
    let table: Vec<(&[u8], Outcome)> = vec![
        (b"/v1/user/api-key/regenerate", endpoint()),
        (b"/v1/user/api-key/regenerate?", endpoint()),
        (b"/v1/user/api-key/regenerate?a=/../b//;%2f", endpoint()),
        (b"//v1/user/api-key/regenerate", endpoint()),
        (b"/v1///user/api-key//regenerate", endpoint()),
        (b"/v1/./user/api-key/regenerate", endpoint()),
        (b"/v1/x/../user/api-key/regenerate", endpoint()),
        (b"/../v1/user/api-key/regenerate", endpoint()),
        (b"/v1/x/%2e%2e/user/api-key/regenerate", endpoint()),
        (b"/v1/x/%2E./user/api-key/regenerate", endpoint()),
        (b"/docs/../v1/user/api-key/regenerate", endpoint()),
        (
            b"http://edge.example/v1/user/api-key/regenerate",
            endpoint(),
        ),
        (b"/v1\\user\\api-key\\regenerate", endpoint()),
        (b"/v1/user/api%2dkey/regenerate", endpoint()),
        (b"/v1/user/api-key/regenerate/", protected()),
        (b"/v1/user/api-key/regenerate/.", protected()),
        (b"/v1/user/api-key/regenerate/x/..", protected()),
        (b"/v1/user/api-key/regenerate;a=b", protected()),
        (b"/v1/user;/api-key/regenerate", protected()),
        (b"/V1/user/api-key/regenerate", protected()),
        (b"/v1/user/api-key/REGENERATE", protected()),
        (b"/v1/user/api-key/regenerate%20", protected()),
        (b"/v1/user/api-key/regenerate%3Fx", protected()),
        (b"/v1/user/api%252dkey/regenerate", protected()),
        (b"/", protected()),
        (b"/?/status", protected()),
        // Refused by Envoy: encoded slashes and NUL, a fragment, bytes.
        (b"/v1%2fuser/api-key/regenerate", envoy()),
        (b"/v1%2Fuser/api-key/regenerate", envoy()),
        (b"/v1/user%5capi-key/regenerate", envoy()),
        (b"/v1/user/api-key/regenerate%00", envoy()),
        (b"/docs/..%2fv1/scrape", envoy()),
        (b"/docs/%2e%2e%2fv1/scrape", envoy()),
        (b"/v1/user/api-key/regenerate#x", envoy()),
        (b"/v1/user/api-key/regenerate\xff", envoy()),
        (b"/v1/\xc3\xa9", envoy()),
        // Public, and what only looks like it.
        (b"/status", anonymous()),
        (b"/status?x=1", anonymous()),
        (b"/x/../status", anonymous()),
        (b"//status", anonymous()),
        (b"/docs/", anonymous()),
        (b"/docs/a", anonymous()),
        (b"/docs//a", anonymous()),
        (b"/docs/a;/../b", anonymous()),
        (b"/docs/\\..\\b", anonymous()),
        (b"/docs/%252e%252e/b", anonymous()),
        (b"/docs/a?/../../v1/scrape", anonymous()),
        (b"/status/", protected()),
        (b"/status;x", protected()),
        (b"/statusx", protected()),
        (b"/Status", protected()),
        (b"/status%20", protected()),
        (b"/docs", protected()),
        (b"/Docs/a", protected()),
        (b"/docs/../v1/scrape", protected()),
        (b"/docs/%2e%2e/v1/scrape", protected()),
        (b"/docs/%2E%2E/v1/scrape", protected()),
        (b"/docs/.%2e/v1/scrape", protected()),
        (b"/docs/..;/v1/scrape", protected()),
        // What some upstreams cut off or resolve is never public.
        (b"/docs/a;b", protected()),
        (b"/docs/a;/b", protected()),
        (b"/docs/...", protected()),
        (b"/docs/.../b", protected()),
        (b"/docs/a..b", protected()),
        (b"/docs/a;/../../v1/scrape", protected()),
        (b"/docs\\..\\v1\\scrape", protected()),
        (b"/docs/a\\..\\..\\v1\\scrape", protected()),
        (b"/v1/scrape?/docs/", protected()),
        (b"http://edge.example/docs/../v1/scrape", protected()),
    ];
    let mut differences = Differences::default();
    for (path, expected) in &table {
        let answer = send(&fleet, &request([b"GET ", *path].concat(), &[]));
        let found = Outcome::of(&answer);
        let path = String::from_utf8_lossy(path);
        differences.compare(&path, &found, expected);
        if found == anonymous() {
            // What was let through as public is public to the upstream too.
            let served = received(&answer).path;
            let public = PUBLIC.contains(&served.as_str()) || served.starts_with(PUBLIC[1]);
            assert!(public, "{path} became {served}");
        }
    }
    differences.assert_none();
    fleet.assert_no_trap();
}
