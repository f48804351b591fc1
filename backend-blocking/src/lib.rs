//! bellwire on the threads of the standard library.
//!
//! Each connection has a thread, which reads, runs the listener's callbacks, and writes what they sent when they have
//! returned. Sends from other threads return at once: a second thread, which is started for a connection when such a
//! send first happens or when its peer first reads too slowly, writes them. So no `send` waits for the peer of another
//! connection. And a peer that does not read keeps its connection from reading only while what the connection's own
//! callbacks have sent is above the high watermark.
//!
//! ```no_run
//! # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
//! use bellwire::blocking::serve;
//! use bellwire::{Response, listener};
//!
//! serve("127.0.0.1:9001", |_request| {
//!     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `stream` | what a transport must be able to do: TCP, Unix sockets, or the caller's own (TLS, in-memory) |
//! | `tls` | TLS over such a transport, for the two threads of a connection |
//! | `drive` | the loop of a connection's thread: reads, writes, and sleeps until the core's deadline |
//! | `writer` | the second thread: writes what others send, and wakes the first |
//! | `server`, `acceptor` | accepts, or takes over what was accepted elsewhere |
//! | `client`, `connecting`, `resolve`, `race`, `proxying`, `deadline` | connects: addresses, a proxy, TLS, the handshake, within one deadline |
//! | `end` | waits for a connection's end, or until what was sent is written |
//! | `message_stream`, `talking` | a connection as a stream of messages, in place of callbacks; servers of such |
//! | `reconnecting` | a client that connects again |
#![forbid(unsafe_code)]

mod acceptor;
mod client;
mod connecting;
mod deadline;
mod drive;
mod end;
mod incoming;
mod message_stream;
mod owner;
mod pause;
mod proxying;
mod race;
mod reconnecting;
mod resolve;
mod server;
mod socket;
mod stream;
mod talking;
mod tls;
mod wait;
mod writer;

pub use acceptor::{Acceptor, accept_stream};
pub use client::{Client, connect, connect_over, connect_stream, connect_stream_over};
pub use drive::upgraded;
pub use message_stream::{MessageReceiver, MessageSender, MessageStream};
pub use reconnecting::{Elapsed, ReconnectBuilder, Reconnecting, ReconnectingStream, WouldDeadlock, reconnecting};
pub use server::{Server, ServerHandle, serve, serve_with};
pub use stream::Stream;
pub use talking::serve_streams;
pub use tls::TlsStream;
