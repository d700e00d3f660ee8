//! The database of the key store: SQLite, one writer, many readers.
//!
//! Knows no HTTP. What a client asks for in vain is a refusal inside `Ok`;
//! `Err` is always the store's own fault.

mod accounts;
pub mod direct;
mod files;
mod health;
mod imports;
mod open;
mod ownership;
mod reader;
mod records;
mod replays;
mod schema;
mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rekey_protocol::{Digest, ResolvedState, RotateRequest, UserId};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::api::{AuditPage, KeyShown, RevokeResponse, UserEntry};
use crate::clock::{Clock, Moment, UnixMillis};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::rotation::RotationInterval;

pub use accounts::BySession;
pub use files::backup::{
    BackupError, Contents, Made as MadeBackup, Target as BackupTarget, backup,
};
pub use files::restore::{Later, Loss, Restore, RestoreError, Restored};
pub use health::{DiskUse, NotReady};
pub use imports::run::{Import, Imported, Permit};
pub use imports::staging::{ImportError, Staging};
pub use open::OpenError;
pub use ownership::lock::Lost;
pub use reader::ReadError;
pub use replays::ReplayPlace;
pub use tables::audit::Selection;
pub use tables::keys::{Resolved, Revoke, RevokeRefusal, Unknown};
pub use tables::last_uses::LastUse;
pub use tables::own_key::{AT_ONCE_PER_DAY, Made, Overview, OwnKey, OwnRefusal, Wish};
pub use tables::passwords::{Account, Change as PasswordChange, PasswordHash, PasswordRefusal};
pub use tables::removal::{EmailRefusal, RemoveRefusal, Removed};
pub use tables::rotate::{Again, Rotated};
pub use tables::sessions::{LogIn, NewSession, OpenSession, SESSION_LONGEST, SessionLimits};
pub use tables::users::{AddRefusal, IssueRefusal, Issued, NewUser};
pub use writer::fate::WriteError;
pub use writer::{Patience, WriterThread};

use files::{backup, restore};
use health::Health;
use ownership::keeper::Owned;
use ownership::lock::Lock;
use ownership::{anchor, keeper, life, lock, record};
use reader::Readers;
use replays::{Awaited, Replays};
use tables::last_uses::LastUses;
use tables::old_keys::OldKeys;
use tables::{
    audit, columns, keys, last_uses, old_keys, own_key, passwords, people, removal, rotate,
    sessions, users,
};
use writer::{Kind, Writer, fate};

/// Reading connections: reads are short, so a few per core keep it busy.
const READERS_PER_CORE: usize = 2;
/// Between two turns of deleting what is of no use any more.
const CLEAR_UP_EVERY: Duration = Duration::from_secs(60);

/// Between two looks at the files of an idle store.
const CHECK_OWNERSHIP_EVERY: Duration = Duration::from_secs(1);
/// Old keys that the operator is shown.
const OLD_KEYS_SHOWN: u32 = 10;

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    writer: Writer,
    readers: Readers,
    /// For the dashboard: however many strangers look at it, key checks find a
    /// connection.
    aside: Readers,
    clock: Arc<Clock>,
    interval: RotationInterval,
    path: PathBuf,
    imports: Arc<Semaphore>,
    feed: Feed,
    lock: Arc<Lock>,
    replays: Arc<Mutex<Replays>>,
    /// New keys of rotations that may be answered again, until they are used.
    awaited: Arc<Awaited>,
    old_keys: OldKeys,
    health: Health,
    last_uses: LastUses,
}

/// What must outlive all clones of a [`Database`]: the writing thread, and the
/// ownership of the file (S10).
pub struct Owner {
    /// The thread that writes.
    pub writer: WriterThread,
    lock: Arc<Lock>,
}

impl Owner {
    /// Waits until the database may be another process's (S10). Nothing is to be
    /// answered from then on.
    pub fn lost(&self) -> impl Future<Output = Lost> + use<> {
        let lock = self.lock.clone();
        async move {
            let mut turns = tokio::time::interval(CHECK_OWNERSHIP_EVERY);
            loop {
                tokio::select! {
                    lost = lock.lost() => return lost,
                    // Also where nobody asks for anything.
                    _ = turns.tick() => drop(lock.check()),
                }
            }
        }
    }

    /// After [`Database::stop`]: waits for the last commit, then gives up the
    /// file. Whether all went well. Blocks.
    pub fn release(self) -> bool {
        let ended_well = self.writer.join();
        drop(self.lock);
        ended_well
    }
}

impl Database {
    /// Opens or creates the database and begins a new incarnation (S8).
    pub fn open(
        path: &Path,
        interval: RotationInterval,
        accept_restore: bool,
        replays: &ReplayPlace,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Owner), OpenError> {
        let opened = open::open(path, accept_restore)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::open(&opened.path, cores * READERS_PER_CORE)?;
        let aside = Readers::open(&opened.path, 1)?;
        let clock = Arc::new(Clock::resume(opened.time));
        metrics.set_revision(opened.mark.revision);
        // S9: until then it is only supposed what former lives have granted.
        let settled = (opened.feed.held_lease_ms > opened.feed.longest_lease_ms)
            .then(|| records::lease_over(opened.feed.held_lease_ms));
        let life = opened.feed.history.head().incarnation;
        let feed = Feed::new(opened.feed, metrics.clone());
        let lock = Arc::new(opened.lock);
        let keeper = Box::new(Owned {
            feed: feed.clone(),
            lock: lock.clone(),
            life,
        });
        let unfinished = imports::unfinished(&opened.writer)?;
        let replays = Replays::open(&opened.path, replays)?;
        let awaited = Awaited::default();
        for digest in replays.awaited()? {
            awaited.expect(digest, clock.now().limit);
        }
        let are_kept = replays.are_kept();
        let replays = Arc::new(Mutex::new(replays));
        let health = Health::new();
        let (writer, thread) = Writer::start(
            opened.writer,
            clock.clone(),
            metrics.clone(),
            replays.clone(),
            health.clone(),
            (opened.mark.revision, keeper),
        )
        .map_err(|error| OpenError::Unwritable {
            path: opened.path.clone(),
            error,
        })?;
        if let Some(after) = settled {
            tokio::spawn(records::settle(after, writer.clone(), lock.clone()));
        }
        if are_kept {
            tokio::spawn(clear_up(writer.clone()));
        }
        let owner = Owner {
            writer: thread,
            lock: lock.clone(),
        };
        let old_keys = OldKeys::start(writer.clone(), metrics.clone());
        let last_uses = LastUses::start(writer.clone(), metrics.clone());
        let database = Self {
            writer,
            readers,
            aside,
            clock,
            interval,
            path: opened.path,
            imports: Arc::new(Semaphore::new(1)),
            feed,
            lock,
            replays,
            awaited: Arc::new(awaited),
            old_keys,
            last_uses,
            health,
        };
        if let (false, Ok(permit)) = (unfinished.is_empty(), database.import_permit()) {
            for import in unfinished {
                tokio::spawn(database.clone().finish(import, permit.clone()));
            }
        }
        Ok((database, owner))
    }

    /// How long a user waits between two rotations.
    pub fn interval(&self) -> RotationInterval {
        self.interval
    }

    /// Who is behind this digest? [`Unknown`]: never issued or imported. The second
    /// value is the seconds until the user may rotate, 0: at once.
    ///
    /// Gateways ask it for their clients only (G12), so it is a use of the key; the
    /// first one of a new key is noted for its rotation, too.
    pub async fn resolve(
        &self,
        digest: Digest,
    ) -> Result<Result<(Resolved, u64), Unknown>, ReadError> {
        let resolved = self
            .readers
            .read(move |connection| keys::resolve(connection, &digest))
            .await?;
        let is_active = |resolved: &Resolved| resolved.state == ResolvedState::Active;
        if resolved.as_ref().is_ok_and(is_active) {
            self.last_uses.looked_up(digest);
            if self.awaited.comes(&digest) {
                self.note_use(digest);
            }
        }
        Ok(resolved.map(|resolved| {
            let wait = self
                .interval
                .retry_after(resolved.last_rotated, self.clock.now().limit);
            (resolved, wait.unwrap_or(0))
        }))
    }

    /// Whether a revoked key's rotation may be answered again (X5).
    pub fn is_replayable(&self, resolved: &Resolved) -> bool {
        let until = resolved.replay_until;
        until.is_some_and(|until| self.clock.now().limit < until)
    }

    /// X4: the client has its new key. Off the way of who asked.
    fn note_use(&self, digest: Digest) {
        let (writer, replays) = (self.writer.clone(), self.replays.clone());
        let (awaited, now) = (self.awaited.clone(), self.clock.now().limit);
        tokio::spawn(async move {
            let note =
                move |_: &Connection, now: Moment| writer::lock(&replays).used(&digest, now.limit);
            if let Err(error) = writer.change(Kind::Admin, note).await {
                tracing::warn!(%error, "the use of a new key was not noted");
                // By the next one.
                awaited.expect(digest, now);
            }
        });
    }

    /// Replaces a key by another one, or says why not. It is not begun when the
    /// patience of the request is over, counted from its arrival.
    pub async fn rotate(
        &self,
        request: RotateRequest,
        arrived: Instant,
    ) -> Result<Rotated, WriteError> {
        let (interval, replays) = (self.interval, self.replays.clone());
        let awaited = self.awaited.clone();
        let patience = Patience::Until(arrived + request.patience());
        self.writer
            .change_in(Kind::Rotation, patience, move |transaction, now| {
                let replays = &mut writer::lock(&replays);
                let rotated = rotate::rotate(transaction, replays, now, interval, &request)?;
                let is_new = matches!(
                    rotated,
                    Rotated::Done {
                        repeated: false,
                        ..
                    }
                );
                // Here, for nobody may be left to read the answer. One that is not
                // committed after all is a key that nobody will use.
                if is_new && request.replay.is_some() {
                    awaited.expect(request.new_digest, now.limit);
                }
                Ok(rotated)
            })
            .await
    }

    /// Adds a user and the first key; returns when.
    pub async fn add_user(
        &self,
        new: NewUser,
    ) -> Result<Result<UnixMillis, AddRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                users::add(transaction, now, &new)
            })
            .await
    }

    /// Gives a user without an active key a new one.
    pub async fn issue(
        &self,
        user: UserId,
        digest: Digest,
        hint: String,
    ) -> Result<Result<Issued, IssueRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                users::issue(transaction, now, &user, &digest, &hint)
            })
            .await
    }

    /// At most `limit` users after the id `after`.
    pub async fn users(&self, after: String, limit: u32) -> Result<Vec<UserEntry>, ReadError> {
        self.readers
            .read(move |connection| users::list(connection, &after, limit))
            .await
    }

    /// Ends a key.
    pub async fn revoke(
        &self,
        which: Revoke,
    ) -> Result<Result<RevokeResponse, RevokeRefusal>, WriteError> {
        self.writer
            .change(Kind::Admin, move |transaction, now| {
                keys::revoke(transaction, now, &which)
            })
            .await
    }

    /// The audit events that are wanted. If these are all of a user, also what is
    /// done with the user's old keys. `None`: no such user.
    pub async fn audit(&self, wanted: Selection) -> Result<Option<AuditPage>, ReadError> {
        self.readers
            .read(move |connection| {
                let snapshot = connection.transaction()?;
                let user = wanted.user.as_ref();
                let standing = user
                    .map(|user| users::standing(&snapshot, user))
                    .transpose()?;
                if matches!(standing, Some(None | Some(users::Standing::Removed))) {
                    return Ok(None);
                }
                let events = audit::list(&snapshot, &wanted)?;
                let is_full = events.len() == wanted.limit as usize;
                let next = events.last().filter(|_| is_full).map(|last| last.id);
                let old_keys = match (user, next) {
                    (Some(user), None) => old_keys::of_user(&snapshot, user, OLD_KEYS_SHOWN)?,
                    _ => Vec::new(),
                };
                Ok(Some(AuditPage {
                    events,
                    next,
                    old_keys,
                }))
            })
            .await
    }

    /// What the operator is shown of a key; `None`: no such key.
    pub async fn key(&self, digest: Digest) -> Result<Option<KeyShown>, ReadError> {
        let read = self
            .readers
            .read(move |connection| keys::show(connection, &digest));
        read.await
    }

    /// Uses of replaced and revoked keys.
    pub fn old_keys(&self) -> &OldKeys {
        &self.old_keys
    }

    /// Last uses of keys.
    pub fn last_uses(&self) -> &LastUses {
        &self.last_uses
    }

    /// The change feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether the database can be read.
    pub async fn check(&self) -> Result<(), ReadError> {
        let read = |db: &mut Connection| db.query_row("SELECT 1 FROM meta", [], |_| Ok(()));
        self.readers.read(read).await
    }

    /// Takes no more changes; those under way are still made.
    pub async fn stop(&self) {
        if let Err(error) = self.old_keys.flush().await {
            tracing::warn!(%error, "uses of revoked keys were not written down");
        }
        self.last_uses.finish().await;
        self.writer.stop().await;
    }
}

/// Has what was kept for replays deleted in time, also where nobody writes.
async fn clear_up(writer: Writer) {
    let mut turns = tokio::time::interval(CLEAR_UP_EVERY);
    loop {
        turns.tick().await;
        if let Err(WriteError::Stopping) = writer.change(Kind::Admin, |_, _| Ok(())).await {
            return;
        }
    }
}

/// Counts one change: every change has a revision of its own. Notes the time
/// that it acted upon, which is never forgotten (S12).
fn next_revision(transaction: &Connection, now: Moment) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached(
            "UPDATE meta SET revision = revision + 1, time_ms = max(time_ms, ?1), wall_ms = ?2
             RETURNING revision",
        )?
        .query_row([now.limit.0, now.told.0], |row| row.get(0))
}
