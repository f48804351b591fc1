//! What a message costs when nothing else happens: calls of the transport, and allocations.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use bellwire_async_std::{Executor, FuturesIo, upgraded};
use bellwire_core::backend::Timer;
use bellwire_core::proto::Time;
use bellwire_core::{Config, Role, listener};
use futures_io::{AsyncRead, AsyncWrite};

/// A text of five bytes, masked with zeros.
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";
const ECHO: usize = FRAME.len() - 4;

/// A clock that goes on by a millisecond each time it is asked, and never rings: async-io's allocates when it likes.
#[derive(Default)]
struct Clock(Cell<u64>);

impl Timer for Clock {
    fn now(&self) -> Time {
        self.0.set(self.0.get() + 1);
        Time::from_start(Duration::from_millis(self.0.get()))
    }

    fn set(&mut self, _: Time) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Nothing is spawned here.
#[derive(Clone)]
struct OneTask;

impl Executor for OneTask {
    type Timer = Clock;

    fn timer(&self) -> Clock {
        Clock::default()
    }

    fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) {
        unreachable!();
    }
}

/// How often each call was made.
#[derive(Default)]
struct Calls {
    reads: Cell<usize>,
    writes: Cell<usize>,
    written: Cell<usize>,
}

/// A peer that sends so many messages with each of so many reads, which are waited for, and then ends.
struct Peer {
    messages: usize,
    reads: usize,
    waits: bool,
    calls: Rc<Calls>,
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.waits = !self.waits;
        if self.waits {
            return Poll::Pending;
        }
        if self.calls.reads.replace(self.calls.reads.get() + 1) == self.reads {
            return Poll::Ready(Ok(0));
        }
        let length = FRAME.len() * self.messages;
        for frame in buffer[..length].chunks_mut(FRAME.len()) {
            frame.copy_from_slice(FRAME);
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.calls.writes.set(self.calls.writes.get() + 1);
        self.calls.written.set(self.calls.written.get() + bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Drives a connection with its deadlines, which each message moves, until the peer ends.
fn echo(messages: usize, reads: usize) -> Rc<Calls> {
    let calls = Rc::<Calls>::default();
    let peer = Peer { messages, reads, waits: false, calls: calls.clone() };
    let listener = listener().on_message(|socket, message| socket.send(message));
    let mut connection = pin!(upgraded(FuturesIo(OneTask), peer, [], Role::Server, Config::default(), listener));
    while connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
    calls
}

#[test]
fn what_one_read_brings_is_answered_in_one_write() {
    for messages in [1, 32] {
        let [once, more] = [10, 110].map(|reads| echo(messages, reads));
        assert_eq!(more.writes.get() - once.writes.get(), 100);
        assert_eq!(more.written.get() - once.written.get(), 100 * messages * ECHO);
    }
}

#[test]
fn an_echo_allocates_nothing() {
    // The thread's own memory is made once.
    echo(32, 10);
    for messages in [1, 32] {
        let [once, more] = [10, 110].map(|reads| measure(|| drop(echo(messages, reads))).count_total);
        assert_eq!(more, once);
    }
}
