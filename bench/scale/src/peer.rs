//! The other end of a connection in memory, which costs next to nothing: it asks for a WebSocket, answers pings and
//! the close, and is silent otherwise.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// Masked with a key of zeros.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe9";

/// How many pings have come to all of them.
pub static PINGS: AtomicUsize = AtomicUsize::new(0);

pub struct Peer {
    /// What it says next; nothing at its end.
    next: Option<&'static [u8]>,
    has_closed: bool,
    waker: Option<Waker>,
}

impl Peer {
    pub fn new() -> Self {
        Self { next: Some(REQUEST), has_closed: false, waker: None }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.next.take() {
            Some(bytes) => buffer.put_slice(bytes),
            None if self.has_closed => {}
            None => {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match bytes.first() {
            Some(0x89) => {
                PINGS.fetch_add(1, Ordering::Relaxed);
                self.next = Some(PONG);
            }
            Some(0x88) => (self.next, self.has_closed) = (Some(CLOSE), true),
            _ => return Poll::Ready(Ok(bytes.len())),
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
