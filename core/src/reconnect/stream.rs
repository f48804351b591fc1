//! A client that reconnects as a stream of what happens.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::carried::Make;
use super::ended::{Connected, Disconnected, Ended};
use super::handle::Reconnecting;
use super::link::Link;
use crate::api::{IntoAnyListener, WebSocket};
use crate::drive::{MessageStream, Opened, stream};
use crate::protocol::{Outgoing, OwnedMessage, SendError};
use crate::sync::{Mutex, WakerSlot};

/// A client that reconnects as a stream of what happens: connections, their messages, and how they end.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::reconnect::{Event, ReconnectingStream};
///
/// async fn follow(mut feed: ReconnectingStream) {
///     while let Some(event) = feed.recv().await {
///         match event {
///             Event::Connected { socket, .. } => drop(socket.send("subscribe")),
///             Event::Message(message) => println!("{message:?}"),
///             Event::Disconnected(disconnected) => println!("{disconnected}"),
///             _ => {}
///         }
///     }
///     println!("{}", feed.ended().unwrap());
/// }
/// ```
///
/// A task of its own connects and drives the connections, as with [`connect_stream`](crate::backend::connect_stream): pings
/// are answered, and what was sent leaves, whether or not anything is received here. But **the next try is made when what
/// happened before was received**.
///
/// Dropping it ends everything, as dropping a [`MessageStream`] closes its connection: with 1000 "Normal Closure", after
/// what was sent.
pub struct ReconnectingStream {
    handle: Reconnecting,
    feed: Arc<Feed>,
    current: Current,
    /// The connection by which what was kept is to be sent when the next event is asked for.
    unflushed: Option<u64>,
    /// Who receives was told that nothing more will happen: what `FusedStream` asks for.
    #[cfg_attr(not(feature = "stream"), allow(dead_code))]
    end_delivered: bool,
}

/// What happens to a client that reconnects.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection.
    Connected {
        /// The connection's own handle. What is sent there before the next event is received goes before what was kept.
        socket: WebSocket,
        /// More about it.
        connected: Connected,
    },
    /// A message has come.
    Message(OwnedMessage),
    /// There is no connection any more, or another try has failed.
    Disconnected(Disconnected),
}

/// The connection that is being read.
#[derive(Default)]
enum Current {
    #[default]
    None,
    Opening(Connected, Opened),
    Open(MessageStream),
}

/// What has happened and was not received.
#[derive(Default)]
pub(crate) struct Feed(Mutex<FeedState>);

#[derive(Default)]
struct FeedState {
    items: VecDeque<Item>,
    /// Messages are not received any more.
    closed: bool,
    ended: bool,
    /// How to wake who receives.
    reader: WakerSlot,
    /// How to wake who connects.
    writer: WakerSlot,
}

enum Item {
    Connected(Connected, Opened),
    Disconnected(Disconnected),
}

impl ReconnectingStream {
    pub(crate) fn new(link: Arc<Link>, feed: Arc<Feed>) -> Self {
        Self { handle: Reconnecting(link), feed, current: Current::None, unflushed: None, end_delivered: false }
    }

    /// Receives what happens next; `None` when nothing more will happen, for good: [`ended`](Self::ended) says why.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what it would have returned is returned by the next.
    pub fn recv(&mut self) -> impl Future<Output = Option<Event>> {
        core::future::poll_fn(|cx| self.poll_recv(cx))
    }

    /// Sends a message: [`Reconnecting::send`].
    ///
    /// # Errors
    /// As [`Reconnecting::send`].
    pub fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.handle.send(message)
    }

    /// Returns a handle, which sends from anywhere.
    pub fn handle(&self) -> &Reconnecting {
        &self.handle
    }

    /// Returns why nothing more will happen; `None` as long as it goes on.
    pub fn ended(&self) -> Option<Arc<Ended>> {
        self.handle.ended()
    }

    /// Ends everything, and waits for that: [`Reconnecting::close`]. Messages that come meanwhile are dropped, and those
    /// that were not received; what was handed back with [`Event::Disconnected`] can still be received.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: it ends.
    pub fn close(&mut self) -> impl Future<Output = Arc<Ended>> + Send + use<> {
        let ended = self.handle.close();
        // Messages that nobody takes would keep the peer's close from being seen.
        self.current = Current::None;
        self.feed.close();
        ended
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(life) = self.unflushed.take() {
            self.handle.0.flush(life);
        }
        loop {
            match mem::take(&mut self.current) {
                Current::None => match ready!(self.feed.poll_next(cx)) {
                    Some(Item::Connected(connected, opened)) => self.current = Current::Opening(connected, opened),
                    Some(Item::Disconnected(disconnected)) => {
                        return Poll::Ready(Some(Event::Disconnected(disconnected)));
                    }
                    None => {
                        self.end_delivered = true;
                        return Poll::Ready(None);
                    }
                },
                Current::Opening(connected, mut opened) => match Pin::new(&mut opened).poll(cx) {
                    Poll::Ready(Some(messages)) => return Poll::Ready(Some(self.connected(connected, messages))),
                    // It never opened.
                    Poll::Ready(None) => {}
                    Poll::Pending => {
                        self.current = Current::Opening(connected, opened);
                        return Poll::Pending;
                    }
                },
                Current::Open(mut messages) => {
                    let next = messages.poll_recv(cx);
                    if !matches!(next, Poll::Ready(None)) {
                        self.current = Current::Open(messages);
                    }
                    // What failed is told when the connection is lost, which is next.
                    if let Some(Ok(message)) = ready!(next) {
                        return Poll::Ready(Some(Event::Message(message)));
                    }
                }
            }
        }
    }

    fn connected(&mut self, connected: Connected, messages: MessageStream) -> Event {
        let socket = messages.socket().clone();
        // There is no other one before this event was received.
        (self.current, self.unflushed) = (Current::Open(messages), Some(self.handle.0.life()));
        Event::Connected { socket, connected }
    }
}

impl Drop for ReconnectingStream {
    fn drop(&mut self) {
        self.handle.0.close();
        self.feed.close();
    }
}

impl Feed {
    /// Returns what makes the listeners: each connection is announced here.
    pub(crate) fn make(self: &Arc<Self>) -> Make {
        let feed = self.clone();
        Arc::new(move |connected| {
            let (listener, opened) = stream();
            feed.connected(connected, opened);
            listener.into_any_listener()
        })
    }

    /// One whose messages nobody receives is closed when its `Opened` is dropped.
    fn connected(&self, connected: Connected, opened: Opened) {
        let mut item = Some(Item::Connected(connected, opened));
        self.tell(|state| {
            if !state.closed {
                state.items.extend(item.take());
            }
        });
    }

    pub(crate) fn disconnected(&self, disconnected: Disconnected) {
        self.tell(|state| state.items.push_back(Item::Disconnected(disconnected)));
    }

    pub(crate) fn end(&self) {
        self.tell(|state| state.ended = true);
    }

    /// Ready when everything was received that has happened.
    pub(crate) fn poll_received(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.items.is_empty() {
            return Poll::Ready(());
        }
        let before = state.writer.register(cx.waker());
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut state = self.0.lock();
        let item = state.items.pop_front();
        let (is_pending, is_last) = (item.is_none() && !state.ended, state.items.is_empty());
        let before = if is_pending { state.reader.register(cx.waker()) } else { None };
        let writer = if is_last { state.writer.take() } else { None };
        drop(state);
        drop(before);
        if let Some(writer) = writer {
            writer.wake();
        }
        if is_pending { Poll::Pending } else { Poll::Ready(item) }
    }

    fn tell(&self, change: impl FnOnce(&mut FeedState)) {
        let mut state = self.0.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Messages are not received any more; what was handed back may be.
    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let is_connection = |item: &Item| matches!(item, Item::Connected(..));
        let (connections, rest) = mem::take(&mut state.items).into_iter().partition(is_connection);
        state.items = rest;
        drop(state);
        drop(connections);
    }
}

debug!(ReconnectingStream => |this| handle: this.handle);

#[cfg(feature = "stream")]
mod traits {
    use futures_core::{FusedStream, Stream};

    use super::*;

    impl Stream for ReconnectingStream {
        type Item = Event;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
            self.poll_recv(cx)
        }
    }

    impl FusedStream for ReconnectingStream {
        fn is_terminated(&self) -> bool {
            // Not before: a `select!` would not poll it any more, and would never hear of the end.
            self.end_delivered
        }
    }
}
