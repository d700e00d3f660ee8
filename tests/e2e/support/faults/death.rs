//! How a process comes to its end: asked to, or not.

use rekey_testbed::Process;

/// One of the ways.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    Sigterm,
    Sigkill,
}

impl Death {
    /// All of them.
    pub(crate) const BOTH: [Self; 2] = [Self::Sigterm, Self::Sigkill];

    /// Ends the process.
    ///
    /// # Panics
    /// It does not end, or not cleanly although it was asked to.
    pub(crate) fn bring_to(self, process: &Process) {
        match self {
            Self::Sigterm => assert!(process.terminate().unwrap().success(), "a clean exit"),
            Self::Sigkill => process.kill_9().unwrap(),
        }
    }
}
