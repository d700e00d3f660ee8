//! Addresses as they are compared: the column of their normal forms, and how it
//! was filled for the users of before there was one.

use rekey_protocol::UserId;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension};

use crate::accounts::email::Email;
use crate::accounts::typed;
use crate::engine::sqlite::columns;

/// Users that one line of the log names.
const NAMED: usize = 100;
/// What the normal form is called in SQL.
const NORMAL: &str = "rekey_normal_address";

/// Gives the connection a function for the normal form of an address.
fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(NORMAL, 1, flags, |context| {
        let text: String = context.get(0)?;
        Ok(typed::address(&text))
    })
}

/// Fills the columns of the normal form. Users whose addresses are the same by it
/// were different ones so far, and stay so: each is found by the exact spelling,
/// and any other spelling finds the oldest.
pub(crate) fn fill(transaction: &Connection) -> rusqlite::Result<()> {
    define(transaction)?;
    transaction.execute_batch(
        "UPDATE users SET email_normal = rekey_normal_address(email) WHERE email IS NOT NULL;
         UPDATE users SET email_nth = same.nth FROM (
             SELECT user_id, row_number() OVER (
                 PARTITION BY email_normal ORDER BY created_ms, user_id) - 1 AS nth
             FROM users WHERE email_normal IS NOT NULL) same
         WHERE same.user_id = users.user_id AND same.nth > 0;
         CREATE UNIQUE INDEX users_by_email_normal ON users (email_normal, email_nth);",
    )?;
    transaction.remove_function(NORMAL, 1)?;
    warn_of_twins(transaction)
}

fn warn_of_twins(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare(
        "SELECT group_concat(user_id, ' = ') FROM (
             SELECT user_id, email_normal FROM users WHERE email_normal IN (
                 SELECT email_normal FROM users WHERE email_nth > 0)
             ORDER BY email_normal, email_nth)
         GROUP BY email_normal",
    )?;
    let twins: Vec<String> = select
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let Some(named) = twins
        .get(..NAMED.min(twins.len()))
        .filter(|n| !n.is_empty())
    {
        tracing::warn!(
            count = twins.len(),
            users = named.join(", "),
            "several users have what is one e-mail address now, in different spellings. All of \
             them can still log in with the exact spelling, and any other spelling means the \
             oldest of them. Give all but one of each another address: rekey-store users set-email"
        );
    }
    Ok(())
}

/// Whose an address is; of several the one of this very spelling.
pub(crate) fn owner(connection: &Connection, typed: &str) -> rusqlite::Result<Option<UserId>> {
    // By the spelling as well: a later version of Unicode may give a letter
    // another normal form than the one on record.
    connection
        .prepare_cached(
            "SELECT user_id FROM live_users WHERE email_normal = ?1 OR email = ?2
             ORDER BY email = ?2 COLLATE BINARY DESC, email = ?2 DESC, email_nth LIMIT 1",
        )?
        .query_row((typed::address(typed), typed), |row| columns::user(row, 0))
        .optional()
}

/// Whether somebody else has this address, in whatever spelling.
pub(crate) fn is_anothers(
    connection: &Connection,
    user: &UserId,
    email: &Email,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM users WHERE (email_normal = ?1 OR email = ?2) AND user_id <> ?3",
        )?
        .exists((email.normal(), email.as_str(), user.as_str()))
}

/// Whether the user has an address.
pub(crate) fn has_address(connection: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM live_users WHERE user_id = ?1 AND email IS NOT NULL")?
        .exists([user.as_str()])
}

/// Gives a user an address.
pub(crate) fn set_address(
    transaction: &Connection,
    user: &UserId,
    email: &Email,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE users SET email = ?2, email_normal = ?3, email_nth = 0 WHERE user_id = ?1",
        )?
        .execute((user.as_str(), email.as_str(), email.normal()))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::password::Spelling;
    use crate::engine::sqlite::{open, passwords, schema};
    use crate::operations::incarnation::OlderData;

    /// The steps before there was a normal form.
    const BEFORE: usize = 8;

    fn database(users: &[(&str, &str)]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate_to(&mut connection, BEFORE);
        for (at, (id, email)) in users.iter().enumerate() {
            let insert = "INSERT INTO users (user_id, email, created_ms) VALUES (?1, ?2, ?3)";
            connection.execute(insert, (id, email, at as i64)).unwrap();
        }
        connection
    }

    fn is(connection: &Connection, typed: &str) -> String {
        let owner = owner(connection, typed).unwrap();
        owner.map(String::from).unwrap_or_default()
    }

    #[test]
    fn users_of_before_are_found_by_every_spelling() {
        let mut database = database(&[
            ("joerg", "JÖRG@example.com"),
            ("buch", "a@Bücher.example"),
            ("puny", "b@xn--bcher-kva.example"),
            ("plain", "Ann@example.com"),
        ]);
        schema::migrate(&mut database).unwrap();
        for (typed, id) in [
            ("jörg@example.com", "joerg"),
            ("Jo\u{308}rg@EXAMPLE.com", "joerg"),
            ("a@xn--bcher-kva.example", "buch"),
            ("B@BÜCHER.example", "puny"),
            ("ann@EXAMPLE.com", "plain"),
            ("nobody@example.com", ""),
        ] {
            assert_eq!(is(&database, typed), id, "{typed}");
        }
        let shown = "SELECT email FROM users WHERE user_id = 'joerg'";
        let shown: String = database.query_row(shown, [], |row| row.get(0)).unwrap();
        assert_eq!(shown, "JÖRG@example.com");
    }

    #[test]
    fn who_had_the_same_address_before_stays_two() {
        let mut database = database(&[
            ("first", "JÖRG@example.com"),
            ("second", "jörg@example.com"),
            ("third", "jo\u{308}rg@example.com"),
            ("alone", "other@example.com"),
        ]);
        schema::migrate(&mut database).unwrap();
        for (typed, id) in [
            ("JÖRG@example.com", "first"),
            ("jörg@example.com", "second"),
            ("jo\u{308}rg@example.com", "third"),
            // As before: letters of ASCII have no case.
            ("Jörg@Example.com", "second"),
            // Whom nobody has spelled like that: the oldest.
            ("jörg@example.com\u{200b}", "first"),
        ] {
            assert_eq!(is(&database, typed), id, "{typed}");
        }
        // From now on there is no further one.
        let insert = "INSERT INTO users (user_id, email, email_normal, created_ms)
                      VALUES ('fourth', 'JÖrg@example.com', 'jörg@example.com', 1)";
        let error = database.execute(insert, []).unwrap_err();
        assert!(error.to_string().contains("UNIQUE"), "{error}");
    }

    #[test]
    fn a_database_of_before_opens_and_its_passwords_are_of_what_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let mut old = Connection::open(&path).unwrap();
        schema::migrate_to(&mut old, BEFORE);
        old.execute_batch(
            "INSERT INTO users (user_id, email, created_ms) VALUES
                 ('none', NULL, 1), ('one', 'JÖRG@example.com', 2), ('two', 'jörg@example.com', 3);
             INSERT INTO passwords (user_id, phc, changed_ms) VALUES ('one', 'x', 1);
             INSERT INTO audit (at_ms, user_id, action, revision, source)
                 VALUES (1, 'one', 'imported', 1, 'admin');",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let opened = open::open(&path, OlderData::Refused).unwrap();
            let database = opened.writer;
            assert_eq!(is(&database, "jörg@example.com"), "two");
            assert_eq!(is(&database, "jörg@EXAMPLE.com\u{200b}"), "one");
            let user = "one".parse().unwrap();
            let hash = passwords::of_user(&database, &user).unwrap().unwrap();
            assert_eq!(hash.stored.spelling, Spelling::AsTyped);
            let email = "JÖRG@EXAMPLE.com".parse().unwrap();
            for (user, is_anothers) in [("one", true), ("none", true)] {
                let user = user.parse().unwrap();
                let found = super::is_anothers(&database, &user, &email).unwrap();
                assert_eq!(found, is_anothers, "{user}");
            }
        }
    }

    #[test]
    fn finding_an_address_reads_no_table_through() {
        let mut database = database(&[]);
        schema::migrate(&mut database).unwrap();
        let plan: Vec<String> = database
            .prepare("EXPLAIN QUERY PLAN SELECT user_id FROM users WHERE email_normal = ?1 OR email = ?2")
            .unwrap()
            .query_map(["a", "b"], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(
            plan.iter().all(|step| !step.starts_with("SCAN")),
            "{plan:?}"
        );
    }
}
