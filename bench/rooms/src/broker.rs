//! The brokers between nodes, each started for one turn.

use std::io;
use std::process::Command;

use bellwire_bench_echo::process::Cores;
use bellwire_bench_echo::program::{Started, free_address};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    Redis,
    Nats,
}

/// A broker that runs, until this is dropped.
#[derive(Debug)]
pub struct Running {
    started: Started,
    pub url: String,
    /// Where it may write.
    _folder: TempDir,
}

impl Broker {
    /// Starts it where the load is, since it is no part of what a node costs.
    pub fn start(self, cores: Cores) -> io::Result<Running> {
        let (folder, address) = (tempfile::tempdir()?, free_address()?);
        let port = address.port().to_string();
        let (mut command, scheme) = match self {
            Self::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"]);
                command.arg(folder.path());
                (command, "redis")
            }
            Self::Nats => {
                let mut command = Command::new("nats-server");
                command.args(["--addr", "127.0.0.1", "--port", &port]);
                (command, "nats")
            }
        };
        let program = command.get_program().to_string_lossy().into_owned();
        let started = Started::start(&mut command, address, cores.load, cores.load)
            .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        Ok(Running { started, url: format!("{scheme}://{address}"), _folder: folder })
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.started.pid()
    }
}
