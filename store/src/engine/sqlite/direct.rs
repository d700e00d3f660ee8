//! The store's own transactions, one by one, on a database in memory: for a
//! simulator, which brings its own time and its own ids and needs no thread.
//!
//! What happens in a transaction is decided where the server has it decided;
//! this file only begins and commits.

use rekey_protocol::{Change, Digest, Incarnation, UserId};
use rusqlite::{Connection, TransactionBehavior};

use super::anchor::anchor_of;
use super::replays::Replays;
use super::{ReplayFile, SqliteTx, history, imports, keeper, life, schema};
use crate::clock::{Moment, UnixMillis};
use crate::engine::anchor::Steps;
use crate::engine::record::{Memo, Past, Record};
use crate::engine::rows::{ImportId, ImportedRow};
use crate::feed::core::Start;
use crate::feed::history::PAGE;
use crate::operations::imports::CountImport;
use crate::operations::keys::{Resolve, Resolved, Unknown};
use crate::operations::life::Begin;
use crate::operations::{Context, Operation, Read};
use crate::rotation::RotationInterval;

/// What one committed transaction left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// The result of the change.
    pub result: T,
    /// The revision after it.
    pub revision: u64,
    /// The keys that it revoked.
    pub revoked: Vec<Change>,
}

/// A user with a key, as an import brings them.
#[derive(Debug, Clone)]
pub struct ImportedKey {
    /// Whose.
    pub user: UserId,
    /// Of the key.
    pub digest: Digest,
}

impl ImportedKey {
    fn row(&self) -> ImportedRow {
        ImportedRow {
            user: self.user.clone(),
            digest: self.digest,
            email: None,
            email_normal: None,
            hint: None,
        }
    }
}

/// An import whose rows are in.
#[derive(Debug, Clone, Copy)]
pub struct Loading(ImportId);

/// A database in memory.
pub struct Ledger {
    connection: Connection,
    interval: RotationInterval,
    /// Revocations up to here were handed out in a [`Committed`].
    published: u64,
    /// What is on disk beside the database, which no backup carries.
    beside: Past,
    memo: Memo,
    /// Beside the database as well, with its wrapping keys.
    kept: ReplayFile,
}

impl Ledger {
    /// An empty one, with the schema of the server's.
    pub fn new(interval: RotationInterval) -> Result<Self, super::OpenError> {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::migrate(&mut connection)?;
        Ok(Self {
            connection,
            interval,
            published: 0,
            beside: Past::Nothing,
            memo: Memo::found(Past::Nothing),
            kept: ReplayFile::new(Replays::in_memory()?, UnixMillis(0))?,
        })
    }

    /// Begins an incarnation, as every start of the store does (S8).
    pub fn start(
        &mut self,
        id: Incarnation,
        wall: UnixMillis,
        accept_restore: bool,
    ) -> Result<Start, super::OpenError> {
        self.memo = Memo::found(self.beside);
        if !accept_restore && life::is_restored(&self.connection, self.beside)? {
            self.memo.look_only();
        }
        self.fold(wall)?;
        let begin = Begin {
            id,
            wall,
            past: self.beside,
            accept_restore,
        };
        let begun = life::begin_incarnation(&mut self.connection, &begin)?;
        self.published = begun.mark.revision;
        self.note(|memo| memo.begin(&begun.feed, begun.mark));
        Ok(begun.feed)
    }

    /// All leases of former lives are over.
    pub fn settle(&mut self) {
        self.note(Memo::settle);
    }

    fn note(&mut self, change: impl FnOnce(&mut Memo) -> Option<Record>) {
        if let Some(record) = change(&mut self.memo) {
            self.beside = Past::Known(record);
        }
    }

    /// A copy of all that is on disk now.
    pub fn backup(&mut self) -> rusqlite::Result<Vec<u8>> {
        self.connection.serialize("main").map(|data| data.to_vec())
    }

    /// Takes a backup's content in place of its own.
    pub fn restore(&mut self, backup: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .deserialize_read_exact("main", backup, backup.len(), false)
    }

    /// The log is folded into the file, as [`super::anchor`] has it done.
    pub fn fold(&mut self, wall: UnixMillis) -> rusqlite::Result<()> {
        let before = anchor_of(&self.connection)?;
        let steps = Steps::new(self.memo.anchor(), before, wall);
        self.note(|memo| memo.anchored(steps.under_way));
        self.connection
            .execute("UPDATE anchor SET value = ?1", [steps.next])?;
        self.note(|memo| memo.anchored(steps.done));
        Ok(())
    }

    /// What SQLite makes of this backup and the log of the present state, which is
    /// left beside it: the present state, if the log continues the backup.
    pub fn continues(&self, backup: &[u8]) -> rusqlite::Result<bool> {
        let mut file = Connection::open_in_memory()?;
        file.deserialize_read_exact("main", backup, backup.len(), true)?;
        let in_file = anchor_of(&file)?;
        let known = match self.beside {
            Past::Known(record) => [record.anchor, record.looked_at],
            Past::Nothing | Past::Unknown => [None; 2],
        };
        let known: Vec<_> = known.into_iter().flatten().collect();
        let fits = known.is_empty() || known.iter().any(|anchor| anchor.includes(in_file));
        let in_log: u64 = self
            .connection
            .query_row("SELECT anchor FROM meta", [], |row| row.get(0))?;
        Ok(fits && in_log <= in_file)
    }

    /// Lays the newest pages of the two tables that every commit changes over a
    /// backup, as SQLite would if the log were not looked at before.
    pub fn mix(&mut self, backup: &[u8]) -> rusqlite::Result<()> {
        let newest = self.backup()?;
        self.restore(backup)?;
        let mut log = Connection::open_in_memory()?;
        log.deserialize_read_exact("main", newest.as_slice(), newest.len(), true)?;
        self.connection.execute("DELETE FROM incarnations", [])?;
        let mut lives = log.prepare(
            "SELECT first_revision, id, started_ms, last_revision, last_commits FROM incarnations",
        )?;
        let mut lives = lives.query([])?;
        while let Some(row) = lives.next()? {
            let life: (u64, [u8; 16], i64, Option<u64>, Option<u64>) = row.try_into()?;
            self.connection
                .execute("INSERT INTO incarnations VALUES (?1, ?2, ?3, ?4, ?5)", life)?;
        }
        let meta: (u64, i64, u32, u64, u64, u64) = log.query_row(
            "SELECT revision, time_ms, longest_lease_ms, accepted_before, commits, anchor FROM meta",
            [],
            |row| row.try_into(),
        )?;
        self.connection
            .execute(
                "UPDATE meta SET revision = ?1, time_ms = ?2, longest_lease_ms = ?3,
                                 accepted_before = ?4, commits = ?5, anchor = ?6",
                meta,
            )
            .map(drop)
    }

    /// What is beside the database is lost, as after a move.
    pub fn lose_beside(&mut self) {
        self.beside = Past::Nothing;
    }

    /// Whether the lock file says what was served last.
    pub fn has_record(&self) -> bool {
        matches!(self.beside, Past::Known(_))
    }

    /// As [`crate::engine::serve::Serve::context`].
    pub fn interval(&self) -> RotationInterval {
        self.interval
    }

    /// Carries an operation out, at this moment.
    pub fn run<O: Operation>(
        &mut self,
        operation: &O,
        now: UnixMillis,
    ) -> rusqlite::Result<Committed<O::Out>> {
        let cx = self.context(now);
        self.change(|transaction, kept| operation.apply(&mut SqliteTx::new(transaction, kept), &cx))
    }

    /// Looks, at this moment.
    pub fn read<R: Read>(&self, read: &R, now: UnixMillis) -> rusqlite::Result<R::Out> {
        read.read(&SqliteTx::reading(&self.connection), &self.context(now))
    }

    fn context(&self, now: UnixMillis) -> Context {
        Context {
            now: Moment::both(now),
            interval: self.interval,
        }
    }

    /// As [`crate::keystore::KeyStore::resolve`].
    pub fn resolve(
        &self,
        digest: &Digest,
        now: UnixMillis,
    ) -> rusqlite::Result<Result<(Resolved, u64), Unknown>> {
        let resolved = self.read(&Resolve(*digest), now)?;
        Ok(resolved.map(|resolved| {
            let wait = self.interval.retry_after(resolved.last_rotated, now);
            (resolved, wait.unwrap_or(0))
        }))
    }

    /// A gateway resolves this key for a client, as [`crate::keystore::KeyStore::resolve`]
    /// notes it.
    pub fn used(&mut self, digest: &Digest, now: UnixMillis) -> rusqlite::Result<()> {
        let mut records = self.kept.records();
        records.used(digest, now)?;
        records.flush()
    }

    /// As [`crate::feed::Records::record_lease`].
    pub fn record_lease(&mut self, lease_ms: u32) -> rusqlite::Result<()> {
        self.change(|transaction, _| history::record_lease(transaction, lease_ms))?;
        self.note(|memo| memo.grant(lease_ms));
        Ok(())
    }

    /// An import has come so far: these users and their keys are in, and do not count.
    pub fn load_import(
        &mut self,
        rows: &[ImportedKey],
        now: UnixMillis,
    ) -> rusqlite::Result<Committed<Loading>> {
        let now = Moment::both(now);
        let rows: Vec<_> = rows.iter().map(ImportedKey::row).collect();
        self.change(|transaction, _| {
            let id = imports::begin(transaction, now.told)?;
            imports::load(transaction, id, &rows, now.told)?;
            Ok(Loading(id))
        })
    }

    /// From now on its keys count.
    pub fn count_import(
        &mut self,
        loading: Loading,
        now: UnixMillis,
    ) -> rusqlite::Result<Committed<u64>> {
        self.run(&CountImport(loading.0), now)
    }

    /// What every start does about imports that were stopped half-way.
    pub fn finish_imports(&mut self) -> rusqlite::Result<()> {
        for id in imports::unfinished(&self.connection)? {
            let keys = imports::keys_after(&self.connection, id, None, usize::MAX >> 1)?;
            let users = imports::users_after(&self.connection, id, None, usize::MAX >> 1)?;
            self.change(|transaction, _| {
                imports::tell(transaction, &keys)?;
                imports::told(transaction, id)?;
                imports::remove_keys(transaction, id, &keys)?;
                imports::remove_users(transaction, id, &users)?;
                imports::forget(transaction, id)
            })?;
        }
        Ok(())
    }

    /// How many active keys each user has, of those who have more than one;
    /// the schema holds it empty (I3).
    pub fn users_with_two_keys(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(
            "SELECT count(*) FROM (SELECT user_id FROM live_keys WHERE state = 'active'
             GROUP BY user_id HAVING count(*) > 1)",
            [],
            |row| row.get(0),
        )
    }

    fn change<T>(
        &mut self,
        work: impl FnOnce(&Connection, &ReplayFile) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Committed<T>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = transaction.total_changes();
        let result = work(&transaction, &self.kept)?;
        let is_changed = transaction.total_changes() != before;
        let mark = keeper::count_commit(&transaction, is_changed)?;
        let revision = mark.revision;
        let revoked = history::revoked_after(&transaction, self.published, PAGE)?;
        self.kept.records().flush()?;
        transaction.commit()?;
        let mut records = self.kept.records();
        records.forget(&revoked)?;
        records.flush()?;
        drop(records);
        self.published = revision;
        if is_changed {
            self.note(|memo| memo.committed(mark));
        }
        Ok(Committed {
            result,
            revision,
            revoked,
        })
    }
}
