//! A transport that may be dropped before its task.

use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use super::Transport;

/// Who has a connection as a stream may go on without it: nothing is read or written then.
pub(super) struct Held<T>(Option<T>);

impl<T> Held<T> {
    pub(super) fn new(transport: T) -> Self {
        Self(Some(transport))
    }

    /// Drops the transport.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}

impl<T: Transport> Transport for Held<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().map_or(Poll::Pending, |transport| transport.poll_read(cx, buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.as_mut().map_or(Poll::Pending, |transport| transport.poll_write(cx, slices))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |transport| transport.poll_flush(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |transport| transport.poll_shutdown(cx))
    }
}
