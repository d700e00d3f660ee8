//! What every engine must do, whatever it keeps its data in.
//!
//! The words and operations: operations in, results out, at times that the tests set.
//! Each of these tests runs on each engine; a new engine is one more [`Subject`] and
//! one more part of [`on_every_engine`].
//!
//! What [`super::Engine`] and [`super::import`] say of patience, of the listener and of
//! imports runs on the engines as the server starts them ([`served`]); a new one is one
//! more part of [`on_every_server`]. Durability is tested on the real process
//! (`store/tests`).
//!
//! [`drawn`] does more: it gives two engines the same operations, thousands of them,
//! and compares everything that can be seen.

mod bench;
mod drawn;
#[cfg(feature = "etcd")]
mod etcd;
mod rounds;
mod served;
mod subject;
mod words;

#[cfg(feature = "etcd")]
use etcd::on_etcd;
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
        #[cfg(feature = "etcd")]
        mod on_etcd {
            $(#[test]
            fn $test() {
                crate::engine::conformance::on_etcd(|subject| super::$test(subject));
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

/// Runs each test on each engine as the server starts it.
macro_rules! on_every_server {
    ($($test:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(&crate::engine::conformance::served::on_memory().await).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(&crate::engine::conformance::served::on_sqlite().await).await;
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

use {on_every_engine, on_every_owner, on_every_server, operation};
