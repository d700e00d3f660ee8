//! The lock file over several incarnations, torn, and taken away.

use rekey_protocol::{Head, Incarnation};

use super::*;
use crate::feed::history::History;

const LIFE: Incarnation = Incarnation([7; 16]);
const MARK: Mark = Mark {
    commits: 5,
    revision: 50,
};

fn start(restored: bool) -> Start {
    let head = Head {
        incarnation: LIFE,
        revision: 50,
    };
    Start {
        history: History::new(Vec::new(), head),
        longest_lease_ms: 500,
        held_lease_ms: 30_000,
        accepted_before: 0,
        restored,
    }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["rekey.db", "rekey.db-wal"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        Self(folder)
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("rekey.db")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("rekey.db.lock")
    }

    fn take(&self) -> Lock {
        Lock::take(&self.database()).unwrap()
    }

    fn serve(&self) -> Lock {
        let lock = self.take();
        lock.begin(&start(false), MARK).unwrap();
        lock.watch(&self.database()).unwrap();
        lock
    }

    fn record(&self) -> Record {
        match self.take().past() {
            Past::Known(record) => record,
            past => panic!("{past:?}"),
        }
    }
}

#[test]
fn s9_the_record_outlives_the_lock_and_who_only_looked() {
    let home = Home::new();
    let lock = home.take();
    assert_eq!(lock.past(), Past::Nothing);
    lock.begin(&start(false), MARK).unwrap();
    drop(lock);
    // A start that fails early leaves it as it was.
    let (first, second) = (home.record(), home.record());
    assert_eq!(first, second);
    assert_eq!((first.incarnation, first.mark), (LIFE, Some(MARK)));
    assert_eq!(first.longest_lease_ms, 30_000);
}

#[test]
fn s8_a_record_that_is_torn_leaves_the_one_before() {
    let home = Home::new();
    let lock = home.serve();
    let further = Mark {
        commits: 6,
        revision: 51,
    };
    lock.set_mark(further).unwrap();
    drop(lock);
    let whole = std::fs::read(home.file()).unwrap();
    assert_eq!(home.record().mark, Some(further));
    for at in [0, 40, 100, RECORD_LEN - 1] {
        let mut torn = whole.clone();
        torn[place(2) as usize + at] ^= 1;
        std::fs::write(home.file(), &torn).unwrap();
        assert_eq!(home.record().mark, Some(MARK), "byte {at}");
        // The next one takes the place of the torn one.
        let lock = home.serve();
        lock.set_mark(further).unwrap();
        drop(lock);
        assert_eq!(home.record().mark, Some(further));
    }
    std::fs::write(home.file(), &whole[..PID_LEN]).unwrap();
    assert_eq!(home.take().past(), Past::Unknown);
}

#[test]
fn s9_what_an_older_version_wrote_is_read_and_not_left() {
    let home = Home::new();
    let old = format!("{} {:010}", hex::encode(LIFE.0), 3_000);
    let check = &rekey_protocol::Digest::of(old.as_bytes()).to_hex()[..16];
    std::fs::write(home.file(), format!("4711      \n{old} {check}\n")).unwrap();
    let record = home.record();
    assert_eq!((record.longest_lease_ms, record.mark), (3_000, None));
    drop(home.serve());
    let found = std::fs::read(home.file()).unwrap();
    assert_eq!(old_record(&found), None);
    assert_eq!(home.record().mark, Some(MARK));
}

#[test]
fn s9_what_is_granted_is_on_record_and_what_was_supposed_is_settled() {
    let home = Home::new();
    let on_record = || {
        let found = std::fs::read(home.file()).unwrap();
        last_record(&found).unwrap().record.longest_lease_ms
    };
    let lock = home.serve();
    lock.grant(3_000).unwrap();
    assert_eq!(
        on_record(),
        30_000,
        "former incarnations may have granted it"
    );
    lock.settle().unwrap();
    assert_eq!(on_record(), 3_000);
    lock.grant(5_000).unwrap();
    lock.grant(4_000).unwrap();
    assert_eq!(on_record(), 5_000);
}

#[test]
fn s8_an_incarnation_that_serves_nothing_is_not_on_record() {
    let home = Home::new();
    drop(home.serve());
    let before = home.record();
    let lock = home.take();
    lock.begin(&start(true), Mark::default()).unwrap();
    lock.grant(1_000).unwrap();
    lock.settle().unwrap();
    drop(lock);
    assert_eq!(home.record(), before);
}

#[test]
fn s10_a_file_that_is_removed_or_replaced_is_missed() {
    for name in ["rekey.db.lock", "rekey.db", "rekey.db-wal"] {
        for replaced in [false, true] {
            let home = Home::new();
            let lock = home.serve();
            assert_eq!(lock.check(), Ok(()));
            let file = home.0.path().join(name);
            // Kept, or the new one may get its number.
            let aside = home.0.path().join("aside");
            std::fs::rename(&file, &aside).unwrap();
            if replaced {
                std::fs::copy(&aside, &file).unwrap();
            }
            assert_eq!(lock.check(), Err(Lost { file }));
        }
    }
}

#[test]
fn s10_a_database_that_somebody_else_writes_into_is_missed() {
    let home = Home::new();
    let lock = home.serve();
    let written = lock.while_folding(|| std::fs::write(home.database(), "our own"));
    written.unwrap().unwrap();
    assert_eq!(lock.check(), Ok(()));
    std::fs::write(home.database(), "somebody else's").unwrap();
    let file = home.database();
    assert_eq!(lock.check(), Err(Lost { file }));
}
