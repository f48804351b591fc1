//! The opening handshake (RFC 6455 §4), both roles side by side.

pub mod client;
mod key;
mod origin;
mod refusal;
mod request;
pub mod server;
#[cfg(feature = "std")]
mod target;

pub(crate) use key::is_reserved;
pub use request::{Request, is_upgrade_request, request_protocols};
#[cfg(feature = "std")]
pub use target::{ConnectError, IntoTarget, Target};
