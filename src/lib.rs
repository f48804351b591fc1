//! WebSockets for any Rust runtime: listeners or streams, server and client, over a sans-IO core, tested in memory.
//!
//! **A server.** A handler is a function from a request to a response; a response that carries a listener is the upgrade:
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
//! **On tokio** the names are the same, and what waits is `async`. Handlers and callbacks may be, too:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn server() -> std::io::Result<()> {
//! use bellwire::{AsyncResponse, async_listener};
//!
//! bellwire::tokio::serve_async("127.0.0.1:9001", |_request| async {
//!     AsyncResponse::websocket(
//!         async_listener()
//!             .on_message(async |socket, message| socket.send_and_wait(message).await),
//!     )
//! })
//! .await
//! # }
//! ```
//!
//! **A client**, here without callbacks, as a stream of messages:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn client() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "ws://127.0.0.1:9001/";
//! let (mut messages, _response) = bellwire::tokio::connect_stream(url).await?;
//! messages.send("hello").await?;
//! if let Some(reply) = messages.recv().await {
//!     println!("{:?}", reply?);
//! }
//! println!("{}", messages.close().await);
//! # Ok(())
//! # }
//! ```
//!
//! **A test** of a handler, without a port and without waiting:
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
//! # Where things are
//!
//! | | threads | tokio (the others have the same names) |
//! |---|---|---|
//! | a server | [`blocking::serve`], [`blocking::Server`]; [`blocking::serve_streams`] without a listener | [`tokio::serve`], [`serve_async`], [`Server`] |
//! | a client | [`blocking::connect`], or [`blocking::connect_stream`] without a listener | [`tokio::connect`], or [`connect_stream`] |
//! | streams you have accepted | [`blocking::Acceptor`], [`blocking::accept_stream`] | [`tokio::Acceptor`], [`accept_stream`] |
//! | inside a server of axum or hyper | | [`axum::WebSocketUpgrade`], [`hyper::WebSocketUpgrade`], [`tower::service`] |
//! | streams upgraded elsewhere | [`blocking::upgraded`] | [`tokio::upgraded`] |
//! | rooms, on one node or many | [`rooms::Rooms`] | the same |
//! | a test | [`testing::connect`] | [`testing::connect_async`] |
//!
//! - Listeners are closures ([`listener()`], [`async_listener()`]) or types ([`Listener`], [`AsyncListener`]).
//!   [`stream_listener`] and [`stream()`] make a [`MessageStream`] of a server's connection.
//! - [`typed_listener()`] and [`MessageStream::typed`] give them values in place of messages.
//! - Handlers get a [`Request`] and return a [`Response`] or an [`AsyncResponse`].
//! - A client's headers and subprotocols are in a [`Target`]; limits and deadlines are in [`Config`].
//! - A [`WebSocket`] is the handle of a connection: it sends, closes, and knows how the connection ended.
//! - The root has what programs write. Types that one seldom names are in [`listener`](mod@listener) and
//!   [`stream`](mod@stream); the protocol without I/O is [`proto`]; [`backend`] is for authors of backends.
//!
//! Write `bellwire::tokio::serve` in full: `use bellwire::tokio` and `use bellwire::*` would hide the runtime's own crate.
//!
//! # Guides
//!
//! | | |
//! |---|---|
//! | [Choosing](guide::choosing) | closures, types, async, streams, by hand: which is for what |
//! | [Serving](guide::serving), [Listeners](guide::listeners) | handlers, plain HTTP, subprotocols, proxies; events, state, broadcast, codecs, middleware |
//! | [Clients](guide::clients), [Streams](guide::streams) | targets, URLs, errors; `recv` and `send` in a loop |
//! | [Sending](guide::sending), [Closing](guide::closing) | backpressure; how connections and programs end |
//! | [Behind a proxy](guide::proxies) | CONNECT, SOCKS5, the environment's variables, credentials |
//! | [Rooms](guide::rooms), [Many nodes](guide::many_nodes) | members, presence, history; the same over NATS or Redis: promises, sizing, restarts, security |
//! | [Staying connected](guide::staying_connected) | clients that connect again: when, and what becomes of messages |
//! | [Testing](guide::testing) | handlers and listeners in memory |
//! | [Seeing what happens](guide::seeing) | numbers of a connection, what goes wrong, spans and events of tracing, metrics |
//! | [Limits](guide::limits) | every default, origins, what a peer can cost |
//! | [Compression](guide::compression) | permessage-deflate: what is agreed on, what it costs, secrets |
//! | [In axum, hyper and tower](guide::axum) | the extractor, layers, HTTP/2, shutdown; from `axum::extract::ws` |
//! | [TLS](guide::tls) | `wss://`, certificates, servers, the system's TLS |
//! | [Transports](guide::transports), [Runtimes](guide::runtimes) | Unix sockets, your own accept loop; features, smol, what differs |
//! | [By hand](guide::by_hand) | the protocol without I/O, in a loop of your own |
//! | [From tokio-tungstenite](guide::from_tokio_tungstenite), [from Ring](guide::from_ring) | where everything is that you know |
//! | [Real peers](guide::peers), [the contract](guide::contract) | what clients, servers and nine proxies do; what is promised, to the letter |
//!
//! # Features
//!
//! | feature | module | |
//! |---|---|---|
//! | `blocking` (default) | [`blocking`](blocking/index.html) | threads of the standard library |
//! | `tokio` | [`tokio`](tokio/index.html) | the tokio runtime |
//! | `smol` | [`smol`](smol/index.html) | smol |
//! | `async-std` | [`async_std`](async_std/index.html) | async-std, which is discontinued |
//! | `futures-io` | [`futures_io`](futures_io/index.html) | an executor of your own, with the sockets of async-io |
//! | `deflate` | | permessage-deflate, the compression of messages: [`config::Deflate`](config/struct.Deflate.html) |
//! | `serde` | | [`Json`](struct.Json.html), a codec for [typed messages](typed_listener()) |
//! | `axum` | [`axum`](axum/index.html) | WebSockets in [applications of axum](guide::axum) |
//! | `tower` | [`tower`](tower/index.html) | handlers as services of tower |
//! | `hyper` | [`hyper`](hyper/index.html) | WebSockets in servers of hyper |
//! | `http2` | [`hyper`](hyper/index.html) | clients' WebSockets in an [HTTP/2 connection](guide::clients) of hyper's |
//! | `http` | | conversions from and to the [types of the crate `http`](guide::from_tokio_tungstenite) |
//! | `rustls` | | [TLS](guide::tls) by rustls and ring, with the roots of the system: `wss://`, [`Target::tls`], `Server::tls` |
//! | `aws-lc-rs` | | the same, computed by aws-lc-rs in place of ring |
//! | `webpki-roots` | | the same, with Mozilla's roots in place of the system's; needs `rustls` or `aws-lc-rs`, too |
//! | `native-tls` | | TLS by the operating system |
//! | `rooms` | [`rooms`](rooms/index.html) | [rooms](guide::rooms): who is in them, and what is said in them |
//! | `rooms-nats` | | the same on [many nodes](guide::many_nodes), over NATS |
//! | `rooms-redis` | | the same over Redis; with `rooms-redis-tls` over TLS, too |
//! | `proxy-protocol` | | `Server::proxy_protocol`: clients that a proxy announces by the PROXY protocol |
//! | `tracing` | | [spans and events](guide::seeing) for subscribers of tracing |
//! | `metrics` | | [numbers](guide::seeing) for recorders of metrics: `describe_metrics` |
//! | `socket2` | | `Target::socket`: local addresses, interfaces and options of a client's sockets |
//!
//! [`blocking::serve`]: blocking/fn.serve.html
//! [`blocking::Server`]: blocking/struct.Server.html
//! [`blocking::connect`]: blocking/fn.connect.html
//! [`blocking::serve_streams`]: blocking/fn.serve_streams.html
//! [`blocking::connect_stream`]: blocking/fn.connect_stream.html
//! [`blocking::accept_stream`]: blocking/fn.accept_stream.html
//! [`blocking::Acceptor`]: blocking/struct.Acceptor.html
//! [`rooms::Rooms`]: rooms/struct.Rooms.html
//! [`blocking::upgraded`]: blocking/fn.upgraded.html
//! [`tokio::serve`]: tokio/fn.serve.html
//! [`serve_async`]: tokio/fn.serve_async.html
//! [`Server`]: tokio/type.Server.html
//! [`tokio::connect`]: tokio/fn.connect.html
//! [`connect_stream`]: tokio/fn.connect_stream.html
//! [`tokio::Acceptor`]: tokio/type.Acceptor.html
//! [`accept_stream`]: tokio/fn.accept_stream.html
//! [`tokio::upgraded`]: tokio/fn.upgraded.html
//! [`axum::WebSocketUpgrade`]: axum/struct.WebSocketUpgrade.html
//! [`hyper::WebSocketUpgrade`]: hyper/struct.WebSocketUpgrade.html
//! [`tower::service`]: tower/fn.service.html
// The links to what needs a feature are to files: without that feature rustdoc would not find the items.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// What programs write. Everything else is in the modules below, by who needs it.
#[cfg(feature = "deflate")]
pub use bellwire_core::Compression;
#[cfg(feature = "serde")]
pub use bellwire_core::Json;
#[cfg(feature = "http")]
pub use bellwire_core::NotPlain;
#[cfg(feature = "metrics")]
pub use bellwire_core::describe_metrics;
pub use bellwire_core::{
    AsyncListener, AsyncResponse, BoxError, Bytes, ClientTls, CloseCode, Closed, ClosedBy, Codec, Config, ConnectError,
    Error, Listener, Message, MessageStream, Outcome, Outgoing, OwnedMessage, Prepared, Proxy, ProxyProtocolError,
    Request, Responder, Response, Role, SendError, ServerError, ServerTls, Socket, SocketId, Stats, StreamError,
    Target, TlsError, Traffic, TypedAsyncListener, TypedListener, TypedSocket, WebSocket,
};
pub use bellwire_core::{
    async_listener, broadcast, done, is_upgrade_request, listener, request_protocols, stream, stream_listener, typed,
    typed_async, typed_async_listener, typed_listener,
};
pub use bellwire_core::{backend, config, proto, reconnect, testing};

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

/// WebSockets inside servers of hyper, and with the feature `http2` in connections of its clients.
#[cfg(feature = "hyper")]
pub mod hyper {
    pub use bellwire_hyper::{Body, Connections, PeerAddr, Rejection, WebSocketUpgrade};
    #[cfg(feature = "http2")]
    pub use bellwire_hyper::{connect, connect_stream};
}

/// Handlers as services of tower, for any server and router that takes those.
#[cfg(feature = "tower")]
pub mod tower {
    pub use bellwire_hyper::tower::*;
}

/// WebSockets inside servers of axum.
#[cfg(feature = "axum")]
pub mod axum {
    pub use bellwire_hyper::axum::*;
}

/// Rooms: who is in them, and what is said in them, in one process or on many nodes.
#[cfg(feature = "rooms")]
pub mod rooms {
    pub use bellwire_rooms::*;
}

/// Servers and clients on smol.
#[cfg(feature = "smol")]
pub mod smol {
    pub use bellwire_async_std::smol::*;
}

/// Servers and clients on async-std, which is discontinued.
#[cfg(feature = "async-std")]
pub mod async_std {
    pub use bellwire_async_std::async_std::*;
}

/// Servers and clients on any executor, with the sockets of async-io: what [`Executor`](futures_io::Executor) is for.
#[cfg(feature = "futures-io")]
pub mod futures_io {
    pub use bellwire_async_std::{
        Async, Executor, FuturesIo, Timer, accept_stream, connect, connect_over, connect_stream, connect_stream_over,
        upgraded,
    };
    // Not inlined: rustdoc would send the readers of every other runtime's `Server` here.
    #[doc(no_inline)]
    pub use bellwire_core::backend::{Acceptor, Client, Server, ServerHandle};
}

// Their examples need these backends.
#[cfg(all(
    doc,
    any(
        not(doctest),
        all(
            feature = "blocking",
            feature = "tokio",
            feature = "smol",
            feature = "async-std",
            feature = "axum",
            feature = "rooms-nats",
            feature = "rooms-redis",
            feature = "tracing",
            feature = "metrics",
            feature = "serde",
            feature = "deflate",
            feature = "rustls",
            feature = "native-tls"
        )
    )
))]
pub mod guide;
