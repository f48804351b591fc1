//! What a broadcast costs, against sending to one after the other.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml --bin broadcast
//! ```
//!
//! Each way of sending queues one message to each of 1,000 connections in memory. The ways take turns, round by
//! round, and what is printed are medians: what slows the machine down for a while slows all of them.
//!
//! With arguments it does only one thing, so that valgrind can count its instructions: see `bench/README.md`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwire::backend::{Shared, spare};
use bellwire::proto::{Connection, Time};
use bellwire::{Config, WebSocket, broadcast};
use bytes::Bytes;

const RECEIVERS: usize = 1000;
const ROUNDS: usize = 101;
const LENGTHS: [usize; 4] = [32, 1024, 16 * 1024, 64 * 1024];

/// Sends the message to all.
type Way = fn(&[WebSocket], &Message);

/// The ways to send. The others are measured against the first.
const WAYS: [(&str, Way); 4] = [
    ("broadcast", |sockets, message| drop(broadcast(sockets, &*message.text))),
    ("send(&str)", |sockets, message| each(sockets, |socket| socket.send(&*message.text))),
    ("send(&[u8])", |sockets, message| each(sockets, |socket| socket.send(message.text.as_bytes()))),
    ("send(Bytes)", |sockets, message| each(sockets, |socket| socket.send(message.bytes.clone()))),
];

struct Message {
    text: String,
    bytes: Bytes,
}

impl Message {
    fn new(length: usize) -> Self {
        let text = "x".repeat(length);
        Self { bytes: text.clone().into(), text }
    }
}

fn each(sockets: &[WebSocket], send: impl Fn(&WebSocket) -> Result<(), bellwire::SendError>) {
    sockets.iter().for_each(|socket| send(socket).expect("there is room"));
}

/// Connections that are open and idle: none has a buffer.
struct Room {
    connections: Vec<Arc<Shared>>,
    sockets: Vec<WebSocket>,
}

impl Room {
    fn new() -> Self {
        let config = Arc::new(Config::default());
        let connection = || Arc::new(Shared::new(Connection::server(config.clone(), Time::ZERO)));
        let connections: Vec<_> = (0..RECEIVERS).map(|_| connection()).collect();
        let sockets = connections.iter().map(|shared| WebSocket::from_arc(shared.clone())).collect();
        Self { connections, sockets }
    }

    /// How long it takes to queue the message for all. Then it is taken as drivers do.
    fn round(&self, send: Way, message: &Message) -> Duration {
        let start = Instant::now();
        send(&self.sockets, black_box(message));
        let time = start.elapsed();
        for shared in &self.connections {
            let output = black_box(shared.take_output()).expect("a message is queued");
            shared.wrote(Time::ZERO, output.len());
            spare::keep(output);
        }
        time
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => compare(),
        [way, length, rounds] => repeat(way, length.parse().expect("a length"), rounds.parse().expect("a number")),
        _ => eprintln!("usage: broadcast [WAY LENGTH ROUNDS]"),
    }
}

fn compare() {
    let room = Room::new();
    println!("ns per receiver, of {RECEIVERS}; medians of {ROUNDS} rounds\n");
    println!("{:>8} {:>12} {:>12} {:>8}", "bytes", "way", "ns", "ratio");
    for length in LENGTHS {
        let medians = medians(&room, &Message::new(length));
        for ((name, _), median) in WAYS.iter().zip(medians) {
            println!("{length:>8} {name:>12} {median:>12.1} {:>8.2}", median / medians[0]);
        }
    }
}

fn medians(room: &Room, message: &Message) -> [f64; WAYS.len()] {
    let mut times = [const { Vec::new() }; WAYS.len()];
    for round in 0..ROUNDS + 2 {
        for (times, (_, send)) in times.iter_mut().zip(WAYS) {
            let time = room.round(send, message);
            // The first two warm up.
            if round >= 2 {
                times.push(time);
            }
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_nanos() as f64 / RECEIVERS as f64
    })
}

fn repeat(way: &str, length: usize, rounds: usize) {
    let (_, send) = WAYS.into_iter().find(|(name, _)| *name == way).expect("one of the ways");
    let (room, message) = (Room::new(), Message::new(length));
    for _ in 0..rounds {
        room.round(send, &message);
    }
}
