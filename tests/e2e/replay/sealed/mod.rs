//! The sealed record, the whole database, the wrapping keys and all logs
//! together give the new key to nobody who lacks the old key, and to nobody who
//! lacks the `Idempotency-Key` (X2, X6, I6).
//!
//! The attacker here has all of that and one of the two, knows how records are
//! made, and tries everything in it for the other one. With both in hand the
//! same code opens the record: so it is no code that opens nothing.

use std::collections::BTreeSet;
use std::path::Path;

use rekey_protocol::ROTATE_PATH;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::owner::Owner;
use super::{Cuttable, options};
use crate::support::client::{Client, REGENERATE, SCRAPE, bearer};
use crate::support::faults::cuts::{End, Place as CutAt};
use crate::support::fleet::eventually;
use crate::support::search::{Place, assert_found, assert_hidden, files, pages, secret};
use crate::support::store_view;

use self::record::Record;

mod record;

/// Fewer values than this, and the attacker has not looked.
const LEAST_TRIED: usize = 1_000;

#[test]
fn x2_all_that_is_kept_and_logged_with_half_of_the_pair_opens_nothing() {
    let run = start();
    let (owner, other) = (
        Owner::new(&run.fleet, "owner"),
        Owner::new(&run.fleet, "other"),
    );
    let wrong = "a-guess-of-the-thief-0123456789";
    let new = lose_and_repeat(&run, &owner, wrong);
    let other_new = other.ends_with_one_key(&run.fleet, &run.fleet.client()).key;
    everything_is_logged(&run);

    let memory = run.fleet.store.memory();
    let material = [
        files(run.fleet.run_dir.path()),
        files(memory),
        pages(&run.fleet),
    ]
    .concat();
    let secrets = [
        secret("the old key", &owner.user.api_key),
        secret("the new key", &new),
        secret("the Idempotency-Key", &owner.idempotency_key),
        secret("a wrong Idempotency-Key", wrong),
        secret("another user's old key", &other.user.api_key),
        secret("another user's new key", &other_new),
        secret("another user's Idempotency-Key", &other.idempotency_key),
    ];
    assert_hidden(&secrets, &material);
    let id = owner.user.user_id.as_bytes();
    for (place, known) in [
        ("envoy.log", b"env.proxy_set_shared_data(".as_slice()),
        ("access.log", b"rekey_replayed"),
        ("store.log", b"DEBUG rekey_store::http"),
        ("store.log", id),
        ("rekey.db", store_view::digest(&new).as_bytes()),
        ("rekey.db.replays", store_view::digest(&new).as_bytes()),
        (".keys", b"rekey wrapping keys 1\n"),
        ("/metrics", b"rekey_store_rotations_total"),
        ("/stats", b"rekey.requests.outcome.replayed: 2"),
    ] {
        assert_found(&material, place, known);
    }

    let record = Record::of(&run.fleet.store.database(), memory, &new);
    let tried = everything_in(&run.fleet.store.database(), &material, &record);
    println!("{} values tried for each half", tried.len());
    assert!(tried.len() > LEAST_TRIED);
    let old = owner.user.api_key.as_bytes();
    let once = owner.idempotency_key.as_bytes();
    let without_old =
        |tried: &BTreeSet<Vec<u8>>| tried.iter().find_map(|old| record.open(old, once));
    let without_once =
        |tried: &BTreeSet<Vec<u8>>| tried.iter().find_map(|once| record.open(old, once));
    assert!(
        without_old(&tried).is_none(),
        "it opens without the old key"
    );
    assert!(
        without_once(&tried).is_none(),
        "it opens without the Idempotency-Key"
    );
    // The same attacks, had the other half been anywhere.
    let leaked = |half: &[u8]| &tried | &BTreeSet::from([half.to_vec()]);
    assert_eq!(without_old(&leaked(old)).unwrap(), new);
    assert_eq!(without_once(&leaked(once)).unwrap(), new);
    run.fleet.assert_no_trap();
}

/// A talkative gateway and a talkative store.
fn start() -> Cuttable {
    let mut talkative = options();
    talkative.component_log_level = Some("wasm:trace".to_owned());
    talkative.store_env = vec![("RUST_LOG".to_owned(), "trace".to_owned())];
    Cuttable::start_with(1, talkative)
}

/// A rotation whose answer is lost, cut in its body each time; a thief's try; and
/// the client's. Returns the new key.
fn lose_and_repeat(run: &Cuttable, owner: &Owner, wrong: &str) -> String {
    let (client, cuts) = (run.fleet.client(), run.proxies[0].cuts());
    cuts.plan(owner.plan(ROTATE_PATH, CutAt::Answer(200), End::Close, u32::MAX));
    run.give_up(0, owner, 2);
    cuts.end(&owner.old_digest());
    let mut headers = bearer(&owner.user.api_key);
    headers.push(("idempotency-key", wrong.to_owned()));
    let refused = client.send("POST", REGENERATE, &headers, "");
    assert_eq!(refused.outcome(), (401, "api_key_revoked".to_owned()));
    let told = owner.until_told(&client);
    assert!(told.replayed);
    told.key
}

/// The last request is in the access log when all are.
fn everything_is_logged(run: &Cuttable) {
    let client: Client = run.fleet.client();
    client.send("PATCH", SCRAPE, &[], "");
    eventually("the access log", || {
        let log = run.fleet.gateways[0].access_log();
        log.contains("PATCH").then_some(())
    });
}

/// Whatever may be the missing half: each word of each file and page, each value
/// of each table, and the parts of the record, as they are and in hexadecimal.
fn everything_in(database: &Path, material: &[Place], record: &Record) -> BTreeSet<Vec<u8>> {
    let mut tried = BTreeSet::from([Vec::new()]);
    for place in material {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
        let words = place.content.split(|byte| !is_part(byte));
        tried.extend(words.map(<[u8]>::to_vec));
    }
    let mut raw = record.parts();
    for path in [database.to_owned(), record::replays(database)] {
        raw.extend(values(&path));
    }
    for bytes in raw {
        tried.insert(hex::encode(&bytes).into_bytes());
        tried.insert(bytes);
    }
    tried
}

/// Every value of every table.
fn values(path: &Path) -> Vec<Vec<u8>> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut found = Vec::new();
    for table in tables {
        let mut all = database
            .prepare(&format!("SELECT * FROM \"{}\"", table.unwrap()))
            .unwrap();
        let columns = all.column_count();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                found.extend(match row.get(column).unwrap() {
                    Value::Null => None,
                    Value::Integer(number) => Some(number.to_string().into_bytes()),
                    Value::Real(number) => Some(number.to_string().into_bytes()),
                    Value::Text(text) => Some(text.into_bytes()),
                    Value::Blob(bytes) => Some(bytes),
                });
            }
        }
    }
    found
}
