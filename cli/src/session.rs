//! A connection, as a channel of what happens on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::listener::IntoAnyListener;
use bellwire::{Bytes, Error, OwnedMessage, SendError, SocketId, WebSocket, async_listener};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// How many events wait until they are printed. Beyond that the server is not read.
const AHEAD: usize = 64;

/// How many pings are waited for. Older ones are forgotten.
const PINGS: usize = 64;

/// What happens on a connection. That it has ended is the end of the channel.
#[derive(Debug)]
pub(crate) enum Event {
    Message(OwnedMessage),
    Ping(Bytes),
    /// With the time when it came.
    Pong(Bytes, Instant),
}

/// What a connection has to say.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) receiver: Receiver<Event>,
    error: Arc<Mutex<Option<Error>>>,
}

impl Events {
    /// What `on_error` was told, if it was.
    pub(crate) fn error(&self) -> Option<Error> {
        lock(&self.error).take()
    }
}

/// A listener, and where its events come.
pub(crate) fn events() -> (impl IntoAnyListener, Events) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let error = Arc::new(Mutex::new(None));
    let failed = error.clone();
    let listener = async_listener()
        .on_error(move |_, error| {
            lock(&failed).get_or_insert_with(|| error.clone());
        })
        // Nobody listens any more: that is no failure of the connection.
        .with_state(sender)
        .on_message(async |events: Sender<Event>, _, message| {
            let _ = events.send(Event::Message(message)).await;
        })
        .on_ping(async |events: Sender<Event>, socket: WebSocket, data: Bytes| {
            socket.as_socket().answer_ping(&data);
            let _ = events.send(Event::Ping(data)).await;
        })
        .on_pong(async |events: Sender<Event>, _, data| {
            let _ = events.send(Event::Pong(data, Instant::now())).await;
        });
    (listener, Events { receiver, error })
}

/// The pings that were sent, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pings(Arc<Mutex<HashMap<Ping, Instant>>>);

type Ping = (SocketId, Vec<u8>);

impl Pings {
    /// Sends a ping. One without data gets a number, so that its answer can be told from others.
    pub(crate) fn send(&self, socket: &WebSocket, mut data: Vec<u8>) -> Result<(), SendError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if data.is_empty() {
            data = NEXT.fetch_add(1, Ordering::Relaxed).to_string().into();
        }
        self.sent((socket.id(), data.clone()));
        socket.ping(&data)
    }

    fn sent(&self, ping: Ping) {
        let mut pings = lock(&self.0);
        if pings.len() >= PINGS {
            let oldest = pings.iter().min_by_key(|(_, sent)| **sent).map(|(ping, _)| ping.clone());
            oldest.and_then(|ping| pings.remove(&ping));
        }
        pings.insert(ping, Instant::now());
    }

    /// How long the answer took, if this is one.
    pub(crate) fn answered(&self, on: SocketId, data: &[u8], at: Instant) -> Option<Duration> {
        lock(&self.0).remove(&(on, data.into())).map(|sent| at.saturating_duration_since(sent))
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_pings_the_oldest_is_forgotten() {
        let pings = Pings::default();
        for number in 0..=PINGS {
            pings.sent((SocketId::from(7), number.to_string().into()));
        }
        let answered =
            |on: u64, number: usize| pings.answered(on.into(), number.to_string().as_bytes(), Instant::now());
        assert_eq!(answered(7, 0), None);
        assert_eq!(answered(8, 1), None, "of another connection");
        assert!(answered(7, 1).is_some() && answered(7, PINGS).is_some());
        assert_eq!(answered(7, 1), None);
    }
}
