//! Many rotations of one key at once, and clients that leave.
