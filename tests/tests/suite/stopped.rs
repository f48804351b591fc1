//! A process that is stopped while its peers answer must not take its own absence for their silence (L7): a program
//! (`src/bin/stopped.rs`) has connections that wait for pongs, for messages, for the answer to a close, for a request
//! or the answer to one; it is stopped, all of that comes, and it goes on after all deadlines.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_tests::{Frame, PING, PONG, Raw, Role, backends, next, upgrade_request};

use crate::last_words::Named;

backends! {
    both {
        l7_what_came_while_the_process_was_stopped_is_read_before_it_judges,
    }
}

/// How many connections of each kind there are.
const COUNT: usize = 4;

/// Longer than all that the program waits for.
const STOPPED: Duration = Duration::from_secs(3);

/// Shorter than that: it is to be stopped before.
const SOON: Duration = Duration::from_millis(1500);

/// The program, and what it says.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stopped")).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A test that is over does not listen.
                let _ = said.send(line);
            }
        });
        Self { child, lines }
    }

    /// Returns when none of its threads runs any more: the first that hears of it tells the others.
    fn stop(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap();
            // Behind the name in parentheses.
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        };
        while !fs::read_dir(&tasks).unwrap().all(|task| is_stopped(task.unwrap())) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer of one connection of the program.
struct Peer {
    kind: &'static str,
    raw: Raw,
    /// What it is owed before there is a connection.
    owed: Vec<u8>,
}

const KINDS: [&str; 4] = ["pong", "idle", "close", "open"];

/// Peers of a server, in whose requests "open" lacks the last byte.
fn clients(addr: SocketAddr) -> Vec<Peer> {
    let client = |kind: &'static str| {
        let mut bytes = upgrade_request(&format!("/{kind}"), &[]);
        if kind != "open" {
            return Peer { kind, raw: Raw::open_with(addr, &bytes), owed: Vec::new() };
        }
        let owed = bytes.split_off(bytes.len() - 1);
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        Peer { kind, raw: Raw::upgraded(stream, true), owed }
    };
    KINDS.into_iter().flat_map(|kind| [kind; COUNT]).map(client).collect()
}

/// Peers of clients, of which "open" are not answered yet.
fn servers(listener: &TcpListener) -> Vec<Peer> {
    let server = |_| {
        let mut raw = Raw::accept(listener);
        let kind = KINDS.into_iter().find(|kind| raw.head.contains(&format!("/{kind} "))).unwrap();
        let answer = raw.switching(&[]);
        if kind == "open" {
            return Peer { kind, raw, owed: answer };
        }
        raw.write(&answer);
        Peer { kind, raw, owed: Vec::new() }
    };
    (0..KINDS.len() * COUNT).map(server).collect()
}

impl Peer {
    /// Until the program waits for this.
    fn wait(&mut self) {
        if self.kind != "open" {
            self.raw.expect([Frame::text("hello")]);
        }
        match self.kind {
            "pong" => self.raw.expect([Frame::new(PING, "")]),
            "close" => self.raw.expect([Frame::close(1000, "Normal Closure")]),
            _ => {}
        }
    }

    /// What it waits for.
    fn answer(&mut self) {
        match self.kind {
            "pong" => self.raw.send([Frame::new(PONG, "")]),
            "idle" => self.raw.send([Frame::text("here")]),
            "close" => self.raw.send([Frame::close(1000, "")]),
            _ => self.raw.write(&std::mem::take(&mut self.owed)),
        }
    }

    /// That it has come.
    fn check(mut self, role: Role) {
        match self.kind {
            "pong" => self.raw.expect([Frame::new(PING, "")]),
            "idle" => self.raw.expect([Frame::text("here")]),
            "close" => return,
            _ => {
                if role == Role::Server {
                    self.raw = Raw::open_over(self.raw.into_inner(), b"");
                }
                self.raw.expect([Frame::text("hello")]);
            }
        }
        self.raw.send([Frame::close(1000, "")]);
        self.raw.expect([Frame::close(1000, "")]);
        if self.kind != "pong" {
            return;
        }
        self.raw.drain();
    }
}

fn l7_what_came_while_the_process_was_stopped_is_read_before_it_judges<B: Named>(role: Role) {
    // On a machine that is busy with other things a deadline may pass before the program is stopped.
    let in_time = (0..10).any(|_| stop_and_go_on::<B>(role));
    assert!(in_time, "this machine is too slow");
}

/// False if it was stopped too late.
fn stop_and_go_on<B: Named>(role: Role) -> bool {
    let began = Instant::now();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (program, mut peers) = match role {
        Role::Server => {
            let program = Program::start(&[B::NAME]);
            let addr = next(&program.lines).parse().unwrap();
            (program, clients(addr))
        }
        Role::Client => {
            let program = Program::start(&[B::NAME, &listener.local_addr().unwrap().to_string()]);
            let peers = servers(&listener);
            (program, peers)
        }
    };
    peers.iter_mut().for_each(Peer::wait);
    program.stop();
    if began.elapsed() > SOON {
        return false;
    }
    peers.iter_mut().for_each(Peer::answer);
    // This is what is tested.
    thread::sleep(STOPPED);
    program.signal("CONT");
    let mut ends: Vec<_> = peers.iter().map(|peer| format!("{} 1000", peer.kind)).collect();
    let checking: Vec<_> = peers.into_iter().map(|peer| thread::spawn(move || peer.check(role))).collect();
    let mut ended: Vec<_> = ends.iter().map(|_| next(&program.lines)).collect();
    ends.sort();
    ended.sort();
    assert_eq!(ended, ends);
    checking.into_iter().for_each(|checking| checking.join().unwrap());
    true
}
