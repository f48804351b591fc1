//! A process with rooms, which a test tells what to do.

use std::fmt::Display;
use std::io::Write;
use std::process::Command;

use crate::Process;

/// The program `rooms-node` as a process. What it is told and what it prints is in `bin/rooms-node.rs`.
pub struct Node {
    process: Process,
}

impl Node {
    /// Starts one.
    pub fn start(program: &str, url: &str, options: &[&str]) -> Self {
        Self { process: Process::start(Command::new(program).arg(url).args(options)) }
    }

    /// Tells it to do something, in a line.
    pub fn tell(&mut self, what: impl Display) {
        // One that was killed does nothing.
        let _ = writeln!(self.process.input(), "{what}");
    }

    /// Tells it something, and returns the rest of the line that it answers with, which begins with `answer`.
    #[track_caller]
    pub fn ask(&mut self, what: impl Display, answer: &str) -> String {
        let before = self.process.count();
        self.tell(&what);
        let what = format!("{what}: {answer}");
        let line = self.process.wait_for_line(&what, before, |line| rest(line, answer).is_some());
        rest(&line, answer).unwrap_or_default().to_owned()
    }

    /// Waits until it has printed a line that begins with this, and returns the rest of it.
    #[track_caller]
    pub fn wait_for(&self, beginning: &str) -> String {
        let line = self.process.wait_for_line(beginning, 0, |line| rest(line, beginning).is_some());
        rest(&line, beginning).unwrap_or_default().to_owned()
    }

    /// Returns the rest of each line so far that begins with this.
    pub fn all(&self, beginning: &str) -> Vec<String> {
        self.process.lines().iter().filter_map(|line| rest(line, beginning)).map(str::to_owned).collect()
    }

    /// Returns its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What follows after these words.
fn rest<'l>(line: &'l str, words: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(words)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}
