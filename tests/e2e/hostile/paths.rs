//! Paths that mean one thing to the gateway and might mean another to the
//! upstream.

use super::{
    Differences, Outcome, PUBLIC, anonymous, method_not_allowed, missing_key, received, request,
    send, start,
};

/// Without a key a GET tells the three kinds of paths apart: the endpoint
/// refuses the method, a public path serves nobody, the rest wants a key.
#[test]
fn a_path_is_the_endpoint_in_any_reading_and_public_in_all() {
    let fleet = start();
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
        (b"/v1%2fuser/api-key/regenerate", endpoint()),
        (b"/v1%2Fuser/api-key/regenerate", endpoint()),
        (b"/v1/user%5capi-key/regenerate", endpoint()),
        (b"/v1/x%2f..%2fuser/api-key/regenerate", endpoint()),
        (b"/v1/x%2fy/../user/api-key/regenerate", endpoint()),
        (b"/v1/x//../user/api-key/regenerate", endpoint()),
        (b"/v1/x/y//../../../user/api-key/regenerate", endpoint()),
        (b"/v1/x\\..\\user/api-key/regenerate", endpoint()),
        (b"/v1/user/api-key/regenerate/", protected()),
        (b"/v1/user/api-key/regenerate/.", protected()),
        (b"/v1/user/api-key/regenerate/x/..", protected()),
        (b"/v1/user/api-key/regenerate;a=b", protected()),
        (b"/v1/user;/api-key/regenerate", protected()),
        (b"/V1/user/api-key/regenerate", protected()),
        (b"/v1/user/api-key/REGENERATE", protected()),
        (b"/v1/user/api-key/regenerate%20", protected()),
        (b"/v1/user/api-key/regenerate%3Fx", protected()),
        (b"/v1/user/api-key/regenerate%00", protected()),
        (b"/v1/user/api-key/regenerate%2f", protected()),
        (b"/v1/user/api%252dkey/regenerate", protected()),
        (b"/v1%252fuser/api-key/regenerate", protected()),
        (b"/", protected()),
        (b"/?/status", protected()),
        // Refused by Envoy: a fragment, bytes.
        (b"/v1/user/api-key/regenerate#x", envoy()),
        (b"/v1/user/api-key/regenerate\xff", envoy()),
        (b"/v1/\xc3\xa9", envoy()),
        // Public, and what only looks like it.
        (b"/status", anonymous()),
        (b"/status?x=1", anonymous()),
        (b"/docs/", anonymous()),
        (b"/docs/a", anonymous()),
        (b"/docs/a%20b", anonymous()),
        (b"/docs/%C3%BCbersicht", anonymous()),
        (b"/docs/.well-known/a.b", anonymous()),
        (b"/docs/a?/../../v1/scrape", anonymous()),
        (b"/status/", protected()),
        (b"/status;x", protected()),
        (b"/statusx", protected()),
        (b"/Status", protected()),
        (b"/status%20", protected()),
        (b"/docs", protected()),
        (b"/Docs/a", protected()),
        (b"/x/../status", protected()),
        (b"//status", protected()),
        (b"/./status", protected()),
        (b"/%73tatus", protected()),
        (b"/docs//a", protected()),
        (b"/docs/./a", protected()),
        (b"/docs/../v1/scrape", protected()),
        (b"/docs/%2e%2e/v1/scrape", protected()),
        (b"/docs/%2E%2E/v1/scrape", protected()),
        (b"/docs/.%2e/v1/scrape", protected()),
        (b"/docs/..%2fv1/scrape", protected()),
        (b"/docs/%2e%2e%2fv1/scrape", protected()),
        (b"/docs/..%5cv1%5cscrape", protected()),
        (b"/docs/..;/v1/scrape", protected()),
        (b"/docs/..%3b/v1/scrape", protected()),
        // What is decoded twice, or by no rule, is never public.
        (b"/docs/%252e%252e/b", protected()),
        (b"/docs/%252e%252e/v1/scrape", protected()),
        (b"/docs/%u002e%u002e/v1/scrape", protected()),
        (b"/docs/%2", protected()),
        (b"/docs/%c0%ae%c0%ae/v1/scrape", protected()),
        (b"/docs/a%00", protected()),
        (b"/docs/.%09./v1/scrape", protected()),
        (b"/docs/%EF%BC%8E%EF%BC%8E/v1/scrape", protected()),
        (b"/docs/%E2%80%A5/v1/scrape", protected()),
        // What some upstreams cut off or resolve is never public.
        (b"/docs/a;b", protected()),
        (b"/docs/a;/../b", protected()),
        (b"/docs/\\..\\b", protected()),
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
