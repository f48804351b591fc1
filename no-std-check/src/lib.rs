//! Proves that `bellwire-core` needs no `std`: `cargo check` here fails as soon as the core, or anything
//! below it, pulls `std` in, because `std` has a panic handler too.
//!
//! It was seen to fail, and `.ci/run` sees it each time, with `cargo check --features std-probe`:
//!
//! ```text
//! error[E0152]: found duplicate lang item `panic_impl`
//! ```
//!
//! What is written here is also the least that somebody without an operating system has to write.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;
use core::panic::PanicInfo;

use bellwire_core::proto::server::Accept;
use bellwire_core::proto::{Connection, Entropy, Event, Time, client, server};
use bellwire_core::{Config, Target};

/// What is there in place of a socket and a clock.
pub trait Transport {
    /// Reads some bytes into the buffer and says how many; none at the end.
    fn read(&mut self, buffer: &mut [u8]) -> usize;
    /// Writes some of the bytes and says how many.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// How long ago something was that does not change.
    fn now(&self) -> Time;
}

/// Serves one connection that sends every message back. `None`: the peer did not ask for that.
pub fn echo(transport: &mut impl Transport) -> Option<()> {
    let config = Arc::new(Config::default());
    let mut handshake = server::Handshake::new(Arc::clone(&config), transport.now());
    let mut buffer = [0; 1024];
    // Bytes that come after the handshake belong to the connection: they stay in `input`.
    let (request, input) = loop {
        let length = transport.read(&mut buffer);
        let mut input = buffer.get_mut(..length)?;
        match handshake.receive(&mut input) {
            None if length == 0 => return None,
            None => {}
            Some(request) => break (request.ok()?, length - input.len()..length),
        }
    };
    let connection = request.accept(&Accept::new(), config, transport.now()).ok()?;
    converse(connection, transport, &mut buffer, input)
}

/// Connects to a URL, and sends every message back. `None`: the server did not accept.
pub fn echo_as_client(transport: &mut impl Transport, url: &str, random: Box<dyn Entropy>) -> Option<()> {
    let mut handshake = client::Handshake::new(&Target::new(url).ok()?, random, transport.now());
    while !handshake.output().is_empty() {
        let count = transport.write(handshake.output());
        handshake.wrote(count);
    }
    let mut buffer = [0; 1024];
    let (connection, input) = loop {
        let length = transport.read(&mut buffer);
        let mut input = buffer.get_mut(..length)?;
        match handshake.receive(transport.now(), &mut input) {
            None if length == 0 => return None,
            None => {}
            Some(answer) => break (answer.ok()?.0, length - input.len()..length),
        }
    };
    converse(connection, transport, &mut buffer, input)
}

/// Runs an open connection to its end.
fn converse(
    mut connection: Connection,
    transport: &mut impl Transport,
    buffer: &mut [u8],
    mut input: Range<usize>,
) -> Option<()> {
    while !connection.is_finished() {
        answer(&mut connection, transport.now(), buffer.get_mut(input)?);
        write(&mut connection, transport);
        let length = transport.read(buffer);
        if length == 0 {
            connection.receive_eof();
        }
        input = 0..length;
    }
    Some(())
}

/// Handles what was read.
fn answer(connection: &mut Connection, now: Time, mut input: &mut [u8]) {
    while let Some(event) = connection.next_event(now, &mut input) {
        // A refused message is the loss of a peer that does not read.
        let _ = match event {
            Event::Text(text) => connection.send(&*text).map(drop),
            Event::Binary(bytes) => connection.send(&*bytes).map(drop),
            _ => Ok(()),
        };
    }
}

/// Writes what is queued, piece by piece.
fn write(connection: &mut Connection, transport: &mut impl Transport) {
    while !connection.output().is_empty() {
        let count = transport.write(connection.output().first());
        connection.wrote(transport.now(), count);
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
