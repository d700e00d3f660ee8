//! What is sent by others than a user's own pages, and what nobody but the user may see.

mod cross_site;
mod foreign;
mod hostile;
mod secrets;
mod strangers;
