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
mod sentinel;
mod session;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::Client;

use self::sentinel::Sentinels;
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
/// [heartbeat](crate::Builder::heartbeat) if that is longer, and another connection is made. So let a name or an address
/// lead to the primary, whichever that is, or have [Sentinels](Self::sentinels) asked for it.
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
    /// Whether the URL says nothing of a port.
    is_usual_port: bool,
    sentinels: Option<Result<Vec<Client>, BrokerError>>,
}

impl Redis {
    /// Sets the Sentinels that know where the primary is. The host of the URL is then the name that they know it by, and
    /// its port says nothing.
    ///
    /// ```
    /// # use bellwire_rooms as rooms;
    /// use rooms::Redis;
    ///
    /// // As in `sentinel monitor mymaster …`.
    /// let redis = Redis::from("redis://user:password@mymaster")
    ///     .sentinels(["redis://s1.example.com", "redis://s2.example.com", "redis://s3.example.com:5000"]);
    /// ```
    ///
    /// What leads to a Sentinel is written as for Redis, or is a client of its own: its credentials and whether it is over
    /// TLS are independent of those of the primary. The port is 26379 if the URL has none. Over TLS, the certificate of
    /// the primary has to be for what the Sentinels call it by: an IP address, unless they have `sentinel
    /// announce-hostnames yes`.
    ///
    /// Before each connection they are asked, first the one that has answered last, and the next if it does not answer at
    /// once. As long as there is a connection, each of them is asked once a second: when there has been a failover, nodes
    /// leave a former primary that does not know yet that it is one, and was perhaps just too slow. Those that are not
    /// there then, or know of no failover, change nothing. Only what the former primary was told in that time is lost, and
    /// its members are told by [`on_gap`](crate::Builder::on_gap).
    ///
    /// Where Sentinels have users, theirs needs `+sentinel|get-master-addr-by-name +sentinel|master`.
    #[must_use]
    pub fn sentinels<S: Into<Self>>(mut self, sentinels: impl IntoIterator<Item = S>) -> Self {
        let client = |sentinel: Self| address::for_sentinel(&sentinel.client?, sentinel.is_usual_port);
        self.sentinels = Some(sentinels.into_iter().map(|sentinel| client(sentinel.into())).collect());
        self
    }
}

impl From<&str> for Redis {
    fn from(url: &str) -> Self {
        Self { client: address::parse(url), is_usual_port: !address::has_port(url), sentinels: None }
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
        Self { client: Ok(client), is_usual_port: false, sentinels: None }
    }
}

/// Shows the address, and no credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.client, &self.sentinels) {
            (Ok(client), None) => write!(f, "Redis({})", address::shown(client)),
            (Ok(client), Some(Ok(sentinels))) => {
                let sentinels: Vec<_> = sentinels.iter().map(address::shown).collect();
                let name = address::host(client).unwrap_or_default();
                write!(f, "Redis({name}, by the Sentinels {})", sentinels.join(", "))
            }
            (Err(error), _) | (_, Some(Err(error))) => write!(f, "Redis({error})"),
        }
    }
}

/// Redis, as something that there can be connections to.
#[derive(Debug)]
pub(crate) struct RedisBroker {
    /// How to connect. With Sentinels the address is still missing.
    client: Client,
    sentinels: Option<Arc<Sentinels>>,
    database: i64,
    names: Arc<Names>,
    history: Option<History>,
}

impl RedisBroker {
    /// The broker, for an application that gives a connection so long to come about.
    ///
    /// # Errors
    /// [`BrokerError::Url`] if the URL is none of Redis.
    pub(crate) fn new(
        redis: Redis,
        prefix: &str,
        history: Option<History>,
        patience: Duration,
    ) -> Result<Self, BrokerError> {
        let (client, database) = address::for_rooms(&redis.client?)?;
        let sentinels = match redis.sentinels {
            Some(sentinels) => Some(Arc::new(Sentinels::new(&client, sentinels?, patience)?)),
            None => None,
        };
        Ok(Self { client, sentinels, database, names: Arc::new(Names { prefix: prefix.into() }), history })
    }
}

impl Broker for RedisBroker {
    type Session = RedisSession;

    async fn connect(&self, inbox: Inbox) -> Result<RedisSession, BrokerError> {
        match &self.sentinels {
            Some(sentinels) => {
                let connect = |client| async move { RedisSession::connect(&client, self, inbox).await };
                let (mut session, primary) = sentinels.connect(&self.client, connect).await?;
                session.watch(sentinels, primary);
                Ok(session)
            }
            None => RedisSession::connect(&self.client, self, inbox).await.map_err(|error| self.at(error)),
        }
    }
}

impl RedisBroker {
    /// The error with the address: what is wrong may be that.
    fn at(&self, error: BrokerError) -> BrokerError {
        let at = |problem| format!("{}: {problem}", address::shown(&self.client));
        match error {
            BrokerError::Unreachable(problem) => BrokerError::Unreachable(at(problem)),
            BrokerError::Credentials(problem) => BrokerError::Credentials(at(problem)),
            BrokerError::Protocol(problem) => BrokerError::Protocol(at(problem)),
            other => other,
        }
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
