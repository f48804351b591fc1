//! bellwire on tokio.
//!
//! Each connection is a task, which reads, runs the listener's callbacks, and writes what they sent.
//! All connections of a thread share one read buffer and one buffer for output: an idle connection holds
//! neither. Sends from anywhere return at once and wake the connection's task, which writes them. So
//! no `send` waits for the peer of another connection, and a peer that does not read keeps no others waiting.
//!
//! Callbacks run on the runtime's threads: one that blocks, blocks the other tasks of its thread.
//!
//! ```no_run
//! # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
//! use bellwire::{Response, listener};
//! use bellwire::tokio::serve;
//!
//! # async fn example() -> std::io::Result<()> {
//! serve("127.0.0.1:9001", |_request| {
//!     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//! })
//! .await
//! # }
//! ```
//!
//! Servers and clients are those of [`bellwire_core::backend`], which are written once for all runtimes that poll. Here
//! is what tokio has to offer them: tasks, sockets, bytes that are read and written, and one sleep.
#![forbid(unsafe_code)]

mod functions;
mod runtime;

pub use bellwire_core::backend::Client;
pub use functions::{
    accept_stream, connect, connect_over, connect_stream, connect_stream_over, reconnecting, reconnecting_over, serve,
    serve_async, serve_with, upgraded,
};
pub use runtime::Tokio;

/// A listening server: see the [methods](bellwire_core::backend::Server).
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::tokio::Server;
/// use bellwire::{Response, listener};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::bind("127.0.0.1:0").await?.max_connections(1000);
/// println!("ws://{}/", server.local_addr()?);
/// let handle = server.handle();
/// let running = tokio::spawn(server.run(|_request| Response::websocket(listener())));
///
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// handle.shutdown(Duration::from_secs(10)).await;
/// running.await??;
/// # Ok(())
/// # }
/// ```
pub type Server = bellwire_core::backend::Server<Tokio>;

/// Shuts a [`Server`] down, from any task: see the [methods](bellwire_core::backend::ServerHandle).
pub type ServerHandle = bellwire_core::backend::ServerHandle<Tokio>;

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory; whatever is
/// [`AsyncRead`](tokio::io::AsyncRead)` + `[`AsyncWrite`](tokio::io::AsyncWrite)` + Unpin`. See the
/// [methods](bellwire_core::backend::Acceptor).
///
/// ```
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::tokio::{Acceptor, connect_stream_over};
/// use bellwire::{Config, Response, listener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let acceptor = Acceptor::new(|_| Response::websocket(listener().on_message(|socket, message| socket.send(message))))
///     .config(Config::default().max_message(1024))
///     .on_error(|error| eprintln!("{error}"));
///
/// let (here, there) = tokio::io::duplex(4096);
/// tokio::spawn(acceptor.accept(there, None));
/// let (mut messages, _response) = connect_stream_over("ws://in.memory/", here).await?;
/// messages.send("hello").await?;
/// assert_eq!(messages.recv().await.unwrap()?, "hello");
/// # Ok(())
/// # }
/// ```
pub type Acceptor = bellwire_core::backend::Acceptor<Tokio>;

/// Builds a client that connects again when the connection is lost: see the
/// [methods](bellwire_core::backend::ReconnectBuilder).
pub type ReconnectBuilder = bellwire_core::backend::ReconnectBuilder<Tokio>;
