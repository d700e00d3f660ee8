//! The words, each in the file of its subject. [`looking`] and [`changing`] list them.

mod changing;
mod history;
mod imports;
mod keys;
mod log;
mod looking;
mod people;
