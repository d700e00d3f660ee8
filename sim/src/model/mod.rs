//! The checked model: the revocation protocol (docs/protocol.md; S1 to
//! S10, G1 to G8, G10) in small worlds, of which every interleaving is explored.
//!
//! Messages are lost, late, doubled and overtake each other; gateways and store
//! crash and restart, and are slow at every step; an older backup is restored;
//! clocks drift, stand still or are set back; records are evicted; two feeders
//! are at work at once; one process has two namespaces. In all states:
//!
//! - **I1**: a request that arrives after this gateway refused its key is refused;
//! - **I2**: so is one that arrives anywhere after a client had the 200, be it the
//!   first answer, a repeated one, or one after a restart;
//! - nobody refuses a key that the store holds active;
//! - where that is measured, a barrier ends within twice the lease and margin;
//! - where that is tried, there is a way back from every state: each revocation is
//!   answered, each gateway gets its lease, each key is treated as the store says.
//!
//! I1 and I2 are meant within one history of the store; a revocation that a restore
//! has lost is owed nothing.
//!
//! What decides is the real code where it is a plain function: the store's
//! `Leases` and `History::knows`, the engine's `Control` (`trusts`, `after`,
//! `after_answer_of`). The slot and the waiter rule are twins, compared with the
//! engine's exhaustively (`tests/twins.rs`). Every rule is a switch in
//! [`rules::Rules`]; a mutant bends what goes into the real code or comes out of
//! it, or runs a twin.
//!
//! Not in this model: rotation ids and replays (S11, X1 to X6), which have one of their
//! own ([`crate::rotations`]), time of the rate
//! limit (S12), many replicas of the store, a worker-local cache (G9: there is none),
//! the 429 at the edge (G11, not part of the proof), the new key (G12). That the
//! gateway's id is compared (G2) cannot matter here: the record dies with its
//! process.
//!
//! # Worlds
//!
//! `cargo run --release -p rekey-sim -- model`; two shared cores, one thread. Some
//! reductions keep them small: an answer on its way is a feeder that is slow; of
//! the requests between their two reads there is one for each gateway; who joins a
//! call and is owed nothing is left out; times that are over count as none.
//!
//! | world | what happens | states | depth |
//! | --- | --- | ---: | ---: |
//! | cold | a gateway from its start on | 580,772 | 35 |
//! | fills | late fills and shared calls of two workers | 438,825 | 36 |
//! | late-polls | polls that are late, lost and doubled | 199,230 | 28 |
//! | drift | a gateway whose clocks are slow | 44,018 | 29 |
//! | unwritable | tombstones that cannot be written | 124,634 | 31 |
//! | eviction | two keys that push each other out of one slot | 610,969 | 39 |
//! | pages | answers that hold one revocation each | 245,612 | 33 |
//! | two-feeders | a feeder that wakes after its successor has taken over | 694,935 | 31 |
//! | frozen-feeder | the same, and requests and calls that are as slow | 280,318 | 34 |
//! | generations | calls of two workers while a generation ends | 305,224 | 36 |
//! | evicted-generations | the same, with evictions | 258,930 | 33 |
//! | gateway-restart | a gateway crashes and starts again | 1,054,306 | 32 |
//! | store-restart | the store crashes and starts again | 474,857 | 30 |
//! | restore | an older backup is restored, and that is accepted | 598,542 | 30 |
//! | restored-and-restarted | the same, and the store restarts soon after | 383,422 | 24 |
//! | backup | a backup that still knows the cursor of a gateway that has seen more | 243,934 | 29 |
//! | unaccepted-restore | a backup is started without `--accept-restore` | 737,969 | 25 |
//! | lease-lengths | polls that ask for leases of different length | 106,812 | 27 |
//! | two-leases | the same, and the store restarts | 326,418 | 24 |
//! | two-gateways | two gateways of one store | 1,451,314 | 33 |
//! | namespaces | two configurations in one process | 300,820 | 25 |
//! | one-way | polls arrive and answers do not: how long the barrier takes | 202,153 | 38 |
//! | suspended | the machine is suspended: its monotonic clock stands still | 150,330 | 28 |
//! | set-back | the wall clock is set back | 150,330 | 31 |
//!
//! # Mutants
//!
//! Each rule is taken out once (`tests/model.rs`, `model -- --mutants`). "Steps" is
//! the length of the shortest way to the broken invariant.
//!
//! | without | world | breaks | steps |
//! | --- | --- | --- | ---: |
//! | s1_one_snapshot | eviction | I1 | 22 |
//! | s1_fresh_snapshot | fills | I2 | 11 |
//! | s2_durable_first | store-restart | no lock-out | 8 |
//! | s2_published | fills | I2 | 10 |
//! | s3_register_then_read | fills | I2 | 11 |
//! | s4_head_grants | pages | I2 | 14 |
//! | s5_maxima | lease-lengths | I2 | 13 |
//! | s6_acknowledged | one-way | the barrier has a bound | 14 |
//! | s7_first | fills | I2 | 7 |
//! | s7_repeat | fills | I2 | 7 |
//! | s8_mark | unaccepted-restore | I2 | 13 |
//! | s8_marked_first | unaccepted-restore | I2 | 12 |
//! | s9_hold | store-restart | I2 | 6 |
//! | s9_on_record | two-leases | I2 | 11 |
//! | s9_cap | restore | I2 | 6 |
//! | s9_cap_on_record | restored-and-restarted | I2 | 6 |
//! | s10_one_owner | store-restart | I2 | 17 |
//! | margin | drift | I2 | 12 |
//! | g1_sent | fills | I2 | 11 |
//! | g1_now | drift | I2 | 8 |
//! | g1_monotonic | set-back | I2 | 8 |
//! | g1_wall | suspended | I2 | 8 |
//! | g2_awaits | frozen-feeder | I1 | 21 |
//! | g3_always | cold | I2 | 23 |
//! | g3_order | fills | I2 | 11 |
//! | g3_unwritten | unwritable | I2 | 13 |
//! | g4_control_first | fills | I2 | 13 |
//! | g5_cache | generations | I1 | 19 |
//! | g5_share | evicted-generations | I1 | 23 |
//! | g5_store_revoked | fills | I1 | 14 |
//! | g5_this_history | backup | recovers | 11 |
//! | g5_bury_now | generations | I1 | 19 |
//! | g5_life_of_poll | backup | recovers | 7 |
//! | g6_merged | eviction | I1 | 21 |
//! | g7_lease | fills | I2 | 13 |
//! | g8_evict_floor | eviction | I1 | 21 |
//! | g8_absent | restore | I2 | 20 |
//! | g10_own_control | namespaces | I2 | 13 |
//! | s8_incarnation + s8_jump + g5_life_of_poll | restore | I2 | 20 |
//! | g7_generation + g5_share | generations | I1 | 19 |
//! | g8_start_floor + g5_cache | store-restart | I1 | 19 |
//! | g8_tombstone_stays + s1_one_snapshot | fills | I2 | 20 |
//!
//! Where several are named, each alone is redundant in that world: `s8_incarnation`
//! and `s8_jump`, `g7_generation`, `g8_start_floor`, `g8_tombstone_stays`.
//! Redundant without a partner that was found: `g2_fresh`, `g2_generation`, `g2_cursor`, `g2_grow`
//! (each of them given the others), `g5_incarnation` (given that calls and polls
//! are bound to their generation), `g5_bury_again` (a slot of a newer generation is
//! only written by those who read the store after), `g7_revision` (given G6),
//! `g8_newer_tombstone` and `g8_older` (they are there for the hit rate).
//!
//! The floor of a slot that does not exist may be where its generation began; it
//! need not be what is applied now.
//!
//! # What is not promised
//!
//! Two worlds break on purpose ([`world::World::limits`]). I1 is by namespace: while
//! a revocation is under way, one configuration of a process may refuse a key by
//! the store's word and the other still accept it. And a backup that was made
//! before the longest lease was on record, started as if nothing had happened,
//! may answer before the leases of the lost history have ended: which is why the
//! store keeps its last life and its longest lease beside the database as well,
//! and takes the cap where that record is missing (`store/src/engine/sqlite/ownership/lock.rs`).

mod canonical;
pub mod check;
pub mod gateway;
pub mod mutants;
pub mod possible;
pub mod recovery;
pub mod rules;
pub mod run;
pub mod state;
pub mod steps;
pub mod store;
pub mod world;
pub mod worlds;
