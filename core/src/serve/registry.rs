//! The connections of a server, and how far it is on its way to its end.
//!
//! What runs user code when it is called or dropped (a waker, a socket whose handle a callback keeps, an answer that
//! is not waited for) is taken out of the registry first; that is done when it is not locked.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use super::responder::Slot;
use super::slab::{Key, Place, Slab};
use crate::api::WebSocket;
use crate::protocol::CloseCode;
use crate::sync::{AtomicU8, Mutex, Ordering, WakerSlot};

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Requests are answered.
    Running,
    /// Connections are closed, and requests refused with 503.
    Refusing,
    /// Nothing is accepted any more, and connections whose request is not answered yet are to be dropped.
    Closing,
    /// All connections are to be dropped.
    Dropping,
    /// Those that are left are not waited for any more.
    GivenUp,
}

/// The connections of a server: how many there are, and how they are ended. Its drivers enter what is open, and its
/// tasks or threads a [`Registration`] each.
pub struct Registry {
    /// A [`Stage`], which is read without the lock whenever a task is polled.
    stage: AtomicU8,
    state: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    /// How to wake the task of each connection, from its transport's first byte to its last.
    tasks: Slab<Waker>,
    /// The open ones; nothing while `on_open` runs.
    sockets: Slab<WebSocket>,
    /// Requests whose handlers have not answered yet, by their addresses.
    asked: BTreeMap<usize, Arc<Slot>>,
    /// The wakers of those that wait for the next stage.
    watching: BTreeMap<u64, Waker>,
    /// The wakers of those that wait for a task to leave, too.
    counting: BTreeMap<u64, Waker>,
    goodbye: Goodbye,
}

/// What connections are told when their server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Goodbye {
    #[default]
    Shutdown,
    Restart,
}

/// What a [`Watch`] is woken for. A server that accepts waits for a stage all the time, and would be woken by each
/// connection that ends.
#[derive(Clone, Copy)]
enum Watched {
    Stage,
    Tasks,
}

impl Default for Registry {
    fn default() -> Self {
        Self { stage: AtomicU8::new(Stage::Running as u8), state: Mutex::default() }
    }
}

impl Registry {
    /// Returns how far the server is on its way to its end.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Running,
            1 => Stage::Refusing,
            2 => Stage::Closing,
            3 => Stage::Dropping,
            _ => Stage::GivenUp,
        }
    }

    /// Returns how many connections are open: each from before its `on_open` until its `on_close` has returned.
    pub fn connections(&self) -> usize {
        self.state.lock().sockets.len()
    }

    /// Returns how many tasks or threads are [registered](Registration).
    pub fn tasks(&self) -> usize {
        self.state.lock().tasks.len()
    }

    /// Returns `true` if requests are refused.
    pub(super) fn is_closing(&self) -> bool {
        self.stage() > Stage::Running
    }

    /// Goes on to a stage, and wakes all tasks and all that wait; does nothing if it has come already.
    pub fn enter(&self, stage: Stage) {
        if self.stage.fetch_max(stage as u8, Ordering::SeqCst) >= stage as u8 {
            return;
        }
        let mut state = self.state.lock();
        let (watching, counting) = (mem::take(&mut state.watching), mem::take(&mut state.counting));
        let tasks: Vec<_> = state.tasks.values().cloned().collect();
        drop(state);
        tasks.into_iter().chain(watching.into_values()).chain(counting.into_values()).for_each(Waker::wake);
    }

    /// Closes every open connection with 1001, and refuses new ones with 503, also those whose handlers have not
    /// answered yet.
    pub fn close_all(&self) {
        self.enter(Stage::Refusing);
        let state = self.state.lock();
        let sockets: Vec<_> = state.sockets.values().cloned().collect();
        drop(state);
        sockets.iter().for_each(|socket| Goodbye::Shutdown.say(socket));
        self.give_up_asked();
    }

    /// Goes on to [`Stage::Closing`], and returns which connections are open: they are to be [told](Self::restart) one by
    /// one, in place of [`close_all`](Self::close_all). One that is just opening is told by itself.
    pub(crate) fn begin_restart(&self) -> Vec<Key> {
        self.state.lock().goodbye = Goodbye::Restart;
        self.enter(Stage::Closing);
        self.give_up_asked();
        self.state.lock().sockets.keys().collect()
    }

    /// Closes one of them with 1012, if it is still open. Its handle is not kept until then: that would keep its memory.
    pub(crate) fn restart(&self, key: Key) {
        let socket = self.state.lock().sockets.get(key).cloned();
        socket.iter().for_each(|socket| Goodbye::Restart.say(socket));
    }

    /// Requests whose handlers think are not answered by them any more.
    fn give_up_asked(&self) {
        let asked: Vec<_> = self.state.lock().asked.values().cloned().collect();
        asked.iter().for_each(|slot| slot.give_up());
    }

    /// Drops every open connection without a closing handshake.
    pub fn abort_all(&self) {
        let sockets: Vec<_> = self.state.lock().sockets.values().cloned().collect();
        sockets.iter().for_each(WebSocket::abort);
    }

    /// Runs `accepting`, which never ends, until the server [closes](Stage::Closing).
    ///
    /// # Cancel safety
    /// Dropping the future ends the accepting; connections live on.
    pub async fn run(&self, accepting: impl Future<Output = ()>) {
        let mut closing = pin!(self.watch(Watched::Stage, |stage, _| stage >= Stage::Closing));
        let mut accepting = pin!(accepting);
        poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => accepting.as_mut().poll(cx),
        })
        .await;
    }

    /// Waits until there are fewer than so many tasks, or the server closes.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_room(&self, max: usize) {
        self.wait_until(|stage, tasks| tasks < max || stage >= Stage::Closing).await;
    }

    /// Waits until there are no tasks, or a shutdown has given up on them.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_end(&self) {
        self.wait_until(|stage, tasks| tasks == 0 || stage == Stage::GivenUp).await;
    }

    /// Waits until something is so: about the stage, or the number of tasks.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_until(&self, condition: impl Fn(Stage, usize) -> bool) {
        self.watch(Watched::Tasks, condition).await;
    }

    async fn watch(&self, watched: Watched, condition: impl Fn(Stage, usize) -> bool) {
        let mut watch = Watch { registry: self, watched, id: None };
        poll_fn(|cx| watch.poll(cx, &condition)).await;
    }

    /// `on_open` is about to run: from now on it counts.
    pub(crate) fn opens(&self) -> Place {
        self.state.lock().sockets.enter()
    }

    /// `on_open` has run: from now on it can be closed with the others.
    pub(crate) fn opened(&self, place: &Place, socket: &WebSocket) {
        let mut state = self.state.lock();
        state.sockets.set(place, socket.clone());
        let goodbye = self.is_closing().then_some(state.goodbye);
        drop(state);
        if let Some(goodbye) = goodbye {
            goodbye.say(socket);
        }
    }

    /// `on_close` has returned.
    pub(crate) fn ended(&self, place: Place) {
        let removed = self.state.lock().sockets.leave(place);
        drop(removed);
    }

    /// A handler thinks about its answer.
    pub(super) fn asked(&self, slot: &Arc<Slot>) {
        self.state.lock().asked.insert(address(slot), slot.clone());
    }

    #[cfg(test)]
    pub(super) fn asked_count(&self) -> usize {
        self.state.lock().asked.len()
    }

    /// It has answered, or its answer is not waited for any more.
    pub(super) fn answered(&self, slot: &Arc<Slot>) {
        let removed = self.state.lock().asked.remove(&address(slot));
        drop(removed);
    }
}

/// Returns a key that is unique as long as the slot lives.
fn address(slot: &Arc<Slot>) -> usize {
    Arc::as_ptr(slot).addr()
}

impl Goodbye {
    fn say(self, socket: &WebSocket) {
        let (code, reason) = match self {
            // RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down".
            Self::Shutdown => (CloseCode::GOING_AWAY, "Server Shutdown"),
            // IANA's registry of close codes: 1012 is "Service Restart".
            Self::Restart => (CloseCode::SERVICE_RESTART, "Service Restart"),
        };
        // Closed already: that is what is wanted.
        let _ = socket.close_with(code, reason);
    }
}

impl Entries {
    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn wakers(&mut self, watched: Watched) -> &mut BTreeMap<u64, Waker> {
        match watched {
            Watched::Stage => &mut self.watching,
            Watched::Tasks => &mut self.counting,
        }
    }
}

/// A future that waits. Dropped, it is forgotten.
struct Watch<'a> {
    registry: &'a Registry,
    watched: Watched,
    id: Option<u64>,
}

impl Watch<'_> {
    fn poll(&mut self, cx: &Context<'_>, condition: impl Fn(Stage, usize) -> bool) -> Poll<()> {
        let mut state = self.registry.state.lock();
        if condition(self.registry.stage(), state.tasks.len()) {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| state.new_id());
        let before = state.wakers(self.watched).insert(id, cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let waker = self.id.and_then(|id| self.registry.state.lock().wakers(self.watched).remove(&id));
        drop(waker);
    }
}

/// A task or a thread that drives a connection, until this is dropped.
pub struct Registration {
    registry: Arc<Registry>,
    /// Until this is dropped.
    place: Option<Place>,
    /// Whom the registry wakes: as long as that does not change it need not be told.
    waker: WakerSlot,
}

impl Registration {
    /// Enters a connection.
    pub fn new(registry: Arc<Registry>) -> Self {
        let place = Some(registry.state.lock().tasks.enter());
        Self { registry, place, waker: WakerSlot::new() }
    }

    /// Returns `true` if this waker is the one that is registered.
    pub(crate) fn knows(&self, waker: &Waker) -> bool {
        self.waker.get().is_some_and(|known| known.will_wake(waker))
    }

    /// Sets whom to wake at the next stage, and returns the present one.
    #[inline]
    pub fn register(&mut self, waker: &Waker) -> Stage {
        if !self.knows(waker) {
            self.replace(waker);
        }
        self.registry.stage()
    }

    /// Apart from the rest, which each poll of a task does.
    #[cold]
    fn replace(&mut self, waker: &Waker) {
        let (before, waker) = (self.waker.register(waker), waker.clone());
        let mut state = self.registry.state.lock();
        let replaced = self.place.as_ref().and_then(|place| state.tasks.set(place, waker));
        drop(state);
        drop((before, replaced));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        let waker = self.place.take().and_then(|place| state.tasks.leave(place));
        let counting = mem::take(&mut state.counting);
        drop(state);
        drop(waker);
        counting.into_values().for_each(Waker::wake);
    }
}

debug!(Registry => |this| stage: this.stage(), tasks: this.tasks());

debug!(Registration => |this| registry: this.registry);

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_waits_for_a_stage_is_woken_once_when_it_comes() {
        let (registry, wakes) = (Registry::default(), Arc::<Wakes>::default());
        let waker = Waker::from(wakes.clone());
        let mut refusing = pin!(registry.wait_until(|stage, _| stage >= Stage::Refusing));
        assert!(refusing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        registry.close_all();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(refusing.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn who_waits_for_a_stage_is_not_woken_by_a_task_that_leaves() {
        let (registry, wakes) = (Arc::<Registry>::default(), Arc::<Wakes>::default());
        let waker = Waker::from(wakes.clone());
        let mut accepting = pin!(registry.run(core::future::pending()));
        assert!(accepting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(Registration::new(registry.clone()));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        let mut empty = pin!(registry.wait_for_room(1));
        let last = Registration::new(registry.clone());
        assert!(empty.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(last);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(empty.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        registry.enter(Stage::Closing);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
        assert!(accepting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn a_task_is_not_woken_for_a_stage_that_has_come_already() {
        let (registry, wakes) = (Arc::<Registry>::default(), Arc::<Wakes>::default());
        let mut registration = Registration::new(registry.clone());
        assert_eq!(registration.register(&wakes.clone().into()), Stage::Running);
        registry.enter(Stage::Closing);
        registry.enter(Stage::Closing);
        registry.close_all();
        assert_eq!((wakes.0.load(Ordering::SeqCst), registry.stage()), (1, Stage::Closing));
    }
}
