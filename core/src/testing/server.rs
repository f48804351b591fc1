//! The server's end of a connection in memory: a driver, and its transport.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

use crate::drive::{Driver, Step};
use crate::protocol::Output;
use crate::serve::Service;
use crate::time::Time;

/// How many writes are made for one call of the client: a listener whose completions send without end ends no test.
const MAX_WRITES: usize = 10_000;

/// The server's end, and what its transport would hold.
pub(super) struct ServerEnd {
    pub(super) driver: Driver,
    pub(super) now: Time,
    /// What the client has written.
    pub(super) unread: Vec<u8>,
    /// How many writes may still be made.
    writes: usize,
    /// Whether the client has ended its side.
    pub(super) hung_up: bool,
    /// Whether the driver has been told.
    told: bool,
    /// Whether the driver has ended its side.
    pub(super) ended: bool,
}

impl ServerEnd {
    pub(super) fn new(service: Arc<Service>, unread: Vec<u8>) -> Self {
        let driver = Driver::server(service, None, Time::ZERO);
        Self { driver, now: Time::ZERO, unread, writes: MAX_WRITES, hung_up: false, told: false, ended: false }
    }

    /// Does what a backend does, until the driver sleeps: what it has written.
    pub(super) fn run(&mut self, waker: &Waker) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            // Between two writes the client is read, too.
            if let Some(output) = self.driver.take_output() {
                self.write(&output, &mut written);
                if self.is_tired() {
                    return written;
                }
            }
            match self.driver.next_step(self.now) {
                Step::Done => {
                    self.ended = true;
                    return written;
                }
                Step::Shutdown => {
                    self.ended = true;
                    self.driver.shut_down();
                }
                Step::Read if !self.unread.is_empty() => {
                    self.driver.receive(self.now, &mut mem::take(&mut self.unread));
                }
                Step::Read if self.hung_up && !self.told => {
                    self.told = true;
                    self.driver.receive_eof(self.now);
                }
                Step::Read | Step::Wait => {
                    if self.driver.poll_pending(self.now, waker).and_then(|()| self.driver.settle(waker)).is_ok() {
                        return written;
                    }
                }
            }
        }
    }

    fn write(&mut self, output: &Output, written: &mut Vec<u8>) {
        written.extend(output.pieces().flatten());
        self.driver.wrote(self.now, output.len());
        self.writes = self.writes.saturating_sub(1);
    }

    /// Returns `true` if enough was written for one call.
    pub(super) fn is_tired(&self) -> bool {
        self.writes == 0
    }

    /// The next call has begun.
    pub(super) fn rest(&mut self) {
        self.writes = MAX_WRITES;
    }

    pub(super) fn deadline(&mut self) -> Option<Time> {
        if self.ended && self.told { None } else { self.driver.poll_timeout() }
    }
}
