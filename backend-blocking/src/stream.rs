//! What a transport must be able to do.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A byte stream that two threads can share: one reads while the other writes.
///
/// Implemented for TCP and Unix sockets, which are put into blocking mode: that of tokio's `into_std` is another; and for
/// [`TlsStream`](crate::TlsStream), TLS over any of these or yours. There is no flush: a stream that encrypts, and times out
/// with a record half sent, reports that nothing was written, and the same bytes come again.
pub trait Stream: Send + Sync + 'static {
    /// Makes reads and writes wait, if they might not. Called once, before anything else. The default does nothing.
    ///
    /// # Errors
    /// Those of the transport.
    fn set_blocking(&self) -> io::Result<()> {
        Ok(())
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when the read timeout has passed. One that says so too early is called again after a
    /// pause.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some bytes.
    ///
    /// # Errors
    /// `WouldBlock` or `TimedOut` when the write timeout has passed and nothing was written.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes some bytes of several slices, of which none is empty. The default writes the first.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.first().map_or(Ok(0), |slice| self.write(slice))
    }

    /// Sets how long a read may wait; `None` for ever. Never zero.
    ///
    /// # Errors
    /// Those of the transport.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long a write may wait; `None` for ever. Never zero.
    ///
    /// # Errors
    /// Those of the transport.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Closes one direction or both. `Write` tells the peer that no more bytes come, over TLS with a `close_notify`,
    /// and takes no longer than the write timeout. `Read` and `Both` wake a thread that is reading, which then gets
    /// what has already arrived and after that 0.
    ///
    /// # Errors
    /// Those of the transport.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

macro_rules! std_stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn set_blocking(&self) -> io::Result<()> {
                self.set_nonblocking(false)
            }

            fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                Read::read(&mut &*self, buffer)
            }

            fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                Write::write(&mut &*self, bytes)
            }

            fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
                Write::write_vectored(&mut &*self, slices)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$stream>::set_read_timeout(self, timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$stream>::set_write_timeout(self, timeout)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                <$stream>::shutdown(self, how)
            }
        }
    };
}

std_stream!(TcpStream);
#[cfg(unix)]
std_stream!(std::os::unix::net::UnixStream);
