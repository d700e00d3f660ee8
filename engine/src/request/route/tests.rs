//! Paths in all their spellings: the endpoint, public paths, and the rest.

use super::*;

fn public(path: &str, public_paths: &[&str]) -> bool {
    let public_paths: Vec<_> = public_paths.iter().map(|path| path.to_string()).collect();
    classify(path.as_bytes(), &public_paths) == Route::Public
}

#[test]
fn the_endpoint_is_found_in_every_usual_reading() {
    for path in [
        "/a\\b/../v1/user/api-key/regenerate",
        "/v1/user/x\\y/../api-key/regenerate",
        "/a%5cb%2f../v1/user/api-key/regenerate",
        "/v1/user/api-key/regenerate",
        "/v1/user/api-key/regenerate?",
        "/v1/user/api-key/regenerate?x=/../b//;%2f",
        // Slashes are merged.
        "//v1/user/api-key/regenerate",
        "/v1///user/api-key//regenerate",
        // Dot segments are resolved.
        "/v1/./user/api-key/regenerate",
        "/v1/x/../user/api-key/regenerate",
        "/../v1/user/api-key/regenerate",
        "/docs/../v1/user/api-key/regenerate",
        "/v1/x/%2e%2e/user/api-key/regenerate",
        "/v1/x/%2E./user/api-key/regenerate",
        // Before slashes are merged, and after.
        "/v1/x/y//../../../user/api-key/regenerate",
        "/v1/x//../user/api-key/regenerate",
        // Backslashes are slashes.
        "/v1\\user\\api-key\\regenerate",
        "/v1/x\\..\\user/api-key/regenerate",
        // Escapes are decoded.
        "/v1/user/api%2dkey/regenerate",
        "/%76%31/user/api-key/regenerat%65",
        "/v1%2fuser/api-key/regenerate",
        "/v1%2Fuser/api-key/regenerate",
        "/v1/user%5capi-key/regenerate",
        "/v1/x%2f..%5Cuser/api-key/regenerate",
        "/%2fv1/user/api-key/regenerate",
        // What is resolved away may hold an escaped slash that stays one.
        "/v1/x%2fy/../user/api-key/regenerate",
        "/v1/x%2fy/../user/api%2dkey/regenerate",
        "/v1/x%2fy\\..\\user/api-key/regenerate",
    ] {
        assert_eq!(classify(path.as_bytes(), &[]), Route::Regenerate, "{path}");
    }
}

#[test]
fn what_no_usual_reading_takes_for_the_endpoint_needs_a_key() {
    for other in [
        "/v1/user/api-key/regenerate/",
        "/v1/user/api-key/regenerate//",
        "/v1/user/api-key/regenerate/.",
        "/v1/user/api-key/regenerate/x/..",
        "/v1/user/api-key/regenerate%2f",
        "/v1/user/api-key/regenerate%5c",
        "/V1/user/api-key/regenerate",
        "/v1/user/api-key/REGENERATE",
        "/v1/user/api-key/regenerate;x",
        "/v1/user/api-key/regenerate%3bx",
        "/v1/user;/api-key/regenerate",
        "/v1/user/api-key/regenerate%20",
        "/v1/user/api-key/regenerate%00",
        "/v1/user/api-key/regenerate%3Fx",
        "/v1/user/api-key/regenerate#x",
        "/v1/user/api%252dkey/regenerate",
        "/v1%252fuser/api-key/regenerate",
        "/v1/user/api%2-key/regenerate",
        "/v1/user/api-key/regenerat",
        "/v1/user/api-key/regenerate%",
        "/x/v1/user/api-key/regenerate",
        "/x//v1/user/api-key/regenerate",
        "v1/user/api-key/regenerate",
        "v1/user/api%2dkey/regenerate",
        "",
        "*",
    ] {
        assert_eq!(classify(other.as_bytes(), &[]), Route::Protected, "{other}");
    }
}

#[test]
fn a_public_prefix_does_not_open_the_endpoint() {
    let everything = ["/".to_owned()];
    for path in [
        "/v1/user/api-key/regenerate",
        "/v1/user/api%2dkey/regenerate",
    ] {
        assert_eq!(classify(path.as_bytes(), &everything), Route::Regenerate);
    }
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
fn ordinary_escapes_and_dots_are_public() {
    for path in [
        "/docs/a%20b",
        "/docs/%C3%BCbersicht",
        "/docs/u%CC%88bersicht",
        "/docs/%e6%97%a5%e6%9c%ac",
        "/docs/%41%2D%7e",
        "/docs/what%3F",
        "/docs/.well-known/a.b",
        "/docs/a.",
        "/docs/a:b@c,d=e+f!*'()$&",
        // In the query nothing is of any account.
        "/docs/a?b=..//;%2e%00%c0%ae%#",
    ] {
        assert!(public(path, &["/docs/"]), "{path}");
    }
}

#[test]
fn an_ambiguous_path_is_never_public() {
    for path in [
        // Dots and slashes.
        "/docs/../v1",
        "/docs/a..b",
        "/docs/..",
        "/docs/./x",
        "/docs/.",
        "/docs//v1",
        "//docs/",
        "/docs/\\v1",
        "/docs/;v1",
        "/docs/#v1",
        "docs/",
        // Escaped.
        "/docs/%2e%2E/v1",
        "/docs/a%2eb",
        "/docs/a%2Fb",
        "/docs/a%5cb",
        "/docs/a%3Bb",
        "/docs/a%3bb",
        // Twice.
        "/docs/%252e%252e/v1",
        "/docs/a%25b",
        "/docs/100%25",
        // No escapes.
        "/docs/%",
        "/docs/%2",
        "/docs/%2g",
        "/docs/%u002e",
        "/docs/%%32%65",
        "/docs/%+2e",
        // Control characters, of Latin-1 too.
        "/docs/a%00",
        "/docs/.%09.",
        "/docs/a%0d%0a",
        "/docs/a%7f",
        "/docs/a%C2%85",
        // Bytes that are not UTF-8: overlong, a surrogate, cut off, alone.
        "/docs/%c0%ae%c0%ae/v1",
        "/docs/%c0%af",
        "/docs/%e0%80%ae",
        "/docs/%ed%a0%80",
        "/docs/%e2%80",
        "/docs/%ff",
        // Bytes that no path has.
        "/docs/a b",
        "/docs/\u{fc}bersicht",
        "/docs/a\tb",
    ] {
        assert!(!public(path, &["/docs/", "/", "docs/"]), "{path}");
    }
}

#[test]
fn a_look_alike_and_an_invisible_character_are_never_public() {
    let look_alikes = "\u{2024}\u{2025}\u{2026}\u{fe19}\u{fe30}\u{fe52}\u{ff0e}\
        \u{2044}\u{2215}\u{ff0f}\u{2100}\u{2101}\u{2105}\u{2106}\
        \u{2216}\u{29f5}\u{fe68}\u{ff3c}\u{fe6a}\u{ff05}\
        \u{37e}\u{fe14}\u{fe54}\u{ff1b}\
        \u{200b}\u{34f}\u{feff}\u{ad}\u{202e}";
    assert_eq!(look_alikes.chars().count(), 29);
    for character in look_alikes.chars() {
        let text = character.to_string();
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/docs/a{escaped}");
        assert!(!public(&path, &["/docs/"]), "{path}");
    }
}

#[test]
fn bad_public_paths_are_refused() {
    for path in [
        "",
        "docs/",
        "/a?b",
        "/a#b",
        "/a b",
        "/a//b",
        "/a/..",
        "/a/.",
        "/a/./b",
        "/a;b",
        "/%2e",
        "/%2f",
        "/%5C",
        "/%3b",
        "/%25",
        "/%",
        "/%2",
        "/%00",
        "/%c0%ae",
        "/%ff",
        "/%EF%BC%8E",
        "/\u{e9}",
    ] {
        assert!(check_public_path(path).is_err(), "{path}");
    }
    for path in ["/", "/docs/", "/a%20b", "/%C3%BCbersicht/", "/.well-known/"] {
        assert!(check_public_path(path).is_ok(), "{path}");
    }
}
