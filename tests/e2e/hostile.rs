//! Input that is malformed, oversized or ambiguous.
