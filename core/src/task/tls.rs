//! A transport in TLS, over any other.

#![allow(clippy::disallowed_types, reason = "a session writes to a writer, and here that is a transport")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind, IoSlice, Write};

use super::Transport;
use crate::drive::limits::READ_BUFFER;
use crate::tls::{Session, TlsError};

/// After so many reads that brought nothing whole, others may run: a peer that sends a byte of a record at a time, or
/// records with nothing in them, might never make us wait.
const MAX_FILLS: usize = 16;

/// A transport in TLS, over any other. A write that was pending has to come again with the same bytes, as that of a
/// connection's task does.
// Why not tokio-rustls and futures-rustls: they want the streams of their runtime, and this wants a `Transport`. So it
// serves every runtime, nests (`wss://` through a proxy that is itself spoken to over TLS), has one place for how a
// stream ends, and reads into the one buffer that a thread has.
pub struct Tls<T> {
    transport: T,
    session: Session,
    /// Encrypted bytes that were read, and for which the session had no room yet.
    arrived: Vec<u8>,
    /// What is wrong with what came last. What came before is read first.
    failure: Option<io::Error>,
    /// How many plain bytes of the last write are encrypted, and not all of that written: of those the caller was told
    /// nothing, and comes again with the same bytes.
    untold: usize,
    eof: bool,
    closed: bool,
}

impl<T: Transport> Tls<T> {
    /// Puts a session on a transport. Its handshake is made by the first read, and until then nothing can be written.
    pub fn new(transport: T, session: Session) -> Self {
        Self { transport, session, arrived: Vec::new(), failure: None, untold: 0, eof: false, closed: false }
    }

    /// Makes the handshake now, and returns when both sides are sure of each other.
    ///
    /// # Errors
    /// Those of the transport, and with a [`TlsError`] inside if the two do not agree.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; it may be called again.
    pub async fn handshake(&mut self) -> io::Result<()> {
        core::future::poll_fn(|cx| {
            for _ in 0..MAX_FILLS {
                if !self.session.is_handshaking() && self.failure.is_none() {
                    return self.poll_send(cx);
                }
                if self.eof {
                    return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, TlsError::Eof)));
                }
                if let Err(error) = ready!(self.poll_fill(cx)) {
                    return self.failed(cx, error);
                }
            }
            yield_now(cx)
        })
        .await
    }

    /// Reads encrypted bytes into the session, once it has said what it has to say.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if self.arrived.is_empty() {
            // Whether the peer takes it or not, or is gone: what it has said is read.
            let _ = self.poll_send(cx);
            let mut scratch = Scratch::take();
            let read = self.transport.poll_read(cx, &mut scratch.0);
            let result = read.map_ok(|count| self.take(scratch.0.get(..count).unwrap_or_default()));
            scratch.give_back();
            return result;
        }
        let arrived = core::mem::take(&mut self.arrived);
        self.receive(&arrived);
        Poll::Ready(Ok(()))
    }

    /// Nothing is the end.
    fn take(&mut self, input: &[u8]) {
        if input.is_empty() {
            self.eof = true;
            self.session.receive_eof();
        } else {
            self.receive(input);
        }
    }

    fn receive(&mut self, mut input: &[u8]) {
        let before = input.len();
        if let Err(error) = self.session.receive(&mut input) {
            self.failure = Some(io::Error::new(ErrorKind::InvalidData, error));
        } else if input.len() == before {
            self.failure = Some(io::Error::new(ErrorKind::InvalidData, "TLS takes no more, and has nothing to read"));
        }
        self.arrived.extend_from_slice(input);
    }

    /// Writes what is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut writer = Polled { transport: &mut self.transport, cx };
            match self.session.write_tls(&mut writer) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The peer is told what is wrong, if it takes that at once.
    fn failed<V>(&mut self, cx: &mut Context<'_>, error: io::Error) -> Poll<io::Result<V>> {
        let _ = self.poll_send(cx);
        Poll::Ready(Err(error))
    }

    /// Reads as much as there is of what has arrived: a read may bring more than one record.
    fn read_on(&mut self, buffer: &mut [u8], mut count: usize) -> usize {
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.session.read(rest) {
                Ok(more) if more > 0 => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.arrived.is_empty() => {
                    let arrived = core::mem::take(&mut self.arrived);
                    self.receive(&arrived);
                    if self.failure.is_some() {
                        break;
                    }
                }
                // The next read finds it again.
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        count
    }
}

impl<T: Transport> Transport for Tls<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        for _ in 0..MAX_FILLS {
            match self.session.read(buffer) {
                Ok(count) if count > 0 => return Poll::Ready(Ok(self.read_on(buffer, count))),
                // An end that comes from a failure is told as one.
                _ if self.failure.is_some() => {}
                Ok(_) => return Poll::Ready(Ok(0)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(()) => {}
                Err(error) => return self.failed(cx, error),
            }
        }
        yield_now(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        for _ in 0..MAX_FILLS {
            if self.untold > 0 {
                // What only TLS has is not written: if the connection is lost now, the peer does not get it.
                ready!(self.poll_send(cx))?;
                return Poll::Ready(Ok(core::mem::take(&mut self.untold)));
            }
            match self.session.write(slices) {
                Ok(count) => self.untold = count,
                // A client that is late: nobody waits for TLS with it, to tell it so.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.session.is_handshaking() => {
                    return Poll::Ready(Err(ErrorKind::NotConnected.into()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.poll_send(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        yield_now(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.transport.poll_flush(cx)
    }

    /// RFC 8446 §6.1: "Each party MUST send a "close_notify" alert before closing its write side of the connection,
    /// unless it has already sent some error alert."
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !core::mem::replace(&mut self.closed, true) {
            self.session.close();
        }
        ready!(self.poll_flush(cx))?;
        self.transport.poll_shutdown(cx)
    }
}

fn yield_now<V>(cx: &Context<'_>) -> Poll<V> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<T: Transport> Transport for Box<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(cx)
    }
}

/// A transport as a session writes to it: what it does not take now would block.
struct Polled<'a, 'cx, T> {
    transport: &'a mut T,
    cx: &'a mut Context<'cx>,
}

impl<T: Transport> Write for Polled<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.transport.poll_write(self.cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where encrypted bytes are read: one for all connections of a thread, as the buffer for plain ones is.
struct Scratch(Vec<u8>);

std::thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Out of its cell, not borrowed from there: below there may be TLS again.
    fn take() -> Self {
        let mut memory = SCRATCH.try_with(Cell::take).unwrap_or_default();
        memory.resize(READ_BUFFER, 0);
        Self(memory)
    }

    fn give_back(self) {
        // A thread that is about to end has no use for it.
        let _ = SCRATCH.try_with(|memory| memory.set(self.0));
    }
}

debug!(Tls<T> => |this| session: this.session);
