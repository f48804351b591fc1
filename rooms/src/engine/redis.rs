//! Rooms over Redis: channels of its pub/sub, and streams for what is kept.
//!
//! One connection does everything, in RESP3, where messages come between the replies. Who reads that connection hands on
//! what comes before it reads more: a node that is too slow holds Redis up, and Redis ends the connection when it has
//! enough of that (`client-output-buffer-limit pubsub`). Nothing piles up here.

mod address;
mod hello;
mod history;
mod publishing;
mod refusal;
mod session;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use redis::Client;

use self::session::RedisSession;
use super::{Broker, Inbox};
use crate::builder::History;
use crate::error::BrokerError;

/// Where Redis is, and who is let in there: a URL, or a client of the crate `redis`.
///
/// | URL | |
/// |---|---|
/// | `redis://host:6379` | the port may be left out |
/// | `redis://user:password@host/3` | with credentials, and the database that the history is in |
/// | `rediss://host` | over TLS: with the feature `redis-tls` |
/// | `unix:///run/redis.sock` | `?user=…&pass=…&db=3` may follow |
///
/// A client may hold what URLs cannot say, such as certificates. It is not used itself, but as the description of a
/// connection.
///
/// It has to be Redis 6 or later, and a primary. Of a Redis Cluster any node will do, without history.
#[derive(Clone)]
pub struct Redis {
    client: Result<Client, BrokerError>,
}

impl From<&str> for Redis {
    fn from(url: &str) -> Self {
        Self { client: address::parse(url) }
    }
}

impl From<String> for Redis {
    fn from(url: String) -> Self {
        url.as_str().into()
    }
}

impl From<&String> for Redis {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<Client> for Redis {
    fn from(client: Client) -> Self {
        Self { client: Ok(client) }
    }
}

/// Shows the address, and no credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client {
            Ok(client) => write!(f, "Redis({})", address::shown(client)),
            Err(error) => write!(f, "Redis({error})"),
        }
    }
}

/// Redis, as something that there can be connections to.
#[derive(Debug)]
pub(crate) struct RedisBroker {
    client: Client,
    database: i64,
    names: Arc<Names>,
    history: Option<History>,
}

impl RedisBroker {
    /// # Errors
    /// [`BrokerError::Url`] if the URL is none of Redis.
    pub(crate) fn new(redis: Redis, prefix: &str, history: Option<History>) -> Result<Self, BrokerError> {
        let (client, database) = address::for_rooms(&redis.client?)?;
        Ok(Self { client, database, names: Arc::new(Names { prefix: prefix.into() }), history })
    }
}

impl Broker for RedisBroker {
    type Session = RedisSession;

    async fn connect(&self, inbox: Inbox) -> Result<RedisSession, BrokerError> {
        RedisSession::connect(self, inbox).await
    }
}

/// What things are called at Redis.
#[derive(Debug)]
struct Names {
    prefix: Box<str>,
}

impl Names {
    /// The stream of a room. The braces are a hash tag: all streams of an application are in one slot of a cluster, so
    /// that one script may write to several.
    fn stream(&self, token: &str) -> String {
        format!("{{{}}}.keep.{token}", self.prefix)
    }
}
