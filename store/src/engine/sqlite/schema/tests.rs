//! The steps, and databases of before them.

use rekey_protocol::Digest;

use super::*;
use crate::engine::rows::LastUse;
use crate::engine::sqlite::tables::{history, last_uses};

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    check(&connection).unwrap();
    migrate(&mut connection).unwrap();
    connection
}

#[test]
fn migrating_again_changes_nothing() {
    let mut connection = database();
    migrate(&mut connection).unwrap();
    check(&connection).unwrap();
}

#[test]
fn i3_the_database_itself_refuses_a_second_active_key() {
    let connection = database();
    connection
        .execute(
            "INSERT INTO users (user_id, created_ms) VALUES ('u', 1)",
            [],
        )
        .unwrap();
    let insert = "INSERT INTO keys (digest, user_id, state, created_ms, revision)
                  VALUES (?1, 'u', 'active', 1, 1)";
    connection.execute(insert, [[1_u8; 32]]).unwrap();
    let error = connection.execute(insert, [[2_u8; 32]]).unwrap_err();
    assert!(error.to_string().contains("UNIQUE"), "{error}");
}

#[test]
fn of_an_older_database_it_is_not_known_when_keys_were_used() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate_to(&mut connection, 6);
    let made_at = |made_ms: i64| {
        let user = format!("u_{made_ms}");
        connection
            .execute(
                "INSERT INTO users (user_id, created_ms) VALUES (?1, 1)",
                [&user],
            )
            .unwrap();
        let mut digest = [0; 32];
        digest[24..].copy_from_slice(&made_ms.to_be_bytes());
        connection
            .execute(
                "INSERT INTO keys (digest, user_id, state, created_ms, revision)
                 VALUES (?1, ?2, 'active', ?3, 1)",
                (digest, user, made_ms),
            )
            .unwrap();
        connection
            .execute("UPDATE meta SET time_ms = max(time_ms, ?1)", [made_ms])
            .unwrap();
        Digest::from_bytes(digest)
    };
    let old = [made_at(7), made_at(9_000)];
    connection.execute_batch(V7).unwrap();
    let new = [made_at(9_001), made_at(12_000)];
    let last_use = |key: &Digest| last_uses::of_key(&connection, key).unwrap();
    assert_eq!(old.each_ref().map(last_use), [Some(LastUse::NotKnown); 2]);
    assert_eq!(new.each_ref().map(last_use), [Some(LastUse::Never); 2]);
    assert_eq!(last_use(&Digest::from_bytes([7; 32])), None);
}

#[test]
fn the_audit_log_can_only_grow() {
    let connection = database();
    let row = "INSERT INTO audit (at_ms, user_id, action, revision, source)
               VALUES (1, 'u', 'rotated', 1, 'gateway')";
    connection.execute(row, []).unwrap();
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('audit')")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(columns.len() > 10, "{columns:?}");
    let changes = columns
        .iter()
        .map(|column| format!("UPDATE audit SET {column} = {column}"));
    let removed = "INSERT INTO users (user_id, created_ms, removed) VALUES ('r', 1, 2)";
    connection.execute(removed, []).unwrap();
    let together = "UPDATE audit SET user_id = 'r', at_ms = 2".to_owned();
    let others = ["UPDATE audit SET user_id = 'v'", "DELETE FROM audit"].map(str::to_owned);
    for change in changes.chain(others).chain([together]) {
        let error = connection.execute(&change, []).unwrap_err();
        assert!(
            error.to_string().contains("append-only"),
            "{change}: {error}"
        );
    }
    // But for the name of a user who was removed.
    let forget = "UPDATE audit SET user_id = 'r'";
    assert_eq!(connection.execute(forget, []).unwrap(), 1);
}

#[test]
fn imports_keep_what_counted_before_and_revocations_are_found() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate_to(&mut connection, 4);
    connection
        .execute_batch(
            "INSERT INTO users VALUES ('u', 'u@example.com', 1, 2), ('v', NULL, 1, NULL);
             INSERT INTO keys VALUES
                (x'0101010101010101010101010101010101010101010101010101010101010101', 'u', 'revoked', NULL, 1, 5, 7, 9000),
                (x'0202020202020202020202020202020202020202020202020202020202020202', 'u', 'active', 'wxyz', 5, NULL, 7, NULL),
                (x'0303030303030303030303030303030303030303030303030303030303030303', 'v', 'revoked', NULL, 1, 6, 8, NULL);
             UPDATE meta SET revision = 8;",
        )
        .unwrap();
    migrate(&mut connection).unwrap();
    let number = |sql| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(number("SELECT count(*) FROM live_users"), 2);
    assert_eq!(number("SELECT count(*) FROM live_keys"), 3);
    let revisions = "SELECT count(*) FROM live_keys JOIN keys USING (digest, revision)";
    assert_eq!(number(revisions), 3);
    let revoked = history::revoked_after(&connection, 6, 9).unwrap();
    let at: Vec<_> = revoked.iter().map(|change| change.revision).collect();
    assert_eq!(at, [7, 8]);
    assert!(revoked[0].replayable && !revoked[1].replayable);
    // And not by passing over all keys.
    let plan = "EXPLAIN QUERY PLAN SELECT digest FROM keys
                WHERE revision > 6 AND state = 'revoked' ORDER BY revision LIMIT 9";
    let plan: String = connection.query_row(plan, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("INDEX keys_revoked"), "{plan}");
}

#[test]
fn a_newer_or_foreign_database_is_refused() {
    let connection = database();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let newer = check(&connection).unwrap_err();
    assert!(matches!(newer, OpenError::NewerSchema { found: 99, .. }));
    let foreign = Connection::open_in_memory().unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(check(&foreign), Err(OpenError::Foreign)));
}
