//! Ring's WebSocket API: what users write (listeners, handlers' responses) and what they hold (sockets).

#[cfg(feature = "std")]
mod any_listener;
#[cfg(feature = "std")]
mod async_closures;
#[cfg(feature = "std")]
mod async_listener;
#[cfg(feature = "std")]
mod async_response;
mod broadcast;
#[cfg(feature = "serde")]
mod json;
mod listener;
mod response;
#[cfg(feature = "std")]
mod sending;
mod socket;
mod typed;
#[cfg(feature = "std")]
mod typed_async;
#[cfg(feature = "std")]
mod typed_async_listener;
mod typed_closures;
mod typed_socket;

#[cfg(feature = "std")]
pub(crate) use any_listener::Kind;
#[cfg(feature = "std")]
pub use any_listener::{AnyListener, IntoAnyListener};
#[cfg(feature = "std")]
pub use async_closures::{AsyncClosures, AsyncStateful, async_listener};
#[cfg(feature = "std")]
pub use async_listener::{AsyncListener, BoxAsyncListener, IntoAsyncListener};
#[cfg(feature = "std")]
pub(crate) use async_listener::{Call, Callbacks, Pending};
#[cfg(feature = "std")]
pub use async_response::{AsyncResponse, IntoAsyncResponse};
pub use broadcast::{Broadcast, broadcast};
#[cfg(feature = "serde")]
pub use json::Json;
pub use listener::{Closures, IntoListener, IntoOutcome, Listener, Outcome, Stateful, done, listener};
pub use response::{IntoResponse, Response, Upgrade};
#[cfg(feature = "std")]
pub(crate) use sending::Written;
#[cfg(feature = "std")]
pub use sending::{Sending, Writable};
pub use socket::{Done, Socket, WebSocket, WriteWaiter};
pub use typed::{Codec, Typed, TypedListener, typed};
#[cfg(feature = "std")]
pub use typed_async::{TypedAsyncClosures, TypedAsyncStateful, typed_async_listener};
#[cfg(feature = "std")]
pub use typed_async_listener::{TypedAsync, TypedAsyncListener, typed_async};
pub use typed_closures::{TypedClosures, TypedStateful, typed_listener};
pub use typed_socket::{TypedSendError, TypedSocket};
