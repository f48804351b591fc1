//! Sockets that the program sets up before they are connected.

#[cfg(feature = "socket2")]
use alloc::{format, sync::Arc};
use core::fmt;
use core::net::SocketAddr;
use std::io;
#[allow(
    clippy::disallowed_types,
    reason = "a socket that leads nowhere yet: nothing is read, written or waited for"
)]
use std::net::TcpStream;

#[cfg(feature = "socket2")]
type Hook = dyn Fn(&socket2::Socket, SocketAddr) -> io::Result<()> + Send + Sync;

/// How a client's sockets are made: by the runtime, or as the hook of [`Target::socket`](crate::Target::socket) wants
/// them.
#[derive(Clone, Default)]
pub struct Sockets {
    #[cfg(feature = "socket2")]
    hook: Option<Arc<Hook>>,
}

impl Sockets {
    #[cfg(feature = "socket2")]
    pub(crate) fn set_up_by(
        hook: impl Fn(&socket2::Socket, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { hook: Some(Arc::new(hook)) }
    }

    /// Returns a socket to be connected to this address, after the hook has set it up; without a hook `None`, and the
    /// runtime makes one. It blocks, and is without Nagle's delay (`TCP_NODELAY`), unless the hook wants it otherwise:
    /// nothing is to be set after it.
    ///
    /// # Errors
    /// Those of the system, and those of the hook.
    // That is all of a socket's life that the core has a part in. It is here so that no runtime can forget it.
    #[allow(clippy::disallowed_types, reason = "as above")]
    pub fn open(&self, addr: SocketAddr) -> io::Result<Option<TcpStream>> {
        #[cfg(feature = "socket2")]
        if let Some(hook) = &self.hook {
            use socket2::{Domain, Protocol, Socket, Type};
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_tcp_nodelay(true)?;
            hook(&socket, addr)
                .map_err(|error| io::Error::new(error.kind(), format!("the hook of Target::socket: {error}")))?;
            return Ok(Some(socket.into()));
        }
        let _ = addr;
        Ok(None)
    }

    fn has_hook(&self) -> bool {
        #[cfg(feature = "socket2")]
        return self.hook.is_some();
        #[cfg(not(feature = "socket2"))]
        return false;
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("has_hook", &self.has_hook()).finish()
    }
}
