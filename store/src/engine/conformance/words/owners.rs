//! What only engines do whose data one process owns at a time.

use super::bench::{add, at, user};
use super::{Owner, on_every_owner};
use crate::operations::keys::revoke::Revoke;

on_every_owner![a_change_without_a_revision_moves_no_head];

fn a_change_without_a_revision_moves_no_head(subject: &mut impl Owner) {
    add(subject, "ann", 1);
    let now = at(subject, 1);
    let before = subject.known_past();
    for lease_ms in [700, 500] {
        subject.record_lease(lease_ms).unwrap();
    }
    let after = subject.known_past();
    assert_eq!(after.longest_lease_ms, before.longest_lease_ms.max(700));
    let (before, after) = (before.reached.mark, after.reached.mark);
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.commits, before.commits + 2);
    // What changes nothing is no commit that counts.
    let unknown = subject.run(Revoke::OfUser(user("bob")), now).unwrap();
    assert!(unknown.is_err());
    assert_eq!(subject.known_past().reached.mark, after);
}
