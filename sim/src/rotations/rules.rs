//! The rules about rotation ids, attempts and replays (S7, S11, X1 to X6)
//! as switches. What cryptography does (X2) is none: who lacks one half of a pair
//! cannot open a record here either.

use crate::switches::rules;

rules! {
    s7_repeat: "The answer to a repeated rotation id waits for its barrier.",
    s7_replay: "So does the answer to a repeated Idempotency-Key.",
    s11_known_id: "A known rotation id gets its answer, before anything else is looked at.",
    s11_burn: "A refusal of attempt 2 and later burns the id.",
    x1_unclear: "An attempt without an answer may have done something.",
    x1_remembered: "A later attempt that did nothing says nothing of an earlier one.",
    x1_same_id: "All attempts of a request bear one rotation id.",
    x3_handed_out: "The record comes with the answer that the old key is revoked.",
    x3_burned: "Also where that answer is a repeated one.",
    x4_new_key_active: "A record dies with any change of the new key's state.",
    x4_failures: "Failed openings destroy a record.",
    x4_proof: "A record is handed out only to who proves to have both halves.",
    x5_not_final: "On the endpoint, with an Idempotency-Key, a tombstone is not final.",
    x6_record_first: "A record is on disk before its rotation is committed.",
    x6_committed: "A record counts only together with its committed rotation.",
}
