//! What all programs that decode and encode in memory have in common: each has the codec of one library.

mod message;
mod wire;

use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use bellwire_bench_messages::{Exchange, Masked, unmasked};

pub use message::{Kind, Message};
pub use wire::{Wire, WireStream, now};

/// What is to be timed: a message takes a few nanoseconds, and reading the clock does, too.
const ROUND: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// A connection of a library, in memory.
pub trait Codec {
    /// An open connection. What it reads and writes goes through the wire.
    fn new(role: Role, wire: Wire) -> Self;

    /// Makes what is on the wire ready to be decoded: for a library that decodes in a buffer of its caller, the read
    /// into that. It is not timed.
    fn read(&mut self) {}

    /// Decodes so many messages, and shows each.
    fn decode(&mut self, count: usize, seen: impl FnMut(Kind, &[u8]));

    /// Encodes a message so many times, and writes what comes of it.
    fn encode(&mut self, message: &Message, count: usize);
}

/// What a program does: it says what a message costs in time, again and again, or does it so many times.
///
/// ```text
/// PROGRAM read|decode|encode server|client MESSAGE [BATCHES]
/// ```
///
/// Without a number it does a round for each line that it reads, and prints nanoseconds for each message. `read` is the
/// part of `decode` that is not timed.
///
/// # Errors
/// If the arguments are others.
pub fn run<C: Codec>() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some((operation, role, message)), batches) = (
        arguments.first_chunk().map(|[operation, role, message]| (operation, role, message)),
        arguments.get(3).map(|batches| batches.parse()).transpose()?,
    ) else {
        return Err("usage: PROGRAM read|decode|encode server|client MESSAGE [BATCHES]".into());
    };
    let role = if role == "client" { Role::Client } else { Role::Server };
    let message = Message::named(message).ok_or("there is no such message")?;
    let mut bench = Bench::<C>::new(role, message);
    bench.check();
    let batch: fn(&mut Bench<C>) -> Duration = match &**operation {
        "read" => |bench| bench.read(),
        "decode" => |bench| bench.decode(),
        "encode" => |bench| bench.encode(),
        _ => return Err("there is no such operation".into()),
    };
    match batches {
        Some(batches) => {
            for _ in 0..batches {
                batch(&mut bench);
            }
        }
        None => bench.answer(batch)?,
    }
    Ok(())
}

/// A codec, and the message that it decodes and encodes.
struct Bench<C> {
    codec: C,
    wire: Wire,
    role: Role,
    message: Message,
    exchange: Exchange,
}

impl<C: Codec> Bench<C> {
    fn new(role: Role, message: Message) -> Self {
        let masked = if role == Role::Server { Masked::Sent } else { Masked::Echo };
        let exchange = match message.kind {
            Kind::Text => Exchange::text(&message.text, 1, masked),
            Kind::Binary => Exchange::binary(&message.bytes, masked),
        };
        let wire = Wire::new(exchange.sent.repeat(message.batch));
        Self { codec: C::new(role, wire.clone()), wire, role, message, exchange }
    }

    /// What is decoded and what is encoded is right.
    fn check(&mut self) {
        self.wire.rewind();
        self.codec.read();
        let (mut count, message) = (0, &self.message);
        self.codec.decode(message.batch, |kind, payload| {
            assert!(kind == message.kind && payload == message.bytes, "a message is decoded wrong");
            count += 1;
        });
        assert_eq!(count, message.batch);
        self.wire.record();
        self.codec.encode(message, message.batch);
        let written = self.wire.recorded();
        let length = self.exchange.echo_length(self.role == Role::Client);
        assert_eq!(written.len(), length * message.batch);
        assert!(written.chunks(length).all(|frame| unmasked(frame) == self.exchange.echo), "a frame is wrong");
    }

    fn read(&mut self) -> Duration {
        self.wire.rewind();
        self.codec.read();
        Duration::ZERO
    }

    fn decode(&mut self) -> Duration {
        self.read();
        let start = Instant::now();
        let mut length = 0;
        self.codec.decode(self.message.batch, |_, payload| length += black_box(payload).len());
        let time = start.elapsed();
        assert!(self.wire.is_read() && length == self.message.batch * self.message.bytes.len());
        time
    }

    fn encode(&mut self) -> Duration {
        let start = Instant::now();
        self.codec.encode(black_box(&self.message), self.message.batch);
        start.elapsed()
    }

    /// A round for each line.
    fn answer(&mut self, batch: impl Fn(&mut Self) -> Duration) -> io::Result<()> {
        for line in io::stdin().lock().lines() {
            line?;
            let (mut time, mut batches) = (Duration::ZERO, 0);
            while time < ROUND {
                time += batch(self);
                batches += 1;
            }
            let messages = batches * self.message.batch;
            println!("{}", time.as_nanos() as f64 / messages as f64);
            io::stdout().flush()?;
        }
        Ok(())
    }
}
