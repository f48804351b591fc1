//! The handles' side of a shared connection.

use alloc::vec;
use core::cell::Cell;
use core::mem;
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};

use super::waiters::{Waiter, tell_end};
use super::{CALLING, Shared};
use crate::api::{AtEnd, Done, Socket, WriteWaiter};
#[cfg(feature = "deflate")]
use crate::context::Compression;
use crate::context::SocketId;
use crate::drive::{lending, spare};
use crate::protocol::{CloseCode, Closed, Connection, Outgoing, SendError, Stats, StreamOffset};

impl Shared {
    /// Changes the connection from a handle, and wakes the driver, unless this comes from one of its callbacks.
    #[inline(always)]
    fn change<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        if CALLING.with(Cell::get) == self.address() {
            spare::lend(&mut self.lock(), change)
        } else {
            self.change_from_outside(change)
        }
    }

    #[inline(never)]
    fn change_from_outside<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        let mut guard = self.lock();
        let reads = guard.wants_read();
        let result = spare::lend(&mut guard, change);
        // D16: what comes from outside is not caused by what is read, and does not stop the reading.
        if reads {
            guard.read_on();
        }
        let wakes = !mem::replace(&mut guard.state.woken, true);
        let waker = if wakes { guard.state.waker.get().cloned() } else { None };
        drop(guard);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    fn send_owned(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        if let Some(message) = message.borrow_small() {
            return self.change(|connection| connection.send(message));
        }
        let message = message.sharing(lending::share_of);
        // Dropped when nothing is locked: its owner's code may run then.
        let _share = message.share();
        self.change(|connection| connection.send(message))
    }
}

impl Socket for Shared {
    fn id(&self) -> SocketId {
        self.id
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.as_ref()?.get_peer_addr()
    }

    fn client_ip(&self) -> Option<IpAddr> {
        self.context.as_ref()?.get_client_ip()
    }

    fn path(&self) -> Option<&str> {
        self.context.as_ref()?.path.as_deref()
    }

    fn protocol(&self) -> Option<&str> {
        self.context.as_ref()?.protocol.as_deref()
    }

    #[cfg(feature = "deflate")]
    fn compression(&self) -> Option<Compression> {
        self.context.as_ref()?.compression
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        // Most of all: nothing is moved, and nothing is dropped.
        match message.as_small() {
            Some(small) => {
                // It is borrowed. The compiler does not see that there is nothing to drop: 15 instructions.
                mem::forget(message);
                self.change(|connection| connection.send(small))
            }
            None => self.send_owned(message),
        }
    }

    fn send_if_room(&self, message: Outgoing<'_>) -> Option<Result<StreamOffset, SendError>> {
        let _share = message.share();
        self.change(|connection| match connection.room_at(message.as_bytes().len()) {
            None => Some(connection.send(message)),
            Some(_) => None,
        })
    }

    fn send_last(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let _share = message.share();
        self.change(|connection| connection.send_last(message))
    }

    fn ping(&self, data: &[u8]) -> Result<(), SendError> {
        self.change(|connection| connection.ping(data))
    }

    fn pong(&self, data: &[u8]) -> Result<(), SendError> {
        self.change(|connection| connection.pong(data))
    }

    fn answer_ping(&self, data: &[u8]) {
        self.change(|connection| connection.answer_ping(data));
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.change(|connection| connection.close(code, reason))
    }

    fn abort(&self) {
        self.change(Connection::abort);
    }

    fn is_open(&self) -> bool {
        self.status().is_open()
    }

    fn buffered(&self) -> usize {
        self.lock().buffered()
    }

    fn queued(&self) -> StreamOffset {
        self.lock().queued()
    }

    fn written(&self) -> StreamOffset {
        self.lock().written()
    }

    fn room_at(&self, length: usize) -> Option<StreamOffset> {
        self.lock().room_at(length)
    }

    fn stats(&self) -> Stats {
        self.lock().stats().about(self.context.as_deref())
    }

    fn closed(&self) -> Option<Closed> {
        self.lock().state.closed.as_deref().cloned()
    }

    fn when_closed(&self, done: AtEnd) {
        let mut guard = self.lock();
        if guard.state.closed.is_none() && !guard.state.waiters.is_gone() {
            return guard.state.waiters.push_at_end(done);
        }
        drop(guard);
        tell_end(vec![done]);
    }

    fn when_written(&self, position: StreamOffset, done: Done) {
        let mut guard = self.lock();
        match guard.state.waiters.outcome(position, guard.written()) {
            None => guard.state.waiters.push(position, Waiter::Done(done)),
            Some(outcome) => {
                drop(guard);
                Waiter::Done(done).complete(outcome);
            }
        }
    }

    fn poll_written(&self, waiter: &mut WriteWaiter, waker: &Waker) -> Poll<Result<(), SendError>> {
        let mut guard = self.lock();
        if let Some(outcome) = guard.state.waiters.outcome(waiter.position(), guard.written()) {
            return Poll::Ready(outcome);
        }
        let before = guard.state.waiters.push_task(waiter, waker);
        drop(guard);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }

    fn give_up(&self, waiter: &WriteWaiter) {
        let before = self.lock().state.waiters.remove(waiter);
        drop(before);
    }
}
