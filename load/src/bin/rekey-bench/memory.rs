//! A gateway's memory through a million random keys, 100,000 valid ones over a
//! table of 16,384, and 10,000 rotations.

use rekey_load::{Book, Churn, Memory, import};
use rekey_testbed::{Fleet, FleetOptions};
use serde_json::json;

use crate::{Length, fleet_options, tell};

/// Looks at the memory so often.
const PARTS: usize = 10;
/// Connections at once.
const AT_ONCE: usize = 16;

/// Measures and tells.
pub(crate) fn run(length: Length) -> anyhow::Result<()> {
    let scale = match length {
        Length::Short => 100,
        Length::Full => 1,
    };
    let (unknown, valid, rotations) = (1_000_000 / scale, 100_000 / scale, 10_000 / scale);
    let mut options = fleet_options(1);
    options.plugin["cache_slots"] = json!(16_384 / scale);
    let fleet = Fleet::start(FleetOptions { ..options })?;
    let Some(gateway) = fleet.gateways.first() else {
        return Ok(());
    };
    let book = Book::default();
    let keys = import(&fleet.store, "m", valid + rotations, &book)?;
    let (valid, rotated) = keys.split_at(valid);
    let begin = Memory::of(gateway)?;
    tell(format_args!("memory, at the start: {begin}"));
    let valid_parts = valid.chunks(valid.len() / PARTS);
    let parts = valid_parts.zip(rotated.chunks(rotated.len() / PARTS));
    for (part, (valid, rotated)) in parts.enumerate() {
        let churn = Churn {
            gateway: gateway.address(),
            unknown: unknown / PARTS,
            valid,
            rotated,
            book: &book,
            at_once: AT_ONCE,
        };
        churn.run()?;
        let (done, memory) = (part + 1, Memory::of(gateway)?);
        tell(format_args!(
            "memory, after {done} of {PARTS} parts: {memory}"
        ));
    }
    tell(format_args!(
        "memory: that was {unknown} random keys, {} valid ones, {} rotations",
        valid.len(),
        rotated.len()
    ));
    Ok(())
}
