//! The connection as its peer and its owner see it, without any I/O: bytes and virtual time in, events and
//! bytes out. Names like `D7` are explained in `docs/contract.md`.

mod answering;
mod asynchronous;
mod at_end;
mod awaiting;
mod closing;
mod common;
#[cfg(feature = "deflate")]
mod deflate;
mod conversing;
mod driver;
mod ending;
mod fragments;
mod listeners;
mod logging;
mod output;
mod pair;
mod server;
mod shared;
mod stats;
mod streaming;
mod time;
mod unread;
mod wire;
