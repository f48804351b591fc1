//! bellwire on tokio.
//!
//! Each connection is a task, which reads, runs the listener's callbacks, and writes what they sent.
//! All connections of a thread share one read buffer and one buffer for output: an idle connection holds
//! neither. Sends from anywhere return at once and wake the connection's task, which writes them. So
//! nobody's `send` waits for somebody else's peer, and a peer that does not read keeps nobody else waiting.
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
//! | file | what it does |
//! |---|---|
//! | `runtime` | what tokio has to offer: bytes that are read and written, and one sleep |
//! | `server` | accepts, or takes over what somebody else accepted |
//! | `client` | connects |
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;

pub use bellwire_core::backend::Client;
pub use client::{connect, connect_over, connect_stream, connect_stream_over};
pub use server::{Acceptor, Server, ServerHandle, accept_stream, serve, serve_async, serve_with, upgraded};
