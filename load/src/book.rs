//! What is known of every key, and the judgement of an answer by it.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Instant,
};

use rekey_testbed::Account;

use super::Answer;

/// A key and its life so far.
#[derive(Debug)]
pub struct Key {
    /// Its plain text.
    pub text: String,
    /// Whose it is.
    pub user: String,
    /// When its replacement or revocation was asked for, if it was.
    dying: OnceLock<Instant>,
    /// When the answer that says that it is dead was received.
    dead: OnceLock<Instant>,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be, or as it may be while the key is replaced.
    Right,
    /// I2 is broken: accepted, although it was dead before it was sent.
    AcceptedDead,
    /// Refused with 401, although nobody has asked for its end.
    RefusedAlive,
    /// A 503: nobody is let in and nothing is said of the key.
    Unavailable,
    /// No answer that is documented for this request.
    Odd,
}

impl Key {
    /// One that is alive.
    pub fn alive(text: &str, user: &str) -> Arc<Self> {
        Arc::new(Self {
            text: text.to_owned(),
            user: user.to_owned(),
            dying: OnceLock::new(),
            dead: OnceLock::new(),
        })
    }

    /// To be called just before its end is asked for: from now on it may be
    /// refused.
    pub fn is_dying(&self) {
        let _ = self.dying.set(Instant::now());
    }

    /// Its end was confirmed at this moment: whoever sends it later must be
    /// refused.
    pub fn is_dead(&self, confirmed: Instant) {
        let _ = self.dead.set(confirmed);
    }

    /// Judges the answer to a request with this key for what the upstream
    /// serves.
    pub fn judge(&self, answer: &Answer) -> Verdict {
        let was_dead = self.dead.get().is_some_and(|dead| *dead < answer.sent);
        let was_alive = match self.dying.get() {
            None => true,
            Some(dying) => answer.received < *dying,
        };
        match answer.status {
            200 if was_dead => Verdict::AcceptedDead,
            401 if was_alive => Verdict::RefusedAlive,
            200 | 401 => Verdict::Right,
            503 => Verdict::Unavailable,
            _ => Verdict::Odd,
        }
    }

    /// Whether a request that was sent at one moment and broke off without an
    /// answer at the other may have ended with its key: it was under way when the
    /// key died. What is sent when the key is dead is not let through, and gets
    /// its 401.
    pub fn may_be_cut(&self, sent: Instant, broke: Instant) -> bool {
        let was_dead = self.dead.get().is_some_and(|dead| *dead < sent);
        let was_dying = self.dying.get().is_some_and(|dying| *dying <= broke);
        was_dying && !was_dead
    }
}

/// All keys of a run, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Book(Arc<RwLock<Vec<Arc<Key>>>>);

impl Book {
    /// One with the first keys of these users.
    pub fn of<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Self {
        let book = Self::default();
        for account in accounts {
            book.enter(Key::alive(&account.api_key, &account.user_id));
        }
        book
    }

    /// Adds a key; from now on traffic asks with it.
    pub fn enter(&self, key: Arc<Key>) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.push(key);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them, counted from the newest.
    pub fn recent(&self, age: usize) -> Option<Arc<Key>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let index = keys.len().checked_sub(age + 1)?;
        keys.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answer(status: u16, sent: Instant) -> Answer {
        Answer {
            status,
            body: String::new(),
            sent,
            received: sent + MS,
        }
    }

    /// I2 is about the moment of sending: under way at the 200, either answer
    /// is right.
    #[test]
    fn an_answer_is_judged_by_the_moment_at_which_its_request_was_sent() {
        let key = Key::alive("k", "u");
        let start = Instant::now();
        assert_eq!(key.judge(&answer(200, start)), Verdict::Right);
        assert_eq!(key.judge(&answer(401, start)), Verdict::RefusedAlive);
        key.is_dying();
        assert_eq!(
            key.judge(&answer(401, start + 60 * 1000 * MS)),
            Verdict::Right
        );
        assert_eq!(
            key.judge(&answer(401, start - 5 * MS)),
            Verdict::RefusedAlive
        );
        let dead = start + 10 * MS;
        key.is_dead(dead);
        assert_eq!(key.judge(&answer(200, dead)), Verdict::Right);
        assert_eq!(key.judge(&answer(200, dead + MS)), Verdict::AcceptedDead);
        assert_eq!(key.judge(&answer(401, dead + MS)), Verdict::Right);
        assert_eq!(key.judge(&answer(503, dead + MS)), Verdict::Unavailable);
        assert_eq!(key.judge(&answer(502, start)), Verdict::Odd);
    }

    #[test]
    fn a_request_may_break_off_only_while_its_key_dies() {
        let key = Key::alive("k", "u");
        let start = Instant::now();
        assert!(!key.may_be_cut(start, start + MS));
        key.is_dying();
        let dying = *key.dying.get().unwrap();
        assert!(key.may_be_cut(start, dying + MS));
        assert!(!key.may_be_cut(start - MS, dying - MS));
        let dead = dying + 10 * MS;
        key.is_dead(dead);
        assert!(key.may_be_cut(dead, dead + MS));
        assert!(!key.may_be_cut(dead + MS, dead + 2 * MS));
    }
}
