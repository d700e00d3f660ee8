//! Looks for secrets in everything that a fleet writes and shows.

use std::fs;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::support::fleet::TestFleet;

/// RFC 4648, sections 4 and 5.
const BASE64: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

/// What is looked for, by a name that may be shown.
pub(crate) struct Secret {
    name: String,
    /// A part of it, so that a shortened one is found too: as it is, and as it
    /// may be written.
    needles: Vec<Vec<u8>>,
}

/// Somewhere to look, and something that is known to be there: a search that
/// does not find it is no search.
#[derive(Clone)]
pub(crate) struct Place {
    /// A path, of a file or of a page.
    pub name: String,
    /// All of it.
    pub content: Vec<u8>,
}

/// A secret of 20 characters or more; the prefix of a key is none.
pub(crate) fn secret(name: &str, text: &str) -> Secret {
    let text = text.strip_prefix("sb_live_").unwrap_or(text);
    let needle = &text.as_bytes()[..20];
    let hex = hex::encode(needle).into_bytes();
    let shouted = hex.to_ascii_uppercase();
    let mut needles = vec![needle.to_vec(), hex, shouted];
    needles.extend(in_base64(needle));
    Secret {
        name: name.to_owned(),
        needles,
    }
}

/// As it looks within a longer text, wherever it begins there.
fn in_base64(needle: &[u8]) -> Vec<Vec<u8>> {
    let written = |(before, alphabet): (usize, &[u8; 64])| {
        let bytes = [&[0; 2][..before], needle].concat();
        let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        // Only what depends on nothing around it.
        let digits = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        digits
            .map(|digit| (0..6).fold(0, |value, at| value << 1 | bit(digit * 6 + at)))
            .map(|value| alphabet[usize::from(value)])
            .collect()
    };
    let begins = (0..3).flat_map(|before| BASE64.map(|alphabet| (before, alphabet)));
    begins.map(written).collect()
}

impl Secret {
    /// Whether it is there as it is, as hexadecimal digits or as base64.
    pub(crate) fn is_in(&self, content: &[u8]) -> bool {
        self.needles.iter().any(|needle| contains(content, needle))
    }
}

fn contains(content: &[u8], needle: &[u8]) -> bool {
    memmem::find(content, needle).is_some()
}

/// What gateway and store show over HTTP.
pub(crate) fn pages(fleet: &TestFleet) -> Vec<Place> {
    let gateway = &fleet.gateways[0];
    let admin = [
        "/stats",
        "/stats?format=json",
        "/stats/prometheus",
        "/config_dump?include_eds",
        "/clusters",
        "/server_info",
        "/listeners?format=json",
    ];
    let page = |name: &str, content: Vec<u8>| Place {
        name: name.to_owned(),
        content,
    };
    let pages = admin.map(|path| page(path, gateway.admin(path).unwrap().into()));
    let mut metrics = ureq::get(format!("{}/metrics", fleet.store.url()))
        .call()
        .unwrap();
    let metrics = page("/metrics", metrics.body_mut().read_to_vec().unwrap());
    [pages.into(), vec![metrics]].concat()
}

/// Every file of a folder: logs, configurations, the database.
pub(crate) fn files(folder: &Path) -> Vec<Place> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(Place {
                content: fs::read(&path).unwrap(),
                name: path.to_string_lossy().into_owned(),
            });
        }
    }
    found
}

/// # Panics
/// One is found: with all that are, and where.
pub(crate) fn assert_hidden(secrets: &[Secret], places: &[Place]) {
    let mut leaks = Vec::new();
    for place in places {
        for secret in secrets.iter().filter(|secret| secret.is_in(&place.content)) {
            leaks.push(format!("{} in {}", secret.name, place.name));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// # Panics
/// No place whose name has this part holds it.
pub(crate) fn assert_found(places: &[Place], name: &str, needle: &[u8]) {
    let mut searched = places.iter().filter(|place| place.name.contains(name));
    let found = searched.any(|place| contains(&place.content, needle));
    let needle = String::from_utf8_lossy(needle);
    assert!(found, "{needle} is not found in {name}");
}

#[test]
fn it_finds_base64_wherever_that_begins() {
    // By coreutils: printf 'xxsb_live_01234567890123456789yy' | base64, and with one x and none.
    for text in [
        "eHhzYl9saXZlXzAxMjM0NTY3ODkwMTIzNDU2Nzg5eXk=",
        "eHNiX2xpdmVfMDEyMzQ1Njc4OTAxMjM0NTY3ODl5eQ==",
        "c2JfbGl2ZV8wMTIzNDU2Nzg5MDEyMzQ1Njc4OXl5",
    ] {
        let key = secret("", "sb_live_01234567890123456789");
        assert!(key.is_in(text.as_bytes()), "{text}");
        let other = secret("", "sb_live_0123456789X123456789");
        assert!(!other.is_in(text.as_bytes()), "{text}");
    }
}
