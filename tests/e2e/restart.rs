//! What outlives a restart of the gateway or the store.
