//! Sends that are awaited, and waiting until output has drained: futures of a socket, polled by hand.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bellwire_core::backend::Shared;
use bellwire_core::{Config, Role, SendError, WebSocket};

use crate::common::*;

type Outcome = Result<(), SendError>;

fn shared(role: Role, config: &Config) -> (Arc<Shared>, WebSocket) {
    let shared = Arc::new(Shared::new(open(role, config)));
    let socket = WebSocket::from_arc(shared.clone());
    (shared, socket)
}

fn poll(future: &mut (impl Future<Output = Outcome> + Unpin), waker: &Waker) -> Poll<Outcome> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Writes all there is.
fn write(shared: &Shared) -> Vec<u8> {
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    output.pieces().flatten().copied().collect()
}

const WRITTEN: Poll<Outcome> = Poll::Ready(Ok(()));
const CLOSED: Poll<Outcome> = Poll::Ready(Err(SendError::Closed));

// Sends.

#[test]
fn a_send_is_done_when_its_last_byte_was_taken_and_not_before() {
    for role in ROLES {
        for length in [0, 5, 20_000, 200_000] {
            let (shared, socket) = shared(role, &timeless());
            let (wakes, waker) = waker();
            let mut sending = socket.send_and_wait(vec![7; length]);
            socket.send("behind").unwrap();
            let output = shared.take_output().unwrap();
            let last = output.len() - Frame::text("behind").sent_by(role).len();
            shared.wrote(START, last - 1);
            assert_eq!((poll(&mut sending, &waker), wakes.count()), (Poll::Pending, 0));
            shared.wrote(START, 1);
            assert_eq!((wakes.count(), poll(&mut sending, &waker)), (1, WRITTEN));
            shared.wrote(START, output.len() - last);
            assert_eq!((wakes.count(), poll(&mut sending, &waker)), (1, WRITTEN), "and stays so");
        }
    }
}

#[test]
fn a_send_that_was_written_before_it_is_polled_is_done_at_once() {
    let (shared, socket) = shared(Role::Server, &timeless());
    let mut sending = socket.send_and_wait("x");
    write(&shared);
    shared.finish();
    assert_eq!(poll(&mut sending, Waker::noop()), WRITTEN);
}

#[test]
fn a_send_that_is_refused_is_done_at_once_with_the_reason() {
    for role in ROLES {
        let (shared, socket) = shared(role, &timeless().max_queued(100));
        socket.send("x").unwrap();
        let mut full = socket.send_and_wait("x".repeat(100));
        assert_eq!(poll(&mut full, Waker::noop()), Poll::Ready(Err(SendError::Full)));
        assert_eq!(write(&shared), Frame::text("x").sent_by(role));
        socket.close().unwrap();
        assert_eq!(poll(&mut socket.send_and_wait("x"), Waker::noop()), CLOSED);
        assert_eq!(write(&shared), Frame::close(1000, "Normal Closure").sent_by(role));
    }
}

#[test]
fn a_send_whose_connection_ends_before_is_in_vain() {
    type End = fn(&Shared, &WebSocket);
    let ends: [End; 4] = [
        |shared, _| shared.finish(),
        |shared, _| {
            shared.with(|connection| connection.transport_failed("reset"));
            shared.finish();
        },
        |shared, socket| {
            socket.abort();
            shared.finish();
        },
        |shared, _| {
            // It is being written, and only its first byte was taken.
            let _taken = shared.take_output().unwrap();
            shared.wrote(START, 1);
            shared.finish();
        },
    ];
    for end in ends {
        for polled in [false, true] {
            let (shared, socket) = shared(Role::Server, &timeless());
            let (wakes, waker) = waker();
            let mut sending = socket.send_and_wait("x");
            if polled {
                assert!(poll(&mut sending, &waker).is_pending());
            }
            end(&shared, &socket);
            assert_eq!((wakes.count(), poll(&mut sending, &waker)), (usize::from(polled), CLOSED));
        }
    }
}

#[test]
fn a_send_that_is_dropped_leaves_all_the_same() {
    for polled in [false, true] {
        let (shared, socket) = shared(Role::Server, &timeless());
        let (wakes, waker) = waker();
        let mut dropped = socket.send_and_wait("dropped");
        let mut kept = socket.send_and_wait("kept");
        assert!(poll(&mut kept, Waker::noop()).is_pending());
        if polled {
            assert!(poll(&mut dropped, &waker).is_pending());
        }
        drop((dropped, waker));
        assert_eq!(Arc::strong_count(&wakes), 1, "what the waker holds is let go");
        assert_eq!(write(&shared), wire(&[Frame::text("dropped"), Frame::text("kept")], Role::Server));
        assert_eq!((wakes.count(), poll(&mut kept, Waker::noop())), (0, WRITTEN));
    }
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once() {
    let (shared, socket) = shared(Role::Server, &timeless());
    let mut sending = socket.send_and_wait("x");
    let ((before, old), (wakes, waker)) = (waker(), waker());
    for waker in [&waker, &old, &old, &waker, &waker] {
        assert!(poll(&mut sending, waker).is_pending());
    }
    drop(old);
    assert_eq!(Arc::strong_count(&before), 1, "it is not kept");
    write(&shared);
    shared.finish();
    assert_eq!((before.count(), wakes.count()), (0, 1));
    assert_eq!(poll(&mut sending, &waker), WRITTEN);
}

#[test]
fn a_waker_may_use_the_socket_and_poll_the_send() {
    type Sending = Mutex<Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>>;
    struct Uses(WebSocket, Sending, AtomicUsize);
    impl Wake for Uses {
        fn wake(self: Arc<Self>) {
            self.0.send("from the waker").unwrap();
            let mut sending = self.1.lock().unwrap().take().unwrap();
            assert_eq!(poll(&mut sending, Waker::noop()), WRITTEN);
            self.2.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (shared, socket) = shared(Role::Server, &timeless());
    let uses = Arc::new(Uses(socket.clone(), Mutex::default(), AtomicUsize::new(0)));
    let mut sending = Box::pin(socket.send_and_wait("x"));
    assert!(poll(&mut sending, &uses.clone().into()).is_pending());
    *uses.1.lock().unwrap() = Some(sending);
    assert_eq!(write(&shared), Frame::text("x").sent_by(Role::Server));
    assert_eq!(uses.2.load(Ordering::Relaxed), 1);
    assert_eq!(write(&shared), Frame::text("from the waker").sent_by(Role::Server));
}

#[test]
fn a_waker_may_use_the_socket_when_it_is_dropped() {
    struct Uses(WebSocket);
    impl Wake for Uses {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.send("bye").unwrap();
        }
    }
    let (shared, socket) = shared(Role::Server, &timeless());
    let uses = || Waker::from(Arc::new(Uses(socket.clone())));
    let mut sending = pin!(socket.send_and_wait("x"));
    // In place of another, when it was woken, and with the future.
    assert!(poll(&mut sending, &uses()).is_pending());
    assert!(poll(&mut sending, &uses()).is_pending());
    assert_eq!(write(&shared), wire(&[Frame::text("x"), Frame::text("bye")], Role::Server));
    assert_eq!(write(&shared), Frame::text("bye").sent_by(Role::Server));
    let mut sending = socket.send_and_wait("x");
    assert!(poll(&mut sending, &uses()).is_pending());
    drop(sending);
    assert_eq!(write(&shared), wire(&[Frame::text("x"), Frame::text("bye")], Role::Server));
}

#[test]
fn several_sends_are_done_each_at_its_own_byte_whatever_order_they_are_polled_in() {
    let (shared, socket) = shared(Role::Server, &timeless());
    let mut sendings = ["1", "2", "3"].map(|text| socket.send_and_wait(text));
    for sending in sendings.iter_mut().rev() {
        assert!(poll(sending, Waker::noop()).is_pending());
    }
    let _taken = shared.take_output().unwrap();
    for count in 1..=3 {
        shared.wrote(START, 3);
        let done = sendings.each_mut().map(|sending| poll(sending, Waker::noop()).is_ready());
        assert_eq!(done, [count >= 1, count >= 2, count >= 3]);
    }
}

// Until output has drained.

/// Above 1000 unsent bytes a socket is not writable, until they are down to 100.
fn marks() -> Config {
    timeless().watermarks(100, 1000)
}

#[test]
fn a_socket_is_writable_at_once_up_to_the_high_watermark() {
    let (_shared, socket) = shared(Role::Server, &marks());
    assert_eq!(poll(&mut socket.writable(), Waker::noop()), WRITTEN);
    socket.send(vec![0; 996]).unwrap();
    assert_eq!(socket.buffered(), 1000);
    assert_eq!(poll(&mut socket.writable(), Waker::noop()), WRITTEN);
}

#[test]
fn a_socket_above_the_high_watermark_is_writable_when_output_is_down_to_the_low_one() {
    for role in ROLES {
        let (shared, socket) = shared(role, &marks());
        socket.send(vec![0; 1000]).unwrap();
        let (wakes, waker) = waker();
        let mut writable = socket.writable();
        assert!(poll(&mut writable, &waker).is_pending());
        let length = shared.take_output().unwrap().len();
        shared.wrote(START, length - 101);
        assert_eq!((wakes.count(), poll(&mut writable, &waker)), (0, Poll::Pending));
        shared.wrote(START, 1);
        assert_eq!((wakes.count(), poll(&mut writable, &waker)), (1, WRITTEN));
        shared.wrote(START, 100);
        assert_eq!((wakes.count(), poll(&mut socket.writable(), &waker)), (1, WRITTEN));
    }
}

#[test]
fn a_low_watermark_above_the_high_one_counts_as_the_high_one() {
    let mut config = marks();
    config.low_watermark = 2000;
    let (shared, socket) = shared(Role::Server, &config);
    socket.send(vec![0; 2996]).unwrap();
    let (wakes, waker) = waker();
    let mut writable = socket.writable();
    assert!(poll(&mut writable, &waker).is_pending());
    assert_eq!(shared.take_output().unwrap().len(), 3000);
    // Woken at the low one it would find that it is above the high one, and so on for ever.
    shared.wrote(START, 1999);
    assert_eq!(wakes.count(), 0);
    shared.wrote(START, 1);
    assert_eq!((wakes.count(), poll(&mut writable, &waker)), (1, WRITTEN));
}

#[test]
fn a_socket_is_not_writable_if_others_have_sent_meanwhile() {
    let (shared, socket) = shared(Role::Server, &marks());
    socket.send(vec![0; 1000]).unwrap();
    let (wakes, waker) = waker();
    let mut writable = socket.writable();
    assert!(poll(&mut writable, &waker).is_pending());
    let length = shared.take_output().unwrap().len();
    socket.send(vec![0; 5000]).unwrap();
    shared.wrote(START, length);
    assert_eq!((wakes.count(), poll(&mut writable, &waker)), (1, Poll::Pending));
    write(&shared);
    assert_eq!((wakes.count(), poll(&mut writable, &waker)), (2, WRITTEN));
}

#[test]
fn a_closed_socket_is_not_writable_however_much_is_queued() {
    for length in [0, 1000] {
        let (shared, socket) = shared(Role::Server, &marks());
        socket.send(vec![0; length]).unwrap();
        let mut before = socket.writable();
        assert_eq!(poll(&mut before, Waker::noop()).is_pending(), length > 0);
        socket.close().unwrap();
        assert_eq!(poll(&mut socket.writable(), Waker::noop()), CLOSED);
        if length > 0 {
            write(&shared);
            assert_eq!(poll(&mut before, Waker::noop()), CLOSED);
        }
    }
}

#[test]
fn who_waits_for_a_socket_that_ends_is_told() {
    let (shared, socket) = shared(Role::Server, &marks());
    socket.send(vec![0; 1000]).unwrap();
    let (wakes, waker) = waker();
    let mut writable = socket.writable();
    assert!(poll(&mut writable, &waker).is_pending());
    shared.finish();
    assert_eq!((wakes.count(), poll(&mut writable, &waker)), (1, CLOSED));
    assert_eq!(poll(&mut socket.writable(), &waker), CLOSED);
}

#[test]
fn waiting_for_a_writable_socket_that_is_dropped_changes_nothing() {
    let (shared, socket) = shared(Role::Server, &marks());
    socket.send(vec![0; 1000]).unwrap();
    let (wakes, waker) = waker();
    let mut writable = socket.writable();
    assert!(poll(&mut writable, &waker).is_pending());
    drop((writable, waker));
    assert_eq!(Arc::strong_count(&wakes), 1, "what the waker holds is let go");
    write(&shared);
    assert_eq!((wakes.count(), poll(&mut socket.writable(), Waker::noop())), (0, WRITTEN));
}
