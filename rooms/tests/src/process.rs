//! A program that was started, its output, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::{wait_for, wait_until};

/// A program that was started, and that ends when this is dropped.
pub struct Process {
    child: Child,
    lines: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Process {
    /// Starts a program. What it prints is kept, from both outputs.
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let lines = Lines::default();
        keep(child.stdout.take().unwrap(), lines.clone());
        keep(child.stderr.take().unwrap(), lines.clone());
        Self { child, lines }
    }

    /// Returns the number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its input.
    pub fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    /// Returns the lines that it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Returns how many lines it has printed so far.
    pub fn count(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Returns the lines that it has printed after so many.
    pub fn lines_after(&self, count: usize) -> Vec<String> {
        self.lines.lock().unwrap().iter().skip(count).cloned().collect()
    }

    /// Waits until it prints a line that is `wanted`, after the first `after` lines: that line.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, after: usize, wanted: impl Fn(&str) -> bool) -> String {
        let found = crate::look_for(|| self.lines_after(after).into_iter().find(|line| wanted(line)));
        found.unwrap_or_else(|| panic!("in vain: {what}; there was: {:#?}", self.lines()))
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("a process that ends", || self.child.try_wait().unwrap())
    }

    /// Lets it do nothing until it is told to [go on](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        wait_until("a process that is stopped", || self.state() == Some('T'));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What it is doing, as Linux names it. Elsewhere a signal must be trusted.
    fn state(&self) -> Option<char> {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.id())) else { return Some('T') };
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Its number is its own until it was waited for.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps what is printed, until the end.
fn keep(output: impl Read + Send + 'static, lines: Lines) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
        }
    });
}
