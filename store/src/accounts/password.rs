//! Passwords: what is accepted as one, and their hashing by argon2id
//! (RFC 9106) with the parameters that OWASP's Password Storage Cheat Sheet
//! recommends: 19 MiB, 2 passes, 1 lane.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::accounts::typed;
use crate::metrics::Metrics;

/// The fewest and the most characters of a new password. (NIST SP 800-63B asks
/// for a length, and advises against rules of composition.)
pub const LENGTH: std::ops::RangeInclusive<usize> = 12..=128;
/// How long an evaluation waits for its turn before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// Evaluations that wait for one turn at a time; further ones are refused.
const WAITING: usize = 32;
/// Bytes of a new salt and a new hash.
const SALT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// A password that is fit to be set, in its normal form. Wiped when dropped; never
/// shown.
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
        let text = typed::password(&Zeroizing::new(text));
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

/// Of which spelling of a password a hash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// The normal form of what was typed.
    Normal,
    /// What was typed, byte by byte: so were all before there was a normal form.
    AsTyped,
}

/// The hash of a user's password, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHash {
    /// As a PHC string.
    pub phc: String,
    /// Of what it is.
    pub spelling: Spelling,
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

/// Whom an evaluation is for. Each kind has turns of its own: no flood of
/// strangers keeps out who is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Anybody who types an address.
    Stranger,
    /// Who is logged in, or was in the same browser.
    Known,
    /// Whoever sets passwords for others, on the command line.
    Operator,
}

/// Evaluates argon2id, and counts it. Cheap to clone.
///
/// Only so many at a time that key checks find a core, for an evaluation takes
/// tens of milliseconds; and in memory of its own, 19 MiB for each of them:
/// given back and asked for again on ever other threads, it would stay with the
/// allocator many times over.
#[derive(Clone)]
pub struct Passwords {
    strangers: Arc<Turns>,
    known: Arc<Turns>,
    operator: Arc<Turns>,
    metrics: Arc<Metrics>,
    /// What is evaluated where there is no hash, so that this takes as long.
    nobody: Arc<str>,
}

struct Turns {
    free: Arc<Semaphore>,
    /// How many may wait for one: some two seconds' work.
    waiting: Semaphore,
    memory: Mutex<Vec<Vec<Block>>>,
}

impl Turns {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            waiting: Semaphore::new(count * WAITING),
            memory: Mutex::default(),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passwords {
    /// Nothing is evaluated yet.
    pub fn new(metrics: Arc<Metrics>) -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut random = [0; SALT_LEN + HASH_LEN];
        getrandom::fill(&mut random).map_err(failed)?;
        let (salt, hash) = random.split_at(SALT_LEN);
        Ok(Self {
            strangers: Turns::new((cores / 2).max(1)),
            known: Turns::new(1),
            operator: Turns::new(1),
            metrics,
            nobody: phc(&Argon2::default(), salt, hash)?.into(),
        })
    }

    /// The hash of a new password, as a PHC string.
    pub async fn hash(&self, password: Password, whom: For) -> Result<String, HashError> {
        let work = move |memory: &mut Vec<Block>| {
            let (argon, mut salt, mut hash) = (Argon2::default(), [0; SALT_LEN], [0; HASH_LEN]);
            getrandom::fill(&mut salt).map_err(failed)?;
            fill(&argon, password.0.as_bytes(), &salt, &mut hash, memory)?;
            phc(&argon, &salt, &hash)
        };
        self.evaluate(whom, work).await
    }

    /// Whether the text is the password of this hash: one evaluation, also
    /// where there is no hash, and the answer is no.
    pub async fn verify(
        &self,
        hash: Option<&StoredHash>,
        text: &str,
        whom: For,
    ) -> Result<bool, HashError> {
        let is_somebodys = hash.is_some();
        let normal = typed::password(text);
        let text = match hash.map(|hash| hash.spelling) {
            Some(Spelling::AsTyped) => Zeroizing::new(text.to_owned()),
            Some(Spelling::Normal) | None => normal,
        };
        let hash = hash.map_or(&*self.nobody, |hash| &hash.phc).to_owned();
        let work = move |memory: &mut Vec<Block>| {
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            let (Some(salt), Some(right)) = (&hash.salt, &hash.hash) else {
                return Err(failed("a hash without salt or output"));
            };
            let argon = argon(&hash).map_err(failed)?;
            let mut output = Zeroizing::new(vec![0; right.len()]);
            fill(&argon, text.as_bytes(), salt, &mut output, memory)?;
            // Compared in constant time.
            Ok(Output::new(&output).map_err(failed)? == *right)
        };
        Ok(self.evaluate(whom, work).await? && is_somebodys)
    }

    async fn evaluate<T: Send + 'static>(
        &self,
        whom: For,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let turns = match whom {
            For::Stranger => &self.strangers,
            For::Known => &self.known,
            For::Operator => &self.operator,
        };
        let place = turns.waiting.try_acquire().map_err(|_| HashError::Busy)?;
        let turn = tokio::time::timeout(PATIENCE, turns.free.clone().acquire_owned());
        let turn = turn.await.map_err(|_| HashError::Busy)?.map_err(failed)?;
        drop(place);
        self.metrics.hashed_password();
        let turns = turns.clone();
        // The turn is over when the work is, even if nobody waits any more.
        let task = tokio::task::spawn_blocking(move || {
            let mut memory = turns.memory().pop().unwrap_or_default();
            let result = work(&mut memory);
            turns.memory().push(memory);
            drop(turn);
            result
        });
        task.await.map_err(failed)?
    }
}

/// One evaluation.
fn fill(
    argon: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), HashError> {
    memory.resize(argon.params().block_count(), Block::default());
    argon
        .hash_password_into_with_memory(password, salt, output, memory)
        .map_err(failed)
}

/// The algorithm of a hash, with its parameters.
fn argon(hash: &PasswordHash) -> argon2::password_hash::Result<Argon2<'static>> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map(Version::try_from).transpose()?;
    let params = Params::try_from(hash)?;
    Ok(Argon2::new(algorithm, version.unwrap_or_default(), params))
}

fn phc(argon: &Argon2<'_>, salt: &[u8], hash: &[u8]) -> Result<String, HashError> {
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::default().into()),
        params: ParamsString::try_from(argon.params()).map_err(failed)?,
        salt: Some(Salt::new(salt).map_err(failed)?),
        hash: Some(Output::new(hash).map_err(failed)?),
    };
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

    fn stored(phc: &str) -> StoredHash {
        StoredHash {
            phc: phc.to_owned(),
            spelling: Spelling::Normal,
        }
    }

    #[tokio::test]
    async fn the_hash_is_argon2id_and_tells_right_from_wrong() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let right = "correct horse battery";
        let hash = passwords
            .hash(password(right), For::Operator)
            .await
            .unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!hash.contains(right));
        assert_ne!(
            passwords
                .hash(password(right), For::Operator)
                .await
                .unwrap(),
            hash
        );
        let hash = stored(&hash);
        for (hash, tried, is_right) in [
            (Some(&hash), right, true),
            (Some(&hash), "correct horse batterz", false),
            (Some(&hash), "", false),
            (None, right, false),
        ] {
            let verified = passwords.verify(hash, tried, For::Known).await;
            assert_eq!(verified, Ok(is_right), "{hash:?} {tried}");
        }
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_a_fault_and_not_a_no() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let verified = passwords
            .verify(Some(&stored("plain")), "plain", For::Known)
            .await;
        assert_eq!(verified, Err(HashError::Failed));
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_stays_right() {
        let hash = "$argon2id$v=19$m=32,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$";
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let own = passwords
            .hash(password("correct horse battery"), For::Operator)
            .await;
        let (own, right) = (own.unwrap(), "correct horse battery");
        let params = Params::new(32, 3, 2, Some(32)).unwrap();
        let argon = Argon2::new(Algorithm::Argon2id, Version::default(), params);
        let mut output = [0; HASH_LEN];
        argon
            .hash_password_into(right.as_bytes(), b"somesaltsomesalt", &mut output)
            .unwrap();
        let other = format!("{hash}{}", Output::new(&output).unwrap());
        // In turn, for they share their memory.
        for hash in [&own, &other, &own, &other] {
            let hash = stored(hash);
            let verify = |tried| passwords.verify(Some(&hash), tried, For::Known);
            assert_eq!(verify(right).await, Ok(true), "{hash:?}");
            assert_eq!(verify("wrong").await, Ok(false), "{hash:?}");
        }
    }

    // Time stands still during an evaluation, because all of them may take a busy
    // machine longer than anybody has patience.
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_strangers_is_refused_and_keeps_out_nobody_who_is_known() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let turns = passwords.strangers.clone();
        let all = u32::try_from(turns.free.available_permits()).unwrap();
        let at_work = turns.free.acquire_many(all).await.unwrap();
        let waiting: Vec<_> = (0..turns.waiting.available_permits())
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.verify(None, "guess", For::Stranger).await })
            })
            .collect();
        while turns.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let one_more = passwords.verify(None, "guess", For::Stranger);
        assert_eq!(one_more.await, Err(HashError::Busy));
        let known = passwords.verify(None, "guess", For::Known);
        assert_eq!(known.await, Ok(false));
        drop(at_work);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ok(false));
        }
        assert!(turns.memory().len() <= all as usize, "memory is used again");
    }

    #[tokio::test]
    async fn a_hash_is_of_the_normal_form_or_of_what_was_typed() {
        let passwords = Passwords::new(Arc::new(Metrics::new())).unwrap();
        let (composed, apart) = ("Zwölf Boxkämpfer", "Zwo\u{308}lf Boxka\u{308}mpfer");
        let normal = passwords.hash(password(apart), For::Operator).await;
        let mut hash = stored(&normal.unwrap());
        for (spelling, tried, is_right) in [
            (Spelling::Normal, composed, true),
            (Spelling::Normal, apart, true),
            // It is the same hash, of a time when it was of what was typed.
            (Spelling::AsTyped, composed, true),
            (Spelling::AsTyped, apart, false),
        ] {
            hash.spelling = spelling;
            let verified = passwords.verify(Some(&hash), tried, For::Known).await;
            assert_eq!(verified, Ok(is_right), "{spelling:?} {tried}");
        }
    }

    #[test]
    fn a_password_has_a_length_and_no_looks() {
        assert_eq!(format!("{:?}", password("twelve chars")), "Password(…)");
        assert!(Password::try_from("ü".repeat(12)).is_ok());
        // As long as people see it.
        for bad in ["", "eleven char", &"x".repeat(129), &"u\u{308}".repeat(11)] {
            let error = Password::try_from(bad.to_owned()).unwrap_err();
            assert!(error.to_string().contains("12 to 128"), "{error}");
        }
    }
}
