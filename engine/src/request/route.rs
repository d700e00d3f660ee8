//! Which rule a path falls under: the endpoint, a public path, or the rest,
//! which needs a key.
//!
//! The path is the client's own, byte for byte, because the upstream gets it so:
//! an API may have `//` or `%2F` in its paths. What it means is then read here,
//! where each mistake falls on the safe side.
//!
//! **The endpoint** is a path that is [`REGENERATE_PATH`] in any usual reading,
//! so that no spelling of it reaches the upstream:
//!
//! 1. normalised as in RFC 3986, 6.2.2: escapes of unreserved characters are
//!    decoded (6.2.2.2) and dot segments resolved (6.2.2.3, 5.2.4). As Envoy and
//!    browsers do, `\` is read as `/`, or as nginx and Go do, as any other
//!    character; and as Envoy and nginx do, slashes are merged, after the dots (Envoy) or before them (nginx). Case stays: only
//!    scheme, host and the digits of escapes have none (6.2.2.1).
//! 2. the same after all escapes have been decoded, `%2F` and `%5C` too. RFC 3986,
//!    2.2 and 2.4, has those stay what they are, and many a server does not.
//!
//! Each escape is decoded once (2.4), so `%252d` is no `-`.
//!
//! **A public path** is the contrary: it must be the same in all readings, those of
//! careless servers too, or somebody could get behind it without a key. So it is
//! compared as it stands, and is public only if nothing in it is open to a reading
//! (`is_unambiguous`).

use rekey_protocol::contract::REGENERATE_PATH;

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
    if is_endpoint(path) {
        return Route::Regenerate;
    }
    let matches = |public: &String| {
        let public = public.as_bytes();
        if public.ends_with(b"/") {
            path.starts_with(public)
        } else {
            path == public
        }
    };
    if public_paths.iter().any(matches) && is_unambiguous(path) {
        Route::Public
    } else {
        Route::Protected
    }
}

/// Checks a public path of the configuration; the error says what it takes.
pub fn check_public_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        Err("takes a path that begins with /")
    } else if path.contains(['?', '#']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("takes visible ASCII characters without ? and #")
    } else if !is_unambiguous(path.as_bytes()) {
        Err(
            "takes a path without . as a segment, .. // \\ ; and with no escapes but those of \
             UTF-8 text without . / \\ ; % and what looks like them, and without control \
             characters",
        )
    } else {
        Ok(())
    }
}

/// A byte of a path, by how it was written.
#[derive(Clone, Copy)]
enum Octet {
    /// As itself. Of an escape that is none, this is the `%`.
    Plain(u8),
    /// As `%` and two hexadecimal digits.
    Escaped(u8),
}

impl Octet {
    /// The byte that is meant.
    fn byte(self) -> u8 {
        match self {
            Self::Plain(byte) | Self::Escaped(byte) => byte,
        }
    }
}

fn octets(path: &[u8]) -> impl Iterator<Item = Octet> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            rest = after;
            return Some(Octet::Escaped(high << 4 | low));
        }
        let (first, after) = rest.split_first()?;
        rest = after;
        Some(Octet::Plain(*first))
    })
}

fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

fn is_endpoint(path: &[u8]) -> bool {
    // Nearly all paths are their own normal form.
    let is_plain = !path.iter().any(|byte| matches!(byte, b'%' | b'\\'))
        && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."));
    if is_plain {
        return path == REGENERATE_PATH.as_bytes();
    }
    let read = |is_decoded: fn(u8) -> bool, backslash: u8| -> Vec<u8> {
        let byte = |octet| match octet {
            // It stays an escape, and the endpoint has none.
            Octet::Escaped(byte) if !is_decoded(byte) => b'%',
            octet => match octet.byte() {
                b'\\' => backslash,
                byte => byte,
            },
        };
        octets(path).map(byte).collect()
    };
    let decoded: [fn(u8) -> bool; 2] = [is_unreserved, |_| true];
    decoded.into_iter().any(|is_decoded| {
        resolves_to_endpoint(&read(is_decoded, b'/'))
            || resolves_to_endpoint(&read(is_decoded, b'\\'))
    })
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a decoded path is the endpoint when its dots are resolved and its
/// slashes merged, in this order or the other.
fn resolves_to_endpoint(path: &[u8]) -> bool {
    let segments = || path.split(|byte| *byte == b'/');
    // Then the resolved path ends in a slash, which the endpoint does not.
    let is_open = matches!(segments().next_back(), Some(b"" | b"." | b".."));
    let is_endpoint = |resolved: Vec<&[u8]>| {
        let wanted = REGENERATE_PATH.split('/').map(str::as_bytes);
        let resolved = resolved.into_iter();
        resolved.filter(is_filled).eq(wanted.filter(is_filled))
    };
    path.starts_with(b"/")
        && !is_open
        && (is_endpoint(resolve_dots(segments()))
            || is_endpoint(resolve_dots(segments().filter(is_filled))))
}

fn is_filled(segment: &&[u8]) -> bool {
    !segment.is_empty()
}

/// RFC 3986, 5.2.4, over segments.
fn resolve_dots<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut resolved = Vec::new();
    for segment in segments {
        match segment {
            b"." => {}
            b".." => drop(resolved.pop()),
            segment => resolved.push(segment),
        }
    }
    resolved
}

/// Whether all programs take a path for the same one: those that decode it twice,
/// cut parameters off, resolve, merge, or normalise Unicode, too.
fn is_unambiguous(path: &[u8]) -> bool {
    let is_clear = |octet| match octet {
        Octet::Plain(byte) => {
            byte.is_ascii_graphic() && !matches!(byte, b'\\' | b';' | b'#' | b'%')
        }
        // An escaped % is the beginning of an escape to who decodes twice.
        Octet::Escaped(byte) => !matches!(byte, b'.' | b'/' | b'\\' | b';' | b'%'),
    };
    if !path.starts_with(b"/") || !octets(path).all(is_clear) {
        return false;
    }
    // Overlong forms (`%c0%ae`) are no UTF-8.
    let Ok(text) = String::from_utf8(octets(path).map(Octet::byte).collect()) else {
        return false;
    };
    !text.contains(char::is_control)
        && !text.contains(is_look_alike)
        && !text.contains(is_ignorable)
        && !text.contains("..")
        && !text.contains("//")
        && !text.split('/').any(|segment| segment == ".")
}

/// Whether compatibility normalisation (NFKC) makes a path's `.` `/` `\` `%` or
/// `;` of a character, or a conversion to an older character set a slash.
fn is_look_alike(character: char) -> bool {
    matches!(
        character,
        // Dots.
        '\u{2024}'
            ..='\u{2026}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}' | '\u{ff0e}'
        // Slashes, as of a/c and c/o, too.
        | '\u{2044}' | '\u{2215}' | '\u{ff0f}'
        | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}'
        // Backslashes.
        | '\u{2216}' | '\u{29f5}' | '\u{fe68}' | '\u{ff3c}'
        // Percent signs.
        | '\u{fe6a}' | '\u{ff05}'
        // Semicolons.
        | '\u{37e}' | '\u{fe14}' | '\u{fe54}' | '\u{ff1b}'
    )
}

/// Whether some programs drop a character because it cannot be seen (Unicode's
/// `Default_Ignorable_Code_Point`), so that two dots may meet.
fn is_ignorable(character: char) -> bool {
    matches!(
        u32::from(character),
        0xad | 0x34f
            | 0x61c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfff8
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}

#[cfg(test)]
mod tests {
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
}
