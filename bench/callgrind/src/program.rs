//! A program that runs under callgrind, or without.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Error};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::Counts;

/// How long a program may take to do what is awaited.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that runs; it is killed when this is dropped.
pub struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where callgrind writes at the end. Without it the program runs as it is.
    profile: Option<NamedTempFile>,
}

impl Program {
    /// Starts a program under callgrind.
    ///
    /// # Errors
    /// If valgrind is missing.
    pub fn start(command: &Command) -> io::Result<Self> {
        let profile = NamedTempFile::new()?;
        let mut valgrind = Command::new("valgrind");
        // What it has to say is of system calls that it does not know.
        valgrind.args(["--tool=callgrind", "--collect-systime=yes", "--log-file=/dev/null"]);
        valgrind.arg(format!("--callgrind-out-file={}", profile.path().display()));
        valgrind.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            valgrind.env(name, value.unwrap_or_default());
        }
        Self::spawn(&mut valgrind, Some(profile))
    }

    /// Starts a program as it is.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_plain(command: &mut Command) -> io::Result<Self> {
        Self::spawn(command, None)
    }

    fn spawn(command: &mut Command, profile: Option<NamedTempFile>) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, output, profile })
    }

    /// Returns the next line that the program prints.
    ///
    /// # Errors
    /// If it prints none and ends.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(Error::other("the program has ended and said nothing")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Holds the program as soon as it waits for input, until the guard is dropped. All that is sent meanwhile it finds
    /// at once, so that it does the same each time, however busy the machine is.
    ///
    /// # Errors
    /// If it does not come to rest.
    pub fn stop(&self) -> io::Result<Stopped<'_>> {
        self.rest()?;
        self.signal(Signal::STOP)?;
        let stopped = Stopped(self);
        self.reaches("T")?;
        Ok(stopped)
    }

    /// Waits until every thread of the program waits.
    ///
    /// # Errors
    /// If that does not happen.
    pub fn rest(&self) -> io::Result<()> {
        self.reaches("S")
    }

    /// Returns how many bytes of memory are resident, when the program waits.
    ///
    /// # Errors
    /// If it does not come to rest.
    pub fn resident(&self) -> io::Result<u64> {
        self.rest()?;
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(1024 * kilobytes.ok_or_else(|| Error::other("the system does not say how much memory is resident"))?)
    }

    /// Ends a program that would not end by itself, and returns what it has counted.
    ///
    /// # Errors
    /// If it was not under callgrind, or what that has written cannot be read.
    pub fn end(mut self) -> io::Result<Counts> {
        self.rest()?;
        self.signal(Signal::TERM)?;
        self.child.wait()?;
        self.counts()
    }

    /// Waits for the program's end, and returns what it has counted.
    ///
    /// # Errors
    /// As [`end`](Self::end), and if it fails.
    pub fn wait(mut self) -> io::Result<Counts> {
        let status = self.child.wait()?;
        if status.success() { self.counts() } else { Err(Error::other(format!("the program failed: {status}"))) }
    }

    fn counts(&self) -> io::Result<Counts> {
        let profile = self.profile.as_ref().ok_or_else(|| Error::other("nothing was counted"))?;
        let profile = fs::read_to_string(profile.path())?;
        Counts::parse(&profile).ok_or_else(|| Error::other("callgrind's profile cannot be read"))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it is a process id");
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until all threads are in a state of `/proc/PID/stat`.
    fn reaches(&self, state: &str) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.states()?.iter().all(|found| found == state) {
            if Instant::now() >= deadline {
                return Err(Error::other("the program does not come to rest"));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn states(&self) -> io::Result<Vec<String>> {
        let mut states = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
            // The name before it may have anything in it.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            states.extend(rest.split_whitespace().next().map(str::to_owned));
        }
        Ok(states)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is held.
pub struct Stopped<'p>(&'p Program);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // If it is gone, whoever waits for its answers finds out.
        let _ = self.0.signal(Signal::CONT);
    }
}
