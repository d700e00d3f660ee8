//! Rules that hold for every text of the repository, as tests: what a file is
//! for is said in its first line, it can be read in one sitting, the documents
//! it names exist, and the rules of the protocol that it cites are defined.

#![allow(clippy::expect_used)]

mod documents;
mod english;
mod files;
mod reference;
mod rules;
mod sources;
