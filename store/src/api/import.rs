//! The import: its rows, and what comes of them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Query of `POST /v1/import`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Check every row, import none.
    #[serde(default)]
    pub dry_run: bool,
}

/// One line of the body of `POST /v1/import`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRow<'a> {
    /// Where it stands in the operator's file, for [`BadRow`].
    pub line: u64,
    /// The user, new or without an active key.
    pub user: std::borrow::Cow<'a, str>,
    /// The key's SHA-256, 64 hexadecimal digits.
    pub digest: std::borrow::Cow<'a, str>,
    /// The user's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<std::borrow::Cow<'a, str>>,
    /// The key's last characters, 1 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<std::borrow::Cow<'a, str>>,
}

/// 200 of `POST /v1/import`: all rows were imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportDone {
    /// How many; 0 after a dry run.
    pub imported: u64,
}

/// 422 of `POST /v1/import`: no row was imported. One line of this per bad row,
/// in the order of the lines; then one [`ImportRefused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadRow {
    /// Its line in the operator's file.
    pub line: u64,
    /// What is wrong with it. Never holds a key.
    pub reason: String,
}

/// The last line of a 422 of `POST /v1/import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportRefused {
    /// How many lines of [`BadRow`] went before.
    pub bad_rows: u64,
    /// How many rows there were.
    pub rows: u64,
}
