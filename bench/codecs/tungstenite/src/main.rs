//! tungstenite, which is what tokio-tungstenite and axum's `ws` are made of.

use std::error::Error;

use bench_codec_common::{Codec, Kind, Message, Role, Wire, WireStream, run};
use tungstenite::Message as TheirMessage;
use tungstenite::protocol::{Role as TheirRole, WebSocket};

struct Tungstenite {
    socket: WebSocket<WireStream>,
    /// What is sent again and again is shared, not copied.
    shared: Option<TheirMessage>,
}

impl Codec for Tungstenite {
    fn new(role: Role, wire: Wire) -> Self {
        let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
        Self { socket: WebSocket::from_raw_socket(WireStream(wire), role, None), shared: None }
    }

    fn decode(&mut self, count: usize, mut seen: impl FnMut(Kind, &[u8])) {
        for _ in 0..count {
            match self.socket.read().expect("a message") {
                TheirMessage::Text(text) => seen(Kind::Text, text.as_bytes()),
                TheirMessage::Binary(bytes) => seen(Kind::Binary, &bytes),
                other => panic!("{other:?}"),
            }
        }
    }

    fn encode(&mut self, message: &Message, count: usize) {
        let message = self.shared.get_or_insert_with(|| match message.kind {
            Kind::Text => TheirMessage::Text(message.text.clone().into()),
            Kind::Binary => TheirMessage::Binary(message.bytes.clone()),
        });
        for _ in 0..count {
            self.socket.write(message.clone()).expect("it is open");
        }
        self.socket.flush().expect("it is open");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run::<Tungstenite>()
}
