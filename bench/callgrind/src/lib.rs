//! Counts what a program does: instructions, allocations and system calls, under valgrind's callgrind.
//!
//! One run counts all of it, the start and the end of the program included. What is wanted is what *more work* costs:
//! two runs, of which one does twice as much, and their difference; see [`Counts::per`].

mod program;
mod report;

pub use program::{Program, Stopped};
pub use report::Counts;

use std::io;
use std::process::Command;

/// Returns what a program counts that ends by itself.
///
/// # Errors
/// If valgrind is missing, or the program fails.
pub fn count(command: &Command) -> io::Result<Counts> {
    Program::start(command)?.wait()
}
