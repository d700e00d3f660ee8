//! Many users at once, and keys that nobody has: material for a load.

use std::{fmt::Write as _, fs, sync::Arc};

use anyhow::Context as _;

use rekey_protocol::{KEY_LEN, KEY_PREFIX};
use rekey_testbed::{Store, shell};

use super::{Book, Key};

/// A well-formed key that was never issued. It has no checksum: the gateway
/// tells it from others only where `"checksum"` is `"off"`.
pub fn random_key(random: &mut fastrand::Rng) -> String {
    let mut key = KEY_PREFIX.to_owned();
    while key.len() < KEY_LEN {
        key.push(random.alphanumeric());
    }
    key
}

/// Imports so many users with a key each, `<name>-<number>`, by the command
/// line; enters the keys in the book.
///
/// # Errors
/// The file cannot be written, or the import fails.
pub fn import(
    store: &Store,
    name: &str,
    count: usize,
    book: &Book,
) -> anyhow::Result<Vec<Arc<Key>>> {
    let mut random = fastrand::Rng::new();
    let mut keys = Vec::with_capacity(count);
    let mut text = "user,key\n".to_owned();
    for number in 0..count {
        let key = Key::alive(&random_key(&mut random), &format!("{name}-{number}"));
        writeln!(text, "{},{}", key.user, key.text)?;
        keys.push(key);
    }
    let folder = store.database();
    let folder = folder.parent().context("a database without a folder")?;
    let file = folder.join(format!("{name}.csv"));
    fs::write(&file, text)?;
    let imported = shell::output(store.cli().arg("import").arg(&file));
    fs::remove_file(&file)?;
    imported?;
    for key in &keys {
        book.enter(Arc::clone(key));
    }
    Ok(keys)
}
