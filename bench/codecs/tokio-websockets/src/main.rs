//! tokio-websockets.

use std::error::Error;

use bench_codec_common::{Codec, Kind, Message, Role, Wire, WireStream, now, run};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_websockets::{ClientBuilder, Message as TheirMessage, ServerBuilder, WebSocketStream};

struct TokioWebsockets(WebSocketStream<WireStream>);

impl Codec for TokioWebsockets {
    fn new(role: Role, wire: Wire) -> Self {
        Self(match role {
            Role::Server => ServerBuilder::new().serve(WireStream(wire)),
            Role::Client => ClientBuilder::new().take_over(WireStream(wire)),
        })
    }

    fn decode(&mut self, count: usize, mut seen: impl FnMut(Kind, &[u8])) {
        for _ in 0..count {
            let message = now(self.0.next()).expect("it is open").expect("a message");
            seen(if message.is_text() { Kind::Text } else { Kind::Binary }, message.as_payload());
        }
    }

    fn encode(&mut self, message: &Message, count: usize) {
        for _ in 0..count {
            let message = match message.kind {
                Kind::Text => TheirMessage::text(message.bytes.clone()),
                Kind::Binary => TheirMessage::binary(message.bytes.clone()),
            };
            now(self.0.feed(message)).expect("it is open");
        }
        now(self.0.flush()).expect("it is open");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run::<TokioWebsockets>()
}
