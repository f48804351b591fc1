//! WebSockets for any Rust runtime: listeners or streams, server and client, over a sans-IO core, tested in memory.
//!
//! ```no_run
//! # #[cfg(feature = "blocking")] {
//! use bellwire::{Request, Response, listener};
//!
//! fn greeter(_: &Request) -> Response {
//!     Response::websocket(
//!         listener()
//!             .on_open(|socket| socket.send("I will echo your messages"))
//!             .on_message(|socket, message| {
//!                 if message == "exit" { socket.close() } else { socket.send(message) }
//!             }),
//!     )
//! }
//!
//! bellwire::blocking::serve("127.0.0.1:9001", greeter).unwrap();
//! # }
//! ```
//!
//! A request handler is a function from request to response; a response that carries a listener is the
//! upgrade. The same handler runs on every backend, each behind a cargo feature of its name:
//!
//! | feature | module | |
//! |---|---|---|
//! | `blocking` (default) | [`blocking`](https://docs.rs/bellwire-blocking) | threads of the standard library |
//! | `tokio` | [`tokio`](https://docs.rs/bellwire-tokio) | the tokio runtime |
//! | `async-std` | [`async_std`](https://docs.rs/bellwire-async-std) | async-std, which is discontinued |
//! | `futures-io` | [`async_std`](https://docs.rs/bellwire-async-std) | the same without it: smol, and other runtimes that speak futures-io |
//! | `serde` | | [`Json`], a codec for [typed messages](typed_listener()) |
//!
//! # Where to begin
//!
//! | | threads | tokio (the others have the same names) |
//! |---|---|---|
//! | a server | `blocking::serve`, `blocking::Server` | `tokio::serve`, `serve_async`, `Server` |
//! | a client | `blocking::connect` with a listener | `tokio::connect`, or `connect_stream` without one |
//! | a connection as a stream | | `tokio::connect_stream`, `accept_stream`, [`stream()`] in a handler |
//! | a test | [`testing::connect`] | [`testing::connect_service`] |
//!
//! Listeners are closures ([`listener()`], [`async_listener()`]) or types ([`Listener`], [`AsyncListener`]);
//! [`typed_listener()`] and [`MessageStream::typed`] give them values in place of messages. Handlers get a [`Request`] and
//! return a [`Response`] or an [`AsyncResponse`]. A client's headers and subprotocols are in a [`Target`], limits and
//! deadlines in [`Config`]. What a connection is told to send, and by whom it was closed, a [`WebSocket`] knows.
//!
//! A client that sends one line, prints the answer, and says goodbye:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn client() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut messages, _response) = bellwire::tokio::connect_stream("ws://127.0.0.1:9001/").await?;
//! messages.send("hello").await?;
//! if let Some(reply) = messages.recv().await {
//!     println!("{:?}", reply?);
//! }
//! println!("{:?}", messages.close().await);
//! # Ok(())
//! # }
//! ```
//!
//! A test of a handler, without a port and without waiting:
//!
//! ```
//! use bellwire::{Request, Response, listener, testing};
//!
//! fn echo(_: &Request) -> Response {
//!     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//! }
//!
//! let mut client = testing::connect(echo)?;
//! client.send("hello")?;
//! assert_eq!(client.try_recv().unwrap(), "hello");
//! assert!(client.close().unwrap().clean);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Write `bellwire::tokio::serve` in full rather than `use bellwire::tokio` or `use bellwire::*`, which would hide the
//! runtime's own crate.
//!
//! # A loop of your own
//!
//! The protocol itself is in `bellwire-core`, re-exported here: a state machine without I/O that can be
//! driven by hand. The whole of a program that does so:
//!
//! ```no_run
#![doc = include_str!("../examples/by_hand.rs")]
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use bellwire_core::*;

/// Servers and clients on the threads of the standard library.
#[cfg(feature = "blocking")]
pub mod blocking {
    pub use bellwire_blocking::*;
}

/// Servers and clients on the tokio runtime.
#[cfg(feature = "tokio")]
pub mod tokio {
    pub use bellwire_tokio::*;
}

/// Servers and clients on async-std, on smol, and on other runtimes that speak futures-io.
#[cfg(feature = "futures-io")]
pub mod async_std {
    pub use bellwire_async_std::*;
}

/// The examples of the README and of the guides are tests.
#[cfg(all(doctest, feature = "blocking", feature = "tokio", feature = "async-std"))]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/choosing.md")]
    struct Choosing;
    #[doc = include_str!("../docs/from-ring.md")]
    struct FromRing;
    #[doc = include_str!("../docs/from-tokio-tungstenite.md")]
    struct FromTokioTungstenite;
}
