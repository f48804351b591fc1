//! Async closures as a listener of typed messages, with or without a state.

use alloc::boxed::Box;

use bytes::Bytes;

use super::{Codec, Decoded, Typed, TypedSocket};
use crate::api::any_listener::{AnyListener, IntoAnyListener};
use crate::api::async_listener::{BoxAsyncListener, IntoAsyncListener};
use crate::api::builder::{Async, Built, Slots, State, Stateless, async_setter, outcome, setter, setters};
use crate::api::called::Called;
use crate::api::listener::IntoOutcome;
use crate::protocol::{CloseCode, Error};

/// Creates a listener of async closures for typed messages: [`typed_listener`](crate::typed_listener()) and
/// [`async_listener`](crate::async_listener()) in one.
///
/// A message that cannot be decoded goes to `on_error` as [`Error::Decode`], and the connection stays open.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, typed_async_listener};
/// # use bellwire::{BoxError, Codec, Message, OwnedMessage};
/// # struct Numbers;
/// # impl Codec for Numbers {
/// #     type In = i64;
/// #     type Out = i64;
/// #     fn decode(&self, message: Message<'_>) -> Result<i64, BoxError> {
/// #         Ok(message.as_text().ok_or("a number is text")?.parse()?)
/// #     }
/// #     fn encode(&self, number: &i64) -> Result<OwnedMessage, BoxError> {
/// #         Ok(number.to_string().into())
/// #     }
/// # }
///
/// // `Numbers` is the codec of the example at `typed`.
/// let response = AsyncResponse::websocket(
///     typed_async_listener(Numbers)
///         .on_open(async |socket| socket.send_and_wait(&0).await)
///         .on_message(async |socket, number| socket.send_and_wait(&number.pow(2)).await)
///         .on_error(|socket, _| socket.close_with(1007, "Not a number")),
/// );
/// # assert!(response.is_websocket());
/// ```
pub fn typed_async_listener<C: Codec>(codec: C) -> TypedAsyncListenerBuilder<C> {
    TypedAsyncListenerBuilder { codec, slots: Slots::default() }
}

/// Builds a [`TypedAsyncListener`](crate::TypedAsyncListener) of closures, for [`typed_async_listener`]. The output of
/// their futures is `()` or a `Result`; with [a state](Self::with_state) they get a clone of that first.
pub struct TypedAsyncListenerBuilder<C: Codec, S = Stateless> {
    codec: C,
    slots: Slots<Decoded<C, Async>, S>,
}

impl<C: Codec> TypedAsyncListenerBuilder<C> {
    /// Gives the callbacks that are set from here on a state: each call gets a clone of it as its first argument, as
    /// with [`AsyncListenerBuilder::with_state`](crate::listener::AsyncListenerBuilder::with_state).
    #[must_use]
    pub fn with_state<T: Clone + Send + 'static>(self, state: T) -> TypedAsyncListenerBuilder<C, State<T>> {
        TypedAsyncListenerBuilder { codec: self.codec, slots: self.slots.with_state(state) }
    }

    setters! { async_setter [] &TypedSocket<C>, TypedSocket<C>, C::In, Bytes }
}

/// With a state.
impl<C: Codec, T: Clone> TypedAsyncListenerBuilder<C, State<T>> {
    setters! { async_setter [state: T = state.0.clone()] &TypedSocket<C>, TypedSocket<C>, C::In, Bytes }
}

impl<C: Codec, S: Send + 'static> IntoAsyncListener for TypedAsyncListenerBuilder<C, S> {
    fn into_async_listener(self) -> BoxAsyncListener {
        BoxAsyncListener(Box::new(Built(Typed::new(self.codec, self.slots))))
    }
}

impl<C: Codec, S: Send + 'static> IntoAnyListener for TypedAsyncListenerBuilder<C, S> {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

debug!(TypedAsyncListenerBuilder<C: Codec, S>);
