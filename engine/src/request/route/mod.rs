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
mod tests;
