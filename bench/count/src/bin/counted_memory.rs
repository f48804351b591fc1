//! What connections do in memory: `counted_memory WAY ROUNDS`.

use std::hint::black_box;
use std::sync::Arc;

use bellwire::backend::{Shared, spare};
use bellwire::proto::{Connection, Time};
use bellwire::{Config, WebSocket, broadcast};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, rounds] = &arguments[..] else { panic!("usage: counted_memory WAY ROUNDS") };
    let rounds = rounds.parse().expect("a number");
    match &**way {
        "broadcast 32 B" => broadcast_to_thousand(rounds),
        _ => panic!("there is no such way: {way}"),
    }
}

/// Queues a message for 1,000 idle connections, which no task waits on, and takes their output.
fn broadcast_to_thousand(rounds: usize) {
    let config = Arc::new(Config::default());
    let connection = || Arc::new(Shared::new(Connection::server(config.clone(), Time::ZERO)));
    let connections: Vec<_> = (0..1000).map(|_| connection()).collect();
    let sockets: Vec<_> = connections.iter().map(|shared| WebSocket::from_arc(shared.clone())).collect();
    let text = "x".repeat(32);
    for _ in 0..rounds {
        drop(broadcast(&sockets, black_box(&*text)));
        for shared in &connections {
            let output = black_box(shared.take_output()).expect("a message is queued");
            shared.wrote(Time::ZERO, output.len());
            // As each backend does.
            spare::keep(output);
        }
    }
}
