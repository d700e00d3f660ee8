//! Which rule a path falls under. What is public needs no key, so a path that
//! somebody behind the gateway may read as another one must not be; and what
//! somebody may read as the endpoint must not get behind the gateway.
//!
//! The readings here are slow, and written in another way than the engine's.

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::{Route, check_public_path, classify};
use rekey_protocol::contract::REGENERATE_PATH;

/// Some public paths as a configuration may have them, and a path.
pub fn route(data: &[u8]) {
    let _ = case(Unstructured::new(data));
}

fn case(mut input: Unstructured<'_>) -> Result<()> {
    let mut public = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let text = input.arbitrary::<&str>()?;
        if check_public_path(text).is_ok() {
            assert!(text.starts_with('/'));
            public.push(text.to_owned());
        }
    }
    let path = input.take_rest();
    let bare = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let is_listed = public
        .iter()
        .any(|public| is_below(bare, public.as_bytes()));
    let found = classify(path, &public);
    assert_eq!(found == Route::Regenerate, is_endpoint(bare));
    match found {
        Route::Public => {
            assert!(is_listed, "{public:?}");
            stays_public(bare, &public);
        }
        Route::Protected => assert!(!is_listed || !is_plain(bare), "{public:?}"),
        Route::Regenerate => {}
    }
    Ok(())
}

/// Whether a path is this public one, or below it.
fn is_below(path: &[u8], public: &[u8]) -> bool {
    path == public || (public.ends_with(b"/") && path.starts_with(public))
}

/// Nothing in such a path can be read in two ways.
fn is_plain(path: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_~/".contains(byte);
    path.iter().all(is_word) && !path.windows(2).any(|pair| pair == b"//")
}

/// Whether one of the readings that `engine/src/request/route` names is the endpoint.
fn is_endpoint(path: &[u8]) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let orders: [[Step; 2]; 2] = [[resolve_dots, merge_slashes], [merge_slashes, resolve_dots]];
    let decoded = [decode_some(path, unreserved), decode(path)];
    let turned = decoded.clone().map(|decoded| turn_backslashes(&decoded));
    decoded.iter().chain(&turned).any(|read| {
        orders.iter().any(|steps| {
            let is_absolute = read.starts_with(b"/");
            let read = steps.iter().fold(read.clone(), |read, step| step(&read));
            is_absolute && read == REGENERATE_PATH.as_bytes()
        })
    })
}

/// A public path remains what it is through whatever a server may do to it, but
/// for its escapes, and so is still below what the configuration has as public.
fn stays_public(path: &[u8], public: &[String]) {
    let decoded = decode(path);
    for reading in [path, &decoded] {
        for step in STEPS {
            let next = step(reading);
            let text = String::from_utf8_lossy(&next);
            assert!(next == path || next == decoded, "may become {text:?}");
        }
    }
    let mut public = public.iter().map(|public| decode(public.as_bytes()));
    assert!(public.any(|public| is_below(&decoded, &public)));
}

/// Something that a server does to a path.
type Step = fn(&[u8]) -> Vec<u8>;

/// What servers are known to do.
const STEPS: [Step; 9] = [
    decode,
    decode_leniently,
    turn_backslashes,
    strip_parameters,
    merge_slashes,
    resolve_dots,
    cut_at_nul,
    strip_controls,
    normalise_unicode,
];

/// Takes all percent-encoding off, once (RFC 3986, 2.4).
fn decode(path: &[u8]) -> Vec<u8> {
    decode_some(path, |_| true)
}

/// Takes the percent-encoding of some bytes off.
fn decode_some(path: &[u8], which: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut parts = path.split(|byte| *byte == b'%');
    let mut decoded = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let digits = part.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match byte.filter(|byte| which(*byte)) {
            Some(byte) => {
                decoded.push(byte);
                decoded.extend(&part[2..]);
            }
            None => {
                decoded.push(b'%');
                decoded.extend(part);
            }
        }
    }
    decoded
}

/// `%u002e`, as IIS had it, and the overlong forms of old decoders of UTF-8.
fn decode_leniently(path: &[u8]) -> Vec<u8> {
    let lenient: [(&[u8], &[u8]); 9] = [
        (b"%u002e", b"."),
        (b"%u002E", b"."),
        (b"%u002f", b"/"),
        (b"%u002F", b"/"),
        (b"%u005c", b"\\"),
        (b"%u005C", b"\\"),
        (b"\xc0\xae", b"."),
        (b"\xc0\xaf", b"/"),
        (b"\xc1\x9c", b"\\"),
    ];
    let path = path.to_vec();
    lenient
        .iter()
        .fold(path, |path, (from, to)| replace(&path, from, to))
}

/// As Windows, browsers and Envoy do.
fn turn_backslashes(path: &[u8]) -> Vec<u8> {
    replace(path, b"\\", b"/")
}

/// As servlet containers do: each segment ends before its `;`.
fn strip_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare = segments.map(|segment| segment.split(|byte| *byte == b';').next());
    bare.map(Option::unwrap_or_default)
        .collect::<Vec<_>>()
        .join(&b'/')
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|next, last| *next == b'/' && *last == b'/');
    merged
}

/// RFC 3986, 5.2.4, by the letter, of a path that begins with a slash.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut input = path.to_vec();
    let mut output = Vec::new();
    while !input.is_empty() {
        if input.starts_with(b"/./") || input == b"/." {
            input = [b"/".as_slice(), input.get(3..).unwrap_or_default()].concat();
        } else if input.starts_with(b"/../") || input == b"/.." {
            input = [b"/".as_slice(), input.get(4..).unwrap_or_default()].concat();
            let last = output.iter().rposition(|byte| *byte == b'/');
            output.truncate(last.unwrap_or(0));
        } else {
            let next = input.iter().skip(1).position(|byte| *byte == b'/');
            let next = next.map_or(input.len(), |next| next + 1);
            output.extend(input.drain(..next));
        }
    }
    output
}

/// As what is written in C does.
fn cut_at_nul(path: &[u8]) -> Vec<u8> {
    let before = path.split(|byte| *byte == 0).next();
    before.unwrap_or_default().to_vec()
}

/// As the URL parsers of browsers do with tabs and line ends.
fn strip_controls(path: &[u8]) -> Vec<u8> {
    let stays = |byte: &u8| !byte.is_ascii_control();
    path.iter().copied().filter(stays).collect()
}

/// NFKC, of what becomes of it a character that means something in a path.
fn normalise_unicode(path: &[u8]) -> Vec<u8> {
    let compatible = [
        ("\u{2024}\u{fe52}\u{ff0e}", "."),
        ("\u{2025}\u{fe30}", ".."),
        ("\u{2026}\u{fe19}", "..."),
        ("\u{2044}\u{2215}\u{ff0f}", "/"),
        ("\u{2216}\u{29f5}\u{fe68}\u{ff3c}", "\\"),
        ("\u{fe6a}\u{ff05}", "%"),
        ("\u{37e}\u{fe14}\u{fe54}\u{ff1b}", ";"),
    ];
    let mut path = path.to_vec();
    for (characters, to) in compatible {
        for character in characters.chars() {
            path = replace(&path, character.to_string().as_bytes(), to.as_bytes());
        }
    }
    path
}

fn replace(path: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            replaced.extend(to);
            rest = after;
        } else {
            replaced.push(*first);
            rest = after;
        }
    }
    replaced
}
