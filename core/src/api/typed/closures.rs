//! Closures as a listener of typed messages, with or without a state.

use alloc::boxed::Box;

use super::{Codec, Decoded, Typed, TypedSocket};
use crate::api::builder::{Built, Plain, Slots, State, Stateless, outcome, setter, setters};
use crate::api::listener::{IntoListener, IntoOutcome, Listener};
use crate::protocol::{CloseCode, Error};

/// Creates a [`TypedListener`](crate::TypedListener) of closures, as [`listener`](crate::listener()) creates a
/// [`Listener`]. The codec comes first, so the closures need no annotation.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Response, typed_listener};
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
/// let response = Response::websocket(
///     typed_listener(Numbers)
///         .on_open(|socket| socket.send(&0))
///         .on_message(|socket, number| socket.send(&number.pow(2)))
///         .on_error(|socket, _| socket.close_with(1007, "Not a number")),
/// );
/// ```
pub fn typed_listener<C: Codec>(codec: C) -> TypedListenerBuilder<C> {
    TypedListenerBuilder { codec, slots: Slots::default() }
}

/// Builds a [`TypedListener`](crate::TypedListener) of closures, for [`typed_listener`]. Callbacks return `()` or a
/// `Result`; with [a state](Self::with_state) they get that first.
pub struct TypedListenerBuilder<C: Codec, S = Stateless> {
    codec: C,
    slots: Slots<Decoded<C, Plain>, S>,
}

impl<C: Codec> TypedListenerBuilder<C> {
    /// Gives the callbacks that are set from here on a state, as their first argument, as
    /// [`ListenerBuilder::with_state`](crate::listener::ListenerBuilder::with_state) does.
    #[must_use]
    pub fn with_state<T: Send + 'static>(self, state: T) -> TypedListenerBuilder<C, State<T>> {
        TypedListenerBuilder { codec: self.codec, slots: self.slots.with_state(state) }
    }

    setters! { setter [] &TypedSocket<C>, &TypedSocket<C>, C::In, &[u8] }
}

/// With a state.
impl<C: Codec, T> TypedListenerBuilder<C, State<T>> {
    setters! { setter [state: &mut T = &mut state.0] &TypedSocket<C>, &TypedSocket<C>, C::In, &[u8] }
}

impl<C: Codec, S: Send + 'static> IntoListener for TypedListenerBuilder<C, S> {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(Built(Typed::new(self.codec, self.slots)))
    }
}

debug!(TypedListenerBuilder<C: Codec, S>);
