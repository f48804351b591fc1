//! The adapter over servers that these tests start.

mod connecting;
mod ending;
mod keeping;
mod messages;
mod server;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;

use self::server::Server;
use super::*;
use crate::engine::{Channel, Publication, Session};
use crate::position::Position;

/// After so long a test hangs.
const HANG: Duration = Duration::from_secs(30);

/// What has come for a session.
struct Received(mpsc::Receiver<(String, Option<Position>, Bytes)>);

fn inbox() -> (Inbox, Received) {
    let (sender, receiver) = mpsc::channel();
    let inbox = Inbox::tapped(move |name: &str, position, bytes: &Bytes| {
        let _ = sender.send((name.to_owned(), position, bytes.clone()));
    });
    (inbox, Received(receiver))
}

impl Received {
    fn next(&self) -> (String, Option<Position>, Bytes) {
        self.0.recv_timeout(HANG).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.next().2.to_vec()).unwrap()
    }

    fn texts(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.text()).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.try_recv().is_err()
    }
}

fn broker(nats: impl Into<Nats>) -> NatsBroker {
    nats.into().broker("app", None, Duration::from_secs(5)).unwrap()
}

async fn connect(nats: impl Into<Nats>) -> (NatsSession, Received) {
    let (inbox, received) = inbox();
    (within(broker(nats).connect(inbox)).await.unwrap(), received)
}

async fn refused(nats: impl Into<Nats>) -> BrokerError {
    within(broker(nats).connect(inbox().0)).await.err().unwrap()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future).await.expect("it hangs")
}

fn room(token: &str) -> Channel {
    Channel::Room(token.into())
}

fn say(token: &str, text: &str) -> Publication {
    Publication { channel: room(token), bytes: Bytes::copy_from_slice(text.as_bytes()), keep: false }
}

fn keep(token: &str, text: &str) -> Publication {
    Publication { keep: true, ..say(token, text) }
}
