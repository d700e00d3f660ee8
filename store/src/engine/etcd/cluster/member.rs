//! One member of etcd: its client, a deadline for every call, and what an
//! error means for what was asked (R6, R7).

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, Error, StatusResponse, Txn, TxnResponse, WatchOptions, WatchStream,
};
use tonic::{Code, Status};

/// How long a member has for one call, the connecting with it. An election takes one to
/// two seconds; another member may answer before.
pub(in crate::engine::etcd) const CALL: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_millis(500);
/// Between two pings of a connection. A member closes it when they come more often than
/// one in five seconds.
const PING_EVERY: Duration = Duration::from_secs(6);
/// How long a ping may take.
const PING: Duration = Duration::from_secs(2);
/// The largest answer, in bytes. The default of 4 MiB is less than what a watch that
/// catches up gets in one answer.
const LARGEST_ANSWER: usize = 64 << 20;

/// A member. Cheap to clone.
#[derive(Clone)]
pub(in crate::engine::etcd) struct Member {
    url: Arc<str>,
    client: Client,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::etcd) enum CallError {
    /// Nothing was changed, and nothing will be.
    #[error("{0}")]
    NotDone(NotDone),
    /// It may have been done, and it may be done yet (R6): {0} says what was seen.
    #[error("{0}")]
    InDoubt(String),
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::etcd) enum NotDone {
    /// The quota is used up (the alarm NOSPACE).
    #[error("etcd has reached its quota")]
    Full,
    /// The user may not do it, or is not known.
    #[error("etcd refuses it: {0}")]
    Denied(String),
    /// It cannot be as it was asked: a fault of this program, or of a limit.
    #[error("etcd cannot do it: {0}")]
    Invalid(String),
    /// It has too much to do.
    #[error("etcd has too much to do")]
    Busy,
    /// The snapshot that is asked for is not kept any more.
    #[error("the revision is compacted")]
    Compacted,
    /// Nobody listens there.
    #[error("no connection: {0}")]
    Unreachable(String),
}

impl Member {
    /// A client of this member alone: one with a list spreads its calls over all of
    /// them, and those to a member that has vanished fail for ever. It connects by
    /// itself, again and again; with a user it logs in first.
    pub(in crate::engine::etcd) async fn new(
        url: &str,
        options: ConnectOptions,
    ) -> Result<Self, CallError> {
        let options = options
            .with_connect_timeout(CONNECT)
            .with_keep_alive(PING_EVERY, PING)
            .with_keep_alive_while_idle(true);
        let client = within(Client::connect([url], Some(options))).await?;
        Ok(Self {
            url: url.into(),
            client,
        })
    }

    /// Where it is.
    pub(in crate::engine::etcd) fn url(&self) -> &str {
        &self.url
    }

    /// Carries a transaction out.
    pub(in crate::engine::etcd) async fn txn(&self, txn: Txn) -> Result<TxnResponse, CallError> {
        let client = self.client.kv_client();
        let mut client = client.max_decoding_message_size(LARGEST_ANSWER);
        within(client.txn(txn)).await
    }

    /// What it says of itself.
    pub(in crate::engine::etcd) async fn status(&self) -> Result<StatusResponse, CallError> {
        let mut client = self.client.maintenance_client();
        within(client.status()).await
    }

    /// Opens a watch, on a separate stream.
    pub(in crate::engine::etcd) async fn watch(
        &self,
        from: Vec<u8>,
        options: WatchOptions,
    ) -> Result<WatchStream, CallError> {
        let client = self.client.watch_client();
        let mut client = client.max_decoding_message_size(LARGEST_ANSWER);
        within(client.watch(from, Some(options))).await
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Member").field(&self.url).finish()
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL, call).await {
        Ok(answer) => answer.map_err(CallError::from),
        Err(_) => Err(CallError::InDoubt(format!("no answer within {CALL:?}"))),
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => of_status(&status),
            Error::TransportError(error) if is_refused(Some(&error)) => {
                Self::NotDone(NotDone::Unreachable(error.to_string()))
            }
            other => Self::InDoubt(other.to_string()),
        }
    }
}

/// What was never there afterwards, of all that was tried. Every
/// other error was, now and then, an error of something that was done.
fn of_status(status: &Status) -> CallError {
    let text = status.message();
    let not_done = match status.code() {
        Code::ResourceExhausted if text.contains("database space exceeded") => NotDone::Full,
        Code::ResourceExhausted if text.contains("too many requests") => NotDone::Busy,
        Code::PermissionDenied | Code::Unauthenticated => NotDone::Denied(text.to_owned()),
        Code::OutOfRange if text.contains("compacted") => NotDone::Compacted,
        Code::InvalidArgument => NotDone::Invalid(text.to_owned()),
        _ if is_refused(status.source()) => NotDone::Unreachable(text.to_owned()),
        code => return CallError::InDoubt(format!("{code:?}: {text}")),
    };
    CallError::NotDone(not_done)
}

/// Whether the connection was refused: then nothing can have left.
fn is_refused(error: Option<&(dyn std::error::Error + 'static)>) -> bool {
    let mut next = error;
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_only_what_was_never_there_afterwards_counts_as_not_done() {
        for (status, expected) in [
            (
                Status::permission_denied("etcdserver: permission denied"),
                true,
            ),
            (
                Status::unauthenticated("etcdserver: invalid auth token"),
                true,
            ),
            (
                Status::invalid_argument("etcdserver: duplicate key given in txn request"),
                true,
            ),
            (
                Status::resource_exhausted("etcdserver: too many requests"),
                true,
            ),
            (
                Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
                true,
            ),
            (
                Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
                true,
            ),
            (Status::unavailable("etcdserver: request timed out"), false),
            (Status::unavailable("etcdserver: leader changed"), false),
            (
                Status::deadline_exceeded("context deadline exceeded"),
                false,
            ),
            (
                Status::unknown("h2 protocol error: error reading a body from connection"),
                false,
            ),
            (
                Status::out_of_range("decoded message length too large"),
                false,
            ),
            (Status::cancelled("Timeout expired"), false),
        ] {
            let found = of_status(&status);
            assert_eq!(matches!(found, CallError::NotDone(_)), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_not_done() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let member = Member::new(&url, ConnectOptions::new()).await.unwrap();
        let error = member.txn(Txn::new()).await.unwrap_err();
        assert!(
            matches!(error, CallError::NotDone(NotDone::Unreachable(_))),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn r7_a_member_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let member = Member::new(&url, ConnectOptions::new()).await.unwrap();
        let error = member.txn(Txn::new()).await.unwrap_err();
        assert!(matches!(error, CallError::InDoubt(_)), "{error:?}");
    }
}
