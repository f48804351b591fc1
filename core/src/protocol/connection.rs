//! The join of `inbound`, `outbound` and `deadlines`: the closing handshake (RFC 6455 §7), failing the
//! connection, and ending exactly once.

mod asked;
mod sending;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::close::{CloseCode, Closed, ClosedBy};
use super::deadlines::{Deadlines, Due, Flow};
use super::error::{Error, SendError, Violation};
use super::event::{Event, Message};
use super::frame::{Role, decode_close};
use super::inbound::{Inbound, Incoming};
use super::outbound::Outbound;
use super::output::Output;
use super::stats::{Pings, Traffic};
use crate::config::Config;
use crate::context::{Compression, SocketContext};
use crate::entropy::Entropy;
use crate::time::Time;

/// An open WebSocket connection, without any I/O: bytes and time in, events and bytes out.
///
/// The loop around it, which is the same for every transport:
///
/// 1. read bytes, and call [`next_event`](Self::next_event) with them until it says `None`;
/// 2. write [`output`](Self::output), and say how much was taken with [`wrote`](Self::wrote);
/// 3. sleep until there are bytes to read, or until [`poll_timeout`](Self::poll_timeout): then call
///    [`handle_timeout`](Self::handle_timeout) and go on at 1 with no bytes. A peer that never stops sending must
///    not put that off: early calls do nothing, so it may be called after every read;
/// 4. at the end of the input call [`receive_eof`](Self::receive_eof), if reading or writing fails
///    [`transport_failed`](Self::transport_failed), and go on at 1 with no bytes;
/// 5. when it [is finished](Self::is_finished), write the rest of the output and close the transport.
///
/// A peer's misbehaviour is an event; the caller's misuse is an `Err`.
pub struct Connection {
    config: Arc<Config>,
    role: Role,
    /// `None` if it was [taken](Self::take_inbound): whoever did so reads.
    inbound: Option<Inbound>,
    outbound: Outbound,
    deadlines: Deadlines,
    state: State,
    auto_pong: AutoPong,
    /// Whether reading pauses until output is below the low watermark.
    paused: bool,
    deferred_drops: Option<Box<DeferredDrops>>,
    /// For the handles.
    context: Option<Box<SocketContext>>,
    /// Whether it was [aborted](Self::abort).
    aborted: bool,
    received: Traffic,
    pings: Pings,
}

/// What is not needed any more, and may run the user's code when it is dropped: an error of a callback or a transport,
/// the owner of a payload. To be dropped when the connection is not locked.
pub(crate) struct DeferredDrops {
    _error: Option<Error>,
    _output: Output,
    _older: Option<Box<Self>>,
}

/// RFC 6455 §7.1, seen from here.
enum State {
    /// Neither side has closed.
    Open,
    /// §7.1.3: "_The WebSocket Closing Handshake is Started_" by this side; the peer's close frame is awaited.
    Closing,
    /// It is decided how the connection ends: these are the last events.
    Ending(Box<LastEvents>),
    /// The last event was handed out.
    Ended,
    /// The same, and the transport is of no use any more: nothing is left to be sent, or the peer is gone.
    Lost,
}

struct LastEvents {
    error: Option<Error>,
    closed: Closed,
}

/// How far a connection is, for its driver.
#[cfg(feature = "std")]
pub(crate) enum Stage {
    /// [`Connection::is_open`].
    Open,
    /// The peer's close frame is awaited.
    Closing,
    /// An event comes without any input.
    Ending,
    /// [`Connection::is_finished`].
    Finished,
    /// [`Connection::is_lost`].
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AutoPong {
    On,
    Off,
}

impl Connection {
    /// Creates a server's end, after a handshake that was made elsewhere. [`Request::accept`](crate::Request::accept)
    /// makes one here.
    pub fn server(config: Arc<Config>, now: Time) -> Self {
        Self::new(config, Role::Server, Outbound::new(None), now)
    }

    /// Creates a client's end, after a handshake that was made elsewhere;
    /// [`client::Handshake`](crate::proto::client::Handshake) makes one here. `entropy` is where mask keys come from.
    pub fn client(config: Arc<Config>, entropy: Box<dyn Entropy>, now: Time) -> Self {
        Self::new(config, Role::Client, Outbound::new(Some(entropy)), now)
    }

    fn new(config: Arc<Config>, role: Role, outbound: Outbound, now: Time) -> Self {
        Self {
            config,
            role,
            inbound: Some(Inbound::new(role)),
            outbound,
            deadlines: Deadlines::new(now),
            state: State::Open,
            auto_pong: AutoPong::On,
            paused: false,
            deferred_drops: None,
            context: None,
            aborted: false,
            received: Traffic::new(0, 0),
            pings: Pings::new(),
        }
    }

    /// Sets what this connection is about, for its handles: after a handshake that was made elsewhere. The handshakes
    /// here have set it. If it says how messages are compressed, they are from now on, as far as [`Config`] allows it; a
    /// context that does not say so changes nothing in this.
    pub fn set_context(&mut self, mut context: SocketContext) {
        let known = self.context.as_deref();
        context.compression = context.compression.or(known.and_then(|known| known.compression));
        context.opened = context.opened.or(known.and_then(|known| known.opened));
        if let Some(Compression { server, client, .. }) = context.compression {
            let (sent, received) = if self.role == Role::Server { (server, client) } else { (client, server) };
            self.outbound.set_window(Some(sent));
            if let Some(inbound) = &mut self.inbound {
                inbound.set_window(Some(received));
            }
        }
        self.context = (context != SocketContext::new()).then(|| Box::new(context));
    }

    /// Takes out what this connection is about.
    #[cfg(feature = "std")]
    pub(crate) fn take_context(&mut self) -> Option<Box<SocketContext>> {
        self.context.take()
    }

    /// Takes bytes from the front of `input` until there is something to say. `None`: all of `input` was taken.
    ///
    /// Payloads that lie whole in `input` are unmasked there and lent out: the event borrows the input, not
    /// the connection, so one may send while looking at it.
    pub fn next_event<'a>(&mut self, now: Time, input: &mut &'a mut [u8]) -> Option<Event<'a>> {
        if !input.is_empty() {
            self.received(now);
        }
        let before = input.len();
        if let (State::Open, Some(inbound)) = (&self.state, &mut self.inbound) {
            match inbound.next_small(input, &self.config) {
                Ok(Some(message)) => {
                    self.received.messages += 1;
                    self.received.bytes += (before - input.len()) as u64;
                    return Some(match message {
                        Message::Text(text) => Event::Text(text.into()),
                        Message::Binary(bytes) => Event::Binary(bytes.into()),
                    });
                }
                Ok(None) => {}
                Err(violation) => self.fail(violation.into()),
            }
        }
        let event = self.take_event(input);
        self.received.bytes += (before - input.len()) as u64;
        match &event {
            Some(Event::Text(_) | Event::Binary(_)) => self.received.messages += 1,
            Some(Event::Pong(data)) => drop(self.answered(now, data)),
            _ => {}
        }
        event
    }

    #[inline]
    fn take_event<'a>(&mut self, input: &mut &'a mut [u8]) -> Option<Event<'a>> {
        let Some(mut inbound) = self.inbound.take() else { return self.next_ending() };
        let event = self.read(&mut inbound, input);
        self.inbound = Some(inbound);
        event
    }

    /// [`next_event`](Self::next_event) with an inbound side that may lie elsewhere.
    pub(crate) fn read<'a>(&mut self, inbound: &mut Inbound, input: &mut &'a mut [u8]) -> Option<Event<'a>> {
        while self.is_receiving() {
            if !self.is_open() {
                inbound.pass_close();
            }
            match inbound.next(input, &self.config) {
                Ok(None) => return None,
                Ok(Some(incoming)) => {
                    if let Some(event) = self.receive(incoming) {
                        return Some(event);
                    }
                }
                Err(violation) => self.fail(violation.into()),
            }
        }
        // RFC 6455 §7.1.7: once failed, an endpoint "MUST NOT continue to attempt to process data". §1.4: after a
        // close frame "any further data received" is discarded.
        *input = &mut [];
        self.next_ending()
    }

    /// Takes out the side that reads: its owner calls [`read`](Self::read), and [`received`](Self::received).
    #[cfg(feature = "std")]
    pub(crate) fn take_inbound(&mut self) -> Inbound {
        self.inbound.take().unwrap_or_else(|| Inbound::new(self.role))
    }

    /// Bytes have arrived.
    pub(crate) fn received(&mut self, now: Time) {
        self.deadlines.received(now);
    }

    /// Tells the connection that the peer sends no more bytes. What that means comes out of
    /// [`next_event`](Self::next_event).
    pub fn receive_eof(&mut self) {
        // After the closing handshake the peer may still read.
        if self.is_receiving() {
            self.lose(Error::Vanished, ClosedBy::Peer);
        }
    }

    /// Tells the connection that the peer is gone: it neither sends more bytes nor takes any. What that means comes out
    /// of [`next_event`](Self::next_event).
    pub fn vanished(&mut self) {
        self.lose(Error::Vanished, ClosedBy::Peer);
    }

    /// Tells the connection that reading from or writing to the transport has failed. What that means comes out of
    /// [`next_event`](Self::next_event).
    pub fn transport_failed(&mut self, error: impl Into<crate::BoxError>) {
        self.lose(Error::Transport(error.into().into()), ClosedBy::Peer);
    }

    /// Does what is due: a ping, or the end. Early calls do nothing. What comes of it comes out of
    /// [`next_event`](Self::next_event).
    pub fn handle_timeout(&mut self, now: Time) {
        self.handle_timeout_as_of(now, now);
    }

    /// Does what was due at a time before: what begins with that counts from now.
    pub(crate) fn handle_timeout_as_of(&mut self, judged: Time, now: Time) {
        while self.is_receiving() {
            match self.deadlines.due(judged, now, self.flow(), &self.config) {
                None => return,
                Some(Due::Ping) => self.outbound.keepalive_ping(&mut self.pings),
                Some(Due::Fail(timeout)) => self.fail(timeout.into()),
            }
        }
    }

    /// Returns when a close that this side has called for is due.
    #[cfg(feature = "std")]
    pub(crate) fn close_by(&mut self, now: Time) -> Option<Time> {
        if self.is_receiving() { self.deadlines.close_by(now, self.flow(), &self.config) } else { None }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if nothing happens before. A time in the past
    /// means at once.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.is_receiving() { self.deadlines.next(self.flow(), &self.config) } else { None }
    }

    fn flow(&self) -> Flow {
        let closing = matches!(self.state, State::Closing);
        Flow { closing, unsent: self.outbound.buffered() > 0, paused: self.paused }
    }

    /// Starts the closing handshake after what is queued. A reason of more than 123 bytes is cut at a
    /// character.
    ///
    /// # Errors
    /// [`SendError::CloseCode`] for a code that must not be sent, [`SendError::Closed`] if it was closed before.
    pub fn close(&mut self, code: impl Into<CloseCode>, reason: &str) -> Result<(), SendError> {
        let code = code.into();
        // RFC 6455 §7.4.1: 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame".
        if !code.is_sendable() {
            return Err(SendError::CloseCode(code));
        }
        self.check_open()?;
        self.start_closing(code, reason);
        Ok(())
    }

    /// Drops what is queued and ends without a closing handshake: 1006, and no error.
    pub fn abort(&mut self) {
        self.aborted = true;
        let output = self.outbound.discard();
        self.defer_drop(None, output);
        match self.state {
            State::Open | State::Closing => {
                self.end(None, Closed::abnormal(ClosedBy::Local));
            }
            State::Ended => self.state = State::Lost,
            State::Ending(_) | State::Lost => {}
        }
    }

    fn end(&mut self, error: Option<Error>, closed: Closed) {
        self.state = State::Ending(Box::new(LastEvents { error, closed }));
    }

    /// Fails the connection for an error on this side: tells the peer if there is a code for it, then
    /// [`Event::Error`] and [`Event::Closed`] come out of [`next_event`](Self::next_event).
    pub fn fail(&mut self, error: Error) {
        match error.close_code() {
            None => self.lose(error, ClosedBy::Local),
            Some((code, reason)) if self.is_receiving() => {
                // RFC 6455 §7.1.7: an endpoint that fails the connection "SHOULD send a Close frame with an
                // appropriate status code".
                if self.is_open() {
                    self.outbound.close(code, &reason);
                }
                self.end(Some(error), Closed::failed(code, reason));
            }
            Some(_) => self.defer_drop(Some(error), Output::new()),
        }
    }

    /// Returns what is to be written.
    pub fn output(&self) -> &Output {
        self.outbound.output()
    }

    /// Tells the connection that the transport has taken the first `count` bytes of the output.
    pub fn wrote(&mut self, now: Time, count: usize) {
        if count == 0 {
            return;
        }
        self.pings.wrote(now, self.outbound.written_with(count));
        self.deadlines.wrote(now, self.outbound.is_ping_unsent(), self.flow());
        self.outbound.wrote(count, &self.config);
        // D16: read again below the low watermark.
        if self.outbound.buffered() <= self.config.low_watermark {
            self.paused = false;
        }
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outbound.is_taken() && !self.outbound.output().is_empty()
    }

    /// Takes the output, to be written elsewhere than under the caller's lock, or `None` while what was taken
    /// before has not been [written](Self::wrote) to its end.
    pub fn take_output(&mut self) -> Option<Output> {
        if self.has_output() { Some(self.outbound.take()) } else { None }
    }

    /// Lends memory for the output of this turn: one buffer can serve all the connections of a thread. It comes
    /// back with [`take_output`](Self::take_output), or with a second call if nothing was sent. Does nothing
    /// while there is output.
    pub fn lend_output(&mut self, spare: &mut Output) {
        self.outbound.lend(spare);
    }

    /// Returns the limits, deadlines and policies.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the same, for a reader that lies elsewhere.
    #[cfg(feature = "std")]
    pub(crate) fn shared_config(&self) -> Arc<Config> {
        self.config.clone()
    }

    /// Returns which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Queues bytes that leave before any frame.
    pub(crate) fn queue_head(&mut self, head: Vec<u8>) {
        self.outbound.head(head);
    }

    /// The peer is not read from now on, until [`resume_liveness`](Self::resume_liveness): its silence does not count.
    #[cfg(feature = "std")]
    pub(crate) fn suspend_liveness(&mut self) {
        self.deadlines.suspend_liveness();
    }

    /// The peer is read again.
    #[cfg(feature = "std")]
    pub(crate) fn resume_liveness(&mut self, now: Time) {
        self.deadlines.resume_liveness(now, self.flow());
    }

    /// Returns `true` if it is not decided yet how it ends.
    fn is_receiving(&self) -> bool {
        matches!(self.state, State::Open | State::Closing)
    }

    /// What a whole message or control frame means in this state.
    fn receive<'a>(&mut self, incoming: Incoming<'a>) -> Option<Event<'a>> {
        // A side that has closed is done: what still comes is checked, and not delivered.
        let delivers = self.is_open() || self.config.deliver_after_close;
        match incoming {
            Incoming::Text(text) => delivers.then_some(Event::Text(text)),
            Incoming::Binary(bytes) => delivers.then_some(Event::Binary(bytes)),
            Incoming::Pong(data) => Some(Event::Pong(data)),
            Incoming::Ping(data) => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response,
                // unless it already received a Close frame."
                if self.auto_pong == AutoPong::On {
                    self.answer_ping(&data);
                }
                Some(Event::Ping(data))
            }
            Incoming::Close(payload) => {
                self.receive_close(&payload);
                None
            }
        }
    }

    /// RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the
    /// endpoint MUST send a Close frame in response. (When sending a Close frame in response, the endpoint
    /// typically echos the status code it received.)"
    pub(crate) fn receive_close(&mut self, payload: &[u8]) {
        // Another thread may have failed or aborted it since it was seen to be open.
        if !self.is_receiving() {
            return;
        }
        let (code, reason) = match decode_close(payload) {
            Ok(decoded) => decoded,
            Err(violation) => return self.fail(Violation::into(violation)),
        };
        let by = if self.is_open() { ClosedBy::Peer } else { ClosedBy::Local };
        if self.is_open() {
            self.outbound.close(code, reason);
        }
        self.end(None, Closed::clean(code, reason, by));
    }

    fn start_closing(&mut self, code: CloseCode, reason: &str) {
        self.outbound.close(code, reason);
        self.state = State::Closing;
        // Reading goes on: the peer's close frame must be seen.
        self.paused = false;
    }

    /// The connection ends without a word to the peer. `by`: on whose account, unless this side was closing.
    fn lose(&mut self, error: Error, by: ClosedBy) {
        if self.is_receiving() {
            let by = if self.is_open() { by } else { ClosedBy::Local };
            let output = self.outbound.discard();
            self.defer_drop(None, output);
            return self.end(Some(error), Closed::abnormal(by));
        }
        if self.is_finished() {
            self.state = State::Lost;
        }
        self.defer_drop(Some(error), Output::new());
    }

    fn defer_drop(&mut self, error: Option<Error>, output: Output) {
        if error.is_some() || !output.is_empty() {
            let older = self.deferred_drops.take();
            self.deferred_drops = Some(Box::new(DeferredDrops { _error: error, _output: output, _older: older }));
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn has_deferred_drops(&self) -> bool {
        self.deferred_drops.is_some()
    }

    /// Takes out what is to be dropped when nothing is locked.
    #[inline]
    #[cfg(feature = "std")]
    pub(crate) fn take_deferred_drops(&mut self) -> Option<Box<DeferredDrops>> {
        self.deferred_drops.take()
    }

    fn next_ending(&mut self) -> Option<Event<'static>> {
        let State::Ending(last) = &mut self.state else { return None };
        if let Some(error) = last.error.take() {
            return Some(Event::Error(error));
        }
        let lost = last.closed.code == CloseCode::ABNORMAL;
        let ended = if lost { State::Lost } else { State::Ended };
        let State::Ending(last) = mem::replace(&mut self.state, ended) else { return None };
        Some(Event::Closed(last.closed))
    }
}

debug!(Connection => |this| is_open: this.is_open(), is_finished: this.is_finished(), buffered: this.buffered());
