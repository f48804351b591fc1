//! What connections do in memory: `counted_memory WAY MEMBERS ROUNDS`.

use std::hint::black_box;
use std::sync::Arc;

use bellwire::backend::{Shared, spare};
use bellwire::proto::{Connection, Time};
use bellwire::rooms::Rooms;
use bellwire::{Config, WebSocket, broadcast};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, members, rounds] = &arguments[..] else { panic!("usage: counted_memory WAY MEMBERS ROUNDS") };
    let room = Room::new(members.parse().expect("a number"));
    let rounds = rounds.parse().expect("a number");
    match &**way {
        "broadcast" => room.messages(rounds, |text| drop(broadcast(&room.sockets, text))),
        "publish" => {
            let rooms = Rooms::local();
            room.sockets.iter().for_each(|socket| rooms.join("room", socket).expect("it is open"));
            room.messages(rounds, |text| rooms.publish("room", text).expect("there is room"));
        }
        "join and leave" => {
            let rooms = Rooms::local();
            for _ in 0..rounds {
                room.sockets.iter().for_each(|socket| rooms.join("room", socket).expect("it is open"));
                room.sockets.iter().for_each(|socket| assert!(rooms.leave("room", socket)));
            }
        }
        _ => panic!("there is no such way: {way}"),
    }
}

/// Idle connections, which no task waits on.
struct Room {
    connections: Vec<Arc<Shared>>,
    sockets: Vec<WebSocket>,
}

impl Room {
    fn new(members: usize) -> Self {
        let config = Arc::new(Config::default());
        let connection = || Arc::new(Shared::new(Connection::server(config.clone(), Time::ZERO)));
        let connections: Vec<_> = (0..members).map(|_| connection()).collect();
        let sockets = connections.iter().map(|shared| WebSocket::from_arc(shared.clone())).collect();
        Self { connections, sockets }
    }

    /// Sends 32 bytes to all, and takes their output.
    fn messages(&self, rounds: usize, send: impl Fn(&str)) {
        let text = "x".repeat(32);
        for _ in 0..rounds {
            send(black_box(&text));
            for shared in &self.connections {
                let output = black_box(shared.take_output()).expect("a message is queued");
                shared.wrote(Time::ZERO, output.len());
                // As each backend does.
                spare::keep(output);
            }
        }
    }
}
