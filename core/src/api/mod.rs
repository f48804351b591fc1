//! Ring's WebSocket API: what users write (listeners, handlers' responses) and what they hold (sockets).

#[cfg(feature = "std")]
mod any_listener;
#[cfg(feature = "std")]
mod async_listener;
#[cfg(feature = "std")]
mod async_response;
#[cfg(feature = "std")]
mod called;
mod broadcast;
mod builder;
#[cfg(feature = "axum")]
mod carried;
mod listener;
mod response;
#[cfg(feature = "std")]
mod sending;
mod socket;
mod typed;

#[cfg(feature = "std")]
pub(crate) use any_listener::Kind;
#[cfg(feature = "std")]
pub use any_listener::{AnyListener, IntoAnyListener};
#[cfg(feature = "std")]
pub use async_listener::{AsyncListener, BoxAsyncListener, IntoAsyncListener};
#[cfg(feature = "std")]
pub(crate) use async_listener::{Call, Callbacks, Conversation};
#[cfg(feature = "std")]
pub use async_response::{AsyncResponse, IntoAsyncResponse};
pub use broadcast::{Broadcast, broadcast};
#[cfg(feature = "std")]
pub(crate) use builder::outcome;
#[cfg(feature = "std")]
pub use builder::{AsyncListenerBuilder, async_listener};
pub use builder::{ListenerBuilder, State, Stateless, listener};
#[cfg(feature = "std")]
pub(crate) use called::{Called, Pending};
#[cfg(feature = "axum")]
pub use carried::Carried;
pub use listener::{IntoListener, IntoOutcome, Listener, Outcome, done};
#[cfg(feature = "http")]
pub use response::NotPlain;
pub use response::{IntoResponse, Response, Upgrade};
#[cfg(feature = "std")]
pub use sending::{Sending, Writable};
#[cfg(feature = "std")]
pub(crate) use sending::{Written, poll_room};
pub use socket::{AtEnd, Done, Socket, WebSocket, WriteWaiter};
#[cfg(feature = "serde")]
pub use typed::Json;
#[cfg(feature = "std")]
pub(crate) use typed::untyped;
pub use typed::{
    Codec, Typed, TypedListener, TypedListenerBuilder, TypedSendError, TypedSocket, typed, typed_listener,
};
#[cfg(feature = "std")]
pub use typed::{TypedAsyncListener, TypedAsyncListenerBuilder, typed_async, typed_async_listener};
