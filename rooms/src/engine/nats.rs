//! Rooms over NATS, by the client of its makers.
//!
//! That client reconnects by itself, and sends then what it could not send before. Here it must not: the
//! [supervisor](super::supervisor) has to know of every connection that was lost, and what was in one is not sent in the
//! next. So a [`Session`](super::Session) runs the client on a [thread of its own](reactor), together with all that reads
//! from it, and ends that thread when it is dropped.

mod archive;
mod cluster;
mod dial;
mod health;
mod order;
mod reactor;
mod reader;
mod server;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};

use self::dial::Dial;
use self::server::Server;
pub(crate) use self::session::NatsSession;
use super::{Broker, Inbox};
use crate::builder::History;
use crate::error::BrokerError;

/// The NATS servers that rooms go over: made from URLs, or from a client that there is already.
///
/// ```
/// # use bellwire_rooms as rooms;
/// use rooms::Nats;
///
/// let one = Nats::from("nats://user:password@nats.example.com");
/// let cluster = Nats::from("tls://n1.example.com, tls://n2.example.com:4333");
/// ```
///
/// A URL is `nats://` or, for TLS, `tls://`, then credentials and `@` if the server wants any (`user:password` or a
/// token, percent-encoded), the host, and `:` and the port if it is not 4222. URLs of several servers of a cluster are
/// separated by commas; each new connection begins with the next of them. If none of them is there, those are tried
/// that they have told of, but not over TLS. For other credentials, and for TLS that is set up otherwise, see
/// [`options`](Self::options).
///
/// What is published at one server of a cluster comes to the nodes at the others as soon as those have heard of their
/// subscriptions: a moment after a node's first member has joined a room.
///
/// The user needs to be allowed to publish and to subscribe to `PREFIX.>`, and with a
/// [history](crate::Builder::history) to publish to `$JS.API.>` and to subscribe to `_INBOX.>`, too.
///
/// A [`Client`] that there is already serves as well, but it keeps to itself what the server says: nobody learns that a
/// message was refused for want of a permission, or that the client has dropped messages because this program was slow.
/// And what was in it when its connection was lost may still be sent after it has reconnected, although it was reported
/// as lost.
#[derive(Clone)]
pub struct Nats(Source);

#[derive(Clone)]
enum Source {
    Servers(Result<Vec<Server>, BrokerError>, Options),
    Client(Client),
}

/// Makes new options for each connection.
type Options = Arc<dyn Fn() -> ConnectOptions + Send + Sync>;

impl Nats {
    /// Sets where options of the client come from, for each connection anew: NKeys, credentials of a file, certificates,
    /// the name. What a URL says of credentials comes on top. How to reconnect and the event callback are not to be set:
    /// rooms have theirs. With a client that there is already it does nothing.
    ///
    /// ```
    /// # use bellwire_rooms as rooms;
    /// use async_nats::ConnectOptions;
    ///
    /// let seed = std::env::var("NATS_SEED").unwrap_or_default();
    /// let options = move || ConnectOptions::with_nkey(seed.clone()).name("chat");
    /// let nats = rooms::Nats::from("nats://nats.example.com").options(options);
    /// ```
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> ConnectOptions + Send + Sync + 'static) -> Self {
        if let Source::Servers(_, before) = &mut self.0 {
            *before = Arc::new(options);
        }
        self
    }

    /// The broker, for an application that gives a connection so long to come about.
    pub(crate) fn broker(
        self,
        prefix: &str,
        history: Option<History>,
        patience: Duration,
    ) -> Result<NatsBroker, BrokerError> {
        let dial = match self.0 {
            Source::Servers(servers, options) => Dial::servers(servers?, options, patience),
            Source::Client(client) => Dial::client(client, patience),
        };
        Ok(NatsBroker { dial: Arc::new(dial), prefix: prefix.into(), history })
    }
}

impl From<&str> for Nats {
    fn from(urls: &str) -> Self {
        Self(Source::Servers(server::parse(urls), Arc::new(ConnectOptions::new)))
    }
}

impl From<String> for Nats {
    fn from(urls: String) -> Self {
        Self::from(urls.as_str())
    }
}

impl From<Client> for Nats {
    fn from(client: Client) -> Self {
        Self(Source::Client(client))
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Servers(Ok(servers), _) => f.debug_tuple("Nats").field(servers).finish(),
            Source::Servers(Err(error), _) => f.debug_tuple("Nats").field(error).finish(),
            Source::Client(_) => f.write_str("Nats(Client)"),
        }
    }
}

/// NATS servers, and what an application wants of them.
pub(crate) struct NatsBroker {
    dial: Arc<Dial>,
    prefix: Arc<str>,
    history: Option<History>,
}

impl Broker for NatsBroker {
    type Session = NatsSession;

    async fn connect(&self, inbox: Inbox) -> Result<NatsSession, BrokerError> {
        NatsSession::open(self.dial.clone(), self.prefix.clone(), self.history, inbox).await
    }
}

#[cfg(test)]
mod tests;
