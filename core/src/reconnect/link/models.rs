//! Models of threads that send while a connection writes, is lost, and is followed by another. Loom runs each in every
//! order in which they can take the locks.

use alloc::string::String;
use alloc::vec;

use loom::thread;

use super::*;
use crate::api::{Done, Socket};
use crate::sync::block_on;

const KEEP: Offline = Offline::Keep { messages: 10, bytes: 100 };

/// A connection that writes when it is told to, a message at a time.
#[derive(Default)]
struct Wire {
    state: Mutex<WireState>,
}

#[derive(Default)]
struct WireState {
    queue: Vec<String>,
    written: usize,
    ended: bool,
    waiting: Vec<(StreamOffset, Done)>,
}

impl Wire {
    fn socket(self: &Arc<Self>) -> WebSocket {
        WebSocket::from_arc(self.clone())
    }

    /// Writes the next message, if there is one.
    fn write(&self) {
        let mut state = self.state.lock();
        state.written = state.queue.len().min(state.written + 1);
        let written = StreamOffset::new(state.written as u64);
        let (done, waiting) = mem::take(&mut state.waiting).into_iter().partition(|(end, _)| *end <= written);
        state.waiting = waiting;
        drop(state);
        let done: Vec<(StreamOffset, Done)> = done;
        done.into_iter().for_each(|(_, done)| done(Ok(())));
    }

    /// It is lost. Nothing more is written.
    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|(_, done)| done(Err(SendError::Closed)));
    }

    fn written(&self) -> Vec<String> {
        let state = self.state.lock();
        state.queue.iter().take(state.written).cloned().collect()
    }

    fn queued(&self) -> Vec<String> {
        self.state.lock().queue.clone()
    }
}

impl Socket for Wire {
    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let mut state = self.state.lock();
        if state.ended {
            return Err(SendError::Closed);
        }
        state.queue.push(text(message.into_owned()));
        Ok(StreamOffset::new(state.queue.len() as u64))
    }

    fn written(&self) -> StreamOffset {
        StreamOffset::new(self.state.lock().written as u64)
    }

    fn when_written(&self, position: StreamOffset, done: Done) {
        let mut state = self.state.lock();
        let outcome = match state.written as u64 >= position.bytes() {
            true => Ok(()),
            false if state.ended => Err(SendError::Closed),
            false => return state.waiting.push((position, done)),
        };
        drop(state);
        done(outcome);
    }

    fn is_open(&self) -> bool {
        !self.state.lock().ended
    }
}

fn text(message: OwnedMessage) -> String {
    message.as_text().map(String::from).unwrap_or_default()
}

fn texts(messages: Vec<OwnedMessage>) -> Vec<String> {
    messages.into_iter().map(text).collect()
}

/// What is still kept.
fn kept(link: &Link) -> Vec<String> {
    texts(mem::take(&mut link.lock().kept).into_messages().collect())
}

/// Sends these, and returns those that were accepted.
fn send_all(link: &Arc<Link>, messages: &[&str]) -> Vec<String> {
    messages.iter().filter(|text| link.send((**text).into()).is_ok()).map(|text| String::from(*text)).collect()
}

/// A connection is lost while a thread sends, and another one follows. Returns what was accepted, and all places where
/// that may be in the end, in order.
fn a_connection_is_lost(offline: Offline, writes: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let link = Link::new(offline);
    let (first, second) = (Arc::<Wire>::default(), Arc::<Wire>::default());
    link.opened(&first.socket());
    link.flush(1);
    let sender = thread::spawn({
        let link = link.clone();
        move || send_all(&link, &["a", "b"])
    });
    for _ in 0..writes {
        first.write();
    }
    first.end();
    let lost = block_on(link.lost());
    link.opened(&second.socket());
    link.flush(2);
    let accepted = sender.join().unwrap();
    let places = vec![first.written(), texts(lost.unsent), second.queued(), kept(&link)];
    (accepted, places)
}

#[test]
fn what_is_sent_while_a_connection_is_lost_is_in_one_place_and_in_order() {
    for (offline, writes) in [(KEEP, 0), (KEEP, 1), (KEEP, 2), (Offline::Refuse, 1), (Offline::Refuse, 2)] {
        loom::model(move || {
            let (accepted, places) = a_connection_is_lost(offline, writes);
            // In this order, too: what was written, what was handed back or sent again, what is newer.
            assert_eq!(places.concat(), accepted, "{places:?}");
            assert!(offline == Offline::Refuse || (accepted.len() == 2 && places[1].is_empty()), "{places:?}");
        });
    }
}

#[test]
fn what_is_sent_while_what_was_kept_is_flushed_follows_it() {
    loom::model(|| {
        let (link, wire) = (Link::new(KEEP), Arc::<Wire>::default());
        assert_eq!(send_all(&link, &["a", "b"]).len(), 2);
        let sender = thread::spawn({
            let link = link.clone();
            move || send_all(&link, &["c", "d"])
        });
        link.opened(&wire.socket());
        link.flush(1);
        sender.join().unwrap();
        assert_eq!([wire.queued(), kept(&link)].concat(), ["a", "b", "c", "d"]);
    });
}

#[test]
fn what_a_reader_flushes_while_the_connection_is_lost_is_in_one_place() {
    loom::model(|| {
        let (link, first, second) = (Link::new(KEEP), Arc::<Wire>::default(), Arc::<Wire>::default());
        assert_eq!(send_all(&link, &["a", "b"]).len(), 2);
        link.opened(&first.socket());
        let reader = thread::spawn({
            let link = link.clone();
            move || link.flush(1)
        });
        first.write();
        first.end();
        assert!(block_on(link.lost()).unsent.is_empty());
        link.opened(&second.socket());
        link.flush(2);
        reader.join().unwrap();
        assert_eq!([first.written(), second.queued(), kept(&link)].concat(), ["a", "b"]);
    });
}
