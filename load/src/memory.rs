//! How much memory a gateway uses.

use std::{fmt, fs};

use anyhow::Context as _;
use serde_json::Value;

use rekey_testbed::Gateway;

/// A gateway's memory at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the process has resident (`VmRSS`): Envoy, all its VMs, all code.
    pub resident: u64,
    /// What Envoy itself has allocated, without the memory of the VMs.
    pub allocated: u64,
}

impl Memory {
    /// Looks at a gateway.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(gateway: &Gateway) -> anyhow::Result<Self> {
        let path = format!("/proc/{}/status", gateway.process.pid());
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let resident: u64 = kilobytes.with_context(|| path)?.parse()?;
        // Envoy writes its numbers as texts.
        let seen: Value = serde_json::from_str(&gateway.admin("/memory")?)?;
        let allocated = seen["allocated"].as_str().context("/memory")?;
        Ok(Self {
            resident: resident * 1024,
            allocated: allocated.parse()?,
        })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.1} MiB resident, {:.1} MiB allocated by Envoy",
            megabytes(self.resident),
            megabytes(self.allocated)
        )
    }
}
