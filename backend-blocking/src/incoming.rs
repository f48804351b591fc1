//! Streams as they come in: from a proxy that announces its clients they begin with the PROXY protocol.

use std::net::SocketAddr;

use bellwire_core::backend::Announced;
#[cfg(feature = "proxy-protocol")]
use bellwire_core::backend::ProxyProtocol;

use crate::stream::Stream;

#[cfg(feature = "proxy-protocol")]
pub(crate) use self::announcing::Announcing as Incoming;

/// What a server's stream is.
#[cfg(not(feature = "proxy-protocol"))]
pub(crate) type Incoming<S> = S;

/// Who announces clients: nobody, without the feature.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    #[cfg(feature = "proxy-protocol")]
    pub(crate) announcing: ProxyProtocol,
}

/// Where a stream comes from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) peer: Option<SocketAddr>,
    /// Where a proxy is to announce whose it is.
    pub(crate) announced: Option<Announced>,
}

impl Proxies {
    /// Takes in a stream. `max`: how long a head may be.
    #[cfg(feature = "proxy-protocol")]
    pub(crate) fn take_in<S: Stream>(&self, stream: S, peer: Option<SocketAddr>, max: usize) -> (Incoming<S>, Origin) {
        let header = self.announcing.expect(peer, max);
        let announced = header.as_ref().map(|header| header.announced().clone());
        (Incoming::new(stream, header), Origin { peer, announced })
    }

    /// Takes in a stream.
    #[cfg(not(feature = "proxy-protocol"))]
    pub(crate) fn take_in<S: Stream>(&self, stream: S, peer: Option<SocketAddr>, _: usize) -> (Incoming<S>, Origin) {
        (stream, Origin { peer, announced: None })
    }
}

#[cfg(feature = "proxy-protocol")]
mod announcing {
    use std::io::{self, ErrorKind, IoSlice};
    use std::net::Shutdown;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use bellwire_core::backend::Announcement;

    use crate::stream::Stream;

    /// A stream that may begin with the header of the PROXY protocol, which is read before anything else.
    pub(crate) struct Announcing<S> {
        stream: S,
        /// Of the thread that reads.
        header: Mutex<Option<Announcement>>,
        /// Whether it is still to be read.
        begins: AtomicBool,
    }

    impl<S: Stream> Announcing<S> {
        pub(super) fn new(stream: S, header: Option<Announcement>) -> Self {
            Self { stream, begins: AtomicBool::new(header.is_some()), header: Mutex::new(header) }
        }

        /// Reads the header, and perhaps what comes after it. `Interrupted` whenever some of it has come and there is more
        /// to wait for: a peer that dribbles would set the deadline.
        #[cold]
        fn read_header(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut reader = self.header.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(header) = &mut *reader else { return self.stream.read(buffer) };
            let count = self.stream.read(buffer)?;
            let Some(left) = header.read(buffer, count)? else { return Err(ErrorKind::Interrupted.into()) };
            *reader = None;
            self.begins.store(false, Ordering::Relaxed);
            if left == 0 && count > 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(left) }
        }
    }

    impl<S: Stream> Stream for Announcing<S> {
        fn set_blocking(&self) -> io::Result<()> {
            self.stream.set_blocking()
        }

        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.begins.load(Ordering::Relaxed) { self.read_header(buffer) } else { self.stream.read(buffer) }
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.stream.write(bytes)
        }

        fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.stream.write_vectored(slices)
        }

        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.stream.set_read_timeout(timeout)
        }

        fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.stream.set_write_timeout(timeout)
        }

        fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.stream.shutdown(how)
        }
    }
}
