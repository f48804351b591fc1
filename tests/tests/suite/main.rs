//! Real sockets, real threads and runtimes: every backend must behave as `docs/contract.md` says.
//!
//! | file | what it is about |
//! |---|---|
//! | `ring` | what Ring's own tests assert, and keepalive |

mod client;
mod ending;
mod handshake;
mod peer;
mod ring;
mod runtime;
mod sending;
mod streams;
