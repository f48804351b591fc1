//! A connection as a stream of messages and a sink for them, polled by hand: N1 to N6, and that no future of it minds
//! where it is dropped.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use allocation_counter::measure;
use bellwire_core::backend::{Driver, Step, stream_service};
use bellwire_core::listener::{BoxAsyncListener, IntoAnyListener, IntoAsyncListener};
use bellwire_core::stream::{MessageReceiver, StreamListener};
use bellwire_core::{
    AsyncListener, Closed, ClosedBy, Config, MessageStream, OwnedMessage, Role, SendError, StreamError, stream,
};

use crate::common::*;
use crate::logging::*;

/// What drives a connection, and a transport that takes as much as the test lets it.
struct World {
    role: Role,
    driver: Driver,
    /// What the transport was given and has not taken.
    taken: VecDeque<u8>,
    sent: Vec<u8>,
}

/// A wrapper that overrides nothing.
struct Wrapper(BoxAsyncListener);

impl AsyncListener for Wrapper {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }
}

impl World {
    fn new(role: Role, driver: Driver) -> Self {
        Self { role, driver, taken: VecDeque::new(), sent: Vec::new() }
    }

    /// W2: of a client the listener is inside of a wrapper, which makes no difference.
    fn connected(role: Role, config: &Config, listener: StreamListener) -> Self {
        let listener = match role {
            Role::Server => listener.into_any_listener(),
            Role::Client => Wrapper(listener.into_async_listener()).into_async_listener().into(),
        };
        Self::new(role, started(role, config, listener))
    }

    /// Does what a backend does until it sleeps; the transport takes at most so many bytes.
    fn run(&mut self, mut most: usize) {
        for _ in 0..10_000 {
            most -= self.write(most);
            if self.driver.park(START, Waker::noop()).is_ok() {
                return;
            }
        }
        panic!("it never sleeps");
    }

    fn write(&mut self, most: usize) -> usize {
        if self.taken.is_empty() {
            let output = self.driver.take_output();
            self.taken.extend(output.iter().flat_map(|output| output.pieces().flatten()));
        }
        let count = most.min(self.taken.len());
        self.sent.extend(self.taken.drain(..count));
        self.driver.wrote(START, count);
        count
    }

    /// Does what a backend does until it sleeps, and says what the peer has got since.
    fn settle(&mut self) -> Vec<u8> {
        self.run(usize::MAX);
        std::mem::take(&mut self.sent)
    }

    fn receive(&mut self, frames: &[Frame]) {
        receive(&mut self.driver, self.role, frames);
    }

    fn step(&mut self) -> Step {
        self.driver.step(START)
    }

    #[track_caller]
    fn sends(&mut self, frames: &[Frame]) {
        assert_eq!(self.settle(), wire(frames, self.role), "{:?}: {frames:?}", self.role);
    }
}

fn opened_with(role: Role, config: &Config) -> (World, MessageStream) {
    let (listener, opened) = stream();
    (World::connected(role, config, listener), now(opened).unwrap())
}

fn opened(role: Role) -> (World, MessageStream) {
    opened_with(role, &timeless())
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

/// What a future comes to at its first poll.
#[track_caller]
fn now<F: Future>(future: F) -> F::Output {
    match poll(&mut pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[track_caller]
fn waits(future: impl Future) {
    assert!(poll(&mut pin!(future)).is_pending(), "it does not wait");
}

fn line(item: Option<Result<OwnedMessage, StreamError>>) -> String {
    match item {
        Some(Ok(message)) => data(message.as_bytes()),
        Some(Err(error)) => format!("error: {error}"),
        None => "end".into(),
    }
}

/// What can be received without waiting.
fn received(messages: &mut MessageStream) -> Vec<String> {
    let mut lines = Vec::new();
    while let Poll::Ready(item) = poll(&mut pin!(messages.recv())) {
        lines.push(line(item));
        if lines.ends_with(&["end".into()]) {
            break;
        }
    }
    lines
}

/// What can be received while the connection is driven.
fn received_while_driven(world: &mut World, messages: &mut MessageStream) -> Vec<String> {
    let mut lines = received(messages);
    world.run(usize::MAX);
    lines.extend(received(messages));
    lines
}

pub(crate) fn normal_close() -> Frame {
    Frame::close(1000, "Normal Closure")
}

// Opening.

#[test]
fn what_waits_for_a_connection_is_woken_when_it_opens() {
    for role in ROLES {
        let (listener, mut opened) = stream();
        let (wakes, waker) = waker();
        assert!(poll_with(&mut opened, &waker).is_pending());
        let mut world = World::connected(role, &timeless(), listener);
        assert_eq!(wakes.count(), 1);
        let Poll::Ready(Some(messages)) = poll(&mut opened) else { panic!("it is open") };
        assert!(messages.socket().is_open());
        assert!(matches!(poll(&mut opened), Poll::Ready(None)), "there is but one");
        drop(opened);
        world.sends(&[]);
        drop(messages);
    }
}

#[test]
fn what_waits_for_a_connection_gets_none_if_it_never_opens() {
    let (listener, mut opened) = stream();
    let (wakes, waker) = waker();
    assert!(poll_with(&mut opened, &waker).is_pending());
    drop(listener);
    assert_eq!(wakes.count(), 1);
    assert!(matches!(poll(&mut opened), Poll::Ready(None)));
    assert!(matches!(poll(&mut opened), Poll::Ready(None)));
}

#[test]
fn a_connection_that_nobody_waits_for_is_closed_when_it_opens() {
    for role in ROLES {
        let (listener, mut opened) = stream();
        assert!(poll(&mut opened).is_pending());
        drop(opened);
        let mut world = World::connected(role, &timeless(), listener);
        world.sends(&[normal_close()]);
    }
}

#[test]
fn a_connection_that_nobody_takes_is_closed() {
    for role in ROLES {
        let (listener, opened) = stream();
        let mut world = World::connected(role, &timeless(), listener);
        world.receive(&[Frame::text("unread")]);
        world.sends(&[]);
        drop(opened);
        world.sends(&[normal_close()]);
    }
}

#[test]
fn a_connection_that_has_ended_before_it_is_taken_is_a_stream_all_the_same() {
    for role in ROLES {
        let (listener, opened) = stream();
        let mut world = World::connected(role, &timeless(), listener);
        world.receive(&[Frame::text("1"), Frame::text([0xff])]);
        world.settle();
        drop(world);
        let mut messages = now(opened).unwrap();
        assert_eq!(received(&mut messages), ["1", "error: text message not UTF-8", "end"]);
    }
}

// Receiving.

#[test]
fn n1_messages_come_out_as_they_came_in_however_their_bytes_are_cut() {
    let frames = [
        Frame::text("text"),
        Frame::binary("binary"),
        Frame::text("in ").not_final(),
        Frame::ping("p"),
        Frame::continuation("two"),
        Frame::pong("q"),
        Frame::text(""),
        Frame::close(1000, "bye"),
    ];
    for role in ROLES {
        let bytes = wire(&frames, peer_of(role));
        for at in 0..=bytes.len() {
            let (mut world, mut messages) = opened(role);
            let (left, right) = bytes.split_at(at);
            for piece in [left, right] {
                world.driver.receive(START, &mut piece.to_vec());
                world.run(usize::MAX);
            }
            assert!(matches!(now(messages.recv()), Some(Ok(OwnedMessage::Text(text))) if text == "text"));
            assert!(matches!(now(messages.recv()), Some(Ok(OwnedMessage::Binary(bytes))) if bytes == "binary"));
            assert_eq!(received_while_driven(&mut world, &mut messages), ["in two", "", "end"]);
            world.sends(&[Frame::pong("p"), Frame::close(1000, "bye")]);
        }
    }
}

#[test]
fn n2_a_failure_comes_once_behind_the_last_message() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        world.receive(&[Frame::text("1"), Frame::text([0xff]), Frame::text("2")]);
        assert_eq!(received(&mut messages), ["1", "error: text message not UTF-8", "end"]);
        let refused = now(messages.send("x"));
        assert!(matches!(refused, Err(StreamError::Send(SendError::Closed))), "{refused:?}");
        assert_eq!(received(&mut messages), ["end"]);
        assert_eq!(messages.closed().unwrap().code, 1007);
    }
}

#[test]
fn n2_a_driver_that_is_dropped_is_a_failure() {
    for role in ROLES {
        let (world, mut messages) = opened(role);
        let (wakes, waker) = waker();
        let mut recv = Box::pin(messages.recv());
        assert!(poll_with(&mut recv, &waker).is_pending());
        drop(world);
        assert_ne!(wakes.count(), 0);
        assert_eq!(line(now(recv)), "error: the connection's driver was dropped");
        assert_eq!(received(&mut messages), ["end"]);
        assert_eq!(messages.closed().unwrap().code, 1006);
    }
}

#[test]
fn n6_the_end_comes_once_and_stays() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        let (wakes, waker) = waker();
        let mut recv = Box::pin(messages.recv());
        assert!(poll_with(&mut recv, &waker).is_pending());
        world.receive(&[Frame::close(4000, "bye")]);
        assert_eq!(wakes.count(), 1);
        assert_eq!(line(now(recv)), "end");
        assert_eq!((received(&mut messages), received(&mut messages)), (vec!["end".into()], vec!["end".into()]));
        let closed = messages.closed().unwrap();
        assert_eq!((closed.code, &*closed.reason, closed.clean), (4000.into(), "bye", true));
        world.sends(&[Frame::close(4000, "bye")]);
    }
}

#[test]
fn whoever_polls_last_is_woken() {
    let (mut world, mut messages) = opened(Role::Server);
    let ((first, first_waker), (second, second_waker)) = (waker(), waker());
    assert!(poll_with(&mut pin!(messages.recv()), &first_waker).is_pending());
    assert!(poll_with(&mut pin!(messages.recv()), &second_waker).is_pending());
    world.receive(&[Frame::text("1"), Frame::text("2")]);
    assert_eq!((first.count(), second.count()), (0, 1));
    assert_eq!(received(&mut messages), ["1", "2"]);
}

/// Reads when it is woken.
#[derive(Default)]
struct Reading(Mutex<(Option<MessageReceiver>, Vec<String>)>);

impl Wake for Reading {
    fn wake(self: Arc<Self>) {
        let waker = self.clone().into();
        let (receiver, lines) = &mut *self.0.lock().unwrap();
        while let Poll::Ready(item) = poll_with(&mut pin!(receiver.as_mut().unwrap().recv()), &waker) {
            lines.push(line(item));
            if lines.ends_with(&["end".into()]) {
                break;
            }
        }
    }
}

#[test]
fn no_lock_is_held_while_a_reader_is_woken() {
    let (mut world, messages) = opened(Role::Server);
    let (_sender, receiver) = messages.split();
    let reading = Arc::new(Reading::default());
    reading.0.lock().unwrap().0 = Some(receiver);
    reading.clone().wake();
    world.receive(&[Frame::text("1"), Frame::text("2"), Frame::close(1000, "")]);
    let lines = std::mem::take(&mut reading.0.lock().unwrap().1);
    assert_eq!(lines, ["1", "2", "end"]);
}

#[test]
fn a_reader_that_does_not_read_stops_the_peer_and_loses_nothing() {
    // So many small ones, and so many bytes.
    for (size, most) in [(1, 256), (16 * 1024, 4), (1024 * 1024, 1)] {
        for role in ROLES {
            let (mut world, mut messages) = opened(role);
            for index in 0..most {
                assert_eq!(world.step(), Step::Read, "{index} of {size} bytes");
                world.receive(&[Frame::binary(vec![index as u8; size])]);
                world.sends(&[]);
            }
            assert_eq!(world.step(), Step::Wait, "{size} bytes");
            // What had been read already.
            world.receive(&[Frame::text("1"), Frame::ping("p"), Frame::text("2"), Frame::close(1000, "bye")]);
            world.sends(&[]);
            assert_eq!(world.step(), Step::Wait);
            for index in 0..most {
                let Some(Ok(message)) = now(messages.recv()) else { panic!("{index} of {size} bytes") };
                assert!(message == vec![index as u8; size]);
                world.run(usize::MAX);
            }
            assert_eq!(received_while_driven(&mut world, &mut messages), ["1", "2", "end"]);
            world.sends(&[Frame::pong("p"), Frame::close(1000, "bye")]);
        }
    }
}

#[test]
fn a_full_stream_wakes_its_driver_when_something_is_taken() {
    let (mut world, mut messages) = opened(Role::Server);
    world.receive(&[Frame::binary(vec![0; 100_000])]);
    let (wakes, waker) = waker();
    assert_eq!(world.driver.park(START, &waker), Ok(None));
    assert_eq!(wakes.count(), 0);
    now(messages.recv()).unwrap().unwrap();
    assert_eq!(wakes.count(), 1);
    world.run(0);
    assert_eq!(world.step(), Step::Read);
}

#[test]
fn pings_are_answered_and_a_close_is_while_nobody_reads_and_nobody_writes() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        world.receive(&[Frame::ping("1")]);
        world.sends(&[Frame::pong("1")]);
        now(messages.send("a")).unwrap();
        world.receive(&[Frame::ping("2")]);
        world.sends(&[Frame::text("a"), Frame::pong("2")]);
        world.receive(&[Frame::close(1000, "bye")]);
        world.sends(&[Frame::close(1000, "bye")]);
        assert_eq!(received(&mut messages), ["end"]);
    }
}

#[test]
fn a_close_is_answered_when_the_messages_before_it_were_taken_and_answered() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        world.receive(&[Frame::text("1"), Frame::text("2"), Frame::close(4000, "bye")]);
        for expected in ["1", "2"] {
            world.sends(&[]);
            assert_eq!(line(now(messages.recv())), expected);
            now(messages.send(expected)).unwrap();
            world.sends(&[Frame::text(expected)]);
        }
        waits(messages.recv());
        world.sends(&[Frame::close(4000, "bye")]);
        assert_eq!(received(&mut messages), ["end"]);
    }
}

#[test]
fn a_close_that_breaks_off_a_message_waits_for_the_reader_too() {
    for role in ROLES {
        let frames = [Frame::text("1"), Frame::text("2").not_final(), Frame::close(4000, "bye")];
        let bytes = wire(&frames, peer_of(role));
        for cut in 0..bytes.len() {
            let (mut world, mut messages) = opened(role);
            for part in [&bytes[..cut], &bytes[cut..]] {
                world.driver.receive(START, &mut part.to_vec());
                world.sends(&[]);
            }
            assert_eq!(line(now(messages.recv())), "1");
            now(messages.send("answer")).unwrap();
            world.sends(&[Frame::text("answer")]);
            waits(messages.recv());
            world.sends(&[Frame::close(4000, "bye")]);
            assert_eq!(received(&mut messages), ["end"]);
        }
    }
}

#[test]
fn a_close_behind_messages_that_nobody_takes_is_answered_after_a_second() {
    for role in ROLES {
        // Not one, and not all.
        for taken in [0, 1] {
            let (mut world, mut messages) = opened(role);
            world.receive(&[Frame::text("1"), Frame::text("2"), Frame::close(4000, "bye")]);
            for expected in ["1", "2"].iter().take(taken) {
                assert_eq!(line(now(messages.recv())), *expected);
            }
            for early in [START, at(ms(999))] {
                world.driver.handle_timeout(early);
                world.sends(&[]);
            }
            world.driver.handle_timeout(at(ms(1000)));
            world.sends(&[Frame::close(4000, "bye")]);
            let rest = &["1", "2", "end"][taken..];
            assert_eq!(received(&mut messages), rest);
        }
    }
}

#[test]
fn a_close_is_answered_after_a_second_though_the_user_writes_on() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        world.receive(&[Frame::text("1")]);
        assert_eq!(received(&mut messages), ["1"]);
        world.receive(&[Frame::text("2"), Frame::close(4000, "bye")]);
        for tenth in 0..10 {
            now(messages.send("news")).unwrap();
            world.driver.handle_timeout(at(ms(100 * tenth)));
            let written = written_at(&mut world.driver, at(ms(100 * tenth)));
            assert_eq!(written, wire(&[Frame::text("news")], role));
        }
        world.driver.handle_timeout(at(ms(1000)));
        world.sends(&[Frame::close(4000, "bye")]);
        let refused = now(messages.send("more"));
        assert!(matches!(refused, Err(StreamError::Send(SendError::Closed))), "{refused:?}");
    }
}

#[test]
fn a_close_is_answered_at_once_if_nobody_reads_any_more() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        let (sender, mut receiver) = messages.split();
        world.receive(&[Frame::text("1"), Frame::text("2"), Frame::close(4000, "bye")]);
        assert_eq!(line(now(receiver.recv())), "1");
        world.sends(&[]);
        drop(receiver);
        world.sends(&[Frame::close(4000, "bye")]);
        drop(sender);
    }
}

#[test]
fn a_stream_that_is_dropped_with_a_close_in_it_closes_once() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        world.receive(&[Frame::text("1"), Frame::close(4000, "bye")]);
        world.sends(&[]);
        drop(messages);
        world.sends(&[normal_close()]);
    }
}

// The halves.

#[test]
fn a_receiver_alone_receives() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        let (sender, mut receiver) = messages.split();
        drop(sender);
        world.sends(&[]);
        world.receive(&[Frame::text("1")]);
        assert_eq!(line(now(receiver.recv())), "1");
        waits(receiver.recv());
        drop(receiver);
        world.sends(&[normal_close()]);
    }
}

#[test]
fn a_sender_alone_sends_and_what_comes_is_read_and_dropped() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        let (mut sender, receiver) = messages.split();
        world.receive(&[Frame::binary(vec![0; 100_000])]);
        world.run(0);
        assert_eq!(world.step(), Step::Wait);
        drop(receiver);
        world.sends(&[]);
        let kept = measure(|| {
            for _ in 0..1000 {
                assert_eq!(world.step(), Step::Read);
                world.receive(&[Frame::text("unread")]);
                world.run(usize::MAX);
            }
        });
        assert!(kept.bytes_current < 1000, "{kept:?}");
        now(sender.send("1")).unwrap();
        world.sends(&[Frame::text("1")]);
        drop(sender);
        world.sends(&[normal_close()]);
    }
}

#[test]
fn n3_a_code_and_a_reason_are_those_of_the_close() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        messages.socket().close_with(4001, "enough").unwrap();
        world.sends(&[Frame::text("1"), Frame::close(4001, "enough")]);
        drop(messages);
        world.sends(&[]);
    }
}

#[test]
fn n4_a_stream_that_is_dropped_closes_with_1000_behind_what_was_sent() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        drop(messages);
        world.sends(&[Frame::text("1"), normal_close()]);
    }
}

#[test]
fn n5_a_stream_that_is_dropped_by_a_panic_closes_with_1011() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        let owner = AssertUnwindSafe(move || {
            let _messages = messages;
            panic!("the owner's secret");
        });
        assert!(catch_unwind(owner).is_err());
        world.sends(&[Frame::close(1011, "Unexpected Error")]);
    }
}

// Sending.

/// Little fits: above 40 bytes that are not written messages wait until there are 10.
fn narrow() -> Config {
    timeless().watermarks(10, 40).max_queued(100)
}

#[test]
fn a_send_waits_until_the_transport_has_taken_enough_and_leaves_then() {
    let (mut world, mut messages) = opened_with(Role::Server, &narrow());
    now(messages.send(vec![1; 48])).unwrap();
    let (wakes, waker) = waker();
    let mut send = Box::pin(messages.send("2"));
    assert!(poll_with(&mut send, &waker).is_pending());
    world.run(39);
    assert_eq!(wakes.count(), 0);
    assert!(poll_with(&mut send, &waker).is_pending());
    world.run(1);
    assert_eq!(wakes.count(), 1);
    now(send).unwrap();
    world.sends(&[Frame::binary(vec![1; 48]), Frame::text("2")]);
}

#[test]
fn a_message_that_never_fits_beside_another_waits_until_there_is_none() {
    for role in ROLES {
        let (mut world, mut messages) = opened_with(role, &narrow());
        now(messages.send("1")).unwrap();
        let mut send = Box::pin(messages.send(vec![2; 1000]));
        assert!(poll(&mut send).is_pending());
        world.sends(&[Frame::text("1")]);
        now(send).unwrap();
        world.sends(&[Frame::binary(vec![2; 1000])]);
    }
}

#[test]
fn n2_a_send_that_waits_when_the_connection_ends_is_refused() {
    for role in ROLES {
        let (mut world, mut messages) = opened_with(role, &narrow());
        now(messages.send(vec![1; 80])).unwrap();
        let (wakes, waker) = waker();
        let mut send = Box::pin(messages.send("2"));
        assert!(poll_with(&mut send, &waker).is_pending());
        world.driver.transport_failed(START, "reset");
        drop(world);
        assert_eq!(wakes.count(), 1);
        assert!(matches!(now(send), Err(StreamError::Send(SendError::Closed))));
        assert_eq!(received(&mut messages), ["error: the transport failed: reset", "end"]);
    }
}

#[test]
fn a_send_that_is_given_up_again_and_again_leaves_nothing_behind() {
    let (mut world, mut messages) = opened_with(Role::Server, &narrow());
    now(messages.send(vec![1; 80])).unwrap();
    world.run(0);
    let mut give_up = |count: usize| {
        measure(|| (0..count).for_each(|index| waits(messages.send(["a", "longer"][index % 2])))).bytes_current
    };
    give_up(10);
    assert_eq!(give_up(10_000), 0);
    world.sends(&[Frame::binary(vec![1; 80])]);
    now(messages.send("2")).unwrap();
    world.sends(&[Frame::text("2")]);
}

#[test]
fn a_short_message_does_not_wait_for_what_a_long_one_waits_for() {
    let (mut world, mut messages) = opened_with(Role::Server, &narrow());
    now(messages.send("1")).unwrap();
    world.run(0);
    waits(messages.send(vec![0; 1000]));
    now(messages.send("2")).unwrap();
    world.sends(&[Frame::text("1"), Frame::text("2")]);
}

// Before a program ends.

#[test]
fn e3_a_flush_is_done_when_the_transport_has_taken_what_was_sent() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        let all = wire(&[Frame::text("1"), Frame::text("2")], role).len();
        let (wakes, waker) = waker();
        now(messages.send("2")).unwrap();
        let mut flush = Box::pin(messages.flush());
        assert!(poll_with(&mut flush, &waker).is_pending());
        world.run(all - 1);
        assert!(poll_with(&mut flush, &waker).is_pending());
        assert_eq!(wakes.count(), 0);
        world.run(1);
        assert_eq!(wakes.count(), 1);
        now(flush).unwrap();
        now(messages.flush()).unwrap();
    }
}

#[test]
fn e3_a_flush_that_is_dropped_takes_nothing_back_and_one_behind_it_waits_for_what_was_sent_since() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        waits(messages.flush());
        now(messages.send("2")).unwrap();
        world.run(wire(&[Frame::text("1")], role).len());
        waits(messages.flush());
        world.sends(&[Frame::text("1"), Frame::text("2")]);
        now(messages.flush()).unwrap();
    }
}

#[test]
fn e3_a_flush_whose_connection_ends_before_all_is_written_fails() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        let mut flush = Box::pin(messages.flush());
        assert!(poll(&mut flush).is_pending());
        world.driver.transport_failed(START, "broken");
        drop(world);
        assert!(matches!(now(flush), Err(StreamError::Send(SendError::Closed))));
    }
}

#[test]
fn e1_a_close_waits_for_the_peer_and_for_the_transport_and_says_how_it_ended() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        let (wakes, waker) = waker();
        let mut close = Box::pin(messages.close());
        assert!(poll_with(&mut close, &waker).is_pending());
        world.sends(&[Frame::text("1"), normal_close()]);
        assert!(poll_with(&mut close, &waker).is_pending());
        world.receive(&[Frame::text("too late"), Frame::close(4000, "bye")]);
        world.sends(&[]);
        assert!(poll_with(&mut close, &waker).is_pending(), "the transport is still there");
        drop(world);
        assert_eq!(wakes.count(), 1);
        let closed = Closed::clean(4000, "bye", ClosedBy::Local);
        assert_eq!(now(close), closed);
        // At once, and as often as one likes.
        assert_eq!(now(messages.close()), closed);
        let (mut sender, receiver) = messages.split();
        assert_eq!(now(sender.close()), closed);
        assert_eq!((sender.closed(), receiver.closed()), (Some(closed.clone()), Some(closed)));
    }
}

#[test]
fn e1_a_half_that_closes_does_not_need_the_other_to_read() {
    for role in ROLES {
        let (mut world, messages) = opened(role);
        let (mut sender, _receiver) = messages.split();
        for _ in 0..300 {
            world.receive(&[Frame::text("unread")]);
        }
        let mut close = Box::pin(sender.close());
        assert!(poll(&mut close).is_pending());
        world.sends(&[normal_close()]);
        world.receive(&[Frame::close(1000, "")]);
        world.sends(&[]);
        drop(world);
        assert!(now(close).clean);
    }
}

#[test]
fn e1_a_close_that_is_dropped_leaves_the_connection_closing() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        waits(messages.close());
        world.sends(&[normal_close()]);
        waits(messages.close());
        world.sends(&[]);
    }
}

// Wherever a future is dropped.

/// Polls a future at most so many times, with something between the polls: what it has come to.
fn poll_times<F: Future>(future: F, times: usize, mut between: impl FnMut()) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = poll(&mut future) {
            return Some(output);
        }
        between();
    }
    None
}

/// The peer's bytes, one at a time.
fn arrives(world: &mut World, bytes: &mut impl Iterator<Item = u8>) {
    if let Some(byte) = bytes.next() {
        world.driver.receive(START, &mut [byte]);
    }
    world.run(usize::MAX);
}

fn some_frames() -> Vec<Frame> {
    let messages = (0..20).flat_map(|index| [Frame::text(index.to_string()), Frame::ping("p")]);
    messages.chain([Frame::text([0xff])]).collect()
}

fn some_lines() -> Vec<String> {
    let messages = (0..20).map(|index| index.to_string());
    messages.chain(["error: text message not UTF-8".into(), "end".into()]).collect()
}

#[test]
fn a_recv_that_is_dropped_at_any_poll_loses_nothing_and_doubles_nothing() {
    for role in ROLES {
        for polls in 1..30 {
            let (mut world, mut messages) = opened(role);
            let mut bytes = wire(&some_frames(), peer_of(role)).into_iter();
            let mut lines = Vec::new();
            for _ in 0..1000 {
                let item = poll_times(messages.recv(), polls, || arrives(&mut world, &mut bytes));
                lines.extend(item.map(line));
                if lines.ends_with(&["end".into()]) {
                    break;
                }
            }
            assert_eq!(lines, some_lines(), "{polls} polls");
        }
    }
}

#[test]
fn a_send_that_is_dropped_at_any_poll_was_not_sent_and_one_that_is_done_was() {
    for role in ROLES {
        for polls in 1..100 {
            let (mut world, mut messages) = opened_with(role, &narrow());
            let mut accepted = Vec::new();
            for index in 0..40 {
                let message = vec![index as u8; index * 37 % 300];
                let sent = poll_times(messages.send(message.clone()), polls, || world.run(7));
                if let Some(sent) = sent {
                    sent.unwrap();
                    accepted.push(Frame::binary(message));
                }
            }
            assert_ne!(accepted.len(), 0);
            poll_times(messages.send("end"), 1000, || world.run(7)).unwrap().unwrap();
            accepted.push(Frame::text("end"));
            assert_eq!(world.settle(), wire(&accepted, role), "{polls} polls");
        }
    }
}

#[test]
fn what_waits_for_a_connection_may_be_dropped_at_any_poll() {
    for role in ROLES {
        for polls in 0..4 {
            let (listener, opened) = stream();
            let (mut listener, mut world) = (Some(listener), None);
            let mut age = 0;
            let messages = poll_times(opened, polls, || {
                age += 1;
                if age == 2 {
                    world = listener.take().map(|listener| World::connected(role, &timeless(), listener));
                }
            });
            assert_eq!(messages.is_some(), polls == 3);
            let world = listener.take().map(|listener| World::connected(role, &timeless(), listener)).or(world);
            drop(messages);
            world.unwrap().sends(&[normal_close()]);
        }
    }
}

// Accepting.

/// A server's end, and what comes of it.
fn accepted(config: Config) -> (World, impl Future<Output = std::io::Result<MessageStream>>) {
    let (service, accepting) = stream_service(config);
    let driver = Driver::server(service, None, START);
    (World::new(Role::Server, driver), accepting)
}

#[test]
fn a_request_becomes_a_stream_and_what_comes_behind_it_is_its_messages() {
    let bytes = [request(""), wire(&[Frame::text("1"), Frame::text("2")], Role::Client)].concat();
    for at in 0..=bytes.len() {
        let (mut world, accepting) = accepted(timeless());
        for piece in [&bytes[..at], &bytes[at..]] {
            world.driver.receive(START, &mut piece.to_vec());
            world.run(usize::MAX);
        }
        let mut messages = now(accepting).unwrap();
        assert_eq!(received(&mut messages), ["1", "2"]);
        now(messages.send("3")).unwrap();
        let sent = world.settle();
        assert!(sent.starts_with(b"HTTP/1.1 101 "));
        assert!(sent.ends_with(b"\r\n\r\n\x81\x013"));
    }
}

#[test]
fn a_request_that_is_refused_is_an_error_in_words() {
    let bad = data(&request("")).replace("Version: 13", "Version: 12");
    let foreign = data(&request("Origin: https://evil.example\r\n"));
    let plain = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_string();
    for (request, status, why) in [
        (bad, "426", "version"),
        (foreign, "403", "origin"),
        (plain, "426", "upgrade"),
        ("nonsense\r\n\r\n".into(), "400", "HTTP"),
    ] {
        let (mut world, accepting) = accepted(timeless());
        world.driver.receive(START, &mut request.into_bytes());
        let answer = data(&world.settle());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        drop(world);
        let error = now(accepting).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(error.to_string().to_lowercase().contains(&why.to_lowercase()), "{error}");
    }
}

#[test]
fn a_peer_that_leaves_within_its_request_is_an_error() {
    let request = request("");
    for at in 0..request.len() {
        let (mut world, accepting) = accepted(timeless());
        let (wakes, waker) = waker();
        let mut accepting = Box::pin(accepting);
        assert!(poll_with(&mut accepting, &waker).is_pending());
        world.driver.receive(START, &mut request[..at].to_vec());
        world.driver.receive_eof(START);
        leaves(&mut world.driver, START);
        drop(world);
        assert_eq!(wakes.count(), 1);
        assert_eq!(now(accepting).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof, "{at}");
    }
}

#[test]
fn accepting_may_be_dropped_at_any_poll() {
    let request = request("");
    for polls in 0..=request.len() + 1 {
        let (mut world, accepting) = accepted(timeless());
        let mut bytes = request.clone().into_iter();
        let messages = poll_times(accepting, polls, || arrives(&mut world, &mut bytes));
        assert_eq!(messages.is_some(), polls == request.len() + 1, "{polls}");
        drop(messages);
        world.driver.receive(START, &mut bytes.collect::<Vec<_>>());
        let sent = world.settle();
        assert!(sent.starts_with(b"HTTP/1.1 101 "), "{polls}");
        assert!(sent.ends_with(&normal_close().sent_by(Role::Server)), "{polls}");
    }
}

#[cfg(feature = "stream")]
mod traits {
    //! The traits of the futures crates.

    use futures_util::future::FusedFuture;
    use futures_util::stream::FusedStream;
    use futures_util::{Sink, SinkExt, Stream, StreamExt};

    use super::*;

    fn as_a_sink<S: Sink<OwnedMessage, Error = StreamError>>(sink: &mut S) -> &mut S {
        sink
    }

    fn ready(sink: &mut (impl Sink<OwnedMessage, Error = StreamError> + Unpin)) -> Poll<Result<(), StreamError>> {
        Pin::new(sink).poll_ready(&mut Context::from_waker(Waker::noop()))
    }

    fn flushed(sink: &mut (impl Sink<OwnedMessage, Error = StreamError> + Unpin)) -> Poll<Result<(), StreamError>> {
        Pin::new(sink).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    /// All that comes while the connection is driven.
    fn take_all(
        world: &mut World,
        mut stream: impl Stream<Item = Result<OwnedMessage, StreamError>> + Unpin,
    ) -> Vec<String> {
        let mut next = || poll_times(stream.next(), 2, || world.run(usize::MAX)).expect("it waits");
        std::iter::from_fn(|| next().map(|item| line(Some(item)))).collect()
    }

    #[test]
    fn n1_it_is_a_stream_of_what_comes() {
        for role in ROLES {
            let (mut world, messages) = opened(role);
            world.receive(&[Frame::text("1"), Frame::binary("2"), Frame::text([0xff])]);
            assert_eq!(take_all(&mut world, messages), ["1", "2", "error: text message not UTF-8"]);
            let (mut world, messages) = opened(role);
            let (_sender, receiver) = messages.split();
            world.receive(&[Frame::text("1"), Frame::binary("2"), Frame::close(1000, "")]);
            assert_eq!(take_all(&mut world, receiver), ["1", "2"]);
        }
    }

    #[test]
    fn n6_it_is_terminated_when_it_has_said_so_and_not_before() {
        for role in ROLES {
            let (mut world, mut messages) = opened(role);
            assert!(!messages.is_terminated());
            world.receive(&[Frame::text("1"), Frame::text([0xff])]);
            for expected in ["1", "error: text message not UTF-8", "end"] {
                // A `select!` would not poll it any more, and would never hear of the end.
                assert!(!messages.next().is_terminated(), "before {expected}");
                assert_eq!(line(now(messages.next())), expected);
            }
            assert!(messages.is_terminated());
            assert_eq!(line(now(messages.next())), "end");
            assert!(messages.split().1.is_terminated());
        }
    }

    #[test]
    fn a_sink_takes_large_messages_one_after_the_other_and_refuses_none() {
        for role in ROLES {
            let (mut world, mut messages) = opened_with(role, &narrow());
            let mut expected = Vec::new();
            for index in 0..30 {
                let message = vec![index; 30 * usize::from(index)];
                for _ in 0..10_000 {
                    if let Poll::Ready(ready) = ready(&mut messages) {
                        ready.unwrap();
                        break;
                    }
                    world.run(11);
                }
                as_a_sink(&mut messages).start_send_unpin(message.clone().into()).unwrap();
                expected.push(Frame::binary(message));
            }
            poll_times(messages.flush(), 10_000, || world.run(11)).unwrap().unwrap();
            world.sends(&expected);
        }
    }

    /// E1: so it ends when the time of a close is up, however little the peer takes.
    #[test]
    fn a_close_waits_for_no_room_and_leaves_behind_what_a_sink_has_taken() {
        for role in ROLES {
            let (mut world, mut messages) = opened_with(role, &narrow().close_timeout(secs(10)));
            now(messages.send(vec![1; 38])).unwrap();
            as_a_sink(&mut messages).start_send_unpin(vec![2; 90].into()).unwrap();
            world.run(0);
            assert!(messages.socket().is_open());
            waits(messages.close());
            assert!(!messages.socket().is_open());
            world.driver.handle_timeout(START);
            assert_eq!(world.driver.poll_timeout(), Some(at(secs(10))));
            world.sends(&[Frame::binary([1; 38]), Frame::binary([2; 90]), normal_close()]);
        }
    }

    #[test]
    fn a_sink_is_ready_again_when_the_transport_has_taken_enough() {
        let (mut world, mut messages) = opened_with(Role::Server, &narrow());
        now(messages.send(vec![1; 38])).unwrap();
        assert!(ready(&mut messages).is_ready(), "40 bytes are not too many");
        now(messages.send(vec![2; 8])).unwrap();
        world.run(0);
        for _ in 0..40 {
            assert!(ready(&mut messages).is_pending());
            world.run(1);
        }
        assert!(ready(&mut messages).is_ready());
        world.sends(&[Frame::binary([1; 38]), Frame::binary([2; 8])]);
    }

    #[test]
    fn a_flush_is_done_when_the_transport_has_taken_the_last_byte() {
        for role in ROLES {
            let (mut world, mut messages) = opened(role);
            assert!(flushed(&mut messages).is_ready(), "nothing was sent");
            now(messages.send("1")).unwrap();
            let length = wire(&[Frame::text("1")], role).len();
            assert!(flushed(&mut messages).is_pending());
            world.run(length - 1);
            assert!(flushed(&mut messages).is_pending());
            world.run(1);
            assert!(matches!(flushed(&mut messages), Poll::Ready(Ok(()))));
            assert!(matches!(flushed(&mut messages), Poll::Ready(Ok(()))));
        }
    }

    #[test]
    fn n2_a_flush_says_that_not_all_was_written() {
        for role in ROLES {
            let (mut world, mut messages) = opened(role);
            now(messages.send("1")).unwrap();
            assert!(flushed(&mut messages).is_pending());
            world.run(1);
            world.driver.transport_failed(START, "reset");
            drop(world);
            for _ in 0..2 {
                assert!(matches!(flushed(&mut messages), Poll::Ready(Err(StreamError::Send(SendError::Closed)))));
            }
            assert!(matches!(ready(&mut messages), Poll::Ready(Err(StreamError::Send(SendError::Closed)))));
            let refused = messages.start_send_unpin("2".into());
            assert!(matches!(refused, Err(StreamError::Send(SendError::Closed))), "{refused:?}");
        }
    }

    #[test]
    fn a_message_that_a_sink_has_taken_leaves_before_one_that_is_sent_otherwise() {
        let (mut world, mut messages) = opened_with(Role::Server, &narrow());
        now(messages.send("1")).unwrap();
        messages.start_send_unpin(vec![2; 200].into()).unwrap();
        // It does not fit yet.
        let mut send = Box::pin(MessageStream::send(&mut messages, "3"));
        assert!(poll(&mut send).is_pending());
        world.sends(&[Frame::text("1")]);
        assert!(poll(&mut send).is_pending(), "that is much");
        world.sends(&[Frame::binary(vec![2; 200])]);
        now(send).unwrap();
        world.sends(&[Frame::text("3")]);
    }

    #[test]
    fn a_sink_that_is_not_ready_and_is_not_asked_refuses_rather_than_loses() {
        let (mut world, mut messages) = opened_with(Role::Server, &narrow());
        now(messages.send("1")).unwrap();
        let (two, three) = (vec![2; 200], vec![3; 200]);
        messages.start_send_unpin(two.clone().into()).unwrap();
        let refused = messages.start_send_unpin(three.into());
        assert!(matches!(refused, Err(StreamError::Send(SendError::Full))), "{refused:?}");
        poll_times(messages.flush(), 10_000, || world.run(11)).unwrap().unwrap();
        world.sends(&[Frame::text("1"), Frame::binary(two)]);
    }

    #[test]
    fn e3_a_sink_is_closed_when_its_close_frame_has_left() {
        for role in ROLES {
            let (mut world, mut messages) = opened(role);
            now(messages.send("1")).unwrap();
            let mut close = Box::pin(SinkExt::close(&mut messages));
            assert!(poll(&mut close).is_pending());
            world.sends(&[Frame::text("1")]);
            assert!(poll(&mut close).is_pending());
            world.run(wire(&[normal_close()], role).len() - 1);
            assert!(poll(&mut close).is_pending());
            world.run(1);
            now(close).unwrap();
        }
    }

    #[test]
    fn n4_a_sink_that_is_closed_closes_with_1000_behind_all_that_it_took() {
        for role in ROLES {
            let (mut world, mut messages) = opened_with(role, &narrow());
            now(messages.send("1")).unwrap();
            messages.start_send_unpin(vec![2; 200].into()).unwrap();
            poll_times(SinkExt::close(&mut messages), 10_000, || world.run(11)).unwrap().unwrap();
            let expected = [Frame::text("1"), Frame::binary(vec![2; 200]), normal_close()];
            world.sends(&expected);
            assert!(matches!(now(SinkExt::close(&mut messages)), Ok(())), "again");
            let late = now(messages.send("3"));
            assert!(matches!(late, Err(StreamError::Send(SendError::Closed))), "{late:?}");
            // The reading goes on until the peer has answered.
            waits(messages.recv());
            world.receive(&[Frame::close(1000, "bye")]);
            assert_eq!(received(&mut messages), ["end"]);
        }
    }

    #[test]
    fn an_echo_by_forward_ends_with_its_connection() {
        for role in ROLES {
            let (mut world, messages) = opened(role);
            let (sender, receiver) = messages.split();
            let mut forward = Box::pin(receiver.forward(sender));
            for index in 0..10 {
                assert!(poll(&mut forward).is_pending());
                world.receive(&[Frame::text(index.to_string())]);
                assert!(poll(&mut forward).is_pending());
                world.sends(&[Frame::text(index.to_string())]);
            }
            world.receive(&[Frame::close(1000, "bye")]);
            assert!(poll(&mut forward).is_pending(), "the answer has not left");
            world.sends(&[Frame::close(1000, "bye")]);
            assert!(matches!(poll(&mut forward), Poll::Ready(Ok(()))));
        }
    }

    #[test]
    fn a_next_that_is_dropped_at_any_poll_loses_nothing_and_doubles_nothing() {
        for role in ROLES {
            for polls in 1..30 {
                let (mut world, mut messages) = opened(role);
                let mut bytes = wire(&some_frames(), peer_of(role)).into_iter();
                let mut lines = Vec::new();
                for _ in 0..1000 {
                    let item = poll_times(messages.next(), polls, || arrives(&mut world, &mut bytes));
                    lines.extend(item.map(line));
                    if lines.ends_with(&["end".into()]) {
                        break;
                    }
                }
                assert_eq!(lines, some_lines(), "{polls} polls");
            }
        }
    }

    #[test]
    fn a_sinks_send_that_is_dropped_at_any_poll_was_sent_once_or_not_at_all() {
        for role in ROLES {
            for polls in 1..100 {
                let (mut world, mut messages) = opened_with(role, &narrow());
                let (mut done, mut all) = (Vec::new(), Vec::new());
                for index in 0..40 {
                    let message = vec![index as u8; 1 + index * 37 % 300];
                    let sent = poll_times(SinkExt::send(&mut messages, message.clone().into()), polls, || world.run(7));
                    done.push(sent.is_some_and(|sent| sent.is_ok()));
                    all.push(message);
                }
                poll_times(SinkExt::close(&mut messages), 10_000, || world.run(11)).unwrap().unwrap();
                let sent = world.settle();
                let mut rest = &sent[..];
                for (message, done) in all.iter().zip(done) {
                    let frame = Frame::binary(message).sent_by(role);
                    match rest.strip_prefix(&frame[..]) {
                        Some(behind) => rest = behind,
                        None => assert!(!done, "{polls} polls: one that was done was not sent"),
                    }
                }
                assert_eq!(rest, normal_close().sent_by(role), "{polls} polls");
            }
        }
    }

    #[test]
    fn a_close_that_is_dropped_at_any_poll_can_be_taken_up_again() {
        for role in ROLES {
            for polls in 0..60 {
                let (mut world, mut messages) = opened_with(role, &narrow());
                now(messages.send("1")).unwrap();
                messages.start_send_unpin(vec![2; 200].into()).unwrap();
                let closed = poll_times(SinkExt::close(&mut messages), polls, || world.run(5));
                let again = poll_times(SinkExt::close(&mut messages), 60, || world.run(5));
                assert!(matches!(again, Some(Ok(()))), "{polls}: {closed:?}");
                world.sends(&[Frame::text("1"), Frame::binary(vec![2; 200]), normal_close()]);
            }
        }
    }
}

#[test]
fn each_flush_waits_for_what_the_handle_has_sent_before() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        messages.socket().send("0").unwrap();
        waits(messages.flush());
        world.sends(&[Frame::text("0")]);
        now(messages.flush()).unwrap();
        messages.socket().send("1").unwrap();
        waits(messages.flush());
    }
}

#[test]
fn a_flush_does_not_fail_when_all_that_was_sent_was_written() {
    for role in ROLES {
        let (mut world, mut messages) = opened(role);
        now(messages.send("1")).unwrap();
        world.sends(&[Frame::text("1")]);
        // The answer to the peer's ping is never written.
        world.driver.receive(
            START,
            &mut wire(&[Frame::ping("p")], if role == Role::Server { Role::Client } else { Role::Server }),
        );
        world.driver.transport_failed(START, "broken");
        drop(world);
        let flushed = now(messages.flush());
        assert!(flushed.is_ok(), "{flushed:?}");
    }
}

#[test]
fn a_flush_that_begins_when_the_connection_has_ended_fails_if_not_all_was_written() {
    type End = fn(&mut World, &MessageStream);
    let ends: [End; 4] = [
        |world, _| world.driver.transport_failed(START, "broken"),
        |world, _| world.driver.transport_failed(START, std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        |_, messages| messages.socket().abort(),
        |_, _| (),
    ];
    for role in ROLES {
        for (at, end) in ends.iter().enumerate() {
            let (mut world, mut messages) = opened(role);
            now(messages.send("last words")).unwrap();
            end(&mut world, &messages);
            drop(world);
            let flushed = now(messages.flush());
            assert!(matches!(flushed, Err(StreamError::Send(SendError::Closed))), "{role:?}, {at}: {flushed:?}");
        }
    }
}
