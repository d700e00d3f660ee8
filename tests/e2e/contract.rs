//! The documented API, to the letter.
