//! What tests of what stands on the engine need to see of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::writer::Writer;
use super::{Sqlite, keys};
use crate::engine::rows::NewKey;
use crate::engine::serve::{EngineSettings, ReplayPlace};
use crate::metrics::Metrics;
use crate::operations::Kind;
use crate::operations::incarnation::OlderData;
use crate::rules::rotation::RotationLimit;

/// For a database in this folder.
pub(crate) fn settings(folder: &Path, replays: ReplayPlace) -> EngineSettings<PathBuf> {
    EngineSettings {
        place: folder.join("rekey.db"),
        older_data: OlderData::Refused,
        replays,
        interval: RotationLimit::HOUR,
        metrics: Arc::new(Metrics::new()),
    }
}

impl Sqlite {
    /// The way to the writing thread.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The one number that a statement answers.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let read =
            move |connection: &mut Connection| connection.query_row(sql, [], |row| row.get(0));
        self.readers.read(read).await.unwrap()
    }

    /// Whether a key may be of a user that there is not.
    pub async fn takes_orphans(&self) -> bool {
        let orphan = self.writer.change(Kind::Admin, |transaction, now| {
            let key = NewKey {
                digest: &rekey_protocol::Digest::from_bytes([77; 32]),
                user: &"nobody".parse().unwrap(),
                hint: None,
                created: now.told,
                revision: 1,
            };
            keys::insert(transaction, &key)
        });
        orphan.await.is_ok()
    }
}
