//! Rules that hold for every text of the repository, as tests: what a file is
//! for is said in its first line, it can be read in one sitting, the documents
//! it names exist, the rules of the protocol that it cites are defined, and what is
//! written in two places is the same.

#![allow(clippy::expect_used)]

mod documents;
mod english;
mod envoy_names;
mod files;
mod folders;
mod reference;
mod rules;
mod sources;
