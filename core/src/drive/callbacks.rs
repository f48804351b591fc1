//! The dispatcher: a connection's events become its listener's callbacks.
//!
//! Callbacks run one after the other, in wire order, never under a lock; an error or a panic of one fails the
//! connection. One that is `async` may be pending: then nothing more is read, the peer's silence does not count against
//! it, and what had been read after the callback's event waits. If the connection fails meanwhile, the callback is
//! dropped where it waits, and `on_error` and `on_close` follow at once (D21): it might be waiting for the peer. What
//! waited after it is dropped, too, unless the listener only keeps it for its reader (see `stream`).
//!
//! A listener that only keeps messages for a reader is asked before the peer's close is received, which answers it: the
//! reader stops in front of the close frame, returns no event and leaves the rest of the input, and that waits
//! with `Call::Closing` until the reader has had its say, for [`CLOSE_REPLY`] at most.

mod conversing;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::mem;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::panic::{self, AssertUnwindSafe};

use super::lending;
use super::reader::Reader;
use super::shared::{Busy, Calling, Guard, Shared};
use crate::api::{AnyListener, Call, Called, Kind, Listener, Outcome, Pending, WebSocket, untyped};
use crate::observe::{Entered, Watch};
use crate::protocol::{
    BoxError, Connection, Error, Event, LARGE, Message, OwnedMessage, SendError, own, own_text, panic_message, share,
};
use crate::serve::{Place, Registry, ServerError, Service};
use crate::time::Time;

/// A connection and its listener.
pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    pub(super) socket: WebSocket,
    reader: Reader,
    watch: Watch,
    listener: Kind,
    /// Whether `on_open` has been called.
    opened: bool,
    waiting: Option<Box<Waiting>>,
    /// How many callbacks may run until it is others' turn.
    budget: u32,
    /// Where its server's registry keeps it.
    place: Option<Place>,
}

/// How long the peer's close may wait for answers to the messages before it: well below the time that other
/// implementations wait for the answer to it.
const CLOSE_REPLY: Duration = Duration::from_secs(1);

/// What a callback has returned, or what it panicked with.
type Returned = Result<Outcome, Box<dyn Any + Send>>;

/// A callback that is not done, or the turn of others.
struct Waiting {
    /// `None`: enough callbacks have run at once.
    callback: Option<Pending>,
    /// Until when the peer's close, which is next in `input`, waits for it.
    close_by: Option<Time>,
    /// What was read after its event, from `at` on.
    input: Vec<u8>,
    at: usize,
}

impl Waiting {
    /// What was read waits for the turn of others.
    fn for_others() -> Self {
        Self { callback: None, close_by: None, input: Vec::new(), at: 0 }
    }
}

impl Dispatcher {
    pub(super) fn new(mut connection: Connection, listener: AnyListener) -> Self {
        let (mut reader, watch) = (Reader::of(&mut connection), Watch::new(connection.role()));
        if matches!(&listener.0, Kind::Async(listener) if listener.0.answers_close_later()) {
            reader.stop_at_close();
        }
        let shared = Arc::new(Shared::new(connection));
        let socket = WebSocket::from_arc(shared.clone());
        let listener = listener.0;
        let (waiting, budget, place) = (None, u32::MAX, None);
        Self { shared, socket, reader, watch, listener, opened: false, waiting, budget, place }
    }

    /// Enters the registry of a server, says that the request is answered, and runs `on_open`.
    pub(super) fn enter(&mut self, registry: &Registry, say_answered: impl FnOnce()) {
        let place = registry.opens();
        say_answered();
        self.start();
        registry.opened(&place, &self.socket);
        self.place = Some(place);
    }

    /// `on_close` has returned.
    pub(super) fn leave(&mut self, service: Option<&Service>) {
        if let (Some(service), Some(place)) = (service, self.place.take()) {
            service.registry().ended(place);
        }
    }

    /// Locks the connection for what its deadlines say.
    pub(super) fn deadlines(&mut self) -> Guard<'_> {
        let mut guard = self.shared.lock();
        guard.note(&mut self.reader.arrived);
        guard
    }

    /// [`Shared::park`].
    pub(super) fn park(&mut self, waker: &Waker) -> Result<Option<Time>, Busy> {
        let parked = self.shared.park_after(&mut self.reader.arrived, waker);
        self.watch.turn(&self.reader.arrived.seen);
        parked
    }

    /// [`Shared::park_after_write`].
    pub(super) fn park_after_write(&mut self, now: Time, count: usize, waker: &Waker) -> Result<Option<Time>, Busy> {
        let parked = self.shared.park_after_write(&mut self.reader.arrived, now, count, waker);
        self.watch.turn(&self.reader.arrived.seen);
        parked
    }

    /// [`Shared::calling`], within the span of the connection.
    #[inline(always)]
    fn calling(&self) -> (Calling, Entered) {
        (self.shared.calling(), self.watch.enter())
    }

    /// [`Shared::during`], within the span of the connection.
    fn during<T>(&self, callback: impl FnOnce() -> T) -> T {
        let _calling = self.calling();
        callback()
    }

    pub(super) fn start(&mut self) {
        self.opened = true;
        self.watch.open(self.shared.opened());
        let _calling = self.calling();
        match &mut self.listener {
            Kind::Plain(_) => self.call(|listener, socket| listener.on_open(socket)),
            Kind::Async(_) => {
                self.call_async(Call::Open);
                self.shared.set_due();
            }
        }
    }

    /// Returns `true` if a callback is pending, or others are to run before what was read is handled: nothing is to be
    /// read.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns `true` if what was read waits for nothing but the turn of others.
    pub(super) fn is_yielding(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.callback.is_none())
    }

    /// So many callbacks may run now, before it is others' turn.
    pub(super) fn grant(&mut self, callbacks: u32) {
        self.budget = callbacks;
    }

    /// It is others' turn: who is polled has asked to be polled again at once. Without a grant there are none.
    fn spend(&mut self) {
        if self.budget < u32::MAX {
            self.budget = 0;
        }
    }

    /// Returns `true` if they have run.
    pub(super) fn is_spent(&self) -> bool {
        self.budget == 0
    }

    /// Handles what waits for the turn of others, however much that is.
    pub(super) fn hurry(&mut self, now: Time, service: Option<&Service>) {
        self.budget = u32::MAX;
        if self.is_yielding() {
            let Some(waiting) = self.waiting.take() else { return };
            self.go_on(now, waiting.input, waiting.at, service);
        }
    }

    /// Goes on with the callback that is pending, if one is. Whether it is done now; what was read after its event
    /// has been handled then.
    pub(super) fn resume(&mut self, now: Time, waker: &Waker, service: Option<&Service>) -> bool {
        let Some(mut waiting) = self.waiting.take() else { return false };
        if waiting.callback.as_mut().is_some_and(|callback| mem::take(&mut callback.yields)) {
            waker.wake_by_ref();
            self.waiting = Some(waiting);
            return false;
        }
        let Some(callback) = &mut waiting.callback else {
            if self.is_spent() {
                waker.wake_by_ref();
                self.waiting = Some(waiting);
                return false;
            }
            self.go_on(now, waiting.input, waiting.at, service);
            return true;
        };
        match self.poll(callback, waker) {
            Poll::Pending => {
                self.waiting = Some(waiting);
                false
            }
            Poll::Ready(called) => {
                self.shared.lock().resume_liveness(now);
                if waiting.close_by.is_some() {
                    self.reader.pass_close();
                }
                let panicked = called.is_err();
                self.judge(called);
                let (input, at) = (mem::take(&mut waiting.input), waiting.at);
                match waiting.callback.take() {
                    Some(callback) if !panicked => callback.done(),
                    // What it holds is not dropped yet, and its place is not free.
                    callback => self.drop_inside(callback),
                }
                self.go_on(now, input, at, service);
                true
            }
        }
    }

    /// Handles what was kept. If it is to wait again, it stays where it is.
    fn go_on(&mut self, now: Time, mut input: Vec<u8>, at: usize, service: Option<&Service>) {
        let mut rest = input.get_mut(at..).unwrap_or_default();
        self.run(now, &mut rest, service);
        let left = rest.len();
        if let Some(waiting) = &mut self.waiting {
            waiting.at = input.len().saturating_sub(left);
            waiting.input = input;
        }
    }

    /// Runs the callbacks for everything that is in `input` or waits without it.
    #[inline]
    pub(super) fn dispatch(&mut self, now: Time, mut input: &mut [u8], service: Option<&Service>) {
        if !self.opened {
            return;
        }
        self.reader.arrived.traffic.bytes += input.len() as u64;
        if let Some(waiting) = &mut self.waiting {
            if !self.shared.status().has_event() {
                return waiting.input.extend_from_slice(input);
            }
            // The connection has failed.
            self.cancel();
        }
        self.run(now, &mut input, service);
        if let Some(waiting) = &mut self.waiting {
            waiting.input.extend_from_slice(input);
        }
        self.converse();
    }

    /// Until a callback is pending.
    #[inline]
    fn run(&mut self, now: Time, input: &mut &mut [u8], service: Option<&Service>) {
        self.shared.unpark();
        let _calling = self.calling();
        if !input.is_empty() {
            self.reader.arrived.at = Some(now);
        }
        loop {
            while self.handle_next(now, input, service) {
                // Without a grant there is no bound.
                self.budget -= u32::from((1..u32::MAX).contains(&self.budget));
                if self.waiting.is_none() && self.is_spent() && !input.is_empty() {
                    self.waiting = Some(Box::new(Waiting::for_others()));
                }
                if self.waiting.is_some() {
                    return;
                }
            }
            // All of it was taken, unless the peer's close is next and the listener is asked first.
            if input.is_empty() || self.defers_close(now) {
                return;
            }
        }
    }

    /// Runs the callback of what is next in `input`, or happens without it. Returns whether there was such.
    #[inline(always)]
    fn handle_next(&mut self, now: Time, input: &mut &mut [u8], service: Option<&Service>) -> bool {
        if let Some(message) = self.reader.next_small(&self.shared, input) {
            self.reader.arrived.traffic.messages += 1;
            match &mut self.listener {
                Kind::Plain(_) => self.call(|listener, socket| listener.on_message(socket, message)),
                Kind::Async(_) => self.call_async(Call::Message(message.into_owned())),
            }
            return true;
        }
        if input.is_empty() && self.shared.status().is_open() {
            return false;
        }
        let event = self.reader.next_event(&self.shared, input);
        event.map(|event| self.handle(now, event, service)).is_some()
    }

    /// The peer's close is next: whether it is not to be received yet.
    fn defers_close(&mut self, now: Time) -> bool {
        self.call_async(Call::Closing);
        match &mut self.waiting {
            Some(waiting) => {
                let timeout = self.shared.lock().config().close_timeout;
                waiting.close_by = Some(now + timeout.map_or(CLOSE_REPLY, |timeout| timeout.min(CLOSE_REPLY)));
            }
            None => self.reader.pass_close(),
        }
        self.waiting.is_some()
    }

    /// Until when the peer's close may wait.
    pub(super) fn close_by(&self) -> Option<Time> {
        self.waiting.as_ref()?.close_by
    }

    /// The peer's close has waited long enough, if it has: it is received now.
    pub(super) fn handle_timeout(&mut self, judged: Time, now: Time, service: Option<&Service>) {
        if self.close_by().is_some_and(|close_by| close_by <= judged) {
            self.shared.lock().resume_liveness(now);
            self.go_on_without_callback(now, service);
        }
    }

    /// Drops the callback that is pending, and handles what was read after its event, a close above all.
    fn go_on_without_callback(&mut self, now: Time, service: Option<&Service>) {
        let Some(mut waiting) = self.waiting.take() else { return };
        let (input, at) = (mem::take(&mut waiting.input), waiting.at);
        self.drop_inside(waiting);
        self.reader.pass_close();
        self.go_on(now, input, at, service);
    }

    /// The transport is about to fail, and a callback is pending. A listener that only keeps messages for its
    /// reader gets those that had arrived; another one's callback may wait for the peer, and is dropped.
    pub(super) fn deliver_rest(&mut self, now: Time, service: Option<&Service>) {
        self.hurry(now, service);
        while self.is_waiting() && matches!(&self.listener, Kind::Async(listener) if listener.0.answers_close_later()) {
            self.go_on_without_callback(now, service);
        }
    }

    /// Drops a callback that is pending, where it waits.
    fn cancel(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.drop_inside(waiting);
        }
    }

    fn drop_inside<T>(&self, waiting: T) {
        // What it holds may panic.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.during(|| drop(waiting))));
    }

    fn handle(&mut self, now: Time, event: Event<'_>, service: Option<&Service>) {
        match &event {
            Event::Text(_) | Event::Binary(_) => self.reader.arrived.traffic.messages += 1,
            Event::Pong(data) => {
                let answered = self.shared.lock().answered(now, data);
                if let Some(round_trip) = answered {
                    self.watch.answer(round_trip);
                }
            }
            Event::Error(error) => self.watch.fail(error, &self.reader.arrived.seen),
            Event::Closed(closed) => self.watch.close(closed, &self.reader.arrived.seen),
            Event::Ping(_) => {}
        }
        match &mut self.listener {
            Kind::Plain(_) => self.handle_plain(event, service),
            Kind::Async(_) => self.handle_async(event, service),
        }
    }

    fn handle_plain(&mut self, event: Event<'_>, service: Option<&Service>) {
        match event {
            Event::Text(Cow::Owned(text)) if text.len() >= LARGE => self.lend(text, |text| Message::Text(text)),
            Event::Binary(Cow::Owned(bytes)) if bytes.len() >= LARGE => {
                self.lend(bytes, |bytes| Message::Binary(bytes))
            }
            Event::Text(text) => self.call(|listener, socket| listener.on_message(socket, Message::Text(&text))),
            Event::Binary(bytes) => self.call(|listener, socket| listener.on_message(socket, Message::Binary(&bytes))),
            Event::Ping(data) => self.call(|listener, socket| listener.on_ping(socket, &data)),
            Event::Pong(data) => self.call(|listener, socket| listener.on_pong(socket, &data)),
            Event::Error(_) | Event::Closed(_) => self.call_last(event, service),
        }
    }

    fn handle_async(&mut self, event: Event<'_>, service: Option<&Service>) {
        self.call_async(match event {
            Event::Text(text) => Call::Message(own_text(text).into()),
            Event::Binary(bytes) => Call::Message(OwnedMessage::Binary(share(own(bytes)))),
            Event::Ping(data) => Call::Ping(data.into_owned().into()),
            Event::Pong(data) => Call::Pong(data.into_owned().into()),
            Event::Error(_) | Event::Closed(_) => return self.call_last(event, service),
        });
    }

    /// Calls with a large message, which the callback may send on as it is.
    fn lend<P>(&mut self, payload: P, message: fn(&P) -> Message<'_>)
    where
        P: Default + Into<Vec<u8>> + AsRef<[u8]> + Send + Sync + 'static,
    {
        lending::lend(payload, |payload| self.call(|listener, socket| listener.on_message(socket, message(payload))));
    }

    /// Between [`calling`](Shared::calling) and its end.
    #[inline(always)]
    fn call(&mut self, callback: impl FnOnce(&mut dyn Listener, &WebSocket) -> Outcome) {
        let Self { socket, listener: Kind::Plain(listener), .. } = self else { return };
        let called = panic::catch_unwind(AssertUnwindSafe(|| callback(&mut **listener, socket)));
        self.judge(called);
    }

    /// The same for one that is asynchronous.
    fn call_async(&mut self, call: Call) {
        let Self { socket, listener: Kind::Async(listener), .. } = self else { return };
        match panic::catch_unwind(AssertUnwindSafe(|| listener.0.call(socket, call))) {
            Ok(Called::Done(outcome)) => self.judge(Ok(outcome)),
            Ok(Called::Pending(callback)) => {
                self.shared.lock().suspend_liveness();
                self.waiting = Some(Box::new(Waiting { callback: Some(callback), ..Waiting::for_others() }));
            }
            Err(payload) => self.judge(Err(payload)),
        }
    }

    fn poll(&self, callback: &mut Pending, waker: &Waker) -> Poll<Returned> {
        let poll = || self.during(|| callback.poll(&mut Context::from_waker(waker)));
        match panic::catch_unwind(AssertUnwindSafe(poll)) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }

    /// What a callback has come to. Nearly always nothing: that is seen where it returns, and costs no call.
    #[inline(always)]
    fn judge(&self, called: Returned) {
        match called {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.callback_failed(error),
            Err(payload) => self.callback_panicked(&*payload),
        }
    }

    #[cold]
    fn callback_panicked(&self, payload: &(dyn Any + Send)) {
        self.shared.lock().fail(Error::Panicked(panic_message(payload)));
    }

    #[cold]
    fn callback_failed(&self, error: BoxError) {
        let error = untyped(error);
        // Too late is not wrong: the callback sent something after a close that it may not know of.
        if !is_closed(&error) || self.socket.is_open() {
            self.shared.lock().fail(Error::Callback(error.into()));
        }
    }

    /// Calls `on_error` or `on_close`, whose failure only the server's owner can be told.
    fn call_last(&mut self, event: Event<'_>, service: Option<&Service>) {
        let Self { shared, socket, listener, .. } = self;
        let call = || match (listener, event) {
            (Kind::Plain(listener), Event::Error(error)) => listener.on_error(socket, &error),
            (Kind::Plain(listener), Event::Closed(closed)) => listener.on_close(socket, closed.code, &closed.reason),
            (Kind::Async(listener), Event::Error(error)) => listener.0.on_error(socket, error),
            (Kind::Async(listener), Event::Closed(closed)) => {
                listener.0.on_close(socket, closed.code, &closed.reason);
            }
            _ => {}
        };
        let result = panic::catch_unwind(AssertUnwindSafe(|| shared.during(call)));
        if let (Err(payload), Some(service)) = (result, service) {
            service.report(&ServerError::ListenerPanicked(panic_message(&*payload)));
        }
    }

    /// Ends a connection that is not driven any more.
    pub(super) fn abandon(&mut self, service: Option<&Service>) {
        self.shared.lock().fail(Error::Abandoned);
        self.dispatch(Time::ZERO, &mut [], service);
        self.cancel();
        self.stop_conversing();
        self.shared.finish();
    }
}

fn is_closed(error: &BoxError) -> bool {
    error.downcast_ref() == Some(&SendError::Closed)
}
