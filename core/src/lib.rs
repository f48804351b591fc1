//! The sans-IO core of bellwire: the WebSocket protocol (RFC 6455) as a pure state machine, for both roles.
//!
//! It performs no I/O, reads no clock, draws no randomness of its own, spawns nothing, and knows no
//! runtime. Bytes and time go in, events and bytes come out. It builds without the standard library
//! (`default-features = false`; `alloc` is needed).
//!
//! # How data flows
//!
//! The folders of the source are rooms, in the order of the bytes:
//!
//! ```text
//! bytes in ─► http ─► handshake ─► Request ─► serve (the handler) ─► Response ─► bytes out
//!                                                   │ an upgrade
//!                                                   ▼
//! bytes in ─► protocol: frame, mask, utf8, inbound ─► connection ─► Event ─► drive ─► api: Listener
//!                                                       │    ▲                           │
//! bytes out ◄─ protocol: output, frame, mask, outbound ◄┘    └── api: Socket, WebSocket ◄┘ your callbacks
//! ```
//!
//! Each imports only from those before it in this list: `http` (heads, headers, URLs), `protocol` (frames and the
//! connection), `handshake` (both roles), `api` (listeners, sockets, responses), `serve` (a server without its
//! transport), `drive` (a transport from its first byte to its last), `reconnect` (connections that are made again),
//! `task` (the loop of runtimes that poll).
//!
//! # Driving it by hand
//!
//! The whole loop of a server's connection, over any `Read + Write`; the `by_hand` example of the `bellwire`
//! package is a complete program with deadlines.
//!
//! ```
//! # use bellwire_core as bellwire;
//! use bellwire::Config;
//! use bellwire::proto::{Event, Time, server};
//! use std::io::{Read, Write};
//! use std::{sync::Arc, time::Instant};
//!
//! fn echo(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
//!     let (start, config) = (Instant::now(), Arc::new(Config::default()));
//!     let now = || Time::from_start(start.elapsed());
//!     let mut buffer = vec![0; 16 * 1024];
//!
//!     // The opening handshake. What comes after it in the same read stays in `input`.
//!     let mut handshake = server::Handshake::new(config.clone(), now());
//!     let (request, mut input) = loop {
//!         let count = stream.read(&mut buffer)?;
//!         if count == 0 {
//!             return Ok(());
//!         }
//!         let mut input = &mut buffer[..count];
//!         if let Some(request) = handshake.receive(&mut input) {
//!             break (request, input);
//!         }
//!     };
//!     let request = match request {
//!         Ok(request) => request,
//!         Err(refusal) => return stream.write_all(&refusal.to_response().encode(None)),
//!     };
//!     let mut connection = match request.accept(&server::Accept::new(), config, now()) {
//!         Ok(connection) => connection,
//!         Err(error) => return stream.write_all(&error.to_response().encode(Some(&request))),
//!     };
//!
//!     // Events until there are none, then write, then read.
//!     loop {
//!         while let Some(event) = connection.next_event(now(), &mut input) {
//!             match event {
//!                 Event::Text(text) => drop(connection.send(&*text)),
//!                 Event::Binary(bytes) => drop(connection.send(&*bytes)),
//!                 _ => {} // pings are answered, and closes echoed, by the connection itself
//!             }
//!         }
//!         while !connection.output().is_empty() {
//!             let count = stream.write(connection.output().first())?;
//!             connection.wrote(now(), count);
//!         }
//!         if connection.is_finished() {
//!             return Ok(());
//!         }
//!         match stream.read(&mut buffer)? {
//!             0 => {
//!                 input = &mut [];
//!                 connection.receive_eof();
//!             }
//!             count => input = &mut buffer[..count],
//!         }
//!     }
//! }
//! # // A peer in memory: the handshake with a masked "Hello" (RFC 6455 §5.7) and a close glued to it.
//! # struct Peer(std::io::Cursor<Vec<u8>>, Vec<u8>);
//! # impl Read for Peer { fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> { self.0.read(b) } }
//! # impl Write for Peer {
//! #     fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.1.write(b) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//! # Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".to_vec();
//! # bytes.extend(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x80\0\0\0\0");
//! # let mut peer = Peer(std::io::Cursor::new(bytes), Vec::new());
//! # echo(&mut peer).unwrap();
//! # assert!(peer.1.starts_with(b"HTTP/1.1 101 "));
//! # assert!(peer.1.ends_with(b"\r\n\r\n\x81\x05Hello\x88\0"));
//! ```
//!
//! # What is here, and what is in a backend
//!
//! Everything that RFC 6455 and Ring's contract decide is here. With the `std` feature (on by default) there are also
//! the parts that every backend needs, in [`backend`]: [`Shared`](backend::Shared), the connection behind a mutex with
//! its handles, [`Driver`](backend::Driver), which takes a transport from its first byte to its last and turns events
//! into callbacks, and [`Task`](backend::Task), the loop around it for runtimes that poll. A backend adds reads, writes
//! and one sleep.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

// The ground floor: what everything stands on.
#[macro_use]
mod debug;
pub mod config;
mod context;
mod entropy;
mod input;
mod network;
#[cfg(feature = "std")]
mod sockets;
#[cfg(feature = "std")]
mod sync;
mod time;

// The rooms, in the order of the bytes. Each imports only from those above it.
mod http;
mod protocol;
mod tls;
mod handshake;
#[cfg(feature = "std")]
mod observe;
mod api;
#[cfg(feature = "std")]
mod serve;
#[cfg(feature = "std")]
mod drive;
pub mod reconnect;
#[cfg(feature = "std")]
mod task;
#[cfg(feature = "std")]
pub mod testing;
#[doc(hidden)]
#[cfg(feature = "std")]
pub mod fuzzing;

pub use bytes::Bytes;
pub use config::Config;
#[cfg(feature = "deflate")]
pub use context::Compression;
pub use context::SocketId;

pub use protocol::{
    BoxError, CloseCode, Closed, ClosedBy, Error, Message, Outgoing, OwnedMessage, Prepared, Role, SendError, Stats,
    Traffic,
};

pub use tls::{ClientTls, ServerTls, TlsError};

pub use handshake::{ConnectError, Proxy, Request, Target, is_upgrade_request, request_protocols};

#[cfg(feature = "serde")]
pub use api::Json;
#[cfg(feature = "http")]
pub use api::NotPlain;
#[cfg(feature = "std")]
pub use api::{AsyncListener, AsyncResponse, TypedAsyncListener, async_listener, typed_async, typed_async_listener};
pub use api::{
    Codec, Listener, Outcome, Response, Socket, TypedListener, TypedSocket, WebSocket, broadcast, done, listener,
    typed, typed_listener,
};

#[cfg(feature = "metrics")]
pub use observe::describe_metrics;
#[cfg(feature = "std")]
pub use serve::{ProxyProtocolError, Responder, ServerError};

#[cfg(feature = "std")]
pub use drive::{MessageStream, StreamError, stream, stream_listener};

/// Types that programs seldom name: builders and futures, and the traits by which functions take any listener, any
/// handler's response, any callback's result.
pub mod listener {
    #[cfg(feature = "std")]
    pub use crate::api::{
        AnyListener, AsyncListenerBuilder, BoxAsyncListener, IntoAnyListener, IntoAsyncListener, IntoAsyncResponse,
        Sending, TypedAsyncListenerBuilder, Writable,
    };
    pub use crate::api::{
        Broadcast, IntoListener, IntoOutcome, IntoResponse, ListenerBuilder, State, Stateless, Typed,
        TypedListenerBuilder, TypedSendError, WriteWaiter,
    };
}

/// The types of a [`MessageStream`]: its halves, and those of typed messages.
#[cfg(feature = "std")]
pub mod stream {
    pub use crate::drive::{
        MessageReceiver, MessageSender, Opened, StreamListener, TypedReceiver, TypedSender, TypedStream,
        TypedStreamError,
    };
}

/// The protocol by hand: both opening handshakes and the connection, without I/O, for a loop of your own.
pub mod proto {
    pub use crate::context::SocketContext;
    pub use crate::entropy::*;
    pub use crate::handshake::{client, server};
    pub use crate::http::{Headers, HeadersIter, InvalidHeader, Uri, UriError, date};
    pub use crate::protocol::{
        Connection, Event, Output, SharedError, StreamOffset, Timeout, Violation, frame, mask, utf8,
    };
    pub use crate::time::Time;
}

/// What authors of backends need: the driver of a transport, and the parts that servers and clients of every runtime
/// share. **This may change in any 0.x release**, except for what the modules of the runtimes have from here
/// ([`Server`](backend::Server), [`ServerHandle`](backend::ServerHandle), [`Acceptor`](backend::Acceptor),
/// [`Client`](backend::Client) and the functions).
pub mod backend {
    #[cfg(feature = "axum")]
    pub use crate::api::Carried;
    pub use crate::api::{AtEnd, Done, Upgrade};
    #[cfg(feature = "std")]
    pub use crate::drive::{Announced, Busy, Driver, READ_ON, Race, Shared, Step, conclude, limits, spare};
    #[cfg(feature = "proxy-protocol")]
    pub use crate::drive::{Announcement, ProxyProtocol};
    pub use crate::handshake::Redirects;
    #[cfg(feature = "std")]
    pub use crate::observe::no_connection;
    #[cfg(feature = "std")]
    pub use crate::serve::{Answer, Registration, Registry, Service, Stage, report};
    #[cfg(feature = "std")]
    pub use crate::sockets::Sockets;
    #[cfg(feature = "std")]
    pub use crate::task::*;
    #[cfg(feature = "std")]
    pub use crate::tls::Session;
}
