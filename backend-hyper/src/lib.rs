//! bellwire inside servers of hyper, tower and axum: their requests become WebSockets, over HTTP/1.1 and HTTP/2, with
//! every check of a handshake, limits and deadlines, and one end for all of them.
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
mod upgrade;

pub use body::Body;
#[cfg(feature = "http2")]
#[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
pub use client::{connect, connect_stream};
pub use connections::Connections;
pub use peer::PeerAddr;
pub use rejection::Rejection;
pub use upgrade::WebSocketUpgrade;
