//! Transports as they come in: from a proxy that announces its clients they begin with the PROXY protocol.

use core::net::SocketAddr;

#[cfg(feature = "proxy-protocol")]
pub(super) use self::announcing::Announcing as Incoming;
use crate::drive::Announced;
#[cfg(feature = "proxy-protocol")]
use crate::drive::ProxyProtocol;

/// What a server's transport is.
#[cfg(not(feature = "proxy-protocol"))]
pub(super) type Incoming<T> = T;

/// Who announces clients: nobody, without the feature.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    #[cfg(feature = "proxy-protocol")]
    pub(super) announcing: ProxyProtocol,
}

impl Proxies {
    /// Takes in a transport, and says where its client is to be announced, if it is. `max`: how long a head may be.
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn take_in<T>(
        &self,
        transport: T,
        peer: Option<SocketAddr>,
        max: usize,
    ) -> (Incoming<T>, Option<Announced>) {
        let header = self.announcing.expect(peer, max);
        let announced = header.as_ref().map(|header| header.announced().clone());
        (Incoming::new(transport, header), announced)
    }

    /// Takes in a transport.
    #[cfg(not(feature = "proxy-protocol"))]
    pub(super) fn take_in<T>(&self, transport: T, _: Option<SocketAddr>, _: usize) -> (Incoming<T>, Option<Announced>) {
        (transport, None)
    }
}

#[cfg(feature = "proxy-protocol")]
mod announcing {
    use alloc::boxed::Box;
    use core::task::{Context, Poll, ready};
    use std::io::{self, IoSlice};

    use crate::drive::Announcement;
    use crate::task::Transport;

    /// A transport that may begin with the header of the PROXY protocol, which is read before anything else.
    pub(crate) struct Announcing<T> {
        transport: T,
        /// Until it is read.
        header: Option<Box<Announcement>>,
    }

    debug!(Announcing<T> => |this| header: this.header);

    impl<T> Announcing<T> {
        pub(super) fn new(transport: T, header: Option<Announcement>) -> Self {
            Self { transport, header: header.map(Box::new) }
        }
    }

    impl<T: Transport> Announcing<T> {
        /// Reads the header, and perhaps what comes after it.
        #[cold]
        fn poll_header(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            // Each turn brings a byte at least, and a header has not many.
            while let Some(header) = &mut self.header {
                let count = ready!(self.transport.poll_read(cx, buffer))?;
                if let Some(left) = header.read(buffer, count)? {
                    self.header = None;
                    if left > 0 || count == 0 {
                        return Poll::Ready(Ok(left));
                    }
                }
            }
            self.transport.poll_read(cx, buffer)
        }
    }

    impl<T: Transport> Transport for Announcing<T> {
        #[inline]
        fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            match self.header {
                None => self.transport.poll_read(cx, buffer),
                Some(_) => self.poll_header(cx, buffer),
            }
        }

        #[inline]
        fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            self.transport.poll_write(cx, slices)
        }

        fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.transport.poll_flush(cx)
        }

        fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.transport.poll_shutdown(cx)
        }
    }
}
