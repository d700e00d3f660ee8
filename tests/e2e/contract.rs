//! The documented API, to the letter: `POST /v1/user/api-key/regenerate` as
//! its page has it, and what follows from it on every worker and gateway.

mod everywhere;
mod hour;
mod refusals;
mod rotated;
mod transport;
