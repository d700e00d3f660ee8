//! How a user gets in, stays in and gets out.

mod login;
mod names;
mod passwords;
mod sessions;
mod throttle;
