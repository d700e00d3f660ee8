//! What is fetched before an operation is applied: what it says it will look at.

use crate::engine::etcd::transaction::view::Wanted;
use crate::engine::keyspace::names;
use crate::engine::look::Look;

/// The keys of these looks.
pub(in crate::engine::etcd) fn of(looks: &[Look]) -> Wanted {
    let mut wanted = Wanted::default();
    for look in looks {
        wanted.keys.extend(names::of_look(look));
    }
    wanted
}
