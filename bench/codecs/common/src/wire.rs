//! A stream in memory.

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What comes in and goes out. What goes out is dropped, unless it is recorded.
#[derive(Debug, Clone)]
pub struct Wire(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    input: Vec<u8>,
    read: usize,
    records: bool,
    output: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(input: Vec<u8>) -> Self {
        let read = input.len();
        Self(Rc::new(RefCell::new(State { input, read, records: false, output: Vec::new() })))
    }

    /// The same comes in once more.
    pub(crate) fn rewind(&self) {
        self.0.borrow_mut().read = 0;
    }

    pub(crate) fn is_read(&self) -> bool {
        let state = self.0.borrow();
        state.read == state.input.len()
    }

    /// Copies bytes from the wire to the front of a buffer, and returns how many.
    pub fn take(&self, buffer: &mut [u8]) -> usize {
        let mut state = self.0.borrow_mut();
        let count = buffer.len().min(state.input.len() - state.read);
        buffer[..count].copy_from_slice(&state.input[state.read..][..count]);
        state.read += count;
        count
    }

    /// Puts what was encoded on the wire.
    pub fn write(&self, bytes: &[u8]) {
        let bytes = black_box(bytes);
        let mut state = self.0.borrow_mut();
        if state.records {
            state.output.extend(bytes);
        }
    }

    pub(crate) fn record(&self) {
        self.0.borrow_mut().records = true;
    }

    /// What was written since `record`; it ends that.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        let mut state = self.0.borrow_mut();
        state.records = false;
        std::mem::take(&mut state.output)
    }
}

/// A wire as a stream, of std and of tokio.
#[derive(Debug)]
pub struct WireStream(pub Wire);

impl Read for WireStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.take(buffer) {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for WireStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for WireStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.0.borrow_mut();
        let rest = &state.input[state.read..];
        let count = rest.len().min(buffer.remaining());
        if count == 0 {
            return Poll::Pending;
        }
        buffer.put_slice(&rest[..count]);
        state.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|bytes| self.0.write(bytes));
        Poll::Ready(Ok(slices.iter().map(|bytes| bytes.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The output of a future that has nothing to wait for: all that it reads is there.
pub fn now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not all is there that was to be read"),
    }
}
