//! Parts that stand still, die, fall behind, or are cut off from each other.

mod behind;
mod cut_off;
mod late_fill;
mod processes;
mod starve;
