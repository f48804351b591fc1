//! The connection as its peer and its owner see it, without any I/O: bytes and virtual time in, events and
//! bytes out. Names like `D7` are explained in `docs/contract.md`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod closing;
mod common;
mod driver;
mod output;
mod pair;
mod time;
mod wire;
