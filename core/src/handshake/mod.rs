//! The opening handshake (RFC 6455 §4), both roles side by side.

pub mod client;
mod key;
mod origin;
mod plain;
mod refusal;
mod request;
pub mod server;
#[cfg(feature = "std")]
mod target;

pub(crate) use key::check_reserved;
pub(crate) use plain::PlainResponse;
pub use request::{Request, is_upgrade_request, request_protocols};
#[cfg(feature = "std")]
pub use target::{ConnectError, IntoTarget, Target};
