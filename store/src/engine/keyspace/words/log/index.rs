//! The rows of the audit log about one user, found by an index and read newest first,
//! by pages that grow.

use std::cmp::Reverse;
use std::time::Duration;

use rekey_protocol::UserId;

use crate::api::AuditEvent;
use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::keyspace::names::{self, Alias, LogName};
use crate::engine::keyspace::rows::{KeptEvent, Mention, read};
use crate::engine::keyspace::space::{Order, Pair, Range, Space, after_prefix};
use crate::operations::audit::action::Action;

/// Rows of the first page, and the most of one page.
const FIRST_PAGE: u32 = 128;
const MOST_ON_PAGE: u32 = 4096;
/// By so much the clocks of two replicas may differ, whose rows are in the order of
/// the commits.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);

pub(crate) const NAMELESS: Impossible =
    Impossible("a row of the audit log has a name that is none");

/// A row of the log, by its place in an index.
pub(crate) struct Mentioned {
    pub id: i64,
    pub name: LogName,
    row: Mention,
}

impl Mentioned {
    pub(crate) fn read(pair: &Pair) -> Result<Self, Impossible> {
        let name = LogName::parse(&pair.key).ok_or(NAMELESS)?;
        Ok(Self {
            id: name.id(pair.found.made),
            name,
            row: read(&pair.found)?,
        })
    }
}

impl Mention {
    fn is_refused(&self) -> bool {
        let refused = [Action::LoginRefused, Action::PasswordRefused];
        refused.iter().any(|action| self.action == action.name())
    }
}

/// The index of a user, newest first.
struct Newest<'a, 'b, S> {
    tx: &'a KeyspaceTx<'b, S>,
    alias: Alias,
    /// Before these; none: there is no more.
    to: Option<Vec<u8>>,
    size: u32,
}

impl<S: Space> Newest<'_, '_, S> {
    /// Some more rows: whole segments, because in a segment the names are in no order.
    fn page(&mut self) -> Result<Option<Vec<Mentioned>>, S::Error> {
        let Some(to) = self.to.take() else {
            return Ok(None);
        };
        let range = Range {
            from: names::mentions(self.alias),
            to,
            order: Order::Descending,
            limit: self.size,
            made_after: 0,
        };
        let mut pairs = self.tx.space.range(&range)?;
        if pairs.len() >= self.size as usize {
            let last = pairs.last().and_then(|pair| LogName::parse(&pair.key));
            let segment = last.ok_or(NAMELESS)?.segment;
            let from = names::mentions_from(self.alias, segment);
            let of_segment = after_prefix(&from);
            pairs.retain(|pair| pair.key >= of_segment);
            if pairs.is_empty() {
                pairs = self.tx.space.range(&Range::under(&from))?;
                self.to = Some(from);
            } else {
                self.to = Some(of_segment);
            }
        }
        self.size = (self.size * 4).min(MOST_ON_PAGE);
        let page: Result<Vec<_>, _> = pairs.iter().map(Mentioned::read).collect();
        let mut page = page?;
        page.sort_by_key(|mentioned| Reverse(mentioned.id));
        Ok(Some(page))
    }
}

/// Whether all rows of a page are older than this, whichever replica wrote them.
fn is_all_before(page: &[Mentioned], at: UnixMillis) -> bool {
    let latest = page.iter().map(|mentioned| mentioned.row.limit).max();
    latest.is_some_and(|latest| latest < at.minus(CLOCKS_DIFFER))
}

impl<S: Space> KeyspaceTx<'_, S> {
    fn newest_first(&self, user: &UserId) -> Result<Option<Newest<'_, '_, S>>, S::Error> {
        let alias = self.alias_of(user)?;
        Ok(alias.map(|alias| Newest {
            tx: self,
            alias,
            to: Some(after_prefix(&names::mentions(alias))),
            size: FIRST_PAGE,
        }))
    }

    /// At most `limit` rows of a user that are wanted, the newest first.
    fn newest(
        &self,
        user: &UserId,
        limit: u32,
        is_wanted: impl Fn(&Mention) -> bool,
    ) -> Result<Vec<AuditEvent>, S::Error> {
        let Some(mut pages) = self.newest_first(user)? else {
            return Ok(Vec::new());
        };
        let mut chosen = Vec::new();
        while chosen.len() < limit as usize
            && let Some(page) = pages.page()?
        {
            chosen.extend(page.into_iter().filter(|found| is_wanted(&found.row)));
        }
        chosen.truncate(limit as usize);
        self.events_of(user, &chosen)
    }

    pub(crate) fn last_key_event(&self, user: &UserId) -> Result<Option<AuditEvent>, S::Error> {
        Ok(self.newest(user, 1, |row| row.is_of_key)?.pop())
    }

    pub(crate) fn last_rotation(&self, user: &UserId) -> Result<Option<AuditEvent>, S::Error> {
        let is_rotation = |row: &Mention| row.has_old && row.action == Action::Rotated.name();
        Ok(self.newest(user, 1, is_rotation)?.pop())
    }

    pub(crate) fn last_events(
        &self,
        user: &UserId,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, S::Error> {
        self.newest(user, limit, |row| !row.is_refused())
    }

    pub(crate) fn last_refused(
        &self,
        user: &UserId,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, S::Error> {
        let (Some(mut pages), 1..) = (self.newest_first(user)?, limit) else {
            return Ok(Vec::new());
        };
        let mut chosen: Vec<Mentioned> = Vec::new();
        while let Some(page) = pages.page()? {
            let oldest = chosen.last().map(|found| found.row.limit);
            let is_full = chosen.len() == limit as usize;
            if is_full && oldest.is_some_and(|oldest| is_all_before(&page, oldest)) {
                break;
            }
            chosen.extend(page.into_iter().filter(|found| found.row.is_refused()));
            chosen.sort_by_key(|found| Reverse((found.row.limit, found.id)));
            chosen.truncate(limit as usize);
        }
        self.events_of(user, &chosen)
    }

    pub(crate) fn count_issued_by_user(
        &self,
        user: &UserId,
        after: UnixMillis,
    ) -> Result<u32, S::Error> {
        self.count(user, after, |row| {
            row.action == Action::Issued.name() && row.by_dashboard
        })
    }

    pub(crate) fn count_refused(&self, user: &UserId, after: UnixMillis) -> Result<u32, S::Error> {
        self.count(user, after, Mention::is_refused)
    }

    fn count(
        &self,
        user: &UserId,
        after: UnixMillis,
        is_one: impl Fn(&Mention) -> bool,
    ) -> Result<u32, S::Error> {
        let Some(mut pages) = self.newest_first(user)? else {
            return Ok(0);
        };
        let mut count = 0;
        while let Some(page) = pages.page()? {
            if is_all_before(&page, after) {
                break;
            }
            let later = page.iter().filter(|found| found.row.limit > after);
            count += later.filter(|found| is_one(&found.row)).count();
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// These rows of a user, as they are shown.
    pub(crate) fn events_of(
        &self,
        user: &UserId,
        chosen: &[Mentioned],
    ) -> Result<Vec<AuditEvent>, S::Error> {
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = chosen.iter().map(|found| found.name.row()).collect();
        let rows = self.space.get_all(&names)?;
        let mut events = Vec::new();
        for (Mentioned { id, .. }, row) in chosen.iter().zip(rows) {
            let found = row.ok_or(Impossible("the audit log lacks a row of its index"))?;
            let row: KeptEvent = read(&found)?;
            events.push(row.shown(*id, found.changed, user.clone()));
        }
        Ok(events)
    }
}
