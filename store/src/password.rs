//! Passwords: what is accepted as one, and their hashing by argon2id
//! (RFC 9106) with the parameters that OWASP's Password Storage Cheat Sheet
//! recommends: 19 MiB, 2 passes, 1 lane.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::metrics::Metrics;

/// The fewest and the most characters of a new password. (NIST SP 800-63B asks
/// for a length, and advises against rules of composition.)
pub const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
/// How long an evaluation waits for its turn before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// A password that is fit to be set. Wiped when dropped; never shown.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(Zeroizing<String>);

/// The text is no password to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has {} to {} characters", LENGTH.start(), LENGTH.end())]
pub struct UnfitPassword;

impl TryFrom<String> for Password {
    type Error = UnfitPassword;

    fn try_from(text: String) -> Result<Self, UnfitPassword> {
        let text = Zeroizing::new(text);
        match LENGTH.contains(&text.chars().count()) {
            true => Ok(Self(text)),
            false => Err(UnfitPassword),
        }
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why nothing was evaluated, or not to the end. The store's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Too many are waiting.
    #[error("too many log-ins are waiting; try again in a moment")]
    Busy,
    /// No memory, no random bytes, or a fault.
    #[error("a password could not be hashed; the store's log says why")]
    Failed,
}

/// Evaluates argon2id, and counts it. Cheap to clone.
///
/// Only so many at a time that key checks always find a core: an evaluation
/// takes tens of milliseconds and 19 MiB.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// What is evaluated where there is no hash, so that this takes as long.
    nobody: Arc<str>,
}

impl Passwords {
    /// Takes one evaluation.
    pub fn new(metrics: Arc<Metrics>) -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut text = Zeroizing::new([0; 16]);
        getrandom::fill(&mut *text).map_err(failed)?;
        Ok(Self {
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            metrics,
            nobody: phc(&*text)?.into(),
        })
    }

    /// The hash of a new password, as a PHC string.
    pub async fn hash(&self, password: Password) -> Result<String, HashError> {
        self.evaluate(move || phc(password.0.as_bytes())).await
    }

    /// Whether the text is the password of this hash: one evaluation, also
    /// where there is no hash, and the answer is no.
    pub async fn verify(
        &self,
        hash: Option<&str>,
        text: Zeroizing<String>,
    ) -> Result<bool, HashError> {
        let is_somebodys = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        let verify = move || {
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            let right = Argon2::default().verify_password(text.as_bytes(), &hash);
            Ok(right.is_ok())
        };
        Ok(self.evaluate(verify).await? && is_somebodys)
    }

    async fn evaluate<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let turn = self.turns.clone().acquire_owned();
        let turn: OwnedSemaphorePermit = tokio::time::timeout(PATIENCE, turn)
            .await
            .map_err(|_| HashError::Busy)?
            .map_err(failed)?;
        self.metrics.hashed_password();
        // The turn is over when the work is, even if nobody waits any more.
        let task = tokio::task::spawn_blocking(move || (work(), turn));
        task.await.map_err(failed)?.0
    }
}

fn phc(password: &[u8]) -> Result<String, HashError> {
    let hash: PasswordHash = Argon2::default().hash_password(password).map_err(failed)?;
    Ok(hash.to_string())
}

fn failed(error: impl std::fmt::Display) -> HashError {
    tracing::error!(%error, "argon2 failed");
    HashError::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    fn text(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn the_hash_is_argon2id_and_tells_right_from_wrong() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let right = "correct horse battery";
        let hash = passwords.hash(password(right)).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!hash.contains(right));
        assert_ne!(passwords.hash(password(right)).await.unwrap(), hash);
        for (hash, tried, is_right) in [
            (Some(hash.as_str()), right, true),
            (Some(hash.as_str()), "correct horse batterz", false),
            (Some(hash.as_str()), "", false),
            (None, right, false),
        ] {
            let verified = passwords.verify(hash, text(tried)).await;
            assert_eq!(verified, Ok(is_right), "{hash:?} {tried}");
        }
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_a_fault_and_not_a_no() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let verified = passwords.verify(Some("plain"), text("plain")).await;
        assert_eq!(verified, Err(HashError::Failed));
    }

    #[test]
    fn a_password_has_a_length_and_no_looks() {
        assert_eq!(format!("{:?}", password("twelve chars")), "Password(…)");
        assert!(Password::try_from("ü".repeat(12)).is_ok());
        for bad in ["", "eleven char", &"x".repeat(129)] {
            let error = Password::try_from(bad.to_owned()).unwrap_err();
            assert!(error.to_string().contains("12 to 128"), "{error}");
        }
    }
}
