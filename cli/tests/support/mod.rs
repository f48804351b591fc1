//! What the tests of the program share: servers for it, and the program itself.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::{Request, Response, WebSocket, listener};
use tokio::runtime::Runtime;

/// A server on a free port, for as long as it lives.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    scheme: &'static str,
    _runtime: Runtime,
}

impl Served {
    pub(crate) fn new(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        Self::start(handler, None)
    }

    /// Sends every message back, over TLS.
    pub(crate) fn over_tls(config: rustls::ServerConfig) -> Self {
        let echo = |_: &Request| Response::websocket(listener().on_message(|socket, message| socket.send(message)));
        Self::start(echo, Some(config))
    }

    fn start(
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
        tls: Option<rustls::ServerConfig>,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(bellwire::tokio::Server::bind("127.0.0.1:0")).unwrap();
        let config = bellwire::Config::default().deflate(bellwire::config::Deflate::default());
        let (addr, mut server) = (server.local_addr().unwrap(), server.config(config).on_error(|_| ()));
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        if let Some(tls) = tls {
            server = server.tls(tls);
        }
        runtime.spawn(server.run(handler));
        Self { addr, scheme, _runtime: runtime }
    }

    /// Sends every message back.
    pub(crate) fn echo() -> Self {
        Self::new(|_| Response::websocket(listener().on_message(|socket, message| socket.send(message))))
    }

    /// Does one thing as soon as a connection is open.
    pub(crate) fn on_open(act: impl Fn(&WebSocket) + Clone + Send + Sync + 'static) -> Self {
        Self::new(move |_| {
            let act = act.clone();
            Response::websocket(listener().on_open(move |socket| act(socket)))
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/", self.scheme, self.addr)
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A peer that answers whoever connects with these bytes, and nothing else.
pub(crate) fn answers(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(bytes);
        }
    });
    addr
}

/// How the program has ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let out = String::from_utf8_lossy(&self.out);
        f.debug_struct("Ended").field("status", &self.status).field("out", &out).field("err", &self.err).finish()
    }
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// The objects of `--jsonl` with this event.
    pub(crate) fn events(&self, event: &str) -> Vec<serde_json::Value> {
        let objects = self.text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        objects.filter(|object| object["event"] == event).collect()
    }
}

/// The program, not started yet.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire"));
    command.args(arguments).env_remove("NO_COLOR");
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end, with this on its standard input.
pub(crate) fn run(arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
    let mut running = Running::start(arguments);
    let (mut stdin, input) = (running.input.take().unwrap(), input.as_ref().to_vec());
    thread::spawn(move || drop(stdin.write_all(&input)));
    running.end()
}

/// How long a program may run, or a test that has failed would never end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends a program that runs for too long. Dropping it forgets that.
pub(crate) struct Watched(#[allow(dead_code, reason = "it is dropped")] mpsc::Sender<()>);

impl Watched {
    pub(crate) fn new(child: &Child) -> Self {
        let (watched, forgotten) = mpsc::channel::<()>();
        let pid = child.id();
        thread::spawn(move || {
            if forgotten.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                end(pid);
            }
        });
        Self(watched)
    }
}

#[cfg(unix)]
fn end(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(pid as i32).unwrap();
    let _ = kill_process(pid, Signal::KILL);
}

#[cfg(not(unix))]
fn end(_: u32) {}

/// The program while it runs. Dropping it ends it.
pub(crate) struct Running {
    child: Child,
    _watched: Watched,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<BufReader<ChildStdout>>,
    errors: Option<ChildStderr>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        let errors = child.stderr.take();
        Self { _watched: Watched::new(&child), child, input, output, errors }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads a line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Reads lines of `--jsonl` until there is one with this event.
    pub(crate) fn event(&mut self, event: &str) -> serde_json::Value {
        loop {
            let line = self.line();
            let object: serde_json::Value = serde_json::from_str(&line).expect("an object in each line");
            if object["event"] == event {
                return object;
            }
        }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input, and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.input.take());
        let mut errors = self.errors.take().unwrap();
        let reading = thread::spawn(move || {
            let mut err = String::new();
            errors.read_to_string(&mut err).map(|_| err)
        });
        let mut out = Vec::new();
        if let Some(mut output) = self.output.take() {
            output.read_to_end(&mut out).unwrap();
        }
        let status = self.child.wait().unwrap().code();
        Ended { status, out, err: reading.join().unwrap().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
