//! Real sockets, real threads and runtimes: every backend must behave as `docs/contract.md` says, and all in
//! the same way.
//!
//! | file | what it is about |
//! |---|---|
//! | `ring` | what Ring's own tests assert, and keepalive |
//! | `handshake` | the opening handshake as a client sees it, and plain HTTP beside it |
//! | `client` | connecting: what can go wrong, and what is seen of the answer |
//! | `peer` | tungstenite in both roles |
//! | `sending` | what `send` promises: from any thread, at once, in order, bounded |
//! | `ending` | how connections end, and the invariant 1.13 |
//! | `pressure` | peers that never pause, output that never ends, callbacks that take long |
//! | `streams` | transports that the caller has, and how many connections a server takes |
//! | `tls` | rustls as such a transport |
//! | `runtime` | what only happens on a runtime: dropped futures, aborted tasks |

mod client;
mod ending;
mod handshake;
mod peer;
mod pressure;
mod ring;
mod runtime;
mod sending;
mod streams;
mod tls;
