//! Who has how many credits left.
//!
//! Charges and tells; it never refuses: a balance may go below zero, because
//! this API is there to show what is charged, not to sell anything.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a user has before the first request.
pub(crate) const FIRST_BALANCE: i64 = 1000;

/// Balances by user id. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    balances: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Ledger {
    /// Takes one credit from `user` and says how many are left.
    pub(crate) fn charge(&self, user: &str) -> i64 {
        let mut balances = self.lock();
        let balance = balances.entry(user.to_owned()).or_insert(FIRST_BALANCE);
        *balance -= 1;
        *balance
    }

    /// All balances at one moment.
    pub(crate) fn balances(&self) -> BTreeMap<String, i64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        // One map operation happens under the lock: it is whole even if its
        // holder panicked.
        self.balances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_pays_for_itself_and_may_go_below_zero() {
        let ledger = Ledger::default();
        for left in (-1..FIRST_BALANCE).rev() {
            assert_eq!(ledger.charge("ada"), left);
        }
        assert_eq!(ledger.charge("bob"), FIRST_BALANCE - 1);
        let all = ledger.balances().into_iter().collect::<Vec<_>>();
        assert_eq!(
            all,
            [
                ("ada".to_owned(), -1),
                ("bob".to_owned(), FIRST_BALANCE - 1)
            ]
        );
    }
}
