//! Uses of keys: the hour of the last one, and what is done with old keys.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rekey_protocol::{Digest, UserId};

use crate::api::OldKeyUse;
use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{KeptKey, KeptUses, LastHour};
use crate::engine::keyspace::space::{Change, Range, Space};
use crate::engine::keyspace::{Held, KeyspaceTx};
use crate::engine::rows::{LastUse, OldKeyUsed};
use crate::operations::uses::last_uses::hour_of;

/// The uses of an old key.
struct OldKey {
    digest: Digest,
    row: KeptUses,
}

impl<S: Space> KeyspaceTx<'_, S> {
    pub(crate) fn last_use(&self, digest: &Digest) -> Result<Option<LastUse>, S::Error> {
        self.look_ahead(&[names::key(digest), names::last_use(digest)])?;
        let Some(Held { row, .. }) = self.any_key(digest)? else {
            return Ok(None);
        };
        let hour = self.last_hour(digest)?;
        Ok(Some(LastUse::on_record(hour, row.created)))
    }

    fn last_hour(&self, digest: &Digest) -> Result<Option<UnixMillis>, S::Error> {
        let found: Option<Held<LastHour>> = self.get(&names::last_use(digest))?;
        Ok(found.map(|held| held.row.hour))
    }

    fn old_keys(&self, user: &UserId) -> Result<Vec<OldKey>, S::Error> {
        let Some(alias) = self.alias_of(user)? else {
            return Ok(Vec::new());
        };
        let pairs = self.space.range(&Range::under(&names::old_keys(alias)))?;
        let old_key = |pair: &crate::engine::keyspace::space::Pair| {
            let digest = names::old_key_digest(&pair.key);
            Ok(OldKey {
                digest: digest.ok_or(Impossible("a name of no old key"))?,
                row: crate::engine::keyspace::rows::read(&pair.found)?,
            })
        };
        pairs.iter().map(old_key).collect()
    }

    pub(crate) fn old_key_uses(
        &self,
        user: &UserId,
        limit: u32,
    ) -> Result<Vec<OldKeyUse>, S::Error> {
        let mut old = self.old_keys(user)?;
        old.sort_by_key(|key| (Reverse(key.row.last), key.digest));
        old.truncate(limit as usize);
        let names: Vec<_> = old.iter().map(|key| names::key(&key.digest)).collect();
        if !names.is_empty() {
            self.look_ahead(&names)?;
        }
        let mut shown = Vec::new();
        for OldKey { digest, row } in old {
            let key = self.any_key(&digest)?.map(|held| held.row);
            shown.push(OldKeyUse {
                replaced: key.as_ref().is_some_and(|key| key.is_replaced),
                hint: key.and_then(|key| key.hint),
                uses: row.uses,
                first_at: row.first.rfc3339(),
                last_at: row.last.rfc3339(),
            });
        }
        Ok(shown)
    }

    pub(crate) fn last_told_of_old_keys(
        &self,
        user: &UserId,
    ) -> Result<Option<UnixMillis>, S::Error> {
        let old = self.old_keys(user)?.into_iter();
        Ok(old.filter_map(|key| key.row.told).max())
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> Result<u64, S::Error> {
        let both = |digest| [names::key(digest), names::last_use(digest)];
        let names: Vec<_> = uses.keys().flat_map(both).collect();
        self.look_ahead(&names)?;
        let mut written = 0;
        for (digest, hour) in uses {
            let Some(Held { row, .. }) = self.any_key(digest)? else {
                continue;
            };
            let hour = row.revoked.map_or(*hour, |end| hour_of(end).min(*hour));
            let is_news = |last: UnixMillis| last > present_hour || last < hour;
            if self.last_hour(digest)?.is_none_or(is_news) {
                self.put(names::last_use(digest), &LastHour { hour })?;
                written += 1;
            }
        }
        Ok(written)
    }

    pub(crate) fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> Result<Option<OldKeyUsed>, S::Error> {
        let Some(key) = self.revoked_key(digest)? else {
            return Ok(None);
        };
        let name = names::old_key(key.alias, digest);
        self.look_ahead(&[name.clone(), names::user_called(key.alias)])?;
        let known: Option<Held<KeptUses>> = self.get(&name)?;
        let before = known.map(|held| held.row);
        let row = KeptUses {
            uses: before.as_ref().map_or(0, |before| before.uses) + uses,
            first: before.as_ref().map_or(at, |before| before.first),
            last: at,
            told: before.and_then(|before| before.told),
        };
        self.put(name, &row)?;
        Ok(Some(OldKeyUsed {
            user: self.user_of(&key)?,
            hint: key.hint,
            uses: row.uses,
            told: row.told,
        }))
    }

    fn revoked_key(&self, digest: &Digest) -> Result<Option<KeptKey>, S::Error> {
        let key = self.any_key(digest)?.map(|held| held.row);
        Ok(key.filter(|key| key.revoked.is_some()))
    }

    pub(crate) fn note_old_key_told(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
    ) -> Result<(), S::Error> {
        let Some(key) = self.revoked_key(digest)? else {
            return Ok(());
        };
        let name = names::old_key(key.alias, digest);
        if let Some(Held::<KeptUses> { mut row, .. }) = self.get(&name)? {
            row.told = Some(at);
            self.put(name, &row)?;
        }
        Ok(())
    }
}
