//! Clients that connect again: what their users are told, and what becomes of their messages. Time is virtual, but where
//! real servers go away and come back.
//!
//! | file | what it is |
//! |---|---|
//! | `network` | a network in memory that goes wrong where a test wants it to |
//! | `edges` | what is easily forgotten |
//! | `events` | what is told, in which order |
//! | `sending` | what becomes of messages |
//! | `real` | servers on the loopback that go away and come back |

mod edges;
mod events;
mod network;
mod real;
mod sending;

use std::sync::Arc;
use std::sync::Mutex;

use bellwire::reconnect::Policy;
use bellwire::tokio::{ReconnectBuilder, reconnecting_over};
use bellwire::{Request, Response, WebSocket, listener};
use tokio::runtime::{Builder, Runtime};

use crate::network::Network;

/// A runtime whose time passes when there is nothing else to do.
pub(crate) fn virtual_time() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    virtual_time().block_on(test)
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn push(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A server that answers each message with itself, and does as it is told: "close 1012" and "vanish".
pub(crate) fn obedient(_: &Request) -> Response {
    Response::websocket(listener().on_message(|socket: &WebSocket, message| {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ') {
            Some(("close", code)) => socket.close_with(code.parse::<u16>().unwrap(), "as you like"),
            _ if text == "vanish" => {
                socket.abort();
                Ok(())
            }
            _ => socket.send(text),
        }
    }))
}

/// A client of that network.
pub(crate) fn client(network: &Network, policy: Policy) -> ReconnectBuilder {
    let network = network.clone();
    reconnecting_over("ws://in.memory/", policy, move || {
        let stream = network.connect();
        async { stream }
    })
    .unwrap()
}
