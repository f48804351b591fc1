//! Ring's listener: the [`Listener`] trait, and what callbacks return.

use alloc::boxed::Box;

use super::socket::WebSocket;
use crate::protocol::{BoxError, CloseCode, Error, Message};

/// The result of a callback: an error fails the connection with 1011.
pub type Outcome = Result<(), BoxError>;

/// Returns what a closure that uses `?` ends with: `Ok(())`, with the type that it needs.
///
/// A callback may return any error, so after a `?` rustc cannot tell which one a mere `Ok(())` means: "type annotations
/// needed". This says that it is [`BoxError`], into which all others turn.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{done, listener};
///
/// let doubling = listener().on_message(|socket, message| {
///     let number: i32 = message.as_text().ok_or("a number is text")?.parse()?;
///     socket.send((2 * number).to_string())?;
///     done()
/// });
/// ```
///
/// The same in a closure of any other kind, also an `async` one. To name the type, write `|socket, message| ->
/// Outcome`.
pub fn done() -> Outcome {
    Ok(())
}

/// Receives the events of one connection.
///
/// Every method has a default. Events come serially, in wire order: `on_open` first, `on_close` exactly
/// once and last, and if `on_open` ran then `on_close` will, whatever died. `on_error` is followed by
/// `on_close`, unless a wrapper called it. An error or a panic in a callback closes the connection with 1011 and
/// comes back in `on_error`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "implement `Listener` for it; a builder becomes one with `.into_listener()`, of `listener::IntoListener`"
)]
pub trait Listener: Send {
    /// Returns what a wrapper wraps: the events that it does not override go there, the choice about pings included.
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        None
    }

    /// Called when the connection is open; messages may be sent.
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_open(socket))
    }

    /// Called for each whole message.
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_message(socket, message))
    }

    /// Called for each ping. The default answers with a pong that carries the same data; a listener that overrides this
    /// takes that duty over.
    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        match self.inner() {
            Some(inner) => inner.on_ping(socket, data),
            None => {
                socket.as_socket().answer_ping(data);
                Ok(())
            }
        }
    }

    /// Called for each pong, asked for or not.
    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_pong(socket, data))
    }

    /// Called when the connection has failed; `on_close` is next. Only an [`Error::Decode`] leaves it open.
    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        if let Some(inner) = self.inner() {
            inner.on_error(socket, error);
        }
    }

    /// Called once, when the connection has ended. [`WebSocket::closed`] says more.
    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(inner) = self.inner() {
            inner.on_close(socket, code, reason);
        }
    }
}

impl<L: Listener + ?Sized> Listener for Box<L> {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        (**self).inner()
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        (**self).on_open(socket)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        (**self).on_message(socket, message)
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        (**self).on_ping(socket, data)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        (**self).on_pong(socket, data)
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        (**self).on_error(socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        (**self).on_close(socket, code, reason);
    }
}

/// What a response can carry: every [`Listener`], and the builders of [`listener`](crate::listener()) and
/// [`typed_listener`](crate::typed_listener()).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "implement `Listener` for it, or build one with `listener().on_message(|socket, message| ..)`",
    note = "an asynchronous listener, or that of a `stream()`, goes to `AsyncResponse::websocket`, on a backend whose \
            server has `run_async`"
)]
pub trait IntoListener {
    /// Returns the listener, ready to receive events.
    fn into_listener(self) -> Box<dyn Listener>;
}

impl<L: Listener + 'static> IntoListener for L {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(self)
    }
}

/// What a callback may return: `()`, a `Result`, or nothing at all because it never returns.
#[diagnostic::on_unimplemented(
    message = "a callback returns `()` or `Result<(), E>`, not `{Self}`",
    note = "an `async` closure goes to `async_listener()`, for typed messages to `typed_async_listener(..)`",
    note = "a value that is not needed is dropped by `;`, and `?` needs `done()` at the end in place of `Ok(())`"
)]
pub trait IntoOutcome {
    /// Returns the outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Ok(())
    }
}

impl<E: Into<BoxError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Outcome {
        self.map_err(Into::into)
    }
}

/// The type `!`, by the only name that stable Rust has for it: edition 2024 gives it to `|_| panic!()`.
#[doc(hidden)]
pub trait Returns {
    /// What the function returns.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

impl IntoOutcome for <fn() -> ! as Returns>::Output {
    fn into_outcome(self) -> Outcome {
        self
    }
}
