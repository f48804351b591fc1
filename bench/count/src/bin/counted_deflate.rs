//! Connections that compress, in memory: `counted_deflate alone|takeover send|receive [LEVEL [HISTORY [MEM_LEVEL]]] ROUNDS`.
//!
//! In a round each connection sends or receives a message: of 1 KiB where each is compressed alone, and else of 300 bytes.

use std::hint::black_box;
use std::sync::Arc;

use bellwire::config::Deflate;
use bellwire::proto::server::Accept;
use bellwire::proto::{Connection, Event, SystemEntropy, Time, client, server};
use bellwire::{Config, Target};
use bellwire_bench_messages::json;

const CONNECTIONS: usize = 100;
/// So many different messages; they have more bytes than a window.
const MESSAGES: u64 = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [context, operation, settings @ .., rounds] = &arguments[..] else {
        panic!("usage: counted_deflate CONTEXT OPERATION [LEVEL [HISTORY]] ROUNDS");
    };
    let rounds = rounds.parse().expect("a number");
    let mut deflate = Deflate::default();
    if let Some(level) = settings.first() {
        deflate.level = level.parse().expect("a number");
    }
    if let Some(history) = settings.get(1) {
        deflate.history = history.parse().expect("a number");
    }
    if let Some(mem_level) = settings.get(2) {
        deflate.mem_level = mem_level.parse().expect("a number");
    }
    let (deflate, length) = match &**context {
        "alone" => (deflate.no_context_takeover(), 1024),
        "takeover" => (deflate, 300),
        _ => panic!("there is no such context: {context}"),
    };
    let messages: Vec<_> = (0..MESSAGES).map(|seed| json(length, seed)).collect();
    let config = Arc::new(Config::default().deflate(deflate));
    match &**operation {
        "send" => send(&config, &messages, rounds),
        "receive" => receive(&config, &messages, rounds),
        _ => panic!("there is no such operation: {operation}"),
    }
}

fn send(config: &Arc<Config>, messages: &[String], rounds: usize) {
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| pair(config).0).collect();
    let mut length = 0;
    for message in messages.iter().cycle().take(rounds) {
        for connection in &mut connections {
            connection.send(black_box(&**message)).expect("it is open");
            let output = black_box(connection.output()).len();
            length += output;
            connection.wrote(Time::ZERO, output);
        }
    }
    eprintln!("{:.1} bytes for a message", length as f64 / (rounds * CONNECTIONS) as f64);
}

fn receive(config: &Arc<Config>, messages: &[String], rounds: usize) {
    let (mut connections, mut clients): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| pair(config)).unzip();
    // None of them refers to anything before the first: they can come again and again.
    let frames: Vec<_> = messages.iter().map(|message| sent(&mut clients[0], message)).collect();
    let mut frame = Vec::new();
    for (sent, message) in frames.iter().zip(messages).cycle().take(rounds) {
        for connection in &mut connections {
            frame.clone_from(sent);
            match connection.next_event(Time::ZERO, &mut &mut frame[..]) {
                Some(Event::Text(text)) => assert!(black_box(text) == **message),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The frame of a message.
fn sent(client: &mut Connection, message: &str) -> Vec<u8> {
    client.send(message).expect("it is open");
    let frame = client.output().pieces().flatten().copied().collect::<Vec<_>>();
    assert_eq!(frame[0], 0xc1, "it is compressed");
    client.wrote(Time::ZERO, frame.len());
    frame
}

/// A server's connection and a client's, after their opening handshake.
fn pair(config: &Arc<Config>) -> (Connection, Connection) {
    let target = Target::new("ws://localhost/").expect("a URL").config((**config).clone());
    let mut client = client::Handshake::new(&target, Box::new(SystemEntropy), Time::ZERO);
    let mut request = client.output().to_vec();
    client.wrote(request.len());
    let request = server::Handshake::new(config.clone(), Time::ZERO).receive(&mut &mut request[..]);
    let request = request.expect("it is whole").expect("it is right");
    let mut server = request.accept(&Accept::new(), config.clone(), Time::ZERO).expect("it is accepted");
    let mut answer = server.output().pieces().flatten().copied().collect::<Vec<_>>();
    server.wrote(Time::ZERO, answer.len());
    let (client, _) = client.receive(Time::ZERO, &mut &mut answer[..]).expect("it is whole").expect("it is right");
    (server, client)
}
