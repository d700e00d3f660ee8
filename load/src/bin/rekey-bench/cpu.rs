//! The processor's time that a process has used.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// Linux counts in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A look at a process, to be compared with a later one.
#[derive(Debug)]
pub(crate) struct Cpu {
    pid: u32,
    since: Instant,
    used: Duration,
}

impl Cpu {
    /// Looks.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        Ok(Self {
            pid,
            since: Instant::now(),
            used: used(pid)?,
        })
    }

    /// What was used since.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn used(&self) -> anyhow::Result<Duration> {
        Ok(used(self.pid)?.saturating_sub(self.used))
    }

    /// The same as a share of one core, in percent.
    ///
    /// # Errors
    /// As [`used`](Self::used).
    pub(crate) fn percent(&self) -> anyhow::Result<f64> {
        Ok(100.0 * self.used()?.as_secs_f64() / self.since.elapsed().as_secs_f64())
    }
}

fn used(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name, in parentheses, may hold blanks; utime and stime are the 12th
    // and 13th behind it.
    let (_, rest) = text.rsplit_once(')').with_context(|| path.clone())?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    let both = ticks().zip(ticks()).with_context(|| path)?;
    Ok(TICK * (both.0 + both.1))
}
