//! What a runtime that polls has to offer, so that servers and clients are written once.

mod named;

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use super::Transport;
use super::timer::Timer;
use crate::sockets::Sockets;

pub use self::named::named_runtime;

/// A runtime that polls: it runs tasks, tells the time, listens and connects.
///
/// [`Server`](super::Server), [`Acceptor`](super::Acceptor) and [`connect`](super::connect) are written over this. A
/// backend implements it for a type without a value worth mentioning (`Tokio`, `Smol`), or for a handle of its
/// executor.
///
/// Addresses and streams are traits of their own: [`Resolve<A>`](Resolve) for [`Server::bind`](super::Server::bind)
/// and, with a `(String, u16)`, for [`connect`](super::connect); [`Adopt<S>`](Adopt) for streams that the caller has.
/// For a runtime with a name, [`named_runtime!`] writes `serve`, `connect` and their like without a runtime to pass on.
///
/// Its tasks may run on any thread. Sockets that cannot leave theirs, as those of io_uring often cannot, need no
/// `Runtime`: run a [`Task`](super::Task) for each of them, with a [`Driver`](crate::backend::Driver).
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The clock and the one sleep of a connection.
    type Timer: Timer + Send + 'static;
    /// A TCP socket that listens.
    type Listener: Send + Sync + 'static;
    /// A TCP connection.
    type Stream: Transport + Send + 'static;

    /// Makes a timer that counts from now.
    fn timer(&self) -> Self::Timer;

    /// Runs a task to its end, in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Listens on an address.
    ///
    /// # Errors
    /// Those of the system.
    fn bind(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    fn local_addr(&self, listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Waits for the next connection, and says where it comes from. Without Nagle's delay (`TCP_NODELAY`).
    ///
    /// # Errors
    /// Those of the system.
    ///
    /// # Cancel safety
    /// Dropping the future must lose no connection.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Connects, and says where to: with the socket that `sockets` [opens](Sockets::open), as it is, or with one of its own
    /// without Nagle's delay (`TCP_NODELAY`).
    ///
    /// # Errors
    /// Those of the system, and of `sockets`.
    fn connect(
        &self,
        addr: SocketAddr,
        sockets: &Sockets,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Returns the time since the beginning of 1970, for the header `Date`; zero if the clock stands before that.
    fn unix_time() -> Duration;

    /// Prints a line on stderr, for servers whose owner has set no hook. A stderr that is closed is no error.
    fn print(line: &str);
}

/// A runtime that can look up addresses written as `A`: `"localhost:9001"`, `("::1", 9001)`, a [`SocketAddr`].
pub trait Resolve<A>: Runtime {
    /// Returns all addresses that this one stands for.
    ///
    /// # Errors
    /// If it stands for none, or cannot be looked up.
    fn resolve(&self, addr: A) -> impl Future<Output = io::Result<Vec<SocketAddr>>>;
}

/// A runtime that can drive streams of the type `S`: on tokio those that are `AsyncRead + AsyncWrite`, elsewhere those
/// of futures-io.
pub trait Adopt<S>: Runtime {
    /// How it is read and written.
    type Transport: Transport;

    /// Takes a stream over.
    fn adopt(&self, stream: S) -> Self::Transport;
}
