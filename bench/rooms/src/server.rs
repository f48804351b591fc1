//! Servers: which there are, how they are built, and how their nodes are started.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bellwire_bench_echo::process::Cores;
use bellwire_bench_echo::program::{self, Started};
use bellwire_bench_echo::servers::{Measured, named_command};

use crate::broker::{self, Broker};
use crate::dialect::Dialect;

/// All others are compared with this one: what a message costs that no broker sees.
pub const BASELINE: &str = "bellwire-broadcast";

#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub broker: Option<Broker>,
    pub dialect: Dialect,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    /// A package of this workspace, and the arguments that come before the port.
    Package(&'static str, &'static [&'static str]),
    SocketIo,
    /// A command with `{port}`, and with `{redis}` or `{nats}` if it has a broker.
    Command(Vec<String>),
}

const URL: &str = "{url}";

const ALL: &[(&str, Option<Broker>, &str, &[&str])] = &[
    ("floor", None, "bench-rooms-floor", &["send"]),
    ("floor+batch", None, "bench-rooms-floor", &["batch"]),
    (BASELINE, None, "bench-rooms", &["broadcast"]),
    ("bellwire-rooms", None, "bench-rooms", &["local"]),
    ("bellwire-rooms+redis", Some(Broker::Redis), "bench-rooms", &["redis", URL]),
    ("bellwire-rooms+nats", Some(Broker::Nats), "bench-rooms", &["nats", URL]),
    ("tokio-tungstenite+redis", Some(Broker::Redis), "bench-rooms-tungstenite", &["send", URL]),
    ("tokio-tungstenite+redis+batch", Some(Broker::Redis), "bench-rooms-tungstenite", &["batch", URL]),
];

impl Measured for Server {
    fn all() -> Vec<Self> {
        let server = |&(name, broker, package, arguments): &(&str, _, _, _)| Self {
            name: name.to_owned(),
            broker,
            dialect: Dialect::Plain,
            program: Program::Package(package, arguments),
        };
        let socket_io = Self {
            name: "socket.io+redis".to_owned(),
            broker: Some(Broker::Redis),
            dialect: Dialect::SocketIo,
            program: Program::SocketIo,
        };
        ALL.iter().map(server).chain([socket_io]).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = named_command(text)?;
        let broker = match (command.contains("{redis}"), command.contains("{nats}")) {
            (true, _) => Some(Broker::Redis),
            (_, true) => Some(Broker::Nats),
            _ => None,
        };
        let program = Program::Command(command.split_whitespace().map(str::to_owned).collect());
        Ok(Self { name: name.to_owned(), broker, dialect: Dialect::Plain, program })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> Result<(), String> {
        match self.program {
            Program::Package(package, _) => program::build(package),
            Program::SocketIo => install(),
            Program::Command(_) => Ok(()),
        }
    }
}

impl Server {
    /// Starts so many nodes, on the processor of the servers, and their broker. Without a broker there is one node.
    pub fn start(&self, nodes: usize, cores: Cores) -> io::Result<Running> {
        let broker = self.broker.map(|broker| broker.start(cores)).transpose()?;
        let url = broker.as_ref().map_or("", |broker| &broker.url);
        let node = |_| {
            let address = program::free_address()?;
            let mut command = self.command(url, address.port())?;
            Ok(Node { started: Started::start(&mut command, address, cores.server, cores.load)?, address })
        };
        let nodes = (0..if broker.is_some() { nodes } else { 1 }).map(node).collect::<io::Result<_>>()?;
        Ok(Running { nodes, broker })
    }

    fn command(&self, url: &str, port: u16) -> io::Result<Command> {
        let port = port.to_string();
        let (program, arguments): (OsString, Vec<String>) = match &self.program {
            Program::Package(package, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.replace(URL, url)).chain([port]);
                (program::built(package)?.into(), arguments.collect())
            }
            Program::SocketIo => {
                let server = installed()?.join("server.js");
                ("node".into(), vec![server.to_string_lossy().into_owned(), url.to_owned(), port])
            }
            Program::Command(words) => {
                let mut words = words
                    .iter()
                    .map(|word| word.replace("{redis}", url).replace("{nats}", url).replace("{port}", &port));
                (words.next().unwrap_or_default().into(), words.collect())
            }
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}

/// Where socket.io's server is, with its packages.
fn installed() -> io::Result<PathBuf> {
    Ok(program::target()?.join("socketio"))
}

/// Has npm install exactly what `socketio/package-lock.json` says.
fn install() -> Result<(), String> {
    let copy = || {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("../socketio"), installed()?);
        std::fs::create_dir_all(&to)?;
        for file in ["package.json", "package-lock.json", "server.js"] {
            std::fs::copy(from.join(file), to.join(file))?;
        }
        Ok(to)
    };
    let folder = copy().map_err(|error: io::Error| format!("not installed: {error}"))?;
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("not installed: npm: {error}"))?;
    if npm.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&npm.stderr);
    Err(format!("not installed: {}", said.lines().next().unwrap_or("npm failed and did not say why")))
}

/// Nodes that run, with their broker, until this is dropped.
#[derive(Debug)]
pub struct Running {
    nodes: Vec<Node>,
    broker: Option<broker::Running>,
}

#[derive(Debug)]
struct Node {
    started: Started,
    address: SocketAddr,
}

impl Running {
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.started.pid()).collect()
    }

    pub fn broker(&self) -> Option<u32> {
        self.broker.as_ref().map(broker::Running::pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Server::all().into_iter().map(|server| server.name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.contains(&BASELINE.to_owned()));
    }

    #[test]
    fn a_command_has_a_name_and_a_place_for_the_port_and_says_its_broker() {
        let server = Server::parse("mine=python3 chat.py {nats} --port={port}").unwrap();
        assert_eq!(server.broker, Some(Broker::Nats));
        let command = server.command("nats://127.0.0.1:4", 1234).unwrap();
        assert_eq!(command.get_program(), "python3");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["chat.py", "nats://127.0.0.1:4", "--port=1234"]);
        assert_eq!(Server::parse("mine=chat {redis} {port}").unwrap().broker, Some(Broker::Redis));
        assert_eq!(Server::parse("mine=chat {port}").unwrap().broker, None);
        for wrong in ["mine", "=run {port}", "mine=run 9001"] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_programs_of_the_workspace_with_a_broker_are_told_where_it_is() {
        for server in Server::all() {
            let command = server.command("redis://127.0.0.1:4", 1234).unwrap();
            let told = command.get_args().any(|argument| argument == "redis://127.0.0.1:4");
            assert_eq!(told, server.broker.is_some(), "{}", server.name);
        }
    }
}
