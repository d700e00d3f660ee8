//! Where the records of rotations are that may be answered again (X6), and what a damage of
//! them costs.

use std::os::unix::fs::PermissionsExt;

use crate::process::{Home, files};
use crate::rotation::replay::{Lost, OURS, SEALED};

#[test]
fn x6_it_outlives_a_restart_and_not_the_memory() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    store.kill();
    let store = home.start();
    assert!(lost.is_replayed(&store));
    assert_eq!(store.stop(), Some(0));
    // Another machine, or this one after a reboot.
    for file in std::fs::read_dir(home.memory()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let store = home.start();
    assert!(!lost.is_replayed(&store));
    assert_eq!(store.resolve(&lost.new).json()["state"], "active");
}

#[test]
fn x6_a_folder_on_a_disk_is_refused_and_replays_live_as_long_as_the_process() {
    let home = Home::new();
    std::fs::create_dir(home.path("disk")).unwrap();
    let disk = home.path("disk");
    let mut serve = home.serve_with("--memory-dir", disk.to_str().unwrap());
    let store = home.start_as(&mut serve);
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    assert!(lost.is_replayed(&store));
    store.kill();
    let store = home.start_as(&mut home.serve_with("--memory-dir", disk.to_str().unwrap()));
    assert!(!lost.is_replayed(&store));
    assert!(
        home.log().contains("not on a memory file system"),
        "{}",
        home.log()
    );
    assert_eq!(files(&disk).len(), 0);
}

#[test]
fn x6_no_backup_of_the_database_holds_it() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    Lost::make(&store, &user);
    assert_eq!(store.stop(), Some(0));
    for needle in [vec![OURS; 32], vec![SEALED; 40]] {
        let text = hex::encode(&needle).into_bytes();
        for (path, bytes) in files(&home.path("")) {
            let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(!holds(&needle) && !holds(&text), "{}", path.display());
        }
    }
    for name in ["rekey.db", "rekey.db.replays"] {
        let mode = std::fs::metadata(home.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let memory = files(home.memory());
    assert_eq!(memory.len(), 1, "the wrapping keys");
}

#[test]
fn a_damaged_file_of_records_keeps_nobody_from_rotating() {
    let home = Home::new();
    std::fs::write(home.path("rekey.db.replays"), "no database at all").unwrap();
    let store = home.start();
    let user = store.add_user("alice");
    let lost = Lost::make(&store, &user);
    assert!(lost.is_replayed(&store));
    assert!(home.log().contains("is given up"), "{}", home.log());
}

#[test]
fn so_does_one_with_a_damaged_page() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    Lost::make(&store, &user);
    assert_eq!(store.stop(), Some(0));
    let path = home.path("rekey.db.replays");
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 8192, "{}", bytes.len());
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let store = home.start();
    let user = store.add_user("bob");
    let lost = Lost::make(&store, &user);
    assert!(lost.is_replayed(&store));
    assert!(home.log().contains("is given up"), "{}", home.log());
}
