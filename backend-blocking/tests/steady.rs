//! What a message costs when nothing else happens: calls of the transport, and allocations.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use bellwire_blocking::{Stream, upgraded};
use bellwire_core::{Config, Role, listener};

/// A text of five bytes, masked with zeros.
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";
const ECHO: usize = FRAME.len() - 4;

/// How often each call was made.
#[derive(Default)]
struct Calls {
    reads: AtomicUsize,
    writes: AtomicUsize,
    written: AtomicUsize,
    timeouts: AtomicUsize,
}

/// A peer that sends so many messages with each of so many reads, and then ends.
struct Peer {
    messages: usize,
    reads: usize,
    calls: Arc<Calls>,
}

impl Stream for Peer {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.calls.reads.fetch_add(1, Ordering::Relaxed) == self.reads {
            return Ok(0);
        }
        let length = FRAME.len() * self.messages;
        for frame in buffer[..length].chunks_mut(FRAME.len()) {
            frame.copy_from_slice(FRAME);
        }
        Ok(length)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.writes.fetch_add(1, Ordering::Relaxed);
        self.calls.written.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        self.calls.timeouts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        self.calls.timeouts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        Ok(())
    }
}

/// Echoes the peer's messages until it ends.
fn echo(messages: usize, reads: usize) -> Arc<Calls> {
    let calls = Arc::<Calls>::default();
    let peer = Peer { messages, reads, calls: calls.clone() };
    let listener = listener().on_message(|socket, message| socket.send(message));
    // With its deadlines: each message moves them.
    upgraded(peer, [], Role::Server, Config::default(), listener);
    calls
}

#[test]
fn what_one_read_brings_is_answered_in_one_write_without_any_other_call() {
    for messages in [1, 64] {
        let [once, more] = [echo(messages, 10), echo(messages, 110)];
        let more_of = |count: fn(&Calls) -> &AtomicUsize| {
            let [once, more] = [&once, &more].map(|calls| count(calls).load(Ordering::Relaxed));
            more - once
        };
        assert_eq!(more_of(|calls| &calls.reads), 100);
        assert_eq!(more_of(|calls| &calls.writes), 100);
        assert_eq!(more_of(|calls| &calls.written), 100 * messages * ECHO);
        assert_eq!(more_of(|calls| &calls.timeouts), 0);
    }
}

#[test]
fn an_echo_allocates_nothing() {
    // The thread's own memory is made once.
    echo(64, 10);
    for messages in [1, 64] {
        let [once, more] = [10, 110].map(|reads| measure(|| drop(echo(messages, reads))).count_total);
        assert_eq!(more, once);
    }
}
