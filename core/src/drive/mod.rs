//! A transport from its first byte to its last: the connection that its driver shares with the handles, and the driver,
//! which turns events into callbacks.

mod announced;
mod callbacks;
mod channel;
mod driver;
mod grace;
mod lending;
pub mod limits;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
mod race;
mod reader;
mod shared;
pub mod spare;
mod stream;
mod stream_listener;
mod typed_stream;

pub use announced::Announced;
pub use driver::{Driver, Step};
pub(crate) use grace::ONCE_MORE;
pub use grace::READ_ON;
#[cfg(feature = "proxy-protocol")]
pub use proxy_protocol::{Announcement, ProxyProtocol};
pub use race::Race;
#[cfg(all(test, not(loom)))]
pub(crate) use shared::GUARDS;
pub use shared::{Busy, Shared};
pub use stream::{MessageReceiver, MessageSender, MessageStream, Opened, StreamError};
pub use stream_listener::{StreamListener, conclude, stream, stream_listener};
pub use typed_stream::{TypedReceiver, TypedSender, TypedStream, TypedStreamError};
