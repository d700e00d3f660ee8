//! The one shape of every error answer.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rekey_protocol::{ErrorBody, ErrorCode, ErrorDetail, Head};

use crate::accounts::password::HashError;
use crate::engine::import::ImportError;
use crate::engine::serve::NotReady;
use crate::engine::{ReadError, WriteError};
use crate::keystore::issue::NoKey;
use crate::rules::answers::{self, Fault};

/// An error as it is answered. The message never holds a key or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: Cow<'static, str>,
    head: Option<Head>,
}

impl ApiError {
    /// An error of this kind; the status follows from the code.
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            head: None,
        }
    }

    /// The client sent what cannot be meant (400).
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    fn status(&self) -> StatusCode {
        let status = StatusCode::from_u16(answers::status(self.code));
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self {
            head: fault.head,
            ..Self::new(fault.code, fault.message)
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let code = match error {
            WriteError::Busy
            | WriteError::Stopping
            | WriteError::Full
            | WriteError::RolledBack
            | WriteError::NotBegun
            | WriteError::NotServed
            | WriteError::NotOwner => ErrorCode::Unavailable,
            WriteError::Unknown => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        // A read changes nothing.
        Self::new(ErrorCode::Unavailable, error.to_string())
    }
}

impl From<NoKey> for ApiError {
    fn from(error: NoKey) -> Self {
        // Before anything is changed.
        let code = match error {
            NoKey::Random(_) => ErrorCode::Internal,
            NoKey::NotYet | NoKey::Refused => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<NotReady> for ApiError {
    fn from(reason: NotReady) -> Self {
        Self::new(ErrorCode::Unavailable, reason.to_string())
    }
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        // Before anything is changed.
        Self::new(ErrorCode::Unavailable, error.to_string())
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Write(error) => error.into(),
            ImportError::Running
            | ImportError::NoRoom { .. }
            | ImportError::Failed
            | ImportError::Changed
            | ImportError::Read(_) => Self::new(ErrorCode::Unavailable, error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, head) = (self.status(), self.head);
        let error = ErrorDetail {
            code: self.code,
            message: self.message.into_owned(),
        };
        let mut response = (status, Json(ErrorBody { error, head })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 11.6.1: a 401 names its scheme.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
