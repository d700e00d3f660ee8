//! The web dashboard in a real browser, with a real fleet behind it: what a
//! person whose key has leaked does there, and sees; what goes wrong on the way;
//! and what others try on that person.
//!
//! What must hold through all of it: a key that a page says is dead is dead on
//! every gateway by then (I2), one deed of a person is one rotation (I3, I5), and
//! a plaintext key is on one page, once (I6).

mod again;
mod attacker;
mod keyboard;
mod log_in;
mod looks;
mod revocation;
mod rotation;
mod session;
mod site;
