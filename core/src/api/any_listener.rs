//! A listener of either kind, plain or asynchronous.

use alloc::boxed::Box;
use core::fmt;

use super::async_listener::BoxAsyncListener;
use super::listener::{IntoListener, Listener};
use crate::handshake::client;

/// A listener of either kind: what [`Driver::connected`](crate::backend::Driver::connected) takes.
#[derive(Debug)]
pub struct AnyListener(pub(crate) Kind);

pub(crate) enum Kind {
    Plain(Box<dyn Listener>),
    Async(BoxAsyncListener),
}

/// A listener of either kind: every [`Listener`], the builders of [`listener`](crate::listener()) and
/// [`async_listener`](crate::async_listener()), and what
/// [`into_async_listener`](crate::listener::IntoAsyncListener::into_async_listener) makes of an
/// [`AsyncListener`](crate::AsyncListener).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "implement `Listener` for it, or build one with `listener().on_message(|socket, message| ..)`",
    note = "of a type that implements `AsyncListener`, call `.into_async_listener()`"
)]
pub trait IntoAnyListener {
    /// Returns the listener, ready to receive events.
    fn into_any_listener(self) -> AnyListener;
}

impl AnyListener {
    /// Tells a client's listener what the server has answered, before it is [given](crate::backend::Driver::connected) to
    /// its connection: for authors of backends.
    pub fn answered(&mut self, response: &client::Response) {
        if let Kind::Async(listener) = &mut self.0 {
            listener.0.answered(response);
        }
    }
}

impl<L: IntoListener> IntoAnyListener for L {
    fn into_any_listener(self) -> AnyListener {
        self.into_listener().into()
    }
}

impl IntoAnyListener for BoxAsyncListener {
    fn into_any_listener(self) -> AnyListener {
        self.into()
    }
}

impl IntoAnyListener for AnyListener {
    fn into_any_listener(self) -> AnyListener {
        self
    }
}

impl From<Box<dyn Listener>> for AnyListener {
    fn from(listener: Box<dyn Listener>) -> Self {
        Self(Kind::Plain(listener))
    }
}

impl From<BoxAsyncListener> for AnyListener {
    fn from(listener: BoxAsyncListener) -> Self {
        Self(Kind::Async(listener))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Async(_) => "Async",
        })
    }
}
