//! How rooms are set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bellwire_core::{Message, OwnedMessage};

#[cfg(feature = "redis")]
use crate::engine::redis::RedisBroker;
use crate::error::{BrokerError, PublishError};
use crate::gap::Gap;
use crate::position::Position;
use crate::presence::Change;
use crate::rooms::Rooms;

/// The longest prefix, in bytes.
#[cfg(feature = "__broker")]
const MAX_PREFIX: usize = 64;

/// Nobody waits for longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);

/// Sets up [`Rooms`]: [`Rooms::builder`].
#[must_use = "it makes rooms by `local`, `nats` or `redis`"]
#[derive(Debug, Default)]
pub struct Builder {
    pub(crate) settings: Settings,
    pub(crate) hooks: Hooks,
}

/// What [`Builder`] sets.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) prefix: String,
    pub(crate) max_message: usize,
    pub(crate) most_queued: usize,
    pub(crate) most_queued_bytes: usize,
    pub(crate) while_away: WhileAway,
    pub(crate) local_first: bool,
    pub(crate) heartbeat: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) min_backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) history: Option<History>,
}

/// What becomes of messages that are published while there is no connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhileAway {
    /// They are refused: [`PublishError::Unavailable`](crate::PublishError::Unavailable).
    #[default]
    Refuse,
    /// They wait for the next connection, as many as [`Builder::queue`] allows.
    Keep,
}

/// How much is kept of each room, for members that come back: see [`Builder::history`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub(crate) messages: usize,
    pub(crate) age: Duration,
}

impl History {
    /// The last messages of each room, as many as this, for an hour. A broker may keep some more.
    pub const fn last(messages: usize) -> Self {
        Self { messages, age: Duration::from_secs(3600) }
    }

    /// Sets how long a message is kept at least while its room has fewer than so many. A broker may keep it longer. In this
    /// process all rooms together keep up to 64 MiB, and rooms that have been there for longest are forgotten first.
    #[must_use]
    pub const fn for_at_most(self, age: Duration) -> Self {
        Self { age, ..self }
    }
}

type Numbered = dyn Fn(Position, Message<'_>) -> OwnedMessage + Send + Sync;

type About<T> = dyn Fn(&Rooms, &T) + Send + Sync;
type Connected = dyn Fn(&Rooms) + Send + Sync;
type Away = dyn Fn(&BrokerError) + Send + Sync;
type Unpublished = dyn Fn(&str, &PublishError) + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) numbered: Option<Arc<Numbered>>,
    pub(crate) gap: Option<Arc<About<Gap>>>,
    pub(crate) connected: Option<Arc<Connected>>,
    pub(crate) away: Option<Arc<Away>>,
    pub(crate) unpublished: Option<Arc<Unpublished>>,
    pub(crate) presence: Option<Arc<About<Change>>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "bellwire".into(),
            max_message: 64 * 1024,
            most_queued: 4096,
            most_queued_bytes: 8 * 1024 * 1024,
            while_away: WhileAway::Refuse,
            local_first: false,
            heartbeat: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            history: None,
        }
    }
}

#[cfg(feature = "__broker")]
impl Settings {
    /// Members on the publisher's node get a message at once.
    pub(crate) fn delivers_at_once(&self) -> bool {
        self.local_first && self.history.is_none()
    }

    /// Says whether a broker could take the prefix.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=MAX_PREFIX).contains(&self.prefix.len()) && self.prefix.bytes().all(is_plain) {
            return Ok(());
        }
        Err(BrokerError::Prefix(self.prefix.clone()))
    }
}

impl Builder {
    /// Sets what the names of everything at the broker begin with: that of the application, where several share a
    /// broker. ASCII letters, digits, `-` and `_`, at most 64 of them; `bellwire` by default. All nodes have the same.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Sets the most bytes of a message: 64 KiB by default. A broker may allow less.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = bytes;
        self
    }

    /// Sets how many messages, and how many bytes of them, may wait for the broker: 4,096 and 8 MiB by default.
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        (self.settings.most_queued, self.settings.most_queued_bytes) = (messages, bytes);
        self
    }

    /// Sets what becomes of messages while there is no connection to the broker: by default they are refused.
    pub fn while_away(mut self, policy: WhileAway) -> Self {
        self.settings.while_away = policy;
        self
    }

    /// Has members on the publisher's node get a message at once, not by way of the broker. Then members on different
    /// nodes may see the messages of different publishers in different orders. With a [history](Self::history) messages
    /// come from the broker nevertheless, which gives them their positions.
    pub fn local_first(mut self) -> Self {
        self.settings.local_first = true;
        self
    }

    /// Sets how often this node tells the others that it is alive: each 5 seconds by default. How soon
    /// [`count`](Rooms::count) and [`present`](Rooms::present) are right follows from it, beside the time that the broker
    /// takes:
    ///
    /// - Who joins or leaves is known everywhere after 100 ms, and a node whose first member joins a room knows all others
    ///   after half a second.
    /// - The members of a node that is closed are gone at once, and those of one that dies after three heartbeats.
    /// - After a lost connection all is right three and a half heartbeats after the reconnect, and 0.2 s more for each 128
    ///   rooms on a node.
    /// - What is lost on a connection that stays, by a client of the broker's that cannot keep up for instance, is made up
    ///   for within eight heartbeats; in more than 64 rooms on a node within five more for each 64 of them.
    ///
    /// Nodes should have the same, but for the time in which it is changed: each says what it has, and is believed up to ten
    /// times what the others have.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.settings.heartbeat = every.clamp(MIN_HEARTBEAT, LONGEST);
        self
    }

    /// Sets how long the broker may take for an answer before the connection counts as lost: 5 seconds by default, and a day
    /// at most.
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.settings.answer_timeout = timeout.min(LONGEST);
        self
    }

    /// Sets how long to wait before the next try to connect, at first and at most: 100 milliseconds and 10 seconds by
    /// default. The time doubles with each try, and a random half of it is left out, so that not all nodes come together.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.settings.min_backoff, self.settings.max_backoff) = (min.min(LONGEST), max.min(LONGEST));
        self
    }

    /// Has the newest messages of each room kept, by Redis Streams, by NATS JetStream, or in memory with
    /// [local](Self::local) rooms. Members that come back [catch up](Rooms::join_since), and a connection to the broker
    /// that was lost costs no messages as long as they are kept. By default none are.
    pub fn history(mut self, history: History) -> Self {
        self.settings.history = Some(history);
        self
    }

    /// Has members get what this makes of each message and its position, once per message and node: so that clients
    /// know which was their last. Without a [history](Self::history) there are no positions.
    pub fn numbered(mut self, number: impl Fn(Position, Message<'_>) -> OwnedMessage + Send + Sync + 'static) -> Self {
        self.hooks.numbered = Some(Arc::new(number));
        self
    }

    /// Sets what is called when members on this node may have missed something: after the connection to the broker is there
    /// again, or when somebody [catches up](Rooms::join_since) with what is not kept any more. See [`Gap`].
    ///
    /// It may use the rooms, and must not wait, for a [`Pending`](crate::Pending) neither: it runs where the connection to
    /// the broker is kept, or in the call that it is about.
    pub fn on_gap(mut self, hook: impl Fn(&Rooms, &Gap) + Send + Sync + 'static) -> Self {
        self.hooks.gap = Some(Arc::new(hook));
        self
    }

    /// Sets what is called when there is a connection to the broker, the first and each that is made again: before
    /// [`on_gap`](Self::on_gap), and whether anything was missed or not. It must not wait: it runs where the connection to the
    /// broker is kept. Rooms in one process have none.
    pub fn on_connected(mut self, hook: impl Fn(&Rooms) + Send + Sync + 'static) -> Self {
        self.hooks.connected = Some(Arc::new(hook));
        self
    }

    /// Sets what is called when the connection to the broker is lost, and for each try to connect that fails. It must not
    /// wait: it runs where the connection to the broker is kept.
    pub fn on_away(mut self, hook: impl Fn(&BrokerError) + Send + Sync + 'static) -> Self {
        self.hooks.away = Some(Arc::new(hook));
        self
    }

    /// Sets what is called when a message that [`publish`](Rooms::publish) has accepted is not published after all: the
    /// broker [has refused it](PublishError::Refused), it is longer than the broker takes, or the rooms were closed before
    /// there was a connection again. It gets the room and the reason. Those of [`publish_with`](Rooms::publish_with) are
    /// told there, and those that were on their way when the connection was lost are in the [gap](Self::on_gap).
    ///
    /// It must not wait: it runs where the connection to the broker is kept.
    pub fn on_unpublished(mut self, hook: impl Fn(&str, &PublishError) + Send + Sync + 'static) -> Self {
        self.hooks.unpublished = Some(Arc::new(hook));
        self
    }

    /// Sets what is called when somebody has joined or left a room that has members on this node, on any node: those who
    /// have [said who they are](Rooms::join_as).
    ///
    /// In one process that is at once. Over a broker it is at most once in 100 ms for a room, and somebody who leaves is
    /// told after a second: nobody is told of somebody who is back by then, on whatever node, as when a phone changes its
    /// network. When the last member on this node leaves a room, all others have left it, too, as far as this node
    /// knows, and the hook is told so.
    ///
    /// It runs on a thread that has joined or left, or on the one that has the connection, whose heartbeats wait for it: it
    /// should be quick.
    ///
    /// [`present`](Rooms::present) does not wait. A client that was sent who is present, and then each change, and that
    /// removes who left and adds who joined if they are not there, is right about it: a change says what became of its
    /// names.
    pub fn on_presence(mut self, hook: impl Fn(&Rooms, &Change) + Send + Sync + 'static) -> Self {
        self.hooks.presence = Some(Arc::new(hook));
        self
    }

    /// Makes rooms over NATS, and has them connected: see [`Rooms::nats`].
    ///
    /// # Errors
    /// [`BrokerError::Url`] if it is no URL of NATS, or another if these rooms cannot be.
    #[cfg(feature = "nats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
    pub fn nats(self, nats: impl Into<crate::Nats>) -> Result<Rooms, BrokerError> {
        let Settings { prefix, history, answer_timeout, .. } = &self.settings;
        let broker = nats.into().broker(prefix, *history, *answer_timeout)?;
        Rooms::over(self, broker)
    }

    /// Makes rooms over Redis, and has them connected: see [`Rooms::redis`].
    ///
    /// # Errors
    /// [`BrokerError::Url`] if it is no URL of Redis, or another if these rooms cannot be.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub fn redis(self, redis: impl Into<crate::Redis>) -> Result<Rooms, BrokerError> {
        let Settings { prefix, history, answer_timeout, .. } = &self.settings;
        let broker = RedisBroker::new(redis.into(), prefix, *history, *answer_timeout)?;
        Rooms::over(self, broker)
    }

    /// Makes rooms in this process alone.
    pub fn local(self) -> Rooms {
        Rooms::in_this_process(self)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("numbered", &self.numbered.is_some())
            .field("gap", &self.gap.is_some())
            .field("connected", &self.connected.is_some())
            .field("away", &self.away.is_some())
            .field("unpublished", &self.unpublished.is_some())
            .field("presence", &self.presence.is_some())
            .finish()
    }
}
