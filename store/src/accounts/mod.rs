//! What people type to log in: the address, the password, and the one form in which
//! each is compared.

pub mod email;
pub mod password;
pub mod typed;
