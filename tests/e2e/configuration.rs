//! Configurations that are refused at load, and those that are not.
