//! What all handles of the same rooms share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
#[cfg(not(feature = "__broker"))]
use std::time::Instant;

use bellwire_core::{Message, SocketId, WebSocket};
// The clock of those who wait for it, so that tests can turn both.
#[cfg(feature = "__broker")]
use tokio::time::Instant;

use crate::builder::{Hooks, Settings};
use crate::gap::Gap;
use crate::history::Histories;
use crate::hub::{Delivery, Full, Hub, Left, Room};
use crate::name;
use crate::node::NodeId;
use crate::observe::Watch;
use crate::position::Position;
use crate::presence::Presence;
use crate::rooms::{Inner, Rooms};
#[cfg(feature = "__broker")]
use crate::{
    engine::{Arrivals, Link, Unpublished},
    error::BrokerError,
    wire,
};

/// What all handles of the same rooms share.
///
/// Whoever changes who is in a room locks `presence` first, so that the hub and presence are of one mind.
pub(crate) struct Core {
    pub(crate) node: NodeId,
    pub(crate) settings: Settings,
    pub(crate) hub: Hub,
    pub(crate) engine: Engine,
    hooks: Hooks,
    presence: Mutex<Presence>,
    /// Whether a thread is telling who has joined and left: others leave that to it, so that it is told in order.
    telling: Mutex<bool>,
    start: Instant,
    ignored: AtomicU64,
    pub(crate) watch: Watch,
    /// Nothing more may be published in this process. A link to a broker knows that by itself.
    is_closed: AtomicBool,
    handle: OnceLock<Weak<Inner>>,
}

/// Who catches up, and where.
pub(crate) type CatchesUp = (Arc<Room>, (SocketId, u64));

/// How a message comes to the members of its room.
pub(crate) enum Engine {
    /// At once. What is kept is kept here.
    Local(Option<Mutex<Histories>>),
    /// By way of a broker.
    #[cfg(feature = "__broker")]
    Link(Link),
}

impl Core {
    pub(crate) fn new(settings: Settings, hooks: Hooks, engine: Engine) -> Self {
        let node = NodeId::random();
        let presence = match &engine {
            Engine::Local(_) => Presence::local(),
            #[cfg(feature = "__broker")]
            Engine::Link(_) => Presence::new(node, settings.heartbeat, u64::from_be_bytes(node.to_bytes())),
        };
        Self {
            node,
            settings,
            hub: Hub::default(),
            engine,
            hooks,
            presence: Mutex::new(presence),
            telling: Mutex::default(),
            start: Instant::now(),
            ignored: AtomicU64::new(0),
            watch: Watch::default(),
            is_closed: AtomicBool::new(false),
            handle: OnceLock::new(),
        }
    }

    /// The handle that hooks get.
    pub(crate) fn set_handle(&self, handle: Weak<Inner>) {
        let _ = self.handle.set(handle);
    }

    fn handle(&self) -> Option<Rooms> {
        self.handle.get()?.upgrade().map(Rooms::from_inner)
    }

    /// The time since these rooms were made.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn presence(&self) -> MutexGuard<'_, Presence> {
        lock(&self.presence)
    }

    /// Adds a socket to a room, and says whether it is in no other: then [`ended`](Self::ended) is to be called when it
    /// ends.
    pub(crate) fn join(
        &self,
        token: &str,
        socket: &WebSocket,
        who: Option<Arc<str>>,
        catches_up: bool,
    ) -> (bool, Option<CatchesUp>) {
        let mut presence = self.presence();
        let joined = self.hub.join(token, socket, who.clone(), catches_up);
        let token = joined.room.token();
        if joined.before.is_none() {
            self.watch.joined(joined.is_first);
        }
        match &joined.before {
            Some(before) if who.is_none() || *before == who => {}
            before => {
                presence.join(self.now(), token, who.as_ref());
                if let Some(before) = before {
                    presence.leave(self.now(), token, before.as_ref());
                }
            }
        }
        if joined.is_first {
            self.changed(token);
        }
        drop(presence);
        self.presence_changed();
        (joined.is_new, joined.catches_up.map(|id| (joined.room, id)))
    }

    /// Takes a socket out of a room, and says whether it was in it.
    pub(crate) fn leave(&self, token: &str, socket: SocketId) -> bool {
        let mut presence = self.presence();
        let Some(left) = self.hub.leave(token, socket) else { return false };
        self.left(&mut presence, &left);
        drop(presence);
        self.presence_changed();
        true
    }

    /// Takes a socket out of all its rooms, and says in how many it was.
    pub(crate) fn leave_all(&self, socket: SocketId) -> usize {
        self.leave_those(|hub| hub.leave_all(socket))
    }

    /// A socket has ended: it leaves all its rooms.
    pub(crate) fn ended(&self, socket: SocketId) {
        self.leave_those(|hub| hub.ended(socket));
    }

    fn leave_those(&self, leave: impl FnOnce(&Hub) -> Vec<Left>) -> usize {
        let mut presence = self.presence();
        let all = leave(&self.hub);
        all.iter().for_each(|left| self.left(&mut presence, left));
        drop(presence);
        self.presence_changed();
        all.len()
    }

    fn left(&self, presence: &mut Presence, left: &Left) {
        let token = left.membership.room.token();
        presence.leave(self.now(), token, left.membership.who.as_ref());
        self.watch.left(left.is_last);
        if left.is_last {
            self.changed(token);
        }
    }

    /// A room has got its first member here, or has lost its last.
    fn changed(&self, token: &Arc<str>) {
        match &self.engine {
            Engine::Local(_) => _ = token,
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.changed(token.clone()),
        }
    }

    /// Gives a message to the members of its room that are on this node.
    pub(crate) fn deliver(&self, token: &str, delivery: impl FnOnce() -> Delivery) -> Result<(), Full> {
        match self.hub.room(token) {
            Some(room) => room.deliver(delivery()),
            None => Ok(()),
        }
    }

    /// Makes what members get of a message.
    pub(crate) fn delivery(&self, position: Option<Position>, message: Message<'_>) -> Delivery {
        let numbered = match (&self.hooks.numbered, position) {
            (Some(numbered), Some(position)) => contain(|| numbered(position, message)),
            _ => None,
        };
        match numbered {
            Some(numbered) => Delivery::at(position, numbered),
            None => Delivery::at(position, message),
        }
    }

    /// Who is present on this node has changed.
    fn presence_changed(&self) {
        match &self.engine {
            Engine::Local(_) => {}
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.presence_changed(),
        }
        self.tell_presence();
    }

    /// Calls the hook for who has joined and left.
    pub(crate) fn tell_presence(&self) {
        loop {
            let mut telling = lock(&self.telling);
            if *telling {
                return;
            }
            let Some(mut change) = self.presence().poll_change() else { return };
            *telling = true;
            drop(telling);
            let _told = Told(&self.telling);
            if let (Some(hook), Some(rooms)) = (&self.hooks.presence, self.handle()) {
                change.room = name::name(&change.room).into();
                contain(|| hook(&rooms, &change));
            }
        }
    }

    /// Calls the hook for what members of these rooms have missed.
    #[cfg(feature = "__broker")]
    pub(crate) fn tell_gap(&self, tokens: &[Arc<str>], away: Duration, in_doubt: usize) {
        let rooms = tokens.iter().map(|token| name::name(token).into_owned()).collect();
        self.tell(&Gap { rooms, member: None, away, in_doubt });
    }

    /// Members of a room have missed something, on a connection that stayed.
    #[cfg(feature = "__broker")]
    pub(crate) fn missed(&self, token: &str) {
        self.tell_gap(&[token.into()], Duration::ZERO, 0);
    }

    /// One member of a room has.
    pub(crate) fn missed_by(&self, member: WebSocket, token: &str) {
        let rooms = vec![name::name(token).into_owned()];
        self.tell(&Gap { rooms, member: Some(member), away: Duration::ZERO, in_doubt: 0 });
    }

    fn tell(&self, gap: &Gap) {
        self.watch.gap(gap.rooms.len(), gap.away, gap.in_doubt);
        if let (Some(hook), Some(rooms)) = (&self.hooks.gap, self.handle()) {
            contain(|| hook(&rooms, gap));
        }
    }

    /// Something came that no node has sent.
    #[cfg(feature = "__broker")]
    pub(crate) fn ignore(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing more may be published in this process.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Returns how much came that no node has sent.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "__broker")]
impl Core {
    /// The way to the broker. Rooms in this process have none, and nobody who would ask.
    pub(crate) fn link(&self) -> &Link {
        match &self.engine {
            Engine::Link(link) => link,
            Engine::Local(_) => unreachable!("nobody keeps a connection for rooms in this process"),
        }
    }

    /// A message of a room has come from the broker, as a part of a batch.
    pub(crate) fn receive(
        &self,
        token: &str,
        from: NodeId,
        position: Option<Position>,
        message: Message<'_>,
        batch: &mut Arrivals,
    ) {
        self.watch.received();
        let had_it = from == self.node && self.settings.delivers_at_once();
        let Some(room) = self.hub.room(token).filter(|_| !had_it) else { return };
        match room.gather(self.delivery(position, message)) {
            Ok(enough) => batch.add(room, enough),
            Err(full) => self.tell_missed(token, full),
        }
    }

    /// Gives a message to the members of its room that are on this node.
    pub(crate) fn deliver_or_miss(&self, token: &str, delivery: impl FnOnce() -> Delivery) {
        if let Err(full) = self.deliver(token, delivery) {
            self.tell_missed(token, full);
        }
    }

    /// That members have missed something is told once for as many as they miss in a row.
    fn tell_missed(&self, token: &str, full: Full) {
        if full.is_first {
            self.missed(token);
        }
    }

    /// Makes what members get of what was kept; `None` if no node has sent it.
    pub(crate) fn delivery_of(&self, position: Position, bytes: &[u8]) -> Option<Delivery> {
        match wire::decode(bytes) {
            Ok((_, wire::Packet::Message(message))) => Some(self.delivery(Some(position), message)),
            _ => None,
        }
    }

    /// Encodes a message of this node.
    pub(crate) fn encode(&self, message: &bellwire_core::Outgoing<'_>) -> bytes::Bytes {
        wire::message(self.node, message)
    }

    /// Calls the hook for messages that were accepted and not published, whose publishers did not ask.
    pub(crate) fn tell_unpublished(&self, unpublished: Vec<Unpublished>) {
        self.watch.unpublished(&unpublished);
        for Unpublished { room, why, is_told } in unpublished {
            if let (Some(hook), false) = (&self.hooks.unpublished, is_told) {
                contain(|| hook(&name::name(&room), &why));
            }
        }
    }

    /// Calls the hook for a connection that was made.
    pub(crate) fn tell_connected(&self) {
        self.watch.connected(self.now());
        if let (Some(hook), Some(rooms)) = (&self.hooks.connected, self.handle()) {
            contain(|| hook(&rooms));
        }
    }

    /// Calls the hook for a connection that was lost, or could not be made.
    pub(crate) fn tell_away(&self, why: &BrokerError) {
        self.watch.away(why, self.now());
        if let Some(hook) = &self.hooks.away {
            contain(|| hook(why));
        }
    }
}

/// Another thread may tell now, also if the hook has panicked.
struct Told<'a>(&'a Mutex<bool>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        *lock(self.0) = false;
    }
}

/// Runs code of the program's. If it panics, that has been printed, and the rooms of everybody else go on.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
