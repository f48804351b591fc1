//! Real sockets, real threads and runtimes: every backend must behave as `docs/contract.md` says, and all in
//! the same way.
//!
//! | file | what it is about |
//! |---|---|
//! | `ring` | what Ring's own tests assert, and keepalive |
//! | `liveness` | who is alive, and who is found to be dead |
//! | `announced` | clients that a proxy announces, by the PROXY protocol |
//! | `answering` | handlers that answer later |
//! | `typed` | typed messages: a codec between a listener and its connection |
//! | `middleware` | listeners around listeners |
//! | `async_forms` | a shared state, wrappers and typed messages, for asynchronous listeners |
//! | `config` | each limit and deadline by its effect, of one upgrade and of one client |
//! | `handshake` | the opening handshake as a client sees it, and plain HTTP beside it |
//! | `asking` | what a client asks for: URLs as browsers read them, credentials, zones |
//! | `client_example` | the `client` example as a program: what it prints, and how it exits |
//! | `client` | connecting: what can go wrong, and what is seen of the answer |
//! | `context` | what a socket knows: peer, path, subprotocol, number, and how it ended |
//! | `deflate` | compressed messages: what was agreed on, every size, and what a peer must not send |
//! | `peer` | tungstenite in both roles |
//! | `plain` | plain HTTP as proxies and health checks send it, and what is no HTTP/1 |
//! | `through_proxies` | a client's own way: CONNECT and SOCKS5, and all that goes wrong there |
//! | `proxies` | what reverse proxies make of an upgrade and of its answer |
//! | `redirects` | clients that are sent elsewhere |
//! | `refusals` | what a refused request is told, and what the owner is told of it |
//! | `sending` | what `send` promises: from any thread, at once, in order, bounded |
//! | `sockets` | what a program does with a client's sockets before they are connected |
//! | `ending` | how connections end, and the invariant 1.13 |
//! | `fairness` | one peer that sends without end, and the others |
//! | `pressure` | peers that never pause, output that never ends, callbacks that take long |
//! | `streams` | transports that the caller has, and how many connections a server takes |
//! | `stopped` | a process that is stopped while its peers answer |
//! | `blocking_streams` | the same on threads: `recv`, `send`, timeouts, an iterator |
//! | `stream_form` | a connection as a stream of messages and a sink for them |
//! | `tls` | rustls as such a transport |
//! | `frames` | what a peer may put on the wire, and what it may not |
//! | `order` | the invariant 1.13 while nothing dies |
//! | `tasks` | what only happens to tasks: they are aborted, and futures are dropped |
//! | `runtime` | what only happens on a runtime that ends |
//! | `threads` | what only happens to threads |
//!
//! `tests/contract.txt` has a line for each behaviour of `docs/contract.md`, and `.ci/table` checks that each
//! was shown on every backend and in its roles. The path of a test says both, its name begins with the identifiers.

mod announced;
mod answering;
mod asking;
mod async_forms;
mod blocking_streams;
mod client;
mod client_example;
mod config;
mod context;
mod deflate;
mod ending;
mod fairness;
#[cfg(unix)]
mod forked;

mod frames;
mod handshake;
mod last_words;
mod leaving;
mod liveness;
mod middleware;
mod order;
mod peer;
mod plain;
mod pressure;
mod proxies;
mod redirects;
mod refusals;
mod ring;
mod runtime;
mod sending;
mod sockets;
#[cfg(target_os = "linux")]
mod stopped;
mod stream_form;
mod streams;
mod tasks;
mod threads;
mod through_proxies;
mod tls;
mod typed;
