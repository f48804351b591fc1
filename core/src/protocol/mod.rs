//! The WebSocket protocol after the opening handshake (RFC 6455 §5 to §7), without the standard library: frames,
//! messages, and the connection that joins both directions.

mod close;
mod connection;
mod deadlines;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod error;
mod event;
pub mod frame;
mod inbound;
pub mod mask;
mod outbound;
mod outgoing;
mod output;
mod partial;
mod pool;
mod stats;
pub mod utf8;

pub use close::{CloseCode, Closed, ClosedBy};
pub use connection::Connection;
#[cfg(feature = "std")]
pub(crate) use connection::{DeferredDrops, Stage};
#[cfg(feature = "std")]
pub(crate) use error::panic_message;
pub use error::{BoxError, Error, SendError, SharedError, Timeout, Violation};
pub use event::{Event, Message, OwnedMessage};
pub use frame::Role;
#[cfg(feature = "std")]
pub(crate) use frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, ReservedBits, truncated};
#[cfg(feature = "std")]
pub(crate) use inbound::{Inbound, Incoming};
pub use outgoing::{Outgoing, Prepared};
pub use output::{Output, StreamOffset};
#[cfg(feature = "std")]
pub(crate) use pool::{LARGE, Pooled, own, own_text, share};
pub use stats::{Stats, Traffic};
