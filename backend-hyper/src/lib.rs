//! bellwire inside servers of hyper, tower and axum: their requests become WebSockets, over HTTP/1.1 and HTTP/2, with
//! every check of a handshake, limits and deadlines, and one end for all of them.
//!
//! A request comes to an extractor (`axum`), a service ([`tower`]) or a function of the program's. All three make a
//! [`Request`](bellwire_core::Request) of it (`upgrade`), which core judges as it judges bytes, and give the answer in the types
//! of `http` (`rejection`, `body`). When hyper has sent a 101 or a 200 it lets go of its connection: `upgrade` waits for that,
//! `transport` finds the TCP connection in what comes, and core's `Task` drives it as on bellwire's own servers. [`Connections`]
//! is what they have in common; as a layer (`layer`) it also completes responses that handlers return. The other way round,
//! `client` asks for WebSockets in an HTTP/2 connection that the program has.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
pub mod axum;
mod body;
#[cfg(feature = "http2")]
mod client;
mod connections;
#[cfg(feature = "axum")]
mod layer;
mod peer;
mod rejection;
pub mod tower;
mod transport;
mod upgradable;
mod upgrade;

pub use body::Body;
#[cfg(feature = "http2")]
#[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
pub use client::{connect, connect_stream};
pub use connections::Connections;
pub use peer::PeerAddr;
pub use rejection::Rejection;
pub use upgrade::WebSocketUpgrade;
