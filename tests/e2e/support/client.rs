//! An HTTP client of one connection, for HTTP/1.1 and HTTP/2.
