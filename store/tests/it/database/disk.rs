//! A full disk: nothing is changed and that is said, what is known is served, and all
//! goes on by itself when there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::gateways::feed::Gateway;
use crate::process::{
    ADMIN_TOKEN, Home, Store, await_some, cli, fresh_digest, output, rotation, stderr,
};
use crate::rotation::replay::{OURS, repeatable};
use crate::server::health::{asked, is_not_ready};
use crate::server::lifecycle::refusal;

const FULL: &str = "disk is full";

/// A file system of some megabytes, in memory; gone when dropped.
pub(crate) struct SmallDisk {
    pub home: Home,
    mount: PathBuf,
}

impl SmallDisk {
    /// `None`, and said: this machine does not let us mount. Under `CI` that is a failure.
    pub(crate) fn new() -> Option<Self> {
        let home = Home::new();
        let mount = home.path("small");
        fs::create_dir(&mount).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs"]);
        match command.arg(&mount).output() {
            Ok(done) if done.status.success() => Some(Self { home, mount }),
            refused => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                let why = format!("no small file system can be mounted here: {refused:?}");
                assert!(std::env::var_os("CI").is_none(), "{test} cannot run: {why}");
                // Past the harness, which hides what a test prints.
                let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
                None
            }
        }
    }

    fn database(&self) -> PathBuf {
        self.mount.join("rekey.db")
    }

    pub(crate) fn serve(&self) -> Command {
        let database = self.database();
        self.home
            .serve_with("--database", database.to_str().unwrap())
    }

    fn start(&self) -> Store {
        self.home.start_as(&mut self.serve())
    }

    /// Takes all room that there is.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let page = [0x5a; 4096];
        while file.write_all(&page).is_ok() {}
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there does not keep the name.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn is_refused(answer: &crate::process::Answer) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "unavailable"),
        "{answer:?}"
    );
    assert!(answer.text.contains(FULL), "{answer:?}");
    assert!(answer.text.contains("nothing was changed"), "{answer:?}");
}

#[test]
fn a_rotation_on_a_full_disk_changes_nothing_and_says_so() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = disk.start();
    let users = ["ann", "bob", "cid"].map(|name| store.add_user(name));
    disk.fill();
    let request = rotation(&users[0].digest, &fresh_digest());
    // Of every kind: once more, under the same id, and with what a replay needs.
    is_refused(&store.rotate(&request));
    is_refused(&store.rotate(&crate::process::again(&request)));
    is_refused(&store.rotate(&repeatable(&users[1].digest, &fresh_digest(), OURS)));
    is_not_ready(&store, FULL);
    assert_eq!(store.metric("disk_free_bytes"), Some(0));
    for user in &users {
        assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    }
    disk.make_room();
    // By itself.
    await_some(|| (asked(&store, "/readyz")[0].status == 200).then_some(()));
    let answer = store.rotate(&crate::process::again(&request)).json();
    assert_eq!(answer["outcome"], "rotated", "{answer}");
    let next = repeatable(&users[1].digest, &fresh_digest(), OURS);
    assert_eq!(store.rotate(&next).json()["outcome"], "rotated");
}

#[test]
fn what_was_said_to_have_changed_nothing_has_changed_nothing_after_a_crash() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = disk.start();
    let user = store.add_user("ann");
    disk.fill();
    for _ in 0..3 {
        is_refused(&store.rotate(&rotation(&user.digest, &fresh_digest())));
    }
    store.kill();
    disk.make_room();
    let store = disk.start();
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    let request = rotation(&user.digest, &fresh_digest());
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
}

#[test]
fn an_operators_change_on_a_full_disk_changes_nothing_and_says_so() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = disk.start();
    let ann = store.add_user("ann");
    disk.fill();
    let bob = json!({ "email": "bob@example.com", "user_id": "bob" }).to_string();
    is_refused(&store.admin("POST", "/v1/users", Some(&bob)));
    let revoke = json!({ "user_id": "ann" }).to_string();
    is_refused(&store.admin("POST", "/v1/keys/revoke", Some(&revoke)));
    let added = store.cli(&["users", "add", "--email", "bob@example.com"]);
    assert_eq!(added.status.code(), Some(1));
    assert!(stderr(&added).contains(FULL), "{added:?}");
    assert_eq!(store.resolve(&ann.digest).json()["state"], "active");
    disk.make_room();
    assert_eq!(store.admin("POST", "/v1/users", Some(&bob)).status, 201);
    assert_eq!(
        store.admin("POST", "/v1/keys/revoke", Some(&revoke)).status,
        200
    );
}

#[test]
fn s9_a_lease_that_cannot_be_put_on_record_is_not_granted() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = disk.start();
    store.add_user("ann");
    let mut short = Gateway::new(100);
    short.follow(&store);
    disk.fill();
    assert_eq!(short.follow(&store)["granted_ms"], 100, "it is on record");
    let mut long = Gateway::new(30_000);
    let refused = long.poll(&store);
    assert_eq!(refused.status, 503, "{refused:?}");
    disk.make_room();
    await_some(|| (long.poll(&store).status == 200).then_some(()));
}

#[test]
fn a_start_on_a_full_disk_says_what_to_do() {
    let Some(disk) = SmallDisk::new() else { return };
    // The first of all.
    disk.fill();
    let text = refusal(&mut disk.serve());
    assert!(text.contains("disk") || text.contains("No space"), "{text}");
    disk.make_room();
    let user = {
        let store = disk.start();
        let user = store.add_user("ann");
        assert_eq!(store.stop(), Some(0));
        user
    };
    // One with a database.
    disk.fill();
    let text = refusal(&mut disk.serve());
    assert!(text.contains(FULL), "{text}");
    disk.make_room();
    let store = disk.start();
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    // One after a crash.
    store.kill();
    disk.fill();
    let text = refusal(&mut disk.serve());
    assert!(text.contains(FULL), "{text}");
    disk.make_room();
    assert_eq!(disk.start().resolve(&user.digest).status, 200);
}

#[test]
fn a_backup_onto_a_full_disk_leaves_nothing_behind() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = disk.start();
    store.add_user("ann");
    disk.fill();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries.count()
    };
    let before = names(&disk.mount);
    let target = disk.mount.join("copy.db");
    let mut backup = cli(&["backup", target.to_str().unwrap(), "--database"]);
    backup
        .arg(disk.database())
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN);
    let refused = output(&mut backup, "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(stderr(&refused).contains("cannot write"), "{refused:?}");
    assert_eq!(names(&disk.mount), before);
    // Elsewhere there is room.
    let target = disk.home.path("copy.db");
    let mut backup = cli(&["backup", target.to_str().unwrap(), "--database"]);
    let made = output(backup.arg(disk.database()), "");
    assert!(made.status.success(), "{made:?}");
}
