//! What a large import costs everybody else, beside a quiet store. Not run by
//! default: `cargo test --release -p rekey-store --test it bench -- --ignored
//! --nocapture`, with `REKEY_BENCH_ROWS` for another number than three million.

use std::io::{BufWriter, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rekey_protocol::Digest;
use serde_json::json;

use super::digest;
use crate::process::{Home, Store, cli, fresh_digest, rotation};

/// Users whose keys are rotated and revoked meanwhile.
const USERS: u32 = 60_000;
const QUIET: Duration = Duration::from_secs(15);
/// Between two requests of a kind.
const PACE: Duration = Duration::from_millis(20);

/// Imports rows with these numbers, and says how long it took.
fn import(home: &Home, store: &Store, rows: std::ops::Range<u32>) -> Duration {
    let path = home.path("rows.csv");
    let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
    writeln!(file, "user,digest,email").unwrap();
    for row in rows {
        // No order is that of another, as in real files.
        let user = Digest::of(&row.to_be_bytes()).to_hex();
        let (user, mail) = (&user[..20], &user[20..40]);
        let digest = digest(row).to_hex();
        writeln!(file, "u_{user},{digest},{mail}@example.com").unwrap();
    }
    drop(file);
    let began = Instant::now();
    let mut command = cli(&["import", path.to_str().unwrap()]);
    command
        .env("REKEY_ADMIN_URL", &store.admin_url)
        .env("REKEY_ADMIN_TOKEN", crate::process::ADMIN_TOKEN);
    assert!(command.status().unwrap().success());
    began.elapsed()
}

/// Calls until told to stop, one after another, and tells the times.
fn measure(what: &str, is_over: &AtomicBool, mut call: impl FnMut() -> Option<()>) -> String {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        // Until there are no more keys to be replaced.
        if call().is_none() {
            break;
        }
        times.push(began.elapsed());
        std::thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() - 1) as f64 * share) as usize;
        times[index].as_secs_f64() * 1e3
    };
    let (p50, p99, most, count) = (at(0.5), at(0.99), at(1.0), times.len());
    format!("{what}: p50 {p50:.1} ms, p99 {p99:.1} ms, longest {most:.1} ms ({count})")
}

/// Everything that may not wait, while `meanwhile` runs.
fn beside<T>(store: &Store, next: &mut u32, meanwhile: impl FnOnce() -> T) -> (T, Vec<String>) {
    let is_over = AtomicBool::new(false);
    let first = *next;
    *next += USERS / 2;
    let end = first + USERS / 4;
    let mut rotations = first..end;
    let mut revocations = end..first + USERS / 2;
    std::thread::scope(|scope| {
        let rotate = scope.spawn(|| {
            measure("rotation", &is_over, || {
                let old = digest(rotations.next()?);
                let answer = store.rotate(&rotation(&old, &fresh_digest()));
                assert_eq!(answer.json()["outcome"], "rotated");
                Some(())
            })
        });
        let revoke = scope.spawn(|| {
            measure("revocation", &is_over, || {
                let body = json!({"digest": digest(revocations.next()?)});
                let answer = store.admin("POST", "/v1/keys/revoke", Some(&body.to_string()));
                assert_eq!(answer.json()["revoked"], true);
                Some(())
            })
        });
        let resolve = scope.spawn(|| {
            measure("resolve", &is_over, || {
                assert_eq!(store.resolve(&digest(first)).status, 200);
                Some(())
            })
        });
        let done = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        let told = [rotate, revoke, resolve].map(|thread| thread.join().unwrap());
        (done, told.to_vec())
    })
}

#[test]
#[ignore = "measures for minutes, on a machine that has nothing else to do"]
fn bench_what_an_import_costs_the_others() {
    let rows = std::env::var("REKEY_BENCH_ROWS").ok();
    let rows: u32 = rows.map_or(3_000_000, |rows| rows.parse().unwrap());
    let home = Home::new();
    let store = home.start();
    import(&home, &store, 0..USERS);
    let mut next = 0;
    let ((), quiet) = beside(&store, &mut next, || std::thread::sleep(QUIET));
    let (took, loaded) = beside(&store, &mut next, || {
        import(&home, &store, USERS..USERS + rows)
    });
    let began = Instant::now();
    store.add_user("first-after");
    let first = began.elapsed();
    for (name, told) in [("quiet", quiet), ("import", loaded)] {
        for line in told {
            println!("{name}: {line}");
        }
    }
    println!("{rows} rows in {took:.1?}; the first change after it took {first:.1?}");
}
