//! The messages of a [stream](crate::stream()) that wait for their reader.

#[cfg(all(loom, test))]
mod models;
mod queue;

use core::mem;
use core::task::{Context, Poll};

pub(super) use self::queue::Batch;
use self::queue::Queue;
use crate::api::{Outcome, WebSocket};
use crate::protocol::{CloseCode, Error, OwnedMessage};
use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering, WakerSlot};

/// From so many bytes, or messages, that wait for their reader the peer is not read. As the high watermark of
/// output.
const MAX_BYTES: usize = 64 * 1024;
const MAX_MESSAGES: usize = 256;

/// What the listener and the two halves of the stream share.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
    /// Whether the future that has the stream is being polled, and has dropped it meanwhile.
    polling: AtomicU8,
}

/// The listener polls the future that has the stream: if that drops it now, its outcome decides how the connection
/// ends.
const POLLING: u8 = 1;
const DROPPED: u8 = 2;

#[derive(Default)]
pub(super) struct State {
    /// Once it is open, until the stream takes it.
    opened: Option<WebSocket>,
    messages: Queue,
    /// How many bytes and messages the reader took the last time beside the first: it hands them out by and by.
    handed: (usize, usize),
    pub(super) error: Option<Error>,
    /// Nothing more comes.
    pub(super) ended: bool,
    /// The reader was told so: what `FusedStream` asks for.
    #[cfg_attr(not(feature = "stream"), allow(dead_code))]
    end_delivered: bool,
    /// The receiver was dropped: what comes is not taken any more.
    receiver_dropped: bool,
    /// One half was dropped. The connection lives as long as the other.
    half: bool,
    /// The reader has taken some, which it may still answer.
    taken: bool,
    /// How to wake the reader, which waits for something to take.
    reader: WakerSlot,
    /// How to wake the listener, which waits for something to be taken.
    writer: WakerSlot,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns `true` if the reader was told that nothing more comes.
    #[cfg(feature = "stream")]
    pub(super) fn has_delivered_end(&self) -> bool {
        self.lock().end_delivered
    }

    /// Hands the connection over; one that is not waited for is closed.
    pub(super) fn open(&self, socket: &WebSocket) {
        let mut unwanted = None;
        self.tell(|state| {
            let place = if state.receiver_dropped { &mut unwanted } else { &mut state.opened };
            *place = Some(socket.clone());
        });
        if let Some(socket) = unwanted {
            end(&socket);
        }
    }

    /// Takes the connection over, once it is open; `None` if it never was. Then it is for the halves to end it.
    pub(super) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Option<WebSocket>> {
        self.poll(cx, |state| match state.opened.take() {
            None if !state.ended => None,
            opened => Some(opened),
        })
    }

    /// Keeps a message for the reader. Returns `false` if there is no room for more.
    pub(super) fn push(&self, message: OwnedMessage) -> bool {
        self.tell(|state| {
            if !state.receiver_dropped {
                state.messages.push(message);
            }
            !state.is_full()
        })
    }

    /// A half is dropped, which closes the connection if it is the last one.
    pub(super) fn part(&self, socket: &WebSocket) {
        let is_last = mem::replace(&mut self.lock().half, true);
        let close_later =
            || self.polling.compare_exchange(POLLING, DROPPED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_last && !close_later() {
            end(socket);
        }
    }

    /// Polls the future that has the stream. If it has dropped it, the connection is closed, unless it has failed.
    pub(super) fn polling(&self, socket: &WebSocket, poll: impl FnOnce() -> Poll<Outcome>) -> Poll<Outcome> {
        self.polling.store(POLLING, Ordering::Relaxed);
        let polled = poll();
        if self.polling.swap(0, Ordering::AcqRel) == DROPPED && !matches!(polled, Poll::Ready(Err(_))) {
            end(socket);
        }
        polled
    }

    /// The receiver is dropped.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.receiver_dropped = true;
        let (messages, opened) = (mem::take(&mut state.messages), state.opened.take());
        let (error, writer, reader) = (state.error.take(), state.writer.take(), state.reader.take());
        drop(state);
        drop((messages, error, reader));
        if let Some(writer) = writer {
            writer.wake();
        }
        if let Some(socket) = opened {
            // It is not waited for any more.
            end(&socket);
        }
    }

    /// Changes the state, and wakes the reader.
    pub(super) fn tell<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        result
    }

    /// Ready when there is room for more. A message that came before a close does not wait any longer then, so that the
    /// peer's close is seen; those that are delivered after it do.
    pub(super) fn poll_room(&self, closed: impl Fn() -> bool, cx: &mut Context<'_>) -> Poll<()> {
        if closed() {
            return Poll::Ready(());
        }
        self.poll_until(|state| !state.is_full(), cx)
    }

    /// Ready when the reader has taken all and asks for more, or when there was nothing to take.
    pub(super) fn poll_hungry(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(|state| state.messages.is_empty() && (!state.taken || state.reader.get().is_some()), cx)
    }

    /// For the listener: ready when something is so, or when the receiver was dropped.
    fn poll_until(&self, ready: impl Fn(&State) -> bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.receiver_dropped || ready(&state) {
            return Poll::Ready(());
        }
        let before = state.writer.register(cx.waker());
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }

    /// Takes what is next, or waits for it.
    pub(super) fn poll<T>(&self, cx: &mut Context<'_>, take: impl FnOnce(&mut State) -> Option<T>) -> Poll<T> {
        let mut state = self.lock();
        let taken = take(&mut state);
        let before = if taken.is_none() { state.reader.register(cx.waker()) } else { None };
        let writer = if state.is_full() { None } else { state.writer.take() };
        drop(state);
        drop(before);
        if let Some(writer) = writer {
            writer.wake();
        }
        taken.map_or(Poll::Pending, Poll::Ready)
    }
}

impl State {
    fn is_full(&self) -> bool {
        let (bytes, count) = self.handed;
        self.messages.bytes() + bytes >= MAX_BYTES || self.messages.len() + count >= MAX_MESSAGES
    }

    /// What the receiver gets next; `None` if it has to wait. `batch`, which is used up, gets what comes after that.
    pub(super) fn next(&mut self, batch: &mut Batch) -> Option<Option<Result<OwnedMessage, Error>>> {
        self.handed = (0, 0);
        if let Some(message) = self.take(batch) {
            self.taken = true;
            Some(Some(Ok(message)))
        } else if let Some(error) = self.error.take() {
            Some(Some(Err(error)))
        } else if self.ended {
            self.end_delivered = true;
            Some(None)
        } else {
            None
        }
    }

    /// Takes all messages at once, under one lock; a full channel gives one, so that its listener need not wait for all
    /// of them to be handled.
    fn take(&mut self, batch: &mut Batch) -> Option<OwnedMessage> {
        if self.is_full() {
            return self.messages.pop();
        }
        let bytes = self.messages.bytes();
        let (message, rest) = self.messages.take()?;
        self.handed = (bytes - message.as_bytes().len(), rest.len());
        *batch = rest;
        Some(message)
    }
}

/// Closes a connection whose stream is gone.
fn end(socket: &WebSocket) {
    // Closed already: that is what is wanted.
    let _ = match std::thread::panicking() {
        false => socket.close(),
        true => socket.close_with(CloseCode::INTERNAL_ERROR, "Unexpected Error"),
    };
}
