//! How often a turn locks its connection, and how often it reads the clock.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io::{self, IoSlice};

use super::{Task, Timer, Transport};
use crate::api::{IntoAnyListener, WebSocket, listener};
use crate::drive::{Driver, GUARDS};
use crate::protocol::Connection;
use crate::time::Time;

/// A text message as a client masks it, with a key of zeros.
const MESSAGE: &[u8] = b"\x81\x81\0\0\0\0a";

/// Reads this once for each poll of the task.
struct Reads(Vec<u8>, bool);

impl Transport for Reads {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        if !self.1 {
            return Poll::Pending;
        }
        buffer[..self.0.len()].copy_from_slice(&self.0);
        Poll::Ready(Ok(self.0.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

std::thread_local! {
    /// How often this thread has read the clock.
    static READINGS: Cell<usize> = const { Cell::new(0) };
}

struct Never;

impl Timer for Never {
    fn now(&self) -> Time {
        READINGS.set(READINGS.get() + 1);
        Time::ZERO
    }

    fn set(&mut self, _: Time) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Returns how many guards a wake takes that reads so many messages, each of which `on_message` is called with. It reads
/// the clock once.
fn guards(count: usize, on_message: fn(&WebSocket)) -> usize {
    let transport = Reads(MESSAGE.repeat(count), false);
    let listener = listener().on_message(move |socket, _| on_message(socket));
    let connection = Connection::server(Arc::default(), Time::ZERO);
    let driver = Driver::connected(connection, listener.into_any_listener());
    let mut task = Task::new(transport, driver, Never, &Arc::default());
    // It opens.
    task.start(&mut []);
    let mut wake = || {
        let before = GUARDS.get();
        READINGS.set(0);
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(READINGS.get(), 1);
        GUARDS.get() - before
    };
    let count = wake();
    assert_eq!(wake(), count);
    count
}

#[test]
fn a_turn_reads_the_clock_once_and_locks_for_each_send_and_twice_more() {
    for count in [1, 2, 10, 60] {
        let echoes = guards(count, |socket| socket.send("a").unwrap());
        assert_eq!(echoes, 2 + count, "{count} echoes");
        // Nothing is written.
        assert_eq!(guards(count, |_| ()), 1, "{count} messages");
    }
}
