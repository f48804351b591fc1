//! The adapter against Redis itself, and against what only looks like it.

mod channels;
mod endings;
mod keeping;
mod refusals;
mod rooms;
mod rubbish;
mod sentinel;
mod server;
#[cfg(feature = "redis-tls")]
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

pub(super) use self::sentinel::saying;
use self::server::Server;
use super::{Redis, RedisBroker, RedisSession};
use crate::builder::History;
use crate::engine::{Broker, Channel, Inbox, Publication, Session};
use crate::error::BrokerError;
use crate::position::Position;

/// What came from a channel.
type Received = (String, Option<Position>, Bytes);

const PATIENCE: Duration = Duration::from_secs(5);

const HISTORY: History = History::last(1000);

/// Waits for what has to come, but not for ever.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it did not come within 30 seconds")
}

async fn try_connect(
    redis: impl Into<Redis>,
    history: Option<History>,
) -> Result<(RedisSession, Messages), BrokerError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inbox = Inbox::tapped(move |channel: &str, position, bytes: &Bytes| {
        let _ = sender.send((channel.to_owned(), position, bytes.clone()));
    });
    let broker = RedisBroker::new(redis.into(), "app", history, PATIENCE)?;
    Ok((soon(broker.connect(inbox)).await?, Messages(receiver)))
}

async fn connect(redis: impl Into<Redis>, history: Option<History>) -> (RedisSession, Messages) {
    try_connect(redis, history).await.unwrap()
}

/// Why there is no connection.
async fn refused(redis: impl Into<Redis>, history: Option<History>) -> BrokerError {
    match try_connect(redis, history).await {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    }
}

struct Messages(mpsc::UnboundedReceiver<Received>);

impl Messages {
    async fn next(&mut self) -> Received {
        soon(self.0.recv()).await.expect("the connection has ended")
    }

    async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(String::from_utf8(self.next().await.2.to_vec()).unwrap());
        }
        texts
    }
}

fn room(token: &str) -> Channel {
    Channel::Room(token.into())
}

fn said(channel: &Channel, text: impl Into<String>) -> Publication {
    Publication { channel: channel.clone(), bytes: text.into().into(), keep: false }
}

fn kept(channel: &Channel, text: impl Into<String>) -> Publication {
    Publication { keep: true, ..said(channel, text) }
}

async fn publish(session: &mut RedisSession, batch: &[Publication]) {
    for outcome in soon(session.publish(batch)).await.unwrap() {
        outcome.unwrap();
    }
}
