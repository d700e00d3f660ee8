//! What an import does, as short changes: its rows go in without counting, one
//! change makes all of them count, and then the audit log is told of each. One that
//! is given up before that is taken out again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use rekey_protocol::{Digest, UserId};

use super::{Context, Kind, Operation, Read};
use crate::engine::import::RowFault;
use crate::engine::look::Look;
use crate::engine::rows::{ImportId, ImportedRow, Loaded, Stage, UserStatus};
use crate::engine::tx::settle;
use crate::engine::{ReadTx, Tx};

/// Some of many items, which all changes share.
#[derive(Debug)]
pub struct Part<T> {
    /// All.
    pub of: Arc<Vec<T>>,
    /// These of them.
    pub range: Range<usize>,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self {
            of: self.of.clone(),
            range: self.range.clone(),
        }
    }
}

impl<T> Part<T> {
    fn items(&self) -> &[T] {
        self.of.get(self.range.clone()).unwrap_or_default()
    }
}

/// An operation, and when its turn came.
#[derive(Debug, Clone)]
pub struct Timed<O>(pub O);

/// What an operation answered whose turn came then.
#[derive(Debug, Clone, Copy)]
pub struct Measured<T> {
    /// When its turn came, the last time that it was applied.
    pub began: Instant,
    /// What it answered.
    pub out: T,
}

impl<O: Operation> Operation for Timed<O> {
    type Out = Measured<O::Out>;

    const KIND: Kind = O::KIND;

    fn settle(out: &mut Self::Out, committed: u64) {
        O::settle(&mut out.out, committed);
    }

    fn looks_at(&self) -> Vec<Look> {
        self.0.looks_at()
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Self::Out, T::Error> {
        let began = Instant::now();
        let out = self.0.apply(tx, cx)?;
        Ok(Measured { began, out })
    }
}

/// Begins an import without rows.
#[derive(Debug, Clone, Copy)]
pub struct BeginImport;

impl Operation for BeginImport {
    type Out = ImportId;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<ImportId, T::Error> {
        tx.begin_import(cx.now.told)
    }
}

/// Puts in as many of the rows as one change takes. Where one conflicts, the last ones
/// may be left in: the whole import is given up then.
#[derive(Debug, Clone)]
pub struct LoadRows {
    /// One that does not count yet.
    pub import: ImportId,
    /// As many as one change should take.
    pub rows: Part<ImportedRow>,
}

impl Operation for LoadRows {
    type Out = Loaded;

    const KIND: Kind = Kind::Import;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<Loaded, T::Error> {
        tx.insert_imported(self.import, self.rows.items(), cx.now.told)
    }
}

/// From now on all rows of the import count; returns the revision of that.
#[derive(Debug, Clone, Copy)]
pub struct CountImport(pub ImportId);

impl Operation for CountImport {
    type Out = u64;

    fn settle(out: &mut u64, committed: u64) {
        settle(out, committed);
    }

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<u64, T::Error> {
        let revision = tx.next_revision(cx.now)?;
        tx.count_import(self.0, revision, cx.now.told)?;
        Ok(revision)
    }
}

/// Tells the audit log of keys whose import counts, unless it has been told; of
/// how many, from the first on.
#[derive(Debug, Clone)]
pub struct TellImported(pub Part<Digest>);

impl Operation for TellImported {
    type Out = usize;

    const KIND: Kind = Kind::Import;

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<usize, T::Error> {
        tx.tell_imported(self.0.items())
    }
}

/// The audit log has been told of all keys of the import.
#[derive(Debug, Clone, Copy)]
pub struct EndImport(pub ImportId);

impl Operation for EndImport {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<(), T::Error> {
        tx.end_import(self.0)
    }
}

/// Takes out keys of an import that does not count; how many, from the first on.
#[derive(Debug, Clone)]
pub struct RemoveImportedKeys {
    /// One that was given up.
    pub import: ImportId,
    /// As many as one change should take.
    pub keys: Part<Digest>,
}

impl Operation for RemoveImportedKeys {
    type Out = usize;

    const KIND: Kind = Kind::Removal;

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<usize, T::Error> {
        tx.remove_imported_keys(self.import, self.keys.items())
    }
}

/// Takes out users of an import that does not count, whose keys are out already;
/// how many, from the first on.
#[derive(Debug, Clone)]
pub struct RemoveImportedUsers {
    /// One that was given up.
    pub import: ImportId,
    /// As many as one change should take.
    pub users: Part<UserId>,
}

impl Operation for RemoveImportedUsers {
    type Out = usize;

    const KIND: Kind = Kind::Removal;

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<usize, T::Error> {
        tx.remove_imported_users(self.import, self.users.items())
    }
}

/// Nothing is left of an import that does not count.
#[derive(Debug, Clone, Copy)]
pub struct ForgetImport(pub ImportId);

impl Operation for ForgetImport {
    type Out = ();

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<(), T::Error> {
        tx.forget_import(self.0)
    }
}

/// How far an import has come.
#[derive(Debug, Clone, Copy)]
pub struct StageOf(pub ImportId);

impl Read for StageOf {
    type Out = Stage;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Stage, T::Error> {
        tx.import_stage(self.0)
    }
}

/// The imports that an earlier incarnation of the store has left unfinished.
#[derive(Debug, Clone, Copy)]
pub struct UnfinishedImports;

impl Read for UnfinishedImports {
    type Out = Vec<ImportId>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.unfinished_imports()
    }
}

/// At most `limit` keys of an import after this one, in their order.
#[derive(Debug, Clone, Copy)]
pub struct KeysOfImport {
    /// Which one.
    pub import: ImportId,
    /// None: from the first.
    pub after: Option<Digest>,
    /// At most so many.
    pub limit: usize,
}

impl Read for KeysOfImport {
    type Out = Vec<Digest>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.imported_keys(self.import, self.after.as_ref(), self.limit)
    }
}

/// At most `limit` users of an import after this one, in their order.
#[derive(Debug, Clone)]
pub struct UsersOfImport {
    /// Which one.
    pub import: ImportId,
    /// None: from the first.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: usize,
}

impl Read for UsersOfImport {
    type Out = Vec<UserId>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        tx.imported_users(self.import, self.after.as_ref(), self.limit)
    }
}

/// Compares rows with what counts in the data; what is wrong with each, in their order.
#[derive(Debug, Clone)]
pub struct CheckRows(pub Part<ImportedRow>);

impl Read for CheckRows {
    type Out = Vec<Vec<RowFault>>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let rows = self.0.items().iter();
        rows.map(|row| faults(tx, row)).collect()
    }

    fn looks_at(&self) -> Vec<Look> {
        let looks = self.0.items().iter().flat_map(|row| {
            let address = row.email.clone().map(Look::Address);
            let both = [Look::Key(row.digest), Look::User(row.user.clone())];
            both.into_iter().chain(address)
        });
        looks.collect()
    }
}

fn faults<T: ReadTx>(tx: &T, row: &ImportedRow) -> Result<Vec<RowFault>, T::Error> {
    let mut faults = Vec::new();
    if let Some(key) = tx.key(&row.digest)? {
        faults.push(RowFault::KnownKey(key.state));
    }
    let status = tx.user_status(&row.user)?;
    if status.is_some_and(|status| status != UserStatus::Here) {
        faults.push(RowFault::RemovedUser);
    }
    let active = tx.active_key(&row.user)?;
    if active.is_some_and(|active| active.digest != row.digest) {
        faults.push(RowFault::HasKey);
    }
    if let Some(typed) = &row.email {
        let owner = tx.owner_of_email(typed)?;
        let is_own = owner.as_ref() == Some(&row.user);
        if owner.is_some() && !is_own {
            faults.push(RowFault::TakenEmail);
        }
        if status == Some(UserStatus::Here) && !is_own {
            faults.push(RowFault::OtherEmail);
        }
    }
    Ok(faults)
}
