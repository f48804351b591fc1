//! What only happens to threads. Nobody can drop a connection that a thread drives, but its transport, which somebody
//! else may have written, can panic: then the driver is dropped while the stack unwinds.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bellwire::blocking::{Stream, upgraded};
use bellwire::{Role, listener};
use bellwire_tests::{Event, Frame, MemoryEnd, Raw, logged, quiet};

mod blocking {
    mod server {
        #[test]
        fn i3_a_transport_that_panics_is_one_error_and_one_1006() {
            super::super::i3_a_transport_that_panics_is_one_error_and_one_1006(bellwire::Role::Server);
        }
    }
    mod client {
        #[test]
        fn i3_a_transport_that_panics_is_one_error_and_one_1006() {
            super::super::i3_a_transport_that_panics_is_one_error_and_one_1006(bellwire::Role::Client);
        }
    }
}

/// Panics when it is read after its first bytes.
struct Panicking {
    stream: MemoryEnd,
    was_read: AtomicBool,
}

impl Stream for Panicking {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.was_read.swap(true, Ordering::SeqCst), "as this test wants it");
        Stream::read(&self.stream, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(&self.stream, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}

fn i3_a_transport_that_panics_is_one_error_and_one_1006(role: Role) {
    let (stream, peer) = MemoryEnd::pair(4096);
    let (listener, log) = logged(listener());
    let mut peer = Raw::upgraded(peer, role == Role::Server);
    peer.send([Frame::text("x")]);
    let stream = Panicking { stream, was_read: AtomicBool::new(false) };
    assert!(thread::spawn(move || upgraded(stream, [], role, quiet(), listener)).join().is_err());
    let error = Event::error("The connection's driver was dropped");
    log.ends_with([Event::Open, Event::text("x"), error, Event::close(1006, "")]);
    peer.expect_end();
}
