//! Models of a stream's reader and its listener, on two threads. Loom runs each in every order in which they can take
//! the lock and sleep: one that sleeps for ever is a deadlock, so a model that comes to its end has lost no wake-up.

use alloc::sync::Arc;
use core::task::Waker;

use loom::thread;

use super::*;
use crate::config::Config;
use crate::drive::Shared;
use crate::protocol::Connection;
use crate::sync::wait_for;
use crate::time::Time;

fn push(channel: &Channel, message: OwnedMessage) {
    channel.push(message);
}

/// A channel that has room for no more.
fn full() -> Arc<Channel> {
    let channel = Arc::new(Channel::default());
    push(&channel, OwnedMessage::Binary([0; MAX_BYTES].to_vec().into()));
    channel
}

/// The reader, and what it has taken.
struct Reader<'a>(&'a Channel, Batch);

impl<'a> Reader<'a> {
    fn of(channel: &'a Channel) -> Self {
        Self(channel, Batch::default())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedMessage>> {
        if let Some(message) = self.1.pop() {
            return Poll::Ready(Some(message));
        }
        self.0.poll(cx, |state| state.next(&mut self.1)).map(|next| next.map(Result::unwrap))
    }

    /// What it gets next, once it is there.
    fn next(&mut self) -> Option<OwnedMessage> {
        wait_for(|cx| self.poll_next(cx))
    }
}

fn open() -> WebSocket {
    let config = Config::default().keepalive_interval(None);
    WebSocket::new(Shared::new(Connection::server(Arc::new(config), Time::ZERO)))
}

fn wait_for_room(channel: &Channel) {
    wait_for(|cx| channel.poll_room(|| false, cx));
}

#[test]
fn a_reader_hears_of_each_message_and_of_the_end() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        let listener = channel.clone();
        let listener = thread::spawn(move || {
            push(&listener, "a".into());
            push(&listener, "b".into());
            listener.tell(|state| state.ended = true);
        });
        let mut reader = Reader::of(&channel);
        assert_eq!(reader.next(), Some("a".into()));
        assert_eq!(reader.next(), Some("b".into()));
        assert_eq!(reader.next(), None);
        listener.join().unwrap();
    });
}

#[test]
fn a_listener_hears_of_room_whoever_polled_first() {
    loom::model(|| {
        let channel = full();
        assert!(channel.poll_room(|| false, &mut Context::from_waker(Waker::noop())).is_pending());
        let listener = channel.clone();
        let listener = thread::spawn(move || wait_for_room(&listener));
        assert!(Reader::of(&channel).next().is_some());
        listener.join().unwrap();
    });
}

#[test]
fn a_listener_hears_of_a_reader_that_leaves() {
    loom::model(|| {
        let channel = full();
        let listener = channel.clone();
        let listener = thread::spawn(move || wait_for_room(&listener));
        channel.leave();
        listener.join().unwrap();
        assert!(channel.lock().messages.is_empty());
    });
}

/// The close is answered when the reader has taken the last message, and asks for more: not before, and not never.
#[test]
fn the_peers_close_waits_for_the_reader_until_it_asks_again() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        push(&channel, "a".into());
        let listener = channel.clone();
        let listener = thread::spawn(move || {
            wait_for(|cx| listener.poll_hungry(cx));
            assert!(listener.lock().reader.get().is_some(), "the reader may still answer");
        });
        let mut reader = Reader::of(&channel);
        assert_eq!(reader.next(), Some("a".into()));
        assert!(reader.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
        listener.join().unwrap();
    });
}

#[test]
fn a_connection_that_opens_while_its_stream_is_dropped_is_closed() {
    loom::model(|| {
        let socket = open();
        let channel = Arc::new(Channel::default());
        let opening = {
            let (channel, socket) = (channel.clone(), socket.clone());
            thread::spawn(move || channel.open(&socket))
        };
        channel.leave();
        opening.join().unwrap();
        assert!(!socket.is_open());
    });
}

#[test]
fn the_last_half_that_is_dropped_closes_the_connection_and_the_first_does_not() {
    loom::model(|| {
        let socket = open();
        let channel = Arc::new(Channel::default());
        let other = {
            let (channel, socket) = (channel.clone(), socket.clone());
            thread::spawn(move || channel.part(&socket))
        };
        channel.part(&socket);
        other.join().unwrap();
        assert!(!socket.is_open());
        let one = open();
        Channel::default().part(&one);
        assert!(one.is_open());
    });
}

/// Wherever the halves are dropped while the future is polled that had them.
#[test]
fn a_stream_that_is_dropped_while_its_owner_is_polled_closes_the_connection_once_that_waits() {
    loom::model(|| {
        let socket = open();
        let channel = Arc::new(Channel::default());
        let other = {
            let (channel, socket) = (channel.clone(), socket.clone());
            thread::spawn(move || channel.part(&socket))
        };
        let polled = channel.polling(&socket, || {
            channel.part(&socket);
            Poll::Pending
        });
        assert!(polled.is_pending());
        other.join().unwrap();
        assert!(!socket.is_open());
    });
}
