//! What bellwire costs, in instructions, allocations, system calls and bytes, against figures that are committed.

pub mod figures;
pub mod load;
mod peer;
pub mod report;
pub mod rows;
