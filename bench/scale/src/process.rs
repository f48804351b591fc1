//! What the kernel knows of a process, and this program as a child of itself.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::ClockId;
use nix::unistd::Pid;

/// Processor time that a process has had, of all its threads.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    Ok(ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32))?.now()?.into())
}

/// Bytes of memory that a process has, exactly.
pub fn resident(pid: u32) -> io::Result<usize> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"));
    let kilobytes = line.and_then(|number| number.trim().parse::<usize>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("smaps_rollup has no Rss"))
}

/// Allows as many open files as can be, here and in what is started. How many these are.
pub fn raise_descriptors() -> io::Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most.try_into().unwrap_or(usize::MAX))
}

/// This program in a process of its own, which ends with this.
pub struct Own(Child);

impl Own {
    /// Starts it with these arguments. Returns the first line that it prints as well.
    pub fn start(arguments: &[String]) -> io::Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok((Self(child), line.trim().to_owned()))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
