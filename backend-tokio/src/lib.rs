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
//! use bellwire_core::{Response, listener};
//! use bellwire_tokio::serve;
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
//! | `clock` | the core's time in terms of tokio's, and a connection's one sleep |
//! | `drive` | the loop of a connection's task: reads, writes, and sleeps until the core's deadline |
//! | `tasks` | a server's connections, and their end |
//! | `server` | accepts |
//! | `client` | connects |
#![forbid(unsafe_code)]

mod client;
mod clock;
mod drive;
mod server;
mod tasks;

pub use client::{Client, connect, connect_over};
pub use drive::upgraded;
pub use server::{Acceptor, Server, ServerHandle, serve};
