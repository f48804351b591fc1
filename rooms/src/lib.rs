//! Rooms for WebSockets of [bellwire](https://docs.rs/bellwire): sockets join them, and get what is published in them.
//!
//! [`Rooms::local`] is for one process. With the features `nats` and `redis`, `Rooms::nats` and `Rooms::redis` are for many
//! nodes, over a broker that there is: the same methods, and the same semantics, which each says.
//!
//! # How messages go
//!
//! ```text
//! publish ─► (in one process) ─────────────────────────────► hub: the members of the room, in one order
//!    │                                                         ▲
//!    └─────► engine: outbox ─► session ─► NATS or Redis ─► session on every node with members of the room
//! ```
//!
//! # Where things are
//!
//! | file | what it is |
//! |---|---|
//! | `rooms`, `builder` | the handle of programs (`rooms/joining` is also how members catch up), and how it is set up; `error`, `gap`, `pending`, `history` (`Backlog`, `Past`) are what it says |
//! | `core` | what all handles share: joining and leaving, and the calls of hooks |
//! | `hub` | the members on this node: `hub/room` is the order in which they get messages, `hub/catching_up` those who get history first |
//! | `presence` | who is in a room over all nodes: a state machine without I/O and clock |
//! | `history` | what is kept in this process, without a clock |
//! | `engine` | the way to a broker: `link` and `outbox` are what handles leave there, `inbox` is where what has come together goes to the hub, `supervisor` connects again and finds gaps, `present` runs presence, `nats` and `redis` are one connection each |
//! | `observe` | what subscribers of `tracing` and recorders of `metrics` see, if there are any |
//! | `name`, `position`, `node`, `wire` | what rooms, messages and nodes are called, and bytes at a broker |
//! | `fuzzing` | what the fuzz targets do, so that tests run it, too |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod builder;
mod core;
#[cfg(feature = "__broker")]
mod engine;
mod error;
#[doc(hidden)]
#[cfg(any(test, feature = "__fuzzing"))]
pub mod fuzzing;
mod gap;
mod history;
mod hub;
mod name;
mod node;
mod observe;
mod pending;
mod position;
// Rooms in one process have nobody to hear and nobody to tell.
#[cfg_attr(not(feature = "__broker"), allow(dead_code))]
mod presence;
mod rooms;
#[cfg(any(test, feature = "__broker", feature = "__fuzzing"))]
mod wire;

pub use builder::{Builder, History, WhileAway};
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use engine::nats::Nats;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use engine::redis::Redis;
pub use error::{BrokerError, HistoryError, JoinError, PublishError};
pub use gap::Gap;
pub use history::{Backlog, Past};
pub use name::{MAX_ROOM, NameError};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use observe::describe_metrics;
pub use pending::Pending;
pub use position::{InvalidPosition, Position};
pub use presence::{Change, MAX_WHO};
pub use rooms::Rooms;
