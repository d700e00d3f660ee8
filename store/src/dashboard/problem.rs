//! What goes wrong around a page, by whose fault it is: each is one status and
//! one text, and never repeats what was sent.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::pages;
use crate::accounts::password::HashError;
use crate::engine::{ReadError, WriteError};
use crate::keystore::issue::NoKey;

/// Why there is no page, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No page of ours, or of this session, sent the form.
    OtherSite,
    /// The form lacks a field, or is too large.
    BadForm,
    /// There is no such page.
    NotFound,
    /// The page does not take this method.
    Method,
    /// The request was meant for another host than this one, at this origin.
    OtherHost(String),
    /// Too much to do at the moment.
    Busy,
    /// The operator has something to mend first: the database is older than what was
    /// served from it (S8), or some gateway would refuse each key that can be made.
    Restored,
    /// No room on the disk; nothing was changed.
    Full,
    /// Nothing was changed.
    Unavailable,
    /// Whether anything was changed is not known.
    Unknown,
    /// A fault of ours, before anything was changed.
    Fault,
}

/// What a problem's page says.
struct ProblemText {
    status: StatusCode,
    title: &'static str,
    text: &'static str,
}

impl Problem {
    fn told(&self) -> ProblemText {
        let (status, title, text) = match self {
            Self::OtherSite => (
                StatusCode::FORBIDDEN,
                "Not from this page",
                "This form was not sent by a page of yours here, or the page is from before your last log-in. Nothing was changed. Open the page anew and try again.",
            ),
            Self::BadForm => (
                StatusCode::BAD_REQUEST,
                "Incomplete form",
                "A part of the form is missing or too large. Nothing was changed. Open the page anew and try again.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Page not found",
                "There is no such page here.",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Page not found",
                "This address is for a form, not for reading.",
            ),
            Self::OtherHost(_) => (
                StatusCode::MISDIRECTED_REQUEST,
                "Another address",
                "This dashboard is reached at another address:",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again in a moment",
                "Too much is going on at the moment. Nothing was changed. Try again in a moment.",
            ),
            Self::Restored => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Under maintenance",
                "The key store waits for its operator, who finds the reason in its log. Nothing was changed.",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The disk is full",
                "The disk of the key store is full. Nothing was changed: your key is as it was. Whoever runs this API has to make room; then try again.",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again in a moment",
                "The key store cannot be read or written at the moment. Nothing was changed.",
            ),
            Self::Unknown => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The outcome is not known",
                "Something failed at the last step, and whether your key was changed is not known. Look at your profile. If the key there is one that you do not have, press Revoke now: you can make a new one right after.",
            ),
            Self::Fault => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "A fault",
                "Something failed here, and its log says where. Nothing was changed.",
            ),
        };
        ProblemText {
            status,
            title,
            text,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let ProblemText {
            status,
            title,
            text,
        } = self.told();
        let elsewhere = match &self {
            Self::OtherHost(origin) => Some(origin.as_str()),
            _ => None,
        };
        let page = pages::problem(status, title, text, elsewhere);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => pages::retry_after(page, 1),
            _ => page,
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy => Self::Busy,
            ReadError::NotCurrent | ReadError::Failed => Self::Unavailable,
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Busy | WriteError::NotBegun => Self::Busy,
            WriteError::Stopping | WriteError::RolledBack | WriteError::NotOwner => {
                Self::Unavailable
            }
            WriteError::NotServed => Self::Restored,
            WriteError::Full => Self::Full,
            WriteError::Unknown => Self::Unknown,
        }
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed => Self::Fault,
        }
    }
}

impl From<NoKey> for Problem {
    fn from(error: NoKey) -> Self {
        match error {
            NoKey::Random(error) => error.into(),
            NoKey::NotYet => Self::Busy,
            NoKey::Refused => Self::Restored,
        }
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Self {
        tracing::error!(%error, "no random bytes from the system");
        Self::Fault
    }
}
