//! Connections to one server, one after the other, as a channel of what happens on them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::listener::IntoAnyListener;
use bellwire::proto::client::Response;
use bellwire::reconnect::{Disconnected, Policy, Reconnecting};
use bellwire::tokio::reconnecting;
use bellwire::{Bytes, ConnectError, OwnedMessage, SendError, SocketId, Target, WebSocket, async_listener};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many messages, pings and pongs wait until they are printed. Beyond that the server is not read.
const AHEAD: usize = 64;

/// How many pings are waited for. Older ones are forgotten.
const PINGS: usize = 64;

/// What happens. The end of the channel is the end of everything.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is a connection, and this is the server's answer.
    Open(WebSocket, Arc<Response>),
    Message(OwnedMessage, Place),
    Ping(Bytes, Place),
    /// With the time when it came.
    Pong(SocketId, Bytes, Instant, Place),
    /// There is no connection any more, or a try to connect has failed.
    Lost(Disconnected),
}

/// A place in the queue. It is free when this is dropped.
pub(crate) type Place = Option<OwnedSemaphorePermit>;

/// Connects, and tells what happens. Each connection sends the greetings first.
pub(crate) fn start(
    target: &Target,
    policy: Policy,
    greetings: Vec<String>,
) -> Result<(Reconnecting, UnboundedReceiver<Event>), ConnectError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (lost, places) = (sender.clone(), Arc::new(Semaphore::new(AHEAD)));
    let greetings: Arc<[String]> = greetings.into();
    let handle = reconnecting(target, policy)?
        .on_disconnected(move |disconnected| drop(lost.send(Event::Lost(disconnected))))
        .listen(move |connected| {
            let response = Arc::new(connected.response.clone());
            let (sender, places, greetings) = (sender.clone(), places.clone(), greetings.clone());
            listener(Arc::new(Teller { sender, places, greetings, response }))
        });
    Ok((handle, receiver))
}

fn listener(teller: Arc<Teller>) -> impl IntoAnyListener {
    async_listener()
        .with_state(teller)
        .on_open(async |teller: Arc<Teller>, socket: WebSocket| {
            teller.tell(Event::Open(socket.clone(), teller.response.clone()));
            teller.greetings.iter().try_for_each(|greeting| socket.send(greeting.as_str()))
        })
        .on_message(async |teller: Arc<Teller>, _, message| {
            let place = teller.place().await;
            teller.tell(Event::Message(message, place));
        })
        .on_ping(async |teller: Arc<Teller>, socket: WebSocket, data: Bytes| {
            socket.as_socket().answer_ping(&data);
            let place = teller.place().await;
            teller.tell(Event::Ping(data, place));
        })
        .on_pong(async |teller: Arc<Teller>, socket: WebSocket, data| {
            let now = Instant::now();
            let place = teller.place().await;
            teller.tell(Event::Pong(socket.id(), data, now, place));
        })
}

/// Tells what happens on a connection, to who prints it.
#[derive(Debug)]
struct Teller {
    sender: UnboundedSender<Event>,
    places: Arc<Semaphore>,
    /// What is sent first.
    greetings: Arc<[String]>,
    response: Arc<Response>,
}

impl Teller {
    /// Waits for a place in the queue.
    async fn place(&self) -> Place {
        // It is never closed.
        self.places.clone().acquire_owned().await.ok()
    }

    /// If nobody listens any more, that is no failure of the connection.
    fn tell(&self, event: Event) {
        let _ = self.sender.send(event);
    }
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
