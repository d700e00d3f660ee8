//! Servers that a test writes itself: in the store's place, in the API's, and a web
//! site of somebody else.

pub(crate) mod pages;
pub(crate) mod raw_api;
pub(crate) mod scripted_store;
