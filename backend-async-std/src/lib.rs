//! bellwire on smol, on async-std, and on other runtimes that speak `futures-io`.
//!
//! Each connection is a task, which reads, runs the listener's callbacks, and writes what they sent.
//! All connections of a thread share one read buffer and one buffer for output: an idle connection holds
//! neither. Sends from anywhere return at once and wake the connection's task, which writes them. So
//! no `send` waits for the peer of another connection, and a peer that does not read keeps no others waiting.
//!
//! Callbacks run on the runtime's threads: one that blocks, blocks the other tasks of its thread.
//!
//! # smol
//!
//! The feature `smol` has the module `smol`, whose functions spawn on smol's own executor:
//!
//! ```
//! # mod bellwire { pub use bellwire_core::*; pub mod smol { pub use bellwire_async_std::smol::*; } }
//! # #[cfg(feature = "smol")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bellwire::{Response, listener};
//! use bellwire::smol::{Server, connect_stream};
//!
//! smol::block_on(async {
//!     let server = Server::bind("127.0.0.1:0").await?;
//!     let (url, handle) = (format!("ws://{}/", server.local_addr()?), server.handle());
//!     let running = smol::spawn(server.run(|_request| {
//!         Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//!     }));
//!
//!     let (mut messages, _response) = connect_stream(url).await?;
//!     messages.send("hello").await?;
//!     assert_eq!(messages.recv().await.unwrap()?, "hello");
//!
//!     handle.shutdown(std::time::Duration::from_secs(1)).await;
//!     running.await?;
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "smol"))]
//! # fn main() {}
//! ```
//!
//! # async-std
//!
//! The feature `async-std` has the module `async_std`, with the same names. **async-std is discontinued**
//! (RUSTSEC-2025-0052); its authors recommend smol. It is here for programs that have it.
//!
//! # Other runtimes
//!
//! An [`Executor`] says how to spawn and how to sleep. [`FuturesIo`] makes a runtime of it, which the functions here,
//! [`Server::bind_on`] and [`Acceptor::from_service_on`] take:
//!
//! ```
//! # mod bellwire { pub use bellwire_core::*; pub mod futures_io { pub use bellwire_async_std::*; } }
//! use bellwire::futures_io::{Executor, FuturesIo, Server, Timer, connect};
//! use bellwire::{Response, listener};
//! use std::sync::Arc;
//!
//! /// An executor that is not a global one.
//! #[derive(Clone)]
//! struct Mine(Arc<smol::Executor<'static>>);
//!
//! impl Executor for Mine {
//!     type Timer = Timer;
//!
//!     fn timer(&self) -> Timer {
//!         Timer::start()
//!     }
//!
//!     fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
//!         self.0.spawn(task).detach();
//!     }
//! }
//!
//! let executor = Arc::new(smol::Executor::new());
//! let runtime = FuturesIo(Mine(executor.clone()));
//! smol::block_on(executor.run(async {
//!     let server = Server::bind_on(runtime.clone(), "127.0.0.1:0").await?;
//!     let (url, handle) = (format!("ws://{}/", server.local_addr()?), server.handle());
//!     let running = executor.spawn(server.run(|_request| Response::websocket(listener())));
//!
//!     let mut client = connect(runtime, url, listener()).await?;
//!     assert!(client.close().await.clean);
//!
//!     handle.shutdown(std::time::Duration::from_secs(1)).await;
//!     running.await?;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! }))
//! # .unwrap();
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod named;
mod runtime;
mod socket;
mod stream;

pub use async_io::Async;
pub use bellwire_core::backend::{
    Acceptor, Client, Server, ServerHandle, accept_stream, connect, connect_over, connect_stream, connect_stream_over,
    upgraded,
};
#[cfg(feature = "async-std")]
pub use named::async_std;
#[cfg(feature = "smol")]
pub use named::smol;
pub use runtime::{Executor, FuturesIo, Timer};
