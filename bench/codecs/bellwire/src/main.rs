//! bellwire, driven by hand.

use std::error::Error;
use std::sync::Arc;

use bellwire::Config;
use bellwire::proto::{Connection, Event, Output, SystemEntropy, Time};
use bench_codec_common::{Codec, Kind, Message, Role, Wire, run};

/// From here on it is worth its while to share a payload.
const SHARED: usize = 16 * 1024;

struct Bellwire {
    connection: Connection,
    wire: Wire,
    buffer: Vec<u8>,
    filled: usize,
    /// Memory for output, which serves all connections of a thread.
    spare: Output,
}

impl Codec for Bellwire {
    fn new(role: Role, wire: Wire) -> Self {
        let config = Arc::new(Config::default());
        let connection = match role {
            Role::Server => Connection::server(config, Time::ZERO),
            Role::Client => Connection::client(config, Box::new(SystemEntropy), Time::ZERO),
        };
        Self { connection, wire, buffer: vec![0; 512 * 1024], filled: 0, spare: Output::new() }
    }

    fn read(&mut self) {
        self.filled = self.wire.take(&mut self.buffer);
    }

    fn decode(&mut self, _: usize, mut seen: impl FnMut(Kind, &[u8])) {
        let mut input = &mut self.buffer[..self.filled];
        while let Some(event) = self.connection.next_event(Time::ZERO, &mut input) {
            match event {
                Event::Text(text) => seen(Kind::Text, text.as_bytes()),
                Event::Binary(bytes) => seen(Kind::Binary, &bytes),
                other => panic!("{other:?}"),
            }
        }
    }

    fn encode(&mut self, message: &Message, count: usize) {
        self.connection.lend_output(&mut self.spare);
        for _ in 0..count {
            let sent = match message.kind {
                Kind::Text => self.connection.send(&*message.text),
                // What is shared and long is not copied.
                Kind::Binary if message.bytes.len() >= SHARED => self.connection.send(message.bytes.clone()),
                Kind::Binary => self.connection.send(&*message.bytes),
            };
            sent.expect("there is room");
        }
        let mut output = self.connection.take_output().expect("messages were sent");
        output.pieces().for_each(|bytes| self.wire.write(bytes));
        self.connection.wrote(Time::ZERO, output.len());
        output.clear();
        self.spare = output;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run::<Bellwire>()
}
