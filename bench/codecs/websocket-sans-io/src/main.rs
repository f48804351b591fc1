//! websocket-sans-io: frames alone. There are no messages of several frames, no check of UTF-8, no limits and no answers;
//! and masks are the caller's.

use std::error::Error;

use bench_codec_common::{Codec, Kind, Message, Role, Wire, run};
use websocket_sans_io::{FrameInfo, Opcode, WebsocketFrameDecoder, WebsocketFrameEncoder, WebsocketFrameEvent};

struct WebsocketSansIo {
    role: Role,
    decoder: WebsocketFrameDecoder,
    encoder: WebsocketFrameEncoder,
    wire: Wire,
    buffer: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
}

impl Codec for WebsocketSansIo {
    fn new(role: Role, wire: Wire) -> Self {
        let (decoder, encoder) = (WebsocketFrameDecoder::new(), WebsocketFrameEncoder::new());
        Self { role, decoder, encoder, wire, buffer: vec![0; 512 * 1024], filled: 0, output: Vec::new() }
    }

    fn read(&mut self) {
        self.filled = self.wire.take(&mut self.buffer);
    }

    fn decode(&mut self, _: usize, mut seen: impl FnMut(Kind, &[u8])) {
        let mut input = &mut self.buffer[..self.filled];
        loop {
            let result = self.decoder.add_data(input).expect("a frame");
            if result.event.is_none() && result.consumed_bytes == 0 {
                return;
            }
            let (taken, rest) = input.split_at_mut(result.consumed_bytes);
            match result.event {
                Some(WebsocketFrameEvent::PayloadChunk { original_opcode: Opcode::Text }) => seen(Kind::Text, taken),
                Some(WebsocketFrameEvent::PayloadChunk { original_opcode: Opcode::Binary }) => {
                    seen(Kind::Binary, taken)
                }
                _ => {}
            }
            input = rest;
        }
    }

    fn encode(&mut self, message: &Message, count: usize) {
        self.output.clear();
        for _ in 0..count {
            let header = self.encoder.start_frame(&FrameInfo {
                opcode: if message.kind == Kind::Text { Opcode::Text } else { Opcode::Binary },
                payload_length: message.bytes.len() as u64,
                mask: (self.role == Role::Client).then(|| fastrand::u32(..).to_ne_bytes()),
                fin: true,
                reserved: 0,
            });
            self.output.extend_from_slice(&header);
            let start = self.output.len();
            self.output.extend_from_slice(&message.bytes);
            self.encoder.transform_frame_payload(&mut self.output[start..]);
        }
        self.wire.write(&self.output);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run::<WebsocketSansIo>()
}
