//! Gateways and stores killed at any moment of a rotation: nobody ever has two
//! keys or none, and nobody is told what is not so.

mod anywhere;
mod points;
mod verdict;
