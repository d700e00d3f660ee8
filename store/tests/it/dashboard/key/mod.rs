//! What a user does with the key, and what the pages say of it.

mod barrier;
mod full_disk;
mod last_use;
mod old_keys;
mod regenerate;
mod revoke;
mod unwanted;
