//! JSON, by serde: the codec that nearly everybody writes.

use core::fmt;
use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Codec;
use crate::protocol::{BoxError, Message, OwnedMessage};

/// The [`Codec`] that receives any `In` that serde can read from JSON, and sends any `Out` that it can write: with the
/// feature `serde`.
///
/// It sends text, and reads text and binary messages alike. What is not JSON, or not that of an `In`, is an
/// [`Error::Decode`](crate::Error::Decode), which leaves the connection open.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Json, Response, typed_listener};
///
/// // Or types with `#[derive(Deserialize)]` and `#[derive(Serialize)]`.
/// let response = Response::websocket(
///     typed_listener(Json::<Vec<i64>, i64>::new())
///         .on_message(|socket, numbers| socket.send(&numbers.iter().sum()))
///         .on_error(|socket, error| socket.close_with(1007, &error.to_string())),
/// );
///
/// // It is tested as any listener.
/// use bellwire::{Listener, Message};
/// use bellwire::listener::IntoListener;
/// use bellwire::testing::{Recorder, Sent};
/// let recorder = Recorder::new();
/// let mut sum = typed_listener(Json::<Vec<i64>, i64>::new())
///     .on_message(|socket, numbers| socket.send(&numbers.iter().sum()))
///     .into_listener();
/// sum.on_message(&recorder.socket(), Message::Text("[40, 2]"))?;
/// assert_eq!(recorder.sent(), [Sent::text("42")]);
/// # Ok::<(), bellwire::BoxError>(())
/// ```
pub struct Json<In, Out: ?Sized = In>(PhantomData<fn(&Out) -> In>);

impl<In, Out: ?Sized> Json<In, Out> {
    /// Creates the codec. It has no state.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<In: DeserializeOwned + 'static, Out: Serialize + ?Sized + 'static> Codec for Json<In, Out> {
    type In = In;
    type Out = Out;

    fn decode(&self, message: Message<'_>) -> Result<In, BoxError> {
        Ok(match message {
            Message::Text(text) => serde_json::from_str(text)?,
            Message::Binary(bytes) => serde_json::from_slice(bytes)?,
        })
    }

    fn encode(&self, value: &Out) -> Result<OwnedMessage, BoxError> {
        Ok(serde_json::to_string(value)?.into())
    }
}

// By hand: a derive would ask the same of the types.

impl<In, Out: ?Sized> Clone for Json<In, Out> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<In, Out: ?Sized> Copy for Json<In, Out> {}

impl<In, Out: ?Sized> Default for Json<In, Out> {
    fn default() -> Self {
        Self::new()
    }
}

impl<In, Out: ?Sized> fmt::Debug for Json<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}
