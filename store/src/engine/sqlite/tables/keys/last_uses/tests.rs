//! What becomes of last uses in the database.

use super::*;
use crate::clock::StoreTime;
use crate::engine::sqlite::transaction::testing::run;
use crate::engine::sqlite::{audit, history, incarnation, keys, schema};
use crate::operations::incarnation::Begin;
use crate::operations::keys::revoke::Revoke;
use crate::operations::users::{AddUser, NewUser};
use crate::operations::uses::last_uses::RecordLastUses;

const HOUR: i64 = HOUR_MS;
/// Some moment in an hour of 2015.
const NOW: UnixMillis = UnixMillis(400_000 * HOUR + 1_234_567);

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

/// The beginning of the hour so many hours before [`NOW`].
fn hours_ago(hours: i64) -> UnixMillis {
    UnixMillis(hour_of(NOW).0 - hours * HOUR)
}

/// A database with the users "ann" and "bob", who have the keys 1 and 2.
fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let made = hours_ago(100);
    incarnation::begin_incarnation(&mut connection, &Begin::first(made)).unwrap();
    for (name, key) in [("ann", 1), ("bob", 2)] {
        let new = NewUser {
            id: name.to_owned().try_into().unwrap(),
            email: format!("{name}@example.com").parse().unwrap(),
            digest: digest(key),
            hint: format!("{key:04}"),
            phc: None,
        };
        run(&connection, StoreTime::both(made), &AddUser(new)).unwrap();
    }
    connection
}

fn record_all(connection: &Connection, uses: &[(usize, UnixMillis)]) -> u64 {
    let batch = uses.iter().map(|(key, hour)| (digest(*key), *hour));
    let record = RecordLastUses {
        uses: batch.collect(),
        now: NOW,
    };
    run(connection, StoreTime::both(NOW), &record)
}

fn seen(connection: &Connection, key: usize) -> Option<LastUse> {
    of_key(connection, &digest(key)).unwrap()
}

#[test]
fn a_last_use_only_grows_and_only_of_keys_that_there_are() {
    let database = database();
    assert_eq!(seen(&database, 1), Some(LastUse::Never));
    assert_eq!(record_all(&database, &[(1, hours_ago(2)), (9, NOW)]), 1);
    let two_ago = Some(LastUse::HourFrom(hours_ago(2)));
    assert_eq!(seen(&database, 1), two_ago);
    for again in [hours_ago(2), hours_ago(3), hours_ago(99)] {
        assert_eq!(record_all(&database, &[(1, again)]), 0, "no row is written");
        assert_eq!(seen(&database, 1), two_ago);
    }
    assert_eq!(
        record_all(&database, &[(1, hours_ago(1)), (2, hours_ago(0))]),
        2
    );
    assert_eq!(seen(&database, 1), Some(LastUse::HourFrom(hours_ago(1))));
    assert_eq!(seen(&database, 2), Some(LastUse::HourFrom(hours_ago(0))));
    assert_eq!(seen(&database, 9), None);
}

#[test]
fn it_is_no_change_of_a_key() {
    let database = database();
    let facts = || {
        let user = "ann".to_owned().try_into().unwrap();
        let last = audit::latest_of_keys(&database, &user).unwrap();
        let resolved = keys::find(&database, &digest(1)).unwrap().unwrap();
        (history::head(&database).unwrap(), last, resolved)
    };
    let before = facts();
    record_all(&database, &[(1, hours_ago(0))]);
    assert_eq!(facts(), before);
}

#[test]
fn a_dead_key_was_last_used_before_its_end() {
    let database = database();
    let user = "ann".to_owned().try_into().unwrap();
    let ended = UnixMillis(hours_ago(5).0 + 60_000);
    let revoked = run(&database, StoreTime::both(ended), &Revoke::OfUser(user));
    assert!(revoked.unwrap().revoked);
    assert_eq!(record_all(&database, &[(1, hours_ago(7))]), 1);
    assert_eq!(seen(&database, 1), Some(LastUse::HourFrom(hours_ago(7))));
    // Told late, by a gateway that was cut off perhaps.
    record_all(&database, &[(1, hours_ago(2))]);
    assert_eq!(seen(&database, 1), Some(LastUse::HourFrom(hours_ago(5))));
    assert_eq!(record_all(&database, &[(1, hours_ago(0))]), 0);
}

#[test]
fn what_a_wrong_clock_wrote_is_never_shown_and_gives_way() {
    let database = database();
    let ten_years = UnixMillis::wall().0 + 87_600 * HOUR;
    for ahead in [ten_years, i64::MAX, hour_of(UnixMillis::wall()).0 + HOUR] {
        database
            .execute("UPDATE keys SET last_used_ms = ?1", [ahead])
            .unwrap();
        let Some(LastUse::HourFrom(shown)) = seen(&database, 1) else {
            panic!("nothing is shown");
        };
        assert!(shown <= hour_of(UnixMillis::wall()), "{shown:?}");
        assert_eq!(record_all(&database, &[(1, hours_ago(3))]), 1);
        assert_eq!(seen(&database, 1), Some(LastUse::HourFrom(hours_ago(3))));
    }
}
