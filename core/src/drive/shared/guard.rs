//! The lock of a shared connection.
//!
//! A guard is the connection itself, to be called as it is. When it is dropped it unlocks, then drops what must not be
//! dropped under the lock; and it stores a [`Status`], so that a driver need not lock only to ask.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use super::waiters::{Waiter, Waiters};
use crate::observe::{Peak, Seen};
use crate::protocol::{Closed, Connection, DeferredDrops, Stage, Traffic};
use crate::sync::{AtomicU8, MutexGuard, Ordering, WakerSlot};
use crate::time::Time;

/// What the lock protects.
pub(super) struct State {
    pub(super) connection: Connection,
    /// How to wake the driver, or the thread that writes.
    pub(super) waker: WakerSlot,
    /// Whether that was called and no output was taken since.
    pub(super) woken: bool,
    pub(super) waiters: Waiters,
    pub(super) closed: Option<Box<Closed>>,
    pub(super) peak: Peak,
}

/// The connection, locked. Fields are dropped in their order: unlocked first.
pub(in crate::drive) struct Guard<'a> {
    pub(super) state: MutexGuard<'a, State>,
    deferred_drops: Option<Box<DeferredDrops>>,
    status: &'a AtomicU8,
}

/// What the driver has read: the connection is told when it is locked anyway.
#[derive(Default)]
pub(in crate::drive) struct Arrived {
    /// When bytes arrived that the deadlines do not know of yet.
    pub(in crate::drive) at: Option<Time>,
    /// What was received in all.
    pub(in crate::drive) traffic: Traffic,
    /// And what was seen of the connection then.
    pub(in crate::drive) seen: Seen,
}

/// What was true of the connection when it was last unlocked: kept in one atomic byte, and read without the lock.
///
/// Another thread may have changed it since. It wakes the driver then, which asks again; and the guard that
/// [parks](super::Shared::park) the driver looks at the connection itself.
#[derive(Clone, Copy)]
pub(in crate::drive) struct Status(u8);

impl Status {
    /// There is output, to be taken unless some is being written, or the driver was woken to take some.
    const OUTPUT: u8 = 1;
    /// So much output is queued that the peer is not read.
    const PAUSED: u8 = 1 << 1;
    /// An event comes without any input.
    const EVENT: u8 = 1 << 2;
    /// The peer's close frame is awaited.
    const CLOSING: u8 = 1 << 3;
    /// [`Connection::is_finished`].
    const FINISHED: u8 = 1 << 4;
    /// [`Connection::is_lost`].
    const LOST: u8 = 1 << 5;

    pub(super) fn load(status: &AtomicU8) -> Self {
        Self(status.load(Ordering::Acquire))
    }

    #[inline]
    fn of(state: &State) -> Self {
        let connection = &state.connection;
        let stage = match connection.stage() {
            Stage::Open => 0,
            Stage::Closing => Self::CLOSING,
            Stage::Ending => Self::EVENT,
            Stage::Finished => Self::FINISHED,
            Stage::Lost => Self::FINISHED | Self::LOST,
        };
        let output = if state.woken || !connection.output().is_empty() { Self::OUTPUT } else { 0 };
        let paused = if connection.wants_read() { 0 } else { Self::PAUSED };
        Self(stage | output | paused)
    }

    /// [`Connection::is_open`].
    pub(in crate::drive) fn is_open(self) -> bool {
        self.0 < Self::EVENT
    }

    pub(in crate::drive) fn has_output(self) -> bool {
        self.0 & Self::OUTPUT != 0
    }

    pub(in crate::drive) fn has_event(self) -> bool {
        self.0 & Self::EVENT != 0
    }

    pub(in crate::drive) fn wants_read(self) -> bool {
        self.0 & Self::PAUSED == 0
    }

    pub(in crate::drive) fn is_finished(self) -> bool {
        self.0 & Self::FINISHED != 0
    }

    pub(in crate::drive) fn is_lost(self) -> bool {
        self.0 & Self::LOST != 0
    }
}

impl<'a> Guard<'a> {
    pub(super) fn new(state: MutexGuard<'a, State>, status: &'a AtomicU8) -> Self {
        Self { state, deferred_drops: None, status }
    }

    #[cold]
    fn take_deferred_drops(&mut self) {
        self.deferred_drops = self.state.connection.take_deferred_drops();
    }

    /// Notes what was read.
    #[inline(always)]
    pub(in crate::drive) fn note(&mut self, arrived: &mut Arrived) {
        if let Some(at) = arrived.at.take() {
            self.received(at);
        }
        self.set_received(arrived.traffic);
        arrived.seen.look(&self.state.connection, self.state.peak);
    }

    /// Returns `true` if someone waited for what is now written.
    #[inline]
    pub(super) fn has_completed(&self) -> bool {
        self.state.waiters.has_completed(self.state.connection.written())
    }

    /// Takes them out.
    pub(super) fn completed(&mut self) -> Vec<Waiter> {
        let State { connection, waiters, .. } = &mut *self.state;
        waiters.completed(connection.written())
    }
}

impl Deref for Guard<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.state.connection
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.state.connection
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.state.connection.has_deferred_drops() {
            self.take_deferred_drops();
        }
        let State { connection, peak, .. } = &mut *self.state;
        peak.rise(|| connection.buffered());
        self.status.store(Status::of(&self.state).0, Ordering::Release);
    }
}
