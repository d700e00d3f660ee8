//! The dashboard, as a browser without JavaScript finds it.

mod account;
mod attacks;
mod key;
mod person;
mod settings;

use std::process::Command;

use rusqlite::types::Value as Cell;
use serde_json::{Value, json};

use crate::process::{Answer, Home, Store, User};
use person::{Form, Person};

const PASSWORD: &str = "correct horse battery";
const LOGIN: &str = "/login";
const PROFILE: &str = "/settings/profile";
const REGENERATE: &str = "/settings/profile/regenerate";
const REVOKE: &str = "/settings/profile/revoke";
const NEW_KEY: &str = "/settings/profile/new-key";
const SECURITY: &str = "/settings/security";
const CHANGE: &str = "/settings/security/password";

/// `serve` with a dashboard, not yet started.
fn serve(home: &Home) -> Command {
    home.serve_with("--dashboard-listen", "127.0.0.1:0")
}

fn start(home: &Home) -> Store {
    home.start_as(&mut serve(home))
}

/// A store whose clients come through one proxy.
fn start_behind_a_proxy(home: &Home) -> Store {
    home.start_as(serve(home).args(["--dashboard-trusted-proxies", "1"]))
}

fn email(id: &str) -> String {
    format!("{id}@example.com")
}

/// A user with a key and [`PASSWORD`].
fn add_user(store: &Store, id: &str) -> User {
    store.add(&json!({ "email": email(id), "user_id": id, "password": PASSWORD }))
}

/// That user, logged in.
fn logged_in(store: &Store, id: &str) -> Person {
    let person = Person::at(store);
    let answer = person.log_in(&email(id), PASSWORD);
    assert_eq!(answer.status, 303, "{answer:?}");
    person
}

/// A redirect to that page.
fn leads_to(answer: &Answer, path: &str) {
    let location = answer.header("location");
    assert_eq!((answer.status, location), (303, Some(path)), "{answer:?}");
}

/// A form of that person's that no page has to offer.
fn forged(person: &Person, action: &str) -> Form {
    let csrf = person.get(PROFILE).form("/logout").field("csrf").to_owned();
    let form = Form::to(action).with("csrf", &csrf);
    form.with("ticket", &fresh_ticket()).with("key", "1")
}

fn fresh_ticket() -> String {
    crate::process::fresh_digest().to_hex()[..32].to_owned()
}

/// What the user's audit log has of that action.
fn events(store: &Store, id: &str, action: &str) -> Vec<Value> {
    let answer = store.admin("GET", &format!("/v1/audit?user={id}&limit=1000"), None);
    let mut events = answer.json()["events"].as_array().unwrap().clone();
    events.retain(|event| event["action"] == action);
    events
}

/// How often argon2 was evaluated.
fn hashes(store: &Store) -> u64 {
    store.metric("password_hashes_total").unwrap_or(0)
}

/// All that the database holds of users, but for last uses: those are written some
/// moments after a look-up.
fn state(home: &Home) -> String {
    let sql = home.sql();
    let mut state = String::new();
    for table in [
        "users",
        "passwords",
        "sessions",
        "keys",
        "rotations",
        "audit",
    ] {
        let mut select = sql.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names = select.column_names().enumerate();
        let changes = names.filter(|(_, name)| *name != "last_used_ms");
        let columns: Vec<_> = changes.map(|(column, _)| column).collect();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells = columns.iter().map(|column| row.get(*column).unwrap());
            let cells: Vec<Cell> = cells.collect();
            state += &format!("{table} {cells:?}\n");
        }
    }
    state
}
