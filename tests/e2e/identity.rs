//! Whom the upstream believes to be served.
