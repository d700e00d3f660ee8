//! Hundreds of rotations, one after another and many at once, while old and
//! new keys keep arriving at every worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xtask::load::{Rotated, rotate};

use super::run::{Run, gateways, no_fault};

/// Rotations one after another.
const IN_A_ROW: usize = 300;
/// Users of the test that rotates as fast as it can.
const AT_FULL_SPEED: usize = 3000;
/// How long it does.
const FOR: Duration = Duration::from_secs(8);
/// Rotations under way at once.
const AT_ONCE: usize = 6;

fn print_times(rotations: &mut [Duration]) {
    rotations.sort();
    let at = |share: usize| rotations[rotations.len() * share / 100];
    println!(
        "{} rotations: p50 {:?}, p99 {:?}",
        rotations.len(),
        at(50),
        at(99)
    );
}

/// I2, and no new key refused: checked on every worker right behind each
/// answer, and by a load beside.
#[test]
fn hundreds_of_rotations_in_a_row_under_load() {
    let Some(run) = Run::start(gateways(3, 3000), IN_A_ROW) else {
        return;
    };
    let traffic = run.traffic();
    let mut probe = run.probe();
    let mut times = Vec::new();
    for (number, key) in run.keys.iter().enumerate() {
        let rotated = run.rotate_and_check(number % 3, key, &mut probe);
        times.push(rotated.took);
    }
    let tally = no_fault(traffic);
    assert_eq!((tally.unavailable_count(), tally.broken), (0, 0));
    assert!(tally.refused > 0, "no old key was tried");
    print_times(&mut times);
    run.fleet.assert_no_trap();
}

/// The same with as many rotations a second as the machine bears.
#[test]
fn rotations_at_full_speed_through_all_gateways() {
    let Some(run) = Run::start(gateways(3, 3000), AT_FULL_SPEED) else {
        return;
    };
    let traffic = run.traffic();
    let next = AtomicUsize::new(0);
    let end = Instant::now() + FOR;
    let work = |gateway: usize| {
        let mut connection = run.connect(gateway);
        let mut others: Vec<_> = (0..3).map(|gateway| run.connect(gateway)).collect();
        let mut times = Vec::new();
        while Instant::now() < end {
            let Some(key) = run.keys.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let rotated: Rotated = rotate(&mut connection, &Arc::clone(key), &run.book).unwrap();
            for other in &mut others {
                let old = other.exchange(&xtask::load::get(&key.text)).unwrap();
                assert_eq!(old.status, 401, "{}", old.body);
                let new = other
                    .exchange(&xtask::load::get(&rotated.new.text))
                    .unwrap();
                assert_eq!(new.status, 200, "{}", new.body);
            }
            times.push(rotated.took);
        }
        times
    };
    let mut times = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|number| scope.spawn(move || work(number % 3)))
            .collect();
        let times = threads.into_iter().map(|thread| thread.join().unwrap());
        times.flatten().collect::<Vec<_>>()
    });
    let tally = no_fault(traffic);
    assert_eq!((tally.unavailable_count(), tally.broken), (0, 0));
    assert!(times.len() > 100, "{} rotations only", times.len());
    print_times(&mut times);
    run.fleet.assert_no_trap();
}
