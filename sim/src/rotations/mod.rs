//! The checked model of rotation ids, attempts and replays (S7, S11, X1 to
//! X6), which the model of revocation leaves out: small worlds of one user, of which
//! every interleaving is explored.
//!
//! Clients repeat their requests at any gateway, with or without an
//! Idempotency-Key, and leave; calls and answers are lost, late and overtake each
//! other; gateways give attempts up and make others; the store crashes, also within
//! a transaction; a thief has the old key; the operator replaces the new one; time
//! goes by. In all states:
//!
//! - **I3**: there is at most one active key;
//! - **I2**: nobody is told a key before its barrier is open;
//! - who is told a key is told the one that is active, and always the same;
//! - a no is a no: who was told 401, 429 or "nothing happened" has had nothing done,
//!   and never will, by however late an attempt (X1, S11);
//! - **I4**: the client with the pair is not turned away while its record lives; and
//!   if all went well from here on it would have its key by asking once more, at
//!   every gateway: tried from every state;
//! - **I5**: there is one rotation an hour, and a replay is none;
//! - a thief gets no key, no record, and few tries.
//!
//! What decides is the real code: the store's `rotation::decide` and
//! `replay::opening`, the engine's `Course` (X1). A network that doubles messages is
//! left out: HTTP does not, and each attempt has a number. So is cryptography (X2),
//! and how the table and the lease work, which is the other model.
//!
//! `cargo run --release -p rekey-sim -- rotations`; each rule is taken out once
//! (`tests/rotations.rs`).
//!
//! | world | what happens | states | depth |
//! | --- | --- | ---: | ---: |
//! | lost-answers | the client repeats its request elsewhere; the store crashes | 51,003 | 21 |
//! | unsent | calls are refused by the gateway itself | 14,078 | 20 |
//! | race | two requests with one Idempotency-Key at once; the store crashes | 99,440 | 21 |
//! | two-programs | two requests with different ones at once | 37,705 | 21 |
//! | no-header | requests without one, over the hour | 115,274 | 23 |
//! | thief | somebody has the old key, and guesses | 412,453 | 23 |
//! | replaced | the operator replaces the new key; time goes by | 202,565 | 23 |
//! | repeats | three requests, one attempt each; the store crashes | 34,576 | 18 |
//! | lost-replays | three attempts, of which late ones meet a burned id | 135,553 | 26 |
//! | hour | late attempts while the user's hour ends | 113,998 | 23 |

pub mod check;
pub mod mutants;
pub mod rules;
pub mod state;
pub mod steps;
pub mod store;
pub mod world;
