//! The revocation protocol on real processes: several gateways that trust
//! their caches on leases, one store, and every fault between them. What must
//! hold through all of it: a key is refused everywhere once its 200 was
//! received (I2), a good key is never refused, and a gateway on its own stops
//! trusting (I7).

mod changes;
mod faults;
mod hot_path;
mod last_use;
mod memory;
mod metrics;
pub(crate) mod run;
mod under_load;
