//! Who takes part: etcd with its log, and the stores and gateways with what they do. A
//! store's part in a rotation is [`barrier`].

pub mod barrier;
pub mod etcd;
pub mod gateway;
pub mod log;
pub mod store;
