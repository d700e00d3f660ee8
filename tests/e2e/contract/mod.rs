//! The documented API, to the letter: `POST /v1/user/api-key/regenerate` as
//! its page has it, and what follows from it on every worker and gateway.

use rekey_testbed::{FleetOptions, HttpVersions};

mod everywhere;
mod hour;
mod refusals;
mod rotated;
mod transport;

/// The contract holds before an API that speaks HTTP/1.1 only, as most do; other
/// tests have one that speaks everything.
fn options() -> FleetOptions {
    FleetOptions {
        upstream: HttpVersions::Http1,
        ..FleetOptions::default()
    }
}
