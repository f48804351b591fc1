//! The programs that are measured, and what they are told to do.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Error, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use bellwire_bench_callgrind::count;
use bench_codec_common::Message;

const NAMES: [&str; 5] = ["bellwire", "tungstenite", "fastwebsockets", "tokio-websockets", "websocket-sans-io"];

/// A library, and the program that measures it, if that builds.
pub struct Library {
    pub name: &'static str,
    pub program: Option<PathBuf>,
}

impl Library {
    /// Builds each by itself: one that does not build is left out.
    pub fn all() -> Vec<Self> {
        NAMES.into_iter().map(|name| Self { name, program: build(&format!("bench-codec-{name}")).ok() }).collect()
    }
}

fn build(package: &str) -> io::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target = executable.ancestors().nth(2).ok_or_else(|| Error::other("this program is in no target folder"))?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--package", package, "--manifest-path"]).arg(manifest);
    let status = command.arg("--target-dir").arg(target).status()?;
    if status.success() { Ok(executable.with_file_name(package)) } else { Err(Error::other("it does not build")) }
}

/// What is done, by which end of a connection, with which message.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub operation: &'static str,
    role: &'static str,
    pub message: &'static str,
}

impl Task {
    pub fn all() -> impl Iterator<Item = Self> {
        ["decode", "encode"].into_iter().flat_map(|operation| {
            ["server", "client"]
                .into_iter()
                .flat_map(move |role| Message::ALL.into_iter().map(move |message| Self { operation, role, message }))
        })
    }

    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args([self.operation, self.role, self.message]);
        command
    }

    /// What a message costs in instructions: the difference of two runs. What is not timed is not counted, either.
    pub fn instructions(self, program: &Path) -> io::Result<f64> {
        let Some(message) = Message::named(self.message) else { return Err(Error::other("there is no such message")) };
        let batches = 512 / message.batch;
        let all = self.difference(program, batches)?;
        let reading = if self.operation == "decode" {
            Self { operation: "read", ..self }.difference(program, batches)?
        } else {
            0.0
        };
        Ok((all - reading) / (batches * message.batch) as f64)
    }

    fn difference(self, program: &Path, batches: usize) -> io::Result<f64> {
        let run = |batches: usize| count(self.command(program).arg(batches.to_string()));
        Ok((run(2 * batches)? - run(batches)?).instructions)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.operation, self.role, self.message)
    }
}

/// A program that does a round whenever it is told to.
pub struct Timer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Timer {
    pub fn start(program: &Path, task: Task) -> io::Result<Self> {
        let mut child = task.command(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, output })
    }

    /// Does a round, and returns nanoseconds for each message.
    pub fn round(&mut self) -> io::Result<f64> {
        self.child.stdin.as_mut().expect("it is piped").write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().map_err(|_| Error::other("the program says no time: it has failed"))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // It ends when there is nothing more to read; one that hangs does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
