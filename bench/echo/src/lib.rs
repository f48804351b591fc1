//! What tools that measure servers have in common: programs, what the kernel knows of them, statistics, tables.

pub mod process;
pub mod program;
pub mod stats;
pub mod table;
