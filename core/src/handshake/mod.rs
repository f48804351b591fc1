//! The opening handshake (RFC 6455 §4), both roles side by side.

pub mod client;
mod connect_error;
#[cfg(feature = "deflate")]
mod deflate;
mod key;
mod origin;
mod plain;
mod proxy;
mod redirect;
mod refusal;
mod request;
pub mod server;
mod target;

pub use connect_error::ConnectError;
pub(crate) use key::check_reserved;
pub(crate) use plain::PlainResponse;
pub use proxy::Proxy;
pub use redirect::Redirects;
pub use request::{Request, is_upgrade_request, request_protocols};
#[cfg(feature = "std")]
pub(crate) use target::IntoTarget;
pub use target::Target;
