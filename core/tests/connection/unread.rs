//! What becomes of a connection, and of messages that had arrived, while their reader takes its time: a full
//! stream, polled by hand and in virtual time.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bellwire_core::backend::{Driver, Step};
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::Time;
use bellwire_core::{ClosedBy, Config, MessageStream, Role, stream};

use crate::common::*;
use crate::logging::*;

/// What a future comes to at its first poll.
fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn opened(role: Role, config: &Config) -> (Driver, MessageStream) {
    let (listener, opened) = stream();
    let driver = started(role, config, listener.into_any_listener());
    let Poll::Ready(Some(messages)) = poll(opened) else { panic!("it is open") };
    (driver, messages)
}

/// Does what a backend does until the driver sleeps: what was written.
fn settle(driver: &mut Driver, now: Time) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        bytes.extend(written_at(driver, now));
        if driver.park(now, Waker::noop()).is_ok() {
            return bytes;
        }
    }
    panic!("it never sleeps");
}

/// What there is to receive, and the end or an error.
fn received(messages: &mut MessageStream) -> Vec<String> {
    let next = || match poll(messages.recv()) {
        Poll::Pending | Poll::Ready(None) => None,
        Poll::Ready(Some(Ok(message))) => Some(data(message.as_bytes())),
        Poll::Ready(Some(Err(error))) => Some(format!("error: {error}")),
    };
    std::iter::from_fn(next).collect()
}

/// More than a stream takes.
const MANY: usize = 300;

fn texts(range: std::ops::Range<usize>) -> Vec<Frame> {
    range.map(|index| Frame::text(index.to_string())).collect()
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

/// A stream that is full, with messages behind it that were read and did not fit.
fn full(role: Role, config: &Config) -> (Driver, MessageStream) {
    let (mut driver, messages) = opened(role, config);
    receive(&mut driver, role, &texts(0..MANY));
    assert_eq!(settle(&mut driver, START), b"");
    assert_eq!(driver.step(START), Step::Wait, "it is full");
    (driver, messages)
}

#[test]
fn what_the_reader_has_in_hand_waits_too() {
    let (mut driver, mut messages) = opened(Role::Server, &Config::default());
    receive(&mut driver, Role::Server, &texts(0..200));
    assert!(poll(messages.recv()).is_ready(), "one of 200 that it takes in one go");
    receive(&mut driver, Role::Server, &texts(200..255));
    settle(&mut driver, START);
    assert_eq!(driver.step(START), Step::Read);
    receive(&mut driver, Role::Server, &texts(255..MANY));
    settle(&mut driver, START);
    assert_eq!(driver.step(START), Step::Wait, "256 wait");
    assert_eq!(received(&mut messages), lines(257)[1..]);
    settle(&mut driver, START);
    assert_eq!(received(&mut messages), lines(MANY)[257..]);
    settle(&mut driver, START);
    assert_eq!(driver.step(START), Step::Read);
}

// A close of this side.

#[test]
fn a_full_stream_that_is_closed_sees_the_peers_answer_and_drops_what_comes_before_it() {
    for role in ROLES {
        let (mut driver, mut messages) = full(role, &Config::default());
        messages.socket().close().unwrap();
        assert_eq!(settle(&mut driver, START), Frame::close(1000, "Normal Closure").sent_by(role));
        for now in (1..10).map(secs) {
            assert_eq!(driver.step(at(now)), Step::Read);
            driver.receive(at(now), &mut wire(&texts(MANY..2 * MANY), peer_of(role)));
            assert_eq!(settle(&mut driver, at(now)), b"");
        }
        driver.receive(at(secs(9)), &mut Frame::close(1000, "bye").sent_by(peer_of(role)));
        let closed = messages.closed().expect("its answer is seen");
        assert_eq!((closed.code.0, &*closed.reason, closed.clean, closed.by), (1000, "bye", true, ClosedBy::Local));
        let received = received(&mut messages);
        assert!((256..=MANY).contains(&received.len()), "{}", received.len());
        assert_eq!(received, lines(received.len()), "and nothing in between is missing");
    }
}

#[test]
fn a_full_stream_that_is_closed_ends_after_the_close_timeout_if_the_peer_does_not_answer() {
    for role in ROLES {
        let (mut driver, messages) = full(role, &Config::default().close_timeout(secs(10)));
        messages.socket().close().unwrap();
        driver.handle_timeout(START);
        settle(&mut driver, START);
        assert_eq!(driver.poll_timeout(), Some(at(secs(10))));
        // It may send on.
        driver.receive(at(secs(9)), &mut wire(&texts(MANY..2 * MANY), peer_of(role)));
        driver.handle_timeout(at(secs(10) - ms(1)));
        assert_eq!(messages.closed(), None);
        driver.handle_timeout(at(secs(10)));
        assert_eq!(messages.closed().map(|closed| closed.code.0), Some(1006));
    }
}

#[test]
fn d7_messages_that_are_delivered_after_a_close_wait_for_their_reader_too() {
    for role in ROLES {
        let (mut driver, mut messages) = opened(role, &timeless().deliver_after_close(true));
        messages.socket().close().unwrap();
        settle(&mut driver, START);
        receive(&mut driver, role, &texts(0..MANY));
        settle(&mut driver, START);
        assert_eq!(driver.step(START), Step::Wait, "it is full");
        assert_eq!(received(&mut messages), lines(256), "no more than a stream takes");
        settle(&mut driver, START);
        assert_eq!(driver.step(START), Step::Read);
        assert_eq!(received(&mut messages).len(), MANY - 256);
    }
}

// A transport that ends.

#[test]
fn what_was_read_before_the_transport_ended_is_delivered_though_the_stream_was_full() {
    type End = fn(&mut Driver);
    let ends: [(End, &str); 2] = [
        (|driver| driver.transport_failed(START, "reset"), "error: the transport failed: reset"),
        (|driver| driver.receive_eof(START), "error: the peer ended the transport without a close frame"),
    ];
    for role in ROLES {
        for (end, error) in ends {
            let (mut driver, mut messages) = full(role, &timeless());
            end(&mut driver);
            let expected = [lines(MANY), vec![error.into()]].concat();
            assert_eq!(received(&mut messages), expected);
            assert_eq!(messages.closed().unwrap().code.0, 1006);
        }
        // If the peer has said goodbye, that is no failure.
        for (end, _) in ends {
            let (mut driver, mut messages) = opened(role, &timeless());
            receive(&mut driver, role, &[&texts(0..MANY)[..], &[Frame::close(1000, "bye")]].concat());
            settle(&mut driver, START);
            end(&mut driver);
            assert_eq!(received(&mut messages), lines(MANY));
            let closed = messages.closed().unwrap();
            assert_eq!((closed.code.0, &*closed.reason, closed.clean), (1000, "bye", true));
        }
    }
}

// The peer's close.

#[test]
fn the_answer_to_a_close_waits_no_longer_than_the_close_timeout() {
    for role in ROLES {
        for (timeout, due) in [(ms(200), ms(200)), (secs(10), secs(1))] {
            let (mut driver, messages) = opened(role, &timeless().close_timeout(timeout));
            receive(&mut driver, role, &[Frame::text("1"), Frame::close(4000, "bye")]);
            driver.handle_timeout(START);
            assert_eq!(settle(&mut driver, START), b"");
            assert_eq!(driver.poll_timeout(), Some(at(due)));
            driver.handle_timeout(at(due));
            assert_eq!(settle(&mut driver, at(due)), Frame::close(4000, "bye").sent_by(role));
            drop(messages);
        }
    }
}

#[test]
fn a_peer_with_the_same_deadlines_sees_a_clean_close_though_the_streams_owner_only_sends() {
    let latency = ms(20);
    for role in ROLES {
        // As long as the stream has room the close is seen behind what nobody takes.
        for unread in [0, 1, 200] {
            let (mut driver, mut messages) = opened(role, &Config::default());
            // The owner has taken one, and might answer that.
            receive(&mut driver, role, &[Frame::text("subscribe")]);
            assert_eq!(received(&mut messages), ["subscribe"]);
            let mut peer = started(peer_of(role), &Config::default(), logging(&Log::default(), |_, _| Ok(())));
            let socket = peer.socket().unwrap().clone();
            (0..unread).for_each(|index| socket.send(index.to_string()).unwrap());
            socket.close().unwrap();
            let mut now = START;
            while socket.closed().is_none() {
                messages.socket().send("news").unwrap_or_default();
                driver.receive(now + latency, &mut settle(&mut peer, now));
                peer.receive(now + 2 * latency, &mut settle(&mut driver, now + latency));
                now += ms(100);
                driver.handle_timeout(now);
                peer.handle_timeout(now);
            }
            assert!(socket.closed().unwrap().clean && now < at(secs(2)), "{now:?}: {:?}", socket.closed());
        }
    }
}
