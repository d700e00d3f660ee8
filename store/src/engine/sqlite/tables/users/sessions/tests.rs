//! Sessions and browsers in the database, by a clock that may be wrong.

use std::time::Duration;

use rekey_protocol::Client;

use super::*;
use crate::engine::sqlite::transaction::testing::{context, read, run};
use crate::engine::sqlite::{SqliteTx, passwords, schema};
use crate::operations::users::passwords::{ChangePassword, FindAccount, Outdated};
use crate::operations::users::sessions::{
    self, DEVICES_PER_USER, FindSession, LogIn, LogOut, LogOutScope, NewSession, SessionLimits,
};

const NOW: StoreTime = StoreTime::both(UnixMillis(1_800_000_000_000));
const LIMITS: SessionLimits = SessionLimits {
    idle: Duration::from_secs(60),
    max: Duration::from_secs(3600),
};

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
        .execute_batch(
            "INSERT INTO users (user_id, email, email_normal, created_ms)
                 VALUES ('u', 'u@example.com', 'u@example.com', 1);
             INSERT INTO incarnations (first_revision, id, started_ms)
                VALUES (1, x'01010101010101010101010101010101', 1);",
        )
        .unwrap();
    passwords::put(&connection, NOW.told, &user(), "old").unwrap();
    connection
}

fn user() -> UserId {
    "u".parse().unwrap()
}

fn session(name: u8) -> NewSession {
    NewSession {
        digest: Digest::from_bytes([name; 32]),
        user: user(),
        client: Client::default(),
    }
}

fn is_open(database: &Connection, name: u8, now: StoreTime) -> bool {
    let digest = Digest::from_bytes([name; 32]);
    let limits = LIMITS;
    read(database, now, &FindSession { digest, limits }).is_some()
}

fn begin(database: &Connection, now: StoreTime, session: &NewSession) {
    let mut tx = SqliteTx::reading(database);
    sessions::begin(&mut tx, &context(now), session).unwrap();
}

fn remember(database: &Connection, now: StoreTime, device: &Digest) {
    let mut tx = SqliteTx::reading(database);
    sessions::remember(&mut tx, &context(now), &user(), device).unwrap();
}

#[test]
fn a_session_of_a_clock_that_was_ahead_is_over() {
    let database = database();
    let later = |seconds| NOW.plus(Duration::from_secs(seconds));
    begin(&database, later(86_400), &session(1));
    assert!(is_open(&database, 1, later(86_400)));
    assert!(!is_open(&database, 1, NOW));
    // Not by a moment: somebody else may just have used it.
    assert!(is_open(&database, 1, later(86_399)));
    // As is one that was only seen then.
    begin(&database, NOW, &session(2));
    assert!(is_open(&database, 2, NOW));
    touch(&database, &session(2).digest, later(86_400).limit).unwrap();
    assert!(!is_open(&database, 2, later(60)));
}

#[test]
fn sessions_of_a_clock_that_was_ahead_keep_nobody_out() {
    let database = database();
    for name in 1..=20 {
        let ahead = NOW.plus(Duration::from_secs(86_400 + u64::from(name)));
        begin(&database, ahead, &session(name));
        remember(&database, ahead, &session(name).digest);
    }
    let log_in = LogIn {
        session: session(99),
        phc: "old".into(),
        renewed: None,
        former: Vec::new(),
        device: session(99).digest,
        former_device: None,
    };
    assert!(run(&database, NOW, &log_in));
    assert!(is_open(&database, 99, NOW));
    let find = FindAccount {
        email: "u@example.com".into(),
        devices: vec![log_in.device],
    };
    let found = read(&database, NOW, &find).unwrap();
    assert_eq!(found.known_device, Some(log_in.device));
}

#[test]
fn a_change_of_the_password_does_not_outlive_a_log_out() {
    let database = database();
    let change = ChangePassword {
        old: "old".into(),
        new: "new".into(),
        former: session(1).digest,
        session: session(2),
        device: Digest::from_bytes([9; 32]),
    };
    let make = || run(&database, NOW, &change);
    begin(&database, NOW, &session(1));
    let log_out = LogOut {
        session: session(3),
        scope: LogOutScope::Everywhere,
    };
    run(&database, NOW, &log_out);
    assert_eq!(make(), Err(Outdated));
    assert!(!is_open(&database, 2, NOW));
    begin(&database, NOW, &session(1));
    assert_eq!(make(), Ok(()));
    assert!(is_open(&database, 2, NOW) && !is_open(&database, 1, NOW));
}

#[test]
fn i8_a_user_has_so_many_browsers() {
    let database = database();
    for number in 0..2 * DEVICES_PER_USER {
        let device = Digest::of(&number.to_be_bytes());
        let at = NOW.plus(Duration::from_secs(number.into()));
        remember(&database, at, &device);
    }
    let count: u32 = database
        .query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, DEVICES_PER_USER);
}
