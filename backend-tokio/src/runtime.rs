//! What tokio has to offer: bytes that are read and written, and one sleep.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bellwire_core::backend as task;
use bellwire_core::proto::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream of tokio's.
pub(crate) struct Transport<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> task::Transport for Transport<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        match slices {
            // Streams that cannot write several at once would look for the first that is not empty.
            [slice, rest @ ..] if rest.is_empty() || !stream.is_write_vectored() => stream.poll_write(cx, slice),
            _ => stream.poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Tokio's clock and sleep: its clock, so that tests may pause it.
pub(crate) struct Timer {
    start: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), sleep: None }
    }
}

impl task::Timer for Timer {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn set(&mut self, deadline: Time) {
        match (self.start.checked_add(deadline.since_start()), &mut self.sleep) {
            (Some(instant), Some(sleep)) => sleep.as_mut().reset(instant),
            (Some(instant), None) => self.sleep = Some(Box::pin(sleep_until(instant))),
            (None, _) => self.sleep = None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        // Outside of tokio's budget: with it, a sleep that was not even looked at would seem to be pending.
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }

    /// A task that wakes itself is polled up to 61 times before tokio asks the system what has arrived. Its own
    /// `yield_now` wakes the task behind that, when it is polled first.
    fn yield_now(&mut self, cx: &mut Context<'_>) {
        if pin!(yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
