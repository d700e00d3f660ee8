//! The client whose answer gets lost: the only one who has both the old key and
//! the `Idempotency-Key`; and what must be true of it in the end.

use std::fmt;

use rekey_testbed::Account;

use crate::support::client::{Answer, Client, REGENERATE, SCRAPE, bearer};
use crate::support::faults::cuts::{End, Place, Plan};
use crate::support::fleet::{TestFleet, eventually};
use crate::support::store_view;

/// A user of its own, and what is done to it.
pub(super) struct Owner {
    pub user: Account,
    pub idempotency_key: String,
    /// For whoever reads a failure.
    case: String,
}

/// The first 200 that the owner got, after however many tries.
#[derive(Debug)]
pub(super) struct Told {
    pub key: String,
    /// Whether the answer says that it repeats an earlier one.
    pub replayed: bool,
    /// Tries that were answered by a 503.
    pub refusals: usize,
}

impl Owner {
    pub(super) fn new(fleet: &TestFleet, case: impl fmt::Debug) -> Self {
        let random = |_| fastrand::alphanumeric();
        Self {
            user: fleet.user(),
            idempotency_key: (0..30).map(random).collect(),
            case: format!("{case:?}"),
        }
    }

    /// What the store calls the old key, as it is written in messages.
    pub(super) fn old_digest(&self) -> String {
        hex::encode(store_view::digest(&self.user.api_key).as_bytes())
    }

    /// A plan for this user's calls.
    pub(super) fn plan(&self, path: &'static str, place: Place, end: End, times: u32) -> Plan {
        Plan {
            path,
            text: self.old_digest(),
            place,
            end,
            times,
        }
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = bearer(&self.user.api_key);
        headers.push(("idempotency-key", self.idempotency_key.clone()));
        headers
    }

    /// The request as HTTP/1.1 bytes.
    pub(super) fn raw_request(&self) -> String {
        let (key, once) = (&self.user.api_key, &self.idempotency_key);
        format!(
            "POST {REGENERATE} HTTP/1.1\r\nhost: gateway\r\nidempotency-key: {once}\r\n\
             authorization: Bearer {key}\r\n\r\n"
        )
    }

    /// Sends it once.
    pub(super) fn ask(&self, client: &Client) -> Answer {
        client.send("POST", REGENERATE, &self.headers(), "")
    }

    /// Sends it until it is answered. An answer that comes to nothing may be a
    /// 503; the true owner is never told that there is no such key.
    pub(super) fn until_told(&self, client: &Client) -> Told {
        let case = &self.case;
        let mut refusals = 0;
        let answer = eventually(&format!("a key, {case}"), || {
            let answer = self.ask(client);
            assert!(matches!(answer.status, 200 | 503), "{case}: {answer:?}");
            refusals += usize::from(answer.status == 503);
            (answer.status == 200).then_some(answer)
        });
        Told {
            key: answer.new_key(),
            replayed: is_replay(&answer),
            refusals,
        }
    }

    /// The one answer that another repetition may have.
    pub(super) fn is_told_again(&self, client: &Client, key: &str) {
        let (case, answer) = (&self.case, self.ask(client));
        assert_eq!(answer.status, 200, "{case}: {}", answer.body);
        assert_eq!(answer.new_key(), key, "{case}: the same key each time");
        assert!(is_replay(&answer), "{case}: {answer:?}");
    }

    /// One working key, this one, made by one rotation.
    pub(super) fn has(&self, fleet: &TestFleet, client: &Client, key: &str) {
        let (case, user) = (&self.case, &self.user);
        let keys = store_view::keys(&fleet.store, &user.user_id);
        assert_eq!(keys.active, [store_view::digest(key)], "{case}");
        assert_eq!(keys.rotations, 1, "{case}: a replay is none");
        // Lookups have connections of their own, of which some may have been to a
        // store that has died since. That is a 503 (I7), and never a 401.
        eventually(&format!("the key to be served, {case}"), || {
            let answer = client.get(SCRAPE, key);
            assert!(matches!(answer.status, 200 | 503), "{case}: {answer:?}");
            (answer.status == 200).then_some(())
        });
        let old = client.get(SCRAPE, &user.api_key).outcome();
        assert_eq!(old, (401, "api_key_revoked".to_owned()), "{case}");
    }

    /// All of it: repeats until told, once more, and looks what is true.
    pub(super) fn ends_with_one_key(&self, fleet: &TestFleet, client: &Client) -> Told {
        let told = self.until_told(client);
        self.is_told_again(client, &told.key);
        self.has(fleet, client, &told.key);
        told
    }
}

pub(super) fn is_replay(answer: &Answer) -> bool {
    match answer.header("idempotent-replayed") {
        "true" => true,
        "" => false,
        other => panic!("idempotent-replayed: {other}"),
    }
}
