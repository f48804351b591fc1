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

/// The Redis that rooms go over: made from a URL, or from a client of the crate `redis`, version 1.
///
/// ```
/// # use bellwire_rooms as rooms;
/// use rooms::Redis;
///
/// let redis = Redis::from("redis://user:password@redis.example.com");
/// assert_eq!(format!("{redis:?}"), "Redis(redis://redis.example.com:6379)");
/// ```
///
/// | URL | |
/// |---|---|
/// | `redis://host:6379` | the port may be left out |
/// | `redis://user:password@host/3` | with credentials, percent-encoded, and the database that the history is in |
/// | `rediss://host` | over TLS: with the feature `redis-tls` (`rooms-redis-tls` of bellwire) |
/// | `unix:///run/redis.sock` | a socket; `?user=…&pass=…&db=3` may follow |
///
/// A client may hold what URLs cannot say, such as certificates. No connection of its own is used: it only says how to
/// make one. Each [`Rooms`](crate::Rooms) has one connection.
///
/// # What is needed
/// Redis 6 or later, for RESP3, and a primary: what is published at a replica reaches nobody else, and therefore a
/// connection to one is an error. When a primary becomes a replica, that is noticed within 5 seconds, or a
/// [heartbeat](crate::Builder::heartbeat) if that is longer, and another connection is made; so let a name or an address lead to the primary, whichever that is. Sentinels are not asked.
///
/// The user needs `&PREFIX.* +publish +subscribe +unsubscribe`, in the words of `ACL SETUSER`, and with a
/// [history](crate::Builder::history) also `~{PREFIX}.keep.*`, with the braces, and `+eval +evalsha +script|load +xadd
/// +xrange +xlen +xtrim +xdel +pexpire +time`.
///
/// # History
/// Each room has a stream, `{PREFIX}.keep.ROOM`. A script adds a message to it and publishes it in one step, so that
/// members see messages in the order of the stream. [Positions](crate::Position) are the ids of its entries: the time of
/// Redis in milliseconds, and a count. They grow while the stream is there, also when that clock is set back. A stream in
/// which nothing was kept for the [age](crate::History::for_at_most) of a history is removed, and Redis without persistence
/// loses all of them when it ends: positions go on growing only if its clock does. When Redis has less memory than it may
/// use (`maxmemory`), what is to be kept is refused; with an eviction policy it removes whole streams instead. A position
/// that was in a stream that is gone is [`HistoryError::Gone`](crate::HistoryError::Gone).
///
/// # Redis Cluster
/// Any of its nodes will do, since it hands messages on to all of them; then members on different nodes may see the
/// messages of different publishers in different orders. All streams of an application are in one slot: with a history,
/// connect to the node that has it, or the connection is an error which says so. Redirections are not followed.
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
