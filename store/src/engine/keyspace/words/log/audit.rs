//! The audit log as it is asked for: of one user or of all, oldest first. Of all users
//! it is read by segments.

use rekey_protocol::UserId;

use super::index::{Mentioned, NAMELESS};
use crate::api::AuditEvent;
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::keyspace::names::{self, LogName};
use crate::engine::keyspace::rows::{KeptEvent, Revision, read};
use crate::engine::keyspace::space::{Found, Order, Pair, Range, Space};
use crate::operations::audit::Selection;

/// Rows of a page: more than one transaction can have, because a page is of whole
/// transactions.
const EVENTS_ON_PAGE: u32 = 512;
/// How far before a row its segment is looked for first, in revisions.
const NEAR: u64 = 1 << 12;

impl<S: Space> KeyspaceTx<'_, S> {
    pub(crate) fn events(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, S::Error> {
        let mut events = match &wanted.user {
            Some(user) => self.events_of_user(user, wanted)?,
            None => self.events_of_all(wanted)?,
        };
        events.truncate(wanted.limit as usize);
        Ok(events)
    }

    fn events_of_user(
        &self,
        user: &UserId,
        wanted: &Selection,
    ) -> Result<Vec<AuditEvent>, S::Error> {
        let Some(alias) = self.alias_of(user)? else {
            return Ok(Vec::new());
        };
        let mut pages = AsMade::of(names::mentions(alias), wanted);
        let mut events = Vec::new();
        while events.len() < wanted.limit as usize
            && let Some(pairs) = pages.page(self)?
        {
            let page: Result<Vec<_>, _> = pairs.iter().map(Mentioned::read).collect();
            let mut page = page?;
            page.retain(|found| found.id > wanted.after);
            for event in self.events_of(user, &page)?.into_iter().zip(&page) {
                let (event, found) = event;
                if self.is_since(found, wanted)? {
                    events.push(event);
                }
            }
        }
        Ok(events)
    }

    /// Whether a row was told at the wanted time: that is in the row itself, which is
    /// read by now.
    fn is_since(&self, found: &Mentioned, wanted: &Selection) -> Result<bool, S::Error> {
        let Some(since) = wanted.since else {
            return Ok(true);
        };
        let row = self.get::<KeptEvent>(&found.name.row())?;
        Ok(row.is_some_and(|held| held.row.told >= since))
    }

    fn events_of_all(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, S::Error> {
        let mut events = Vec::new();
        let mut segment = Some(self.segment_of(wanted.after)?);
        while events.len() < wanted.limit as usize
            && let Some(from) = segment
        {
            let page = self.whole_segments(from)?;
            segment = page.next;
            events.extend(self.chosen(&page.pairs, wanted)?);
            let Some(large) = page.large else {
                continue;
            };
            let mut pages = AsMade::of(names::log_from(large), wanted);
            while events.len() < wanted.limit as usize
                && let Some(pairs) = pages.page(self)?
            {
                events.extend(self.chosen(&pairs, wanted)?);
            }
        }
        Ok(events)
    }

    /// The rows of some segments from this one on. In a segment the names are in no
    /// order, so one that does not end on the page is left for later.
    fn whole_segments(&self, from: u64) -> Result<Segments, S::Error> {
        let range = Range {
            from: names::log_from(from),
            to: names::log_end(),
            order: Order::Ascending,
            limit: EVENTS_ON_PAGE,
            made_after: 0,
        };
        let mut pairs = self.space.range(&range)?;
        let last = pairs
            .last()
            .filter(|_| pairs.len() >= EVENTS_ON_PAGE as usize);
        let Some(last) = last else {
            return Ok(Segments {
                pairs: in_order(pairs),
                large: None,
                next: None,
            });
        };
        let last = LogName::parse(&last.key).ok_or(NAMELESS)?.segment;
        pairs.retain(|pair| pair.key < names::log_from(last));
        let is_large = pairs.is_empty();
        Ok(Segments {
            pairs: in_order(pairs),
            large: is_large.then_some(last),
            next: Some(if is_large { last + 1 } else { last }),
        })
    }

    /// The rows of a page that are wanted, with the names of all users at once.
    fn chosen(&self, pairs: &[Pair], wanted: &Selection) -> Result<Vec<AuditEvent>, S::Error> {
        let mut rows = Vec::new();
        for Pair { key, found } in pairs {
            let id = LogName::parse(key).ok_or(NAMELESS)?.id(found.made);
            let row: KeptEvent = read(found)?;
            if id > wanted.after && wanted.since.is_none_or(|since| row.told >= since) {
                rows.push(Row { id, row, found });
            }
        }
        let mut called: Vec<_> = rows.iter().map(|row| row.row.alias).collect();
        called.sort_unstable();
        called.dedup();
        let called: Vec<_> = called.into_iter().map(names::user_called).collect();
        if !called.is_empty() {
            self.look_ahead(&called)?;
        }
        let shown = rows.into_iter().map(|Row { id, row, found }| {
            let user = self.user_called(row.alias)?;
            Ok(row.shown(id, found.changed, user))
        });
        shown.collect()
    }

    /// The segment of this row, or one before it.
    fn segment_of(&self, id: i64) -> Result<u64, S::Error> {
        if id <= 0 {
            return Ok(0);
        }
        // The latest one that began before the row was made. Behind a network a range
        // that is read from its end is read whole, so it is not longer than needed.
        let made = names::made_of(id);
        let mut near = NEAR;
        loop {
            let from = made.saturating_sub(near);
            let range = Range {
                from: names::log_from(from),
                to: names::log_from(made),
                order: Order::Descending,
                limit: 1,
                made_after: 0,
            };
            let last = self.space.range(&range)?.pop();
            if let Some(last) = last {
                return Ok(LogName::parse(&last.key).ok_or(NAMELESS)?.segment);
            }
            if from == 0 {
                return Ok(0);
            }
            near = near.saturating_mul(16);
        }
    }
}

/// A page of the log.
struct Segments {
    /// All rows of some segments, in the order of the commits.
    pairs: Vec<Pair>,
    /// Or one that is larger than a page.
    large: Option<u64>,
    /// With which the log goes on.
    next: Option<u64>,
}

fn in_order(mut pairs: Vec<Pair>) -> Vec<Pair> {
    let index = |pair: &Pair| LogName::parse(&pair.key).map(|name| name.index);
    pairs.sort_by_key(|pair| (pair.found.made, index(pair)));
    pairs
}

/// A row of the log with its id.
struct Row<'a> {
    id: i64,
    row: KeptEvent,
    found: &'a Found,
}

impl KeptEvent {
    pub(crate) fn shown(self, id: i64, changed: u64, user: UserId) -> AuditEvent {
        AuditEvent {
            id,
            at: self.told.rfc3339(),
            user_id: user,
            action: self.action,
            revision: Revision::or_own(self.revision, changed),
            old_digest: self.old_digest,
            new_digest: self.new_digest,
            hint: self.hint,
            source: self.source,
            rotation_id: self.rotation_id,
            client_address: self.client_address,
            client_request_id: self.client_request_id,
            uses: self.uses,
        }
    }
}

/// Rows in the order in which they were made, by pages of whole transactions.
struct AsMade {
    prefix: Vec<u8>,
    made_after: u64,
    has_more: bool,
}

impl AsMade {
    /// From the transaction on whose row is the last that is not wanted.
    fn of(prefix: Vec<u8>, wanted: &Selection) -> Self {
        Self {
            prefix,
            made_after: names::made_of(wanted.after).saturating_sub(1),
            has_more: true,
        }
    }

    fn page<S: Space>(&mut self, tx: &KeyspaceTx<'_, S>) -> Result<Option<Vec<Pair>>, S::Error> {
        if !self.has_more {
            return Ok(None);
        }
        let range = Range {
            order: Order::AsMade,
            limit: EVENTS_ON_PAGE,
            made_after: self.made_after,
            ..Range::under(&self.prefix)
        };
        let mut pairs = tx.space.range(&range)?;
        self.has_more = pairs.len() >= EVENTS_ON_PAGE as usize;
        if self.has_more {
            let last = pairs.last().map_or(0, |pair| pair.found.made);
            pairs.retain(|pair| pair.found.made < last);
            self.made_after = pairs.last().map_or(0, |pair| pair.found.made);
        }
        Ok(Some(pairs))
    }
}
