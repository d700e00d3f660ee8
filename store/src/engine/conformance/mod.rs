//! What the words and operations of every engine must do, whatever it keeps its data
//! in: operations in, results out. What [`super::Engine`] says of patience, of the
//! feed and of durability is tested on the real process (`store/tests`).
//!
//! Each test of the suite runs on each engine; a new engine is one more
//! [`Subject`] and one more line in [`on_every_engine`].
//!
//! [`alike`] does more: it gives two engines the same operations, thousands of them,
//! and compares everything that can be seen.

mod alike;
mod bench;
mod dashboard;
mod drawn;
mod imports;
mod keys;
mod log;
mod owners;
mod pages;
mod replays;
mod rounds;
mod step;
mod subject;

use subject::{Owner, Subject, on_keyspace, on_memory, on_sqlite};

/// Runs each test on each engine.
macro_rules! on_every_engine {
    ($($test:ident),* $(,)?) => {
        crate::engine::conformance::on_every_owner![$($test),*];
        mod on_keyspace {
            $(#[test]
            fn $test() {
                crate::engine::conformance::on_keyspace(|subject| super::$test(subject));
            })*
        }
    };
}

/// Runs each test on each engine whose data has one owner.
macro_rules! on_every_owner {
    ($($test:ident),* $(,)?) => {
        mod on_memory {
            $(#[test]
            fn $test() {
                crate::engine::conformance::on_memory(|subject| super::$test(subject));
            })*
        }
        mod on_sqlite {
            $(#[test]
            fn $test() {
                crate::engine::conformance::on_sqlite(|subject| super::$test(subject));
            })*
        }
    };
}

/// An operation of a test: the words that it speaks, as if it were a closure.
macro_rules! operation {
    ($name:ident($($field:ty),*) -> $out:ty, |$this:ident, $tx:ident, $cx:ident| $body:expr) => {
        struct $name($($field),*);

        impl crate::operations::Operation for $name {
            type Out = $out;

            fn apply<T: crate::engine::Tx>(
                &self,
                $tx: &mut T,
                $cx: &crate::operations::Context,
            ) -> Result<$out, T::Error> {
                let ($this, _) = (self, $cx);
                $body
            }
        }
    };
}

use {on_every_engine, on_every_owner, operation};
