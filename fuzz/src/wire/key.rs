//! The key's format and its checksum, and the small texts beside it: what a
//! client, an operator or a store wrote is taken as it stands or not at all.

use rekey_protocol::{
    ApiKey, ChecksumSecrets, CreatedAt, Digest, HINT_LEN, KEY_LEN, KEY_PREFIX, RANDOM_BYTES,
    SECRET_MIN_LEN, UserId,
};

/// The bytes are tried as a key, as the randomness of one, as secrets and as
/// each of the small texts.
pub fn key(data: &[u8]) {
    let secrets = ChecksumSecrets::parse("a-secret-of-the-fuzzer").unwrap();
    if let Ok(key) = ApiKey::parse(data) {
        assert!(data.len() == KEY_LEN && data.starts_with(KEY_PREFIX.as_bytes()));
        same(&key, data);
        one_checksum(&secrets, data);
    }
    let mut random = [0; RANDOM_BYTES];
    for (place, byte) in random.iter_mut().zip(data.iter().cycle()) {
        *place = *byte;
    }
    if let Some(key) = secrets.issue(&random) {
        let text = key.expose().to_owned();
        same(&ApiKey::parse(text.as_bytes()).unwrap(), text.as_bytes());
        assert!(secrets.verify(&key), "issued, and does not verify");
        one_checksum(&secrets, text.as_bytes());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        own_secrets(text, &random);
        small_texts(text);
    }
}

fn same(key: &ApiKey, text: &[u8]) {
    assert_eq!(key.expose().as_bytes(), text);
    assert_eq!(key.digest(), Digest::of(text));
    assert_eq!(key.hint().as_bytes(), &text[KEY_LEN - HINT_LEN..]);
}

/// Of keys that differ in their checksum at most one verifies.
fn one_checksum(secrets: &ChecksumSecrets, text: &[u8]) {
    let mut other = text.to_vec();
    let last = &mut other[KEY_LEN - 1];
    *last = if *last == b'0' { b'1' } else { b'0' };
    let verifies = |text: &[u8]| secrets.verify(&ApiKey::parse(text).unwrap());
    assert!(!(verifies(text) && verifies(&other)));
}

fn own_secrets(text: &str, random: &[u8; RANDOM_BYTES]) {
    match ChecksumSecrets::parse(text) {
        Ok(secrets) => {
            let key = secrets.issue(random);
            assert!(key.is_none_or(|key| secrets.verify(&key)));
            let mut parts = text.split(',');
            assert!(parts.all(|part| part.trim().len() >= SECRET_MIN_LEN));
        }
        // The text tells which one it is, and nothing of it: it would be the same of
        // others.
        Err(error) => {
            let other = |letter: char| match letter {
                ',' => ',',
                space if space.is_whitespace() => space,
                ascii if ascii.is_ascii() => 'x',
                long => long,
            };
            let others: String = text.chars().map(other).collect();
            let why = ChecksumSecrets::parse(&others).err();
            assert_eq!(Some(error.to_string()), why.map(|why| why.to_string()));
        }
    }
}

fn small_texts(text: &str) {
    if let Some(digest) = Digest::from_hex(text) {
        assert_eq!(digest.to_hex(), text.to_ascii_lowercase());
    }
    if let Ok(user) = text.parse::<UserId>() {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!(user.as_str() == text && text.bytes().all(safe));
        assert!((1..=64).contains(&text.len()));
    }
    if let Ok(at) = CreatedAt::try_from(text.to_owned()) {
        assert!(at.as_str() == text && text.is_ascii() && text.len() == 20);
    }
}
