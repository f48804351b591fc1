//! fastwebsockets.

use std::error::Error;

use bench_codec_common::{Codec, Kind, Message, Role, Wire, WireStream, now, run};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role as TheirRole, WebSocket};

struct Fastwebsockets(FragmentCollector<WireStream>);

impl Codec for Fastwebsockets {
    fn new(role: Role, wire: Wire) -> Self {
        let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
        Self(FragmentCollector::new(WebSocket::after_handshake(WireStream(wire), role)))
    }

    fn decode(&mut self, count: usize, mut seen: impl FnMut(Kind, &[u8])) {
        for _ in 0..count {
            let frame = now(self.0.read_frame()).expect("a message");
            seen(if frame.opcode == OpCode::Text { Kind::Text } else { Kind::Binary }, &frame.payload);
        }
    }

    fn encode(&mut self, message: &Message, count: usize) {
        for _ in 0..count {
            let payload = Payload::Borrowed(&message.bytes);
            let frame = match message.kind {
                Kind::Text => Frame::text(payload),
                Kind::Binary => Frame::binary(payload),
            };
            now(self.0.write_frame(frame)).expect("it is open");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run::<Fastwebsockets>()
}
