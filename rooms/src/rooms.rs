//! The handle of programs.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bellwire_core::{Outgoing, WebSocket};

use crate::builder::Builder;
use crate::core::{Core, Engine, lock};
#[cfg(feature = "__broker")]
use crate::engine::{Broker, Channel, Link, Publication, spawn};
use crate::error::{BrokerError, PublishError};
use crate::history::Histories;
use crate::hub::{Delivery, Full};
use crate::name::{name, token};
use crate::pending::Pending;

/// Rooms: sockets join them, and get what is published in them; in this process, or on many nodes over a broker.
///
/// It is a handle, and cheap to clone. All its methods may be called from any thread, task or callback: they queue, and
/// wait for nothing. When the last handle is dropped, the connection to the broker ends.
///
/// ```
/// # mod bellwire { pub use bellwire_core::*; pub use bellwire_rooms as rooms; }
/// use bellwire::rooms::Rooms;
/// use bellwire::testing::{Recorder, Sent};
///
/// let rooms = Rooms::local();
/// let (alice, bob) = (Recorder::new(), Recorder::new());
/// rooms.join("lobby", &alice.socket())?;
/// rooms.join("lobby", &bob.socket())?;
/// rooms.publish("lobby", "hello")?;
/// assert_eq!(bob.sent(), [Sent::text("hello")]);
/// assert_eq!(rooms.count("lobby"), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

/// What the handles share, and nobody else: its end is theirs.
pub(crate) struct Inner {
    core: Arc<Core>,
}

impl Rooms {
    /// Makes rooms in this process alone: without a broker, and without a runtime.
    pub fn local() -> Self {
        Self::builder().local()
    }

    /// Makes rooms on all nodes that are connected to the same NATS servers: a URL such as `nats://user:password@host`, or
    /// a client of the crate `async-nats`. See [`Nats`](crate::Nats).
    ///
    /// It connects in the background, in the runtime of tokio that it is called in, whose timers and I/O have to be enabled
    /// (`enable_all`), or else on a thread with one of its own, and again whenever the connection is lost: see [`connected`](Self::connected) and
    /// [`Builder::on_away`](crate::Builder::on_away).
    ///
    /// # Errors
    /// [`BrokerError::Url`] if it is no URL of NATS.
    #[cfg(feature = "nats")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
    pub fn nats(nats: impl Into<crate::Nats>) -> Result<Self, BrokerError> {
        Self::builder().nats(nats)
    }

    /// Makes rooms on all nodes that are connected to the same Redis: a URL such as `redis://user:password@host`, or a
    /// client of the crate `redis`. See [`Redis`](crate::Redis).
    ///
    /// It connects in the background, in the runtime of tokio that it is called in, whose timers and I/O have to be enabled
    /// (`enable_all`), or else on a thread with one of its own, and again whenever the connection is lost: see [`connected`](Self::connected) and
    /// [`Builder::on_away`](crate::Builder::on_away).
    ///
    /// # Errors
    /// [`BrokerError::Url`] if it is no URL of Redis.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub fn redis(redis: impl Into<crate::Redis>) -> Result<Self, BrokerError> {
        Self::builder().redis(redis)
    }

    /// Returns what rooms are set up with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn in_this_process(builder: Builder) -> Self {
        let era = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let era = u64::try_from(era.as_millis()).unwrap_or(u64::MAX);
        let histories = builder.settings.history.map(|limits| Mutex::new(Histories::new(limits, era)));
        Self::new(Core::new(builder.settings, builder.hooks, Engine::Local(histories)))
    }

    /// Makes rooms over a broker, and has them connected.
    #[cfg(feature = "__broker")]
    pub(crate) fn over<B: Broker>(builder: Builder, broker: B) -> Result<Self, BrokerError> {
        builder.settings.check()?;
        let link = Link::new(&builder.settings);
        let rooms = Self::new(Core::new(builder.settings, builder.hooks, Engine::Link(link)));
        rooms.0.core.watch.begin();
        spawn(rooms.0.core.clone(), broker)?;
        Ok(rooms)
    }

    fn new(core: Core) -> Self {
        let inner = Arc::new(Inner { core: Arc::new(core) });
        inner.core.set_handle(Arc::downgrade(&inner));
        Self(inner)
    }

    #[cfg(all(test, feature = "__broker"))]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// Publishes a message in a room, for all members on all nodes, also those on this one.
    ///
    /// `Ok` means that it was accepted: in this process all members have it in their queues, or get it from a thread that
    /// is sending to them already; over a broker it waits to be sent there, after what was published before. A member gets
    /// it at most once. One that reads too slowly misses it, which delays nobody else.
    ///
    /// # Errors
    /// [`PublishError`]: nobody has got it.
    pub fn publish<'m>(&self, room: &str, message: impl Into<Outgoing<'m>>) -> Result<(), PublishError> {
        self.send(room, message.into(), &mut None)
    }

    /// Publishes a message in a room, and calls `done` once, with `Ok` when the broker has confirmed it, or with what went
    /// wrong. It runs on any thread, and may run before this returns.
    pub fn publish_with<'m>(
        &self,
        room: &str,
        message: impl Into<Outgoing<'m>>,
        done: impl FnOnce(Result<(), PublishError>) + Send + 'static,
    ) {
        let mut left: Option<BoxDone> = Some(Box::new(done));
        let outcome = self.send(room, message.into(), &mut left);
        // A broker's link takes it with the message.
        if let Some(done) = left {
            done(outcome);
        }
    }

    fn send(&self, room: &str, message: Outgoing<'_>, done: &mut Option<BoxDone>) -> Result<(), PublishError> {
        let outcome = self.accept(room, message, done);
        self.0.core.watch.published(&outcome);
        outcome
    }

    fn accept(&self, room: &str, message: Outgoing<'_>, done: &mut Option<BoxDone>) -> Result<(), PublishError> {
        let (core, token) = (&self.0.core, token(room)?);
        match &core.engine {
            Engine::Local(_) if core.is_closed() => Err(PublishError::Unavailable),
            Engine::Local(histories) => {
                let _ = done;
                self.check_length(&message)?;
                match histories {
                    None => core.deliver(&token, || Delivery::new(message)).map_err(into_error),
                    Some(histories) => self.keep(histories, &token, message),
                }
            }
            #[cfg(feature = "__broker")]
            Engine::Link(link) => {
                let publication = || Publication {
                    channel: Channel::Room(token.as_ref().into()),
                    bytes: core.encode(&message),
                    keep: true,
                };
                link.publish(message.as_bytes().len(), publication, done)?;
                if core.settings.delivers_at_once() {
                    // It is on its way: that members here are behind is theirs to know.
                    core.deliver_or_miss(&token, || Delivery::new(message));
                }
                Ok(())
            }
        }
    }

    /// The order of the history is that of the members: both are settled under one lock.
    fn keep(&self, histories: &Mutex<Histories>, token: &str, message: Outgoing<'_>) -> Result<(), PublishError> {
        let (core, message) = (&self.0.core, message.into_owned());
        let mut histories = lock(histories);
        // Whoever joins after this reads the history after this.
        let room = core.hub.room(token);
        if room.as_ref().is_some_and(|room| room.is_full()) {
            return Err(PublishError::Full);
        }
        let position = histories.add(core.now(), token, message.clone());
        let Some(room) = room else { return Ok(()) };
        let (core, length) = (core.clone(), message.as_bytes().len());
        room.enqueue(length, move || core.delivery(Some(position), message.as_message()));
        drop(histories);
        room.run();
        Ok(())
    }

    /// Sends a message to the members of a room that are on this node, in its place among what they get otherwise: a
    /// notice that is about this node.
    ///
    /// # Errors
    /// [`PublishError`]: nobody has got it.
    pub fn publish_here<'m>(&self, room: &str, message: impl Into<Outgoing<'m>>) -> Result<(), PublishError> {
        let (token, message) = (token(room)?, message.into());
        self.check_length(&message)?;
        self.0.core.deliver(&token, || Delivery::new(message)).map_err(into_error)
    }

    fn check_length(&self, message: &Outgoing<'_>) -> Result<(), PublishError> {
        let (length, limit) = (message.as_bytes().len(), self.0.core.settings.max_message);
        if length > limit { Err(PublishError::TooLong { length, limit }) } else { Ok(()) }
    }

    /// Returns the members of a room that are on this node, in no order.
    pub fn members(&self, room: &str) -> Vec<WebSocket> {
        let room = token(room).ok().and_then(|token| self.0.core.hub.room(&token));
        room.map_or_else(Vec::new, |room| room.members())
    }

    /// Returns the rooms that have members on this node, in no order.
    pub fn rooms(&self) -> Vec<String> {
        self.0.core.hub.rooms().iter().map(|room| name(room.token()).into_owned()).collect()
    }

    /// Returns the rooms that a socket is in, in no order.
    pub fn rooms_of(&self, socket: &WebSocket) -> Vec<String> {
        self.0.core.hub.rooms_of(socket.id()).iter().map(|room| name(room.token()).into_owned()).collect()
    }

    /// Returns how many members a room has on all nodes, as far as this node knows: soon after all have heard of each other
    /// it is right. Of a room without members on this node it knows nothing, and says 0.
    pub fn count(&self, room: &str) -> usize {
        token(room).map_or(0, |token| self.0.core.presence().count(&token))
    }

    /// Returns who is in a room on all nodes, in no order, as far as this node knows: those who have
    /// [said who they are](Self::join_as).
    pub fn present(&self, room: &str) -> Vec<Arc<str>> {
        token(room).map_or_else(|_| Vec::new(), |token| self.0.core.presence().present(&token))
    }

    /// Returns `true` if there is a connection to the broker, as far as is known; always in this process.
    pub fn is_connected(&self) -> bool {
        match &self.0.core.engine {
            Engine::Local(_) => !self.0.core.is_closed(),
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.is_open(),
        }
    }

    /// Waits for a connection to the broker. It need not be waited for: what becomes of messages until then is set by
    /// [`Builder::while_away`].
    ///
    /// # Errors
    /// [`BrokerError::Closed`] if there will be none.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub fn connected(&self) -> Pending<Result<(), BrokerError>> {
        match &self.0.core.engine {
            Engine::Local(_) if self.0.core.is_closed() => Pending::ready(Err(BrokerError::Closed)),
            Engine::Local(_) => Pending::ready(Ok(())),
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.connected(),
        }
    }

    /// Waits for a connection to the broker on a thread that may block, for so long.
    ///
    /// # Errors
    /// Why there is none after that time.
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), BrokerError> {
        self.connected()
            .wait_timeout(timeout)
            .unwrap_or_else(|_| Err(self.problem().unwrap_or(BrokerError::TimedOut(timeout))))
    }

    /// Returns why there is no connection to the broker, as of the last try. `None` if there is one, or no try was made.
    pub fn problem(&self) -> Option<BrokerError> {
        match &self.0.core.engine {
            Engine::Local(_) => None,
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.problem(),
        }
    }

    /// Returns how many messages came from the broker that no node has sent: other programs use its channels, or another
    /// version of this library does.
    pub fn ignored(&self) -> u64 {
        self.0.core.ignored()
    }

    /// Ends: nothing more may be published, what waits is handed to the broker, for which there is one more try to connect
    /// if there is no connection, and the other nodes are told that the members of this one are gone. Members stay
    /// connected, get nothing more from others, and are alone as far as this node knows. Returns how many messages were accepted that the broker has not
    /// confirmed; in this process there are none.
    ///
    /// Hooks must not wait for it: some of them run where it is done.
    ///
    /// # Cancel safety
    /// It goes on if the future is dropped.
    pub fn close(&self) -> Pending<usize> {
        match &self.0.core.engine {
            Engine::Local(_) => {
                self.0.core.close();
                Pending::ready(0)
            }
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.close(),
        }
    }
}

type BoxDone = Box<dyn FnOnce(Result<(), PublishError>) + Send>;

fn into_error(_: Full) -> PublishError {
    PublishError::Full
}

#[cfg(feature = "__broker")]
impl Drop for Inner {
    fn drop(&mut self) {
        if let Engine::Link(link) = &self.core.engine {
            drop(link.close());
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("node", &self.0.core.node)
            .field("rooms", &self.0.core.hub.rooms().len())
            .field("is_connected", &self.is_connected())
            .finish()
    }
}

mod joining;
mod reading;
#[cfg(test)]
mod tests;
