//! Which rule a path falls under. What is public needs no key, so a path that
//! somebody behind the gateway may read as another one must not be.

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::{REGENERATE_PATH, Route, check_public_path, classify};

/// Some public paths as a configuration may have them, and a path.
pub fn route(data: &[u8]) {
    let _ = case(Unstructured::new(data));
}

fn case(mut input: Unstructured<'_>) -> Result<()> {
    let mut public = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let text = input.arbitrary::<&str>()?;
        if check_public_path(text).is_ok() {
            assert!(text.starts_with('/') && !is_ambiguous(text.as_bytes()));
            public.push(text.to_owned());
        }
    }
    let path = input.take_rest();
    let bare = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let is_listed = public.iter().any(|public| match public.strip_suffix('/') {
        Some(_) => bare.starts_with(public.as_bytes()),
        None => bare == public.as_bytes(),
    });
    let expected = if bare == REGENERATE_PATH.as_bytes() {
        Route::Regenerate
    } else if is_listed && !is_ambiguous(bare) {
        Route::Public
    } else {
        Route::Protected
    };
    assert_eq!(classify(path, &public), expected);
    if expected == Route::Public {
        stays_public(bare, &public);
    }
    Ok(())
}

/// The contract's list, read off the text in another way than the engine does.
fn is_ambiguous(path: &[u8]) -> bool {
    let text: String = path.iter().map(|byte| char::from(*byte)).collect();
    let text = text.to_lowercase();
    let parts = ["..", "//", "\\", ";", "%2e", "%2f", "%5c"];
    parts.iter().any(|part| text.contains(part))
}

/// What the list is for: who decodes such a path, and takes its dots and empty
/// segments away, is still at a public one.
fn stays_public(path: &[u8], public: &[String]) {
    let mut resolved = vec![];
    let decoded = decode(path);
    let ends_open = decoded.ends_with(b"/") || decoded.ends_with(b"/.");
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(resolved.pop()),
            segment => resolved.push(segment),
        }
    }
    let mut text = [b"/".as_slice(), &resolved.join(&b'/')].concat();
    if ends_open && text.len() > 1 {
        text.push(b'/');
    }
    let is_below = |public: &String| {
        let public = decode(public.as_bytes());
        text.starts_with(&public) || text.as_slice() == public
    };
    let dots = holds_dots(path) || public.iter().any(|public| holds_dots(public.as_bytes()));
    assert!(dots || public.iter().any(is_below), "{public:?}");
}

/// A single dot as a segment is taken away from one and not from the other.
fn holds_dots(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b".")
}

/// Takes percent-encoding off, once (RFC 3986, 2.4).
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}
