//! Servers: which there are, how they are built, and how they are started and ended.

use std::io;
use std::process::Command;

use bellwire_bench_echo::servers::{Measured, named_command};

use crate::deflate::Context;
use crate::process::Cores;
use crate::program::{self, Started};
use crate::wire::{Address, Certificate};

/// All others are compared with this one.
pub const FLOOR: &str = "raw-epoll";

#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub kind: Kind,
    command: Program,
    /// It is for the scenarios in which messages are compressed.
    compresses: bool,
    /// It is for those over TLS.
    secures: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It echoes bytes, and speaks no WebSocket.
    Raw,
    /// It speaks WebSocket, as far as an echo needs it: what is reachable.
    Floor,
    Bellwire,
    Peer,
}

#[derive(Clone, Debug)]
enum Program {
    /// A package of this workspace, and the arguments that come before the port.
    Package(&'static str, &'static [&'static str]),
    /// A command, with `{port}` somewhere, `{deflate}` if it compresses, `{cert}` and `{key}` if it speaks TLS.
    Command(Vec<String>),
}

const ALL: &[(&str, Kind, &str, &[&str])] = &[
    (FLOOR, Kind::Raw, "bench-raw", &["epoll"]),
    ("raw-tokio", Kind::Raw, "bench-raw", &["tokio"]),
    ("raw-smol", Kind::Raw, "bench-raw", &["smol"]),
    ("raw-blocking", Kind::Raw, "bench-raw", &["blocking"]),
    ("ws-epoll", Kind::Floor, "bench-smallest", &["epoll"]),
    ("ws-tokio", Kind::Floor, "bench-smallest", &["tokio"]),
    ("bellwire-tokio-listener", Kind::Bellwire, "bench-bellwire", &["tokio", "listener"]),
    ("bellwire-tokio-async", Kind::Bellwire, "bench-bellwire", &["tokio", "async"]),
    ("bellwire-tokio-stream", Kind::Bellwire, "bench-bellwire", &["tokio", "stream"]),
    ("bellwire-smol-listener", Kind::Bellwire, "bench-bellwire", &["smol", "listener"]),
    ("bellwire-smol-async", Kind::Bellwire, "bench-bellwire", &["smol", "async"]),
    ("bellwire-smol-stream", Kind::Bellwire, "bench-bellwire", &["smol", "stream"]),
    ("bellwire-async-std-listener", Kind::Bellwire, "bench-bellwire", &["async-std", "listener"]),
    ("bellwire-async-std-async", Kind::Bellwire, "bench-bellwire", &["async-std", "async"]),
    ("bellwire-async-std-stream", Kind::Bellwire, "bench-bellwire", &["async-std", "stream"]),
    ("bellwire-blocking-listener", Kind::Bellwire, "bench-bellwire", &["blocking", "listener"]),
    ("tokio-tungstenite", Kind::Peer, "bench-tokio-tungstenite", &["send"]),
    ("tokio-tungstenite+batch", Kind::Peer, "bench-tokio-tungstenite", &["batch"]),
    ("fastwebsockets", Kind::Peer, "bench-fastwebsockets", &["send"]),
    ("tokio-websockets", Kind::Peer, "bench-tokio-websockets", &["send"]),
    ("tokio-websockets+batch", Kind::Peer, "bench-tokio-websockets", &["batch"]),
    ("sockudo-ws", Kind::Peer, "bench-sockudo-ws", &["send"]),
    ("sockudo-ws+batch", Kind::Peer, "bench-sockudo-ws", &["batch"]),
    ("yawc", Kind::Peer, "bench-yawc", &["send"]),
    ("yawc+batch", Kind::Peer, "bench-yawc", &["batch"]),
    ("axum", Kind::Peer, "bench-axum", &["send"]),
    ("axum+batch", Kind::Peer, "bench-axum", &["batch"]),
    ("bellwire-axum-listener", Kind::Bellwire, "bench-bellwire-axum", &["listener"]),
    ("bellwire-axum-stream", Kind::Bellwire, "bench-bellwire-axum", &["stream"]),
    ("bellwire-tokio-listener+deflate", Kind::Bellwire, "bench-bellwire", &["tokio", "listener", DEFLATE, "6"]),
    ("bellwire-tokio-listener+deflate-1", Kind::Bellwire, "bench-bellwire", &["tokio", "listener", DEFLATE, "1"]),
    ("bellwire-tokio-async+deflate", Kind::Bellwire, "bench-bellwire", &["tokio", "async", DEFLATE, "6"]),
    ("bellwire-tokio-stream+deflate", Kind::Bellwire, "bench-bellwire", &["tokio", "stream", DEFLATE, "6"]),
    ("sockudo-ws+deflate", Kind::Peer, "bench-sockudo-ws", &["send", DEFLATE, "6"]),
    ("sockudo-ws+deflate+batch", Kind::Peer, "bench-sockudo-ws", &["batch", DEFLATE, "6"]),
    ("sockudo-ws+deflate-1+batch", Kind::Peer, "bench-sockudo-ws", &["batch", DEFLATE, "1"]),
    ("yawc+deflate", Kind::Peer, "bench-yawc", &["send", DEFLATE, "6"]),
    ("yawc+deflate+batch", Kind::Peer, "bench-yawc", &["batch", DEFLATE, "6"]),
    ("yawc+deflate-1+batch", Kind::Peer, "bench-yawc", &["batch", DEFLATE, "1"]),
    ("bellwire-tokio-listener+tls", Kind::Bellwire, "bench-bellwire", &["tokio", "listener", "tls", CERT, KEY]),
    ("bellwire-tokio-async+tls", Kind::Bellwire, "bench-bellwire", &["tokio", "async", "tls", CERT, KEY]),
    ("bellwire-tokio-stream+tls", Kind::Bellwire, "bench-bellwire", &["tokio", "stream", "tls", CERT, KEY]),
    ("bellwire-smol-listener+tls", Kind::Bellwire, "bench-bellwire", &["smol", "listener", "tls", CERT, KEY]),
    ("tokio-tungstenite+tls", Kind::Peer, "bench-tokio-tungstenite", &["send", CERT, KEY]),
    ("tokio-tungstenite+tls+batch", Kind::Peer, "bench-tokio-tungstenite", &["batch", CERT, KEY]),
];

/// Where it stands, a server is told how to compress: `alone` or `takeover`.
const DEFLATE: &str = "{deflate}";

/// Where these stand, it gets the files of a certificate and its key.
const CERT: &str = "{cert}";
const KEY: &str = "{key}";

/// What a scenario asks of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants<'a> {
    pub deflate: Option<Context>,
    pub tls: Option<&'a Certificate>,
}

impl Wants<'_> {
    /// An argument, with the port and what else stands in braces.
    fn filled(self, argument: &str, port: &str) -> String {
        let argument = argument.replace("{port}", port).replace(DEFLATE, self.deflate.map_or("", Context::name));
        let Some(tls) = self.tls else { return argument };
        argument.replace(CERT, &tls.certificate().to_string_lossy()).replace(KEY, &tls.key().to_string_lossy())
    }
}

impl Measured for Server {
    fn all() -> Vec<Self> {
        let server = |&(name, kind, package, arguments): &(&str, _, _, _)| Self {
            name: name.to_owned(),
            kind,
            command: Program::Package(package, arguments),
            compresses: arguments.contains(&DEFLATE),
            secures: arguments.contains(&CERT),
        };
        ALL.iter().map(server).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = named_command(text)?;
        let words = command.split_whitespace().map(str::to_owned).collect();
        let (compresses, secures) = (command.contains(DEFLATE), command.contains(CERT));
        Ok(Self { name: name.to_owned(), kind: Kind::Peer, command: Program::Command(words), compresses, secures })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> Result<(), String> {
        match self.command {
            Program::Package(package, _) => program::build(package),
            Program::Command(_) => Ok(()),
        }
    }
}

impl Server {
    /// Whether it is for scenarios with these messages. What echoes raw bytes is for all, but over TLS.
    pub fn takes_part(&self, wants: Wants<'_>) -> bool {
        let compresses = self.kind == Kind::Raw || self.compresses == wants.deflate.is_some();
        compresses && self.secures == wants.tls.is_some()
    }

    /// Starts it on a processor of its own, and waits until it takes connections.
    pub fn start(&self, cores: Cores, wants: Wants<'_>) -> io::Result<Running> {
        let address =
            Address { at: program::free_address()?, tls: wants.tls.map(|certificate| certificate.client.clone()) };
        let mut command = self.command(address.at.port(), wants)?;
        let started = Started::start(&mut command, address.at, cores.server, cores.load)?;
        Ok(Running { started, address })
    }

    fn command(&self, port: u16, wants: Wants<'_>) -> io::Result<Command> {
        let port = port.to_string();
        match &self.command {
            Program::Package(package, arguments) => {
                let mut command = Command::new(program::built(package)?);
                command.args(arguments.iter().map(|argument| wants.filled(argument, &port))).arg(&port);
                Ok(command)
            }
            Program::Command(words) => {
                let mut words = words.iter().map(|word| wants.filled(word, &port));
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words);
                Ok(command)
            }
        }
    }
}

/// A server that runs, until this is dropped.
#[derive(Debug)]
pub struct Running {
    started: Started,
    pub address: Address,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.started.pid()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn compressed(context: Context) -> Wants<'static> {
        Wants { deflate: Some(context), tls: None }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Server::all().into_iter().map(|server| server.name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.contains(&FLOOR.to_owned()));
    }

    #[test]
    fn a_command_has_a_name_and_a_place_for_the_port() {
        let server = Server::parse("mine=python3 echo.py --port={port}").unwrap();
        let command = server.command(1234, Wants::default()).unwrap();
        assert_eq!(command.get_program(), "python3");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["echo.py", "--port=1234"]);
        assert!(server.takes_part(Wants::default()) && !server.takes_part(compressed(Context::Alone)));
        for wrong in ["mine", "=run {port}", "mine=run 9001"] {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_that_compresses_is_told_how() {
        let server = Server::parse("mine=echo {deflate} {port}").unwrap();
        assert!(server.takes_part(compressed(Context::Takeover)) && !server.takes_part(Wants::default()));
        let command = server.command(1234, compressed(Context::Takeover)).unwrap();
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["takeover", "1234"]);
        for wants in [Wants::default(), compressed(Context::Alone)] {
            assert!(Server::all().iter().filter(|server| server.takes_part(wants)).any(|server| server.name == FLOOR));
        }
    }

    #[test]
    fn a_command_over_tls_is_told_of_a_certificate() {
        let certificate = Certificate::make().unwrap();
        let wants = Wants { deflate: None, tls: Some(&certificate) };
        let server = Server::parse("mine=echo {cert} {key} {port}").unwrap();
        assert!(server.takes_part(wants) && !server.takes_part(Wants::default()));
        let command = server.command(1234, wants).unwrap();
        let files: Vec<_> = command.get_args().map(Path::new).collect();
        assert!(std::fs::read_to_string(files[0]).unwrap().starts_with("-----BEGIN CERTIFICATE"));
        assert!(std::fs::read_to_string(files[1]).unwrap().starts_with("-----BEGIN PRIVATE KEY"));
        assert!(!Server::all().iter().filter(|server| server.takes_part(wants)).any(|server| server.kind == Kind::Raw));
        let file = files[0].to_owned();
        drop(certificate);
        assert!(!file.exists());
    }

    #[test]
    fn a_program_that_is_missing_or_ends_does_not_start() {
        let cores = Cores::find().unwrap();
        let missing =
            Server::parse("missing=/nonexistent/program {port}").unwrap().start(cores, Wants::default()).unwrap_err();
        assert!(missing.to_string().contains("does not start"), "{missing}");
        let ends = Server::parse("ends=false {port}").unwrap().start(cores, Wants::default()).unwrap_err();
        assert!(ends.to_string().contains("does not start"), "{ends}");
    }
}
