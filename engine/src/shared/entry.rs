//! One entry of shared data as a value that is changed by compare-and-swap from
//! a fresh read. What an entry means, and what it may be believed for, is said
//! where it is used.

use crate::host::env::{Cas, SharedData, SharedDataError};

/// Attempts at one change. Each that is lost to another worker is one that
/// worker has won, so they are lost by chance only.
const ATTEMPTS: usize = 8;

/// What a change makes of an entry.
pub enum Next {
    /// This is what it is to hold.
    Write(Vec<u8>),
    /// It stays as it is.
    Keep,
}

/// Asks `change` what an entry that holds this is to hold, writes that, and
/// returns what else it said; asks again after a lost race.
///
/// # Errors
/// The entry could not be read or written, or every race was lost: it is as
/// others have left it.
pub fn change<T>(
    shared: &mut dyn SharedData,
    name: &str,
    mut change: impl FnMut(Option<&[u8]>) -> (Next, T),
) -> Result<T, SharedDataError> {
    for _ in 0..ATTEMPTS {
        let held = shared.get(name)?;
        let (value, cas) = match &held {
            None => (None, Cas::Absent),
            Some((value, version)) => (Some(value.as_slice()), Cas::Version(*version)),
        };
        let (next, said) = change(value);
        let Next::Write(next) = next else {
            return Ok(said);
        };
        match shared.set(name, &next, cas) {
            Ok(()) => return Ok(said),
            Err(SharedDataError::CasMismatch) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SharedDataError::CasMismatch)
}
