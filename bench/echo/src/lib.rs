//! What tools that measure servers have in common: their command line, servers and whose turn it is, programs, what the
//! kernel knows of them, statistics, tables.

pub mod command_line;
pub mod process;
pub mod program;
pub mod servers;
pub mod stats;
pub mod table;
pub mod turns;
