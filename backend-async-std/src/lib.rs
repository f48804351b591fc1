//! bellwire on async-std, and on smol and other runtimes that speak `futures-io`.
//!
//! Each connection is a task, which reads, runs the listener's callbacks, and writes what they sent.
//! All connections of a thread share one read buffer and one buffer for output: an idle connection holds
//! neither. Sends from anywhere return at once and wake the connection's task, which writes them. So
//! nobody's `send` waits for somebody else's peer, and a peer that does not read keeps nobody else waiting.
//!
//! Callbacks run on the runtime's threads: one that blocks, blocks the other tasks of its thread.
//!
//! # async-std
//!
//! The feature `async-std` has the functions `serve`, `serve_with`, `serve_async`, `connect` and `connect_over`, and `Server::bind`,
//! which spawn on async-std. **async-std is discontinued** (RUSTSEC-2025-0052); its authors recommend smol. It is
//! here for programs that have it.
//!
//! ```no_run
//! # mod bellwire { pub use bellwire_core::*; pub mod async_std { pub use bellwire_async_std::*; } }
//! # #[cfg(feature = "async-std")]
//! # async fn example() -> std::io::Result<()> {
//! use bellwire::{Response, listener};
//!
//! bellwire::async_std::serve("127.0.0.1:9001", |_request| {
//!     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//! })
//! .await
//! # }
//! ```
//!
//! # smol, and other runtimes
//!
//! Without that feature the crate async-std is not needed. The functions whose names end in `_on` take a [`Runtime`],
//! which says how to spawn and how to sleep:
//!
//! ```
//! # mod bellwire { pub use bellwire_core::*; pub mod async_std { pub use bellwire_async_std::*; } }
//! use bellwire::async_std::{Runtime, Server, Timer, connect_on};
//! use bellwire::{Response, listener};
//!
//! #[derive(Clone)]
//! struct Smol;
//!
//! impl Runtime for Smol {
//!     type Timer = Timer;
//!
//!     fn timer(&self) -> Timer {
//!         Timer::start()
//!     }
//!
//!     fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
//!         smol::spawn(task).detach();
//!     }
//! }
//!
//! smol::block_on(async {
//!     let server = Server::bind_on(Smol, "127.0.0.1:0").await?;
//!     let url = format!("ws://{}/", server.local_addr()?);
//!     let handle = server.handle();
//!     smol::spawn(server.run(|_request| {
//!         Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//!     }))
//!     .detach();
//!
//!     let client = listener()
//!         .on_open(|socket| socket.send("hello"))
//!         .on_message(|socket, message| {
//!             assert_eq!(message, "hello");
//!             socket.close()
//!         });
//!     let closed = connect_on(Smol, url, client).await?.closed().await;
//!     assert_eq!(closed.code, 1000);
//!     handle.shutdown(std::time::Duration::from_secs(1)).await;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })
//! # .unwrap();
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `runtime` | what a runtime has to offer: tasks, bytes that are read and written, and one sleep |
//! | `server` | accepts, or takes over what somebody else accepted |
//! | `client` | connects |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod runtime;
mod server;

pub use bellwire_core::backend::Client;
#[cfg(feature = "async-std")]
pub use client::{connect, connect_over, connect_stream, connect_stream_over};
pub use client::{connect_on, connect_over_on, connect_stream_on, connect_stream_over_on};
pub use runtime::{AsyncStd, Runtime, Timer};
pub use server::{
    Acceptor, Server, ServerHandle, accept_stream_on, serve_async_on, serve_on, serve_with_on, upgraded, upgraded_on,
};
#[cfg(feature = "async-std")]
pub use server::{accept_stream, serve, serve_async, serve_with};
