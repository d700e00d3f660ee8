//! How an import ends: the audit log is told of the rows that count, and those of one
//! that was given up are taken out.

use std::sync::Arc;
use std::time::Duration;

use super::{Import, KeyStore, PAGE, Pace, Permit, ROWS_LEAST, rows_after};
use crate::engine::import::{ImportError, Importing};
use crate::engine::rows::{ImportId, Stage};
use crate::engine::{Serve, WriteError};
use crate::operations::Operation;
use crate::operations::imports::{
    EndImport, ForgetImport, KeysOfImport, Part, RemoveImportedKeys, RemoveImportedUsers, StageOf,
    TellImported, Timed, UsersOfImport,
};

/// Between two tries of what fails in the background: on a full disk.
const RETRY: Duration = Duration::from_secs(5);

impl<E: Serve + Importing> KeyStore<E> {
    /// Tells the audit log of an import that counts, in the order of its users, which
    /// is the quickest. What fails is left to [`Self::finish`].
    pub(super) async fn tell_staged(&self, id: ImportId, import: Import<E::Staging>, pace: Pace) {
        let permit = import.permit.clone();
        if let Err(error) = self.try_tell_staged(id, import, pace).await {
            tracing::warn!(%error, "the audit log hears of an import later");
            tokio::spawn(self.clone().finish(id, permit));
        }
    }

    async fn try_tell_staged(
        &self,
        id: ImportId,
        mut import: Import<E::Staging>,
        mut pace: Pace,
    ) -> Result<(), ImportError> {
        let mut last = None;
        loop {
            let read = rows_after(import, last).await;
            import = read.import;
            let page = read.result?;
            let Some(row) = page.last() else { break };
            last = Some(row.user.clone());
            let keys = page.iter().map(|row| row.digest).collect();
            self.in_steps(keys, &mut pace, TellImported).await?;
        }
        Ok(self.engine.run(EndImport(id)).await?)
    }

    /// Does with all the items what `step` does with as many as one change takes.
    async fn in_steps<T, O>(
        &self,
        items: Vec<T>,
        pace: &mut Pace,
        step: impl Fn(Part<T>) -> O,
    ) -> Result<(), WriteError>
    where
        O: Operation<Out = usize> + Send + Sync + 'static,
    {
        let items = Arc::new(items);
        let mut done = 0;
        while done < items.len() {
            let some = Part {
                of: items.clone(),
                range: done..items.len().min(done + pace.0),
            };
            let turn = self.engine.run(Timed(step(some))).await?;
            pace.took(turn.out, turn.began.elapsed());
            done += turn.out;
        }
        Ok(())
    }

    /// Brings to an end what an import has left: takes out the rows of one that
    /// does not count, tells the audit log of one that does. Returns its revision if
    /// it does. Ends early only with the store.
    pub(in crate::keystore) async fn finish(self, id: ImportId, _permit: Permit) -> Option<u64> {
        loop {
            let (revision, left) = match self.engine.read(StageOf(id)).await {
                Ok(Stage::Over) => return None,
                Ok(Stage::Staged) => (None, self.remove(id).await),
                Ok(Stage::Counts(revision)) => (Some(revision), self.tell_all(id).await),
                Err(error) => (None, Err(error.into())),
            };
            match left {
                Ok(()) => return revision,
                Err(ImportError::Write(WriteError::Stopping)) => return revision,
                Err(error) => {
                    tracing::warn!(%error, "an import cannot be brought to an end yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn tell_all(&self, id: ImportId) -> Result<(), ImportError> {
        self.each_key(id, TellImported).await?;
        Ok(self.engine.run(EndImport(id)).await?)
    }

    async fn remove(&self, id: ImportId) -> Result<(), ImportError> {
        let remove = |keys| RemoveImportedKeys { import: id, keys };
        self.each_key(id, remove).await?;
        let (mut last, mut pace) = (None, Pace(ROWS_LEAST));
        loop {
            let page = UsersOfImport {
                import: id,
                after: last,
                limit: PAGE,
            };
            let page = self.engine.read(page).await?;
            let Some(user) = page.last() else { break };
            last = Some(user.clone());
            let remove = |users| RemoveImportedUsers { import: id, users };
            self.in_steps(page, &mut pace, remove).await?;
        }
        self.engine.run(ForgetImport(id)).await?;
        tracing::info!("the rows of an import that was given up are removed");
        Ok(())
    }

    /// Does `step` with all keys of an import, in their order.
    async fn each_key<O>(
        &self,
        id: ImportId,
        step: impl Fn(Part<rekey_protocol::Digest>) -> O,
    ) -> Result<(), ImportError>
    where
        O: Operation<Out = usize> + Send + Sync + 'static,
    {
        let (mut last, mut pace) = (None, Pace(ROWS_LEAST));
        loop {
            let page = KeysOfImport {
                import: id,
                after: last,
                limit: PAGE,
            };
            let page = self.engine.read(page).await?;
            let Some(digest) = page.last() else {
                return Ok(());
            };
            last = Some(*digest);
            self.in_steps(page, &mut pace, &step).await?;
        }
    }
}
