//! The listener of one connection, which carries that of the user.

use alloc::sync::Arc;

use super::ended::Connected;
use super::link::Link;
use crate::api::{AnyListener, BoxAsyncListener, Call, Callbacks, Called, Conversation, Kind, Outcome, WebSocket};
use crate::handshake::client::Response;
use crate::protocol::{CloseCode, Error};

/// Makes the listener of a connection.
pub(crate) type Make = Arc<dyn Fn(Connected) -> AnyListener + Send + Sync>;

/// The listener of one connection. The user's, which it makes when the server has answered, gets the handle that notes
/// what is sent.
pub(crate) struct Carried {
    pub(crate) link: Arc<Link>,
    pub(crate) make: Make,
    /// Which connection this is.
    pub(crate) number: u64,
    /// Whether what was kept is sent when `on_open` is done.
    pub(crate) flushes: bool,
    inner: Option<BoxAsyncListener>,
    socket: Option<WebSocket>,
}

impl Carried {
    pub(crate) fn new(link: &Arc<Link>, make: &Make, number: u64, flushes: bool) -> Self {
        Self { link: link.clone(), make: make.clone(), number, flushes, inner: None, socket: None }
    }

    pub(crate) fn into_listener(self) -> AnyListener {
        BoxAsyncListener(alloc::boxed::Box::new(self)).into()
    }

    fn open(&mut self, socket: &WebSocket) -> Called {
        let socket = &*self.socket.insert(self.link.opened(socket));
        let Some(inner) = &mut self.inner else { return Called::Done(Ok(())) };
        let link = self.flushes.then(|| (self.link.clone(), self.link.life()));
        let opened = move |outcome: Outcome| {
            if let (Ok(()), Some((link, life))) = (&outcome, link) {
                link.flush(life);
            }
            outcome
        };
        match inner.0.call(socket, Call::Open) {
            Called::Done(outcome) => Called::Done(opened(outcome)),
            Called::Pending(mut pending) => {
                Called::of(async move { opened(core::future::poll_fn(|cx| pending.poll(cx)).await) })
            }
        }
    }
}

impl Callbacks for Carried {
    fn answered(&mut self, response: &Response) {
        let listener = (self.make)(Connected { response: response.clone(), number: self.number });
        self.inner = Some(match listener.0 {
            Kind::Plain(listener) => listener.into(),
            Kind::Async(listener) => listener,
        });
    }

    fn answers_close_later(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.0.answers_close_later())
    }

    fn conversation(&mut self) -> Option<&mut Option<Conversation>> {
        self.inner.as_mut()?.0.conversation()
    }

    fn call(&mut self, socket: &WebSocket, call: Call) -> Called {
        if matches!(call, Call::Open) {
            return self.open(socket);
        }
        let Some(inner) = &mut self.inner else { return Called::Done(Ok(())) };
        inner.0.call(self.socket.as_ref().unwrap_or(socket), call)
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        self.link.failed(error.clone());
        if let Some(inner) = &mut self.inner {
            inner.0.on_error(self.socket.as_ref().unwrap_or(socket), error);
        }
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(inner) = &mut self.inner {
            inner.0.on_close(self.socket.as_ref().unwrap_or(socket), code, reason);
        }
    }
}
