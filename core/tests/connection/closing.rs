//! The closing handshake (RFC 6455 §7), failing, vanishing, and ending exactly once.

use bellwire_core::proto::{Connection, SharedError, Timeout, Violation};
use bellwire_core::{BoxError, CloseCode, ClosedBy, Config, Error, Role, SendError};
use proptest::prelude::*;

use crate::common::*;

fn shared(text: &str) -> SharedError {
    BoxError::from(text).into()
}

fn each_role(test: impl Fn(Role, Connection)) {
    for role in ROLES {
        test(role, open(role, &timeless()));
    }
}

/// Feeds what the peer sends.
fn peer(connection: &mut Connection, frames: &[Frame]) -> Vec<Seen> {
    let bytes = wire(frames, peer_of(connection.role()));
    feed(connection, START, &bytes)
}

fn refused(connection: &mut Connection) {
    let before = output(connection);
    assert_eq!(connection.send("x"), Err(SendError::Closed));
    assert_eq!(connection.send(vec![0; 100_000]), Err(SendError::Closed));
    assert_eq!(connection.ping(b""), Err(SendError::Closed));
    assert_eq!(connection.pong(b""), Err(SendError::Closed));
    assert_eq!(connection.close(1000, ""), Err(SendError::Closed));
    connection.answer_ping(b"");
    assert_eq!(output(connection), before);
}

// The closing handshake, in both directions.

#[test]
fn d4_a_local_close_ends_with_what_the_peer_answers() {
    each_role(|role, mut connection| {
        connection.close(3000, "enough").unwrap();
        assert_eq!(output(&connection), Frame::close(3000, "enough").sent_by(role));
        assert_eq!(waiting(&mut connection), [], "the peer has not answered");
        let seen = peer(&mut connection, &[Frame::close(1001, "so long")]);
        assert_eq!(seen, [Seen::clean(1001, "so long", ClosedBy::Local)]);
        assert_eq!(output(&connection), Frame::close(3000, "enough").sent_by(role), "one close frame is enough");
        assert!(connection.is_finished() && !connection.is_lost());
    });
}

#[test]
fn d3_a_local_close_that_is_answered_empty_is_1005() {
    each_role(|_, mut connection| {
        connection.close(1000, "").unwrap();
        assert_eq!(peer(&mut connection, &[Frame::close_with("")]), [Seen::clean(1005, "", ClosedBy::Local)]);
    });
}

#[test]
fn a_close_without_a_reason_has_a_payload_of_two_bytes() {
    each_role(|role, mut connection| {
        connection.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(output(&connection), Frame::close_with([3, 0xe8]).sent_by(role));
    });
}

#[test]
fn both_sides_may_close_at_once() {
    let (mut server, mut client) = (open(Role::Server, &timeless()), open(Role::Client, &timeless()));
    server.close(1001, "server").unwrap();
    client.close(3000, "client").unwrap();
    let (from_server, from_client) = (write_all(&mut server, START), write_all(&mut client, START));
    assert_eq!(feed(&mut server, START, &from_client), [Seen::clean(3000, "client", ClosedBy::Local)]);
    assert_eq!(feed(&mut client, START, &from_server), [Seen::clean(1001, "server", ClosedBy::Local)]);
    assert!(server.output().is_empty() && client.output().is_empty(), "nobody answers an answer");
}

#[test]
fn a_close_frame_that_is_cut_is_not_there_yet() {
    each_role(|role, mut connection| {
        let bytes = Frame::close(1000, "bye").sent_by(peer_of(role));
        let (last, first) = bytes.split_last().unwrap();
        assert_eq!(feed(&mut connection, START, first), []);
        assert!(connection.is_open());
        assert_eq!(feed(&mut connection, START, &[*last]), [Seen::clean(1000, "bye", ClosedBy::Peer)]);
    });
}

#[test]
fn d5_what_was_queued_leaves_before_the_close_for_every_code() {
    for code in [1000, 1001, 1002, 1008, 1011, 1013, 3000, 4999] {
        each_role(|role, mut connection| {
            let large = vec![7; 100_000];
            connection.send("first").unwrap();
            connection.send(large.clone()).unwrap();
            connection.ping(b"p").unwrap();
            connection.close(code, "").unwrap();
            let frames = [Frame::text("first"), Frame::binary(large), Frame::ping("p"), Frame::close(code, "")];
            assert_eq!(output(&connection), wire(&frames, role));
        });
    }
}

#[test]
fn d5_what_was_queued_leaves_before_the_echo_of_the_peer_s_close() {
    each_role(|role, mut connection| {
        connection.send("queued").unwrap();
        peer(&mut connection, &[Frame::close(1000, "")]);
        assert_eq!(output(&connection), wire(&[Frame::text("queued"), Frame::close(1000, "")], role));
    });
}

#[test]
fn d5_an_abort_drops_everything_and_is_1006_without_an_error() {
    each_role(|_, mut connection| {
        connection.send("dropped").unwrap();
        connection.send(vec![0; 100_000]).unwrap();
        connection.abort();
        assert!(!connection.is_open());
        assert_eq!((connection.buffered(), output(&connection)), (0, vec![]));
        assert_eq!(waiting(&mut connection), [Seen::abnormal(ClosedBy::Local)]);
        assert!(connection.is_lost());
        refused(&mut connection);
    });
}

#[test]
fn an_abort_after_a_close_does_not_wait_for_the_peer() {
    each_role(|_, mut connection| {
        connection.close(1000, "").unwrap();
        connection.abort();
        assert_eq!(waiting(&mut connection), [Seen::abnormal(ClosedBy::Local)]);
        assert!(connection.output().is_empty() && connection.is_lost());
    });
}

#[test]
fn an_abort_after_the_end_drops_the_rest_and_ends_nothing_twice() {
    each_role(|_, mut connection| {
        peer(&mut connection, &[Frame::close(1000, "")]);
        assert!(!connection.output().is_empty());
        connection.abort();
        assert_eq!(waiting(&mut connection), []);
        assert!(connection.output().is_empty() && connection.is_lost());
    });
}

#[test]
fn d2_it_is_open_until_a_close_is_sent_or_received_or_something_fails() {
    type End = fn(&mut Connection);
    let ends: [(&str, End); 7] = [
        ("local close", |connection| connection.close(1000, "").unwrap()),
        ("abort", Connection::abort),
        ("eof", Connection::receive_eof),
        ("transport", |connection| connection.transport_failed("reset")),
        ("callback", |connection| connection.fail(Error::Callback(shared("oops")))),
        ("abandoned", |connection| connection.fail(Error::Abandoned)),
        ("slow", |connection| connection.fail(Error::SlowReader)),
    ];
    for (name, end) in ends {
        each_role(|_, mut connection| {
            assert!(connection.is_open());
            end(&mut connection);
            assert!(!connection.is_open(), "{name}");
            assert!(!connection.is_finished(), "{name}: its last event was not handed out yet");
            refused(&mut connection);
        });
    }
    each_role(|role, mut connection| {
        let mut bytes = Frame::close(1000, "").sent_by(peer_of(role));
        let event = connection.next_event(START, &mut &mut bytes[..]);
        assert!(matches!(event, Some(bellwire_core::proto::Event::Closed(_))) && !connection.is_open());
        refused(&mut connection);
    });
}

#[test]
fn d10_a_closed_connection_refuses_and_queues_nothing_in_each_state() {
    each_role(|_, mut connection| {
        connection.close(1000, "").unwrap();
        refused(&mut connection);
        peer(&mut connection, &[Frame::close(1000, "")]);
        refused(&mut connection);
        write_all(&mut connection, START);
        refused(&mut connection);
        connection.receive_eof();
        refused(&mut connection);
    });
    each_role(|_, mut connection| {
        peer(&mut connection, &[Frame::new(3, "")]);
        refused(&mut connection);
    });
}

#[test]
fn d11_a_code_that_must_not_be_sent_is_an_error_and_changes_nothing() {
    each_role(|_, mut connection| {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(connection.close(code, ""), Err(SendError::CloseCode(CloseCode(code))));
        }
        assert!(connection.is_open() && connection.output().is_empty());
        connection.close(4999, "").unwrap();
    });
}

#[test]
fn d11_a_long_reason_is_cut_at_a_character() {
    for (reason, sent) in [
        ("r".repeat(123), "r".repeat(123)),
        ("r".repeat(124), "r".repeat(123)),
        ("é".repeat(62), "é".repeat(61)),
        ("😀".repeat(1000), "😀".repeat(30)),
    ] {
        each_role(|role, mut connection| {
            connection.close(1000, &reason).unwrap();
            assert_eq!(output(&connection), Frame::close(1000, &sent).sent_by(role));
        });
    }
}

#[test]
fn d12_long_ping_and_pong_data_is_an_error_at_the_call() {
    each_role(|role, mut connection| {
        assert_eq!(connection.ping(&[0; 126]), Err(SendError::ControlTooLong(126)));
        assert_eq!(connection.pong(&[0; 1000]), Err(SendError::ControlTooLong(1000)));
        assert!(connection.is_open() && connection.output().is_empty());
        connection.ping(&[1; 125]).unwrap();
        connection.pong(&[2; 125]).unwrap();
        assert_eq!(output(&connection), wire(&[Frame::ping([1; 125]), Frame::pong([2; 125])], role));
    });
}

// After a local close.

#[test]
fn d7_messages_after_a_local_close_are_not_delivered() {
    each_role(|role, mut connection| {
        connection.close(1000, "").unwrap();
        let late = [
            Frame::text("late"),
            Frame::binary([1]),
            Frame::text("la").not_final(),
            Frame::continuation("te"),
            Frame::close(1000, ""),
        ];
        assert_eq!(peer(&mut connection, &late), [Seen::clean(1000, "", ClosedBy::Local)]);
        assert_eq!(output(&connection), Frame::close(1000, "").sent_by(role));
    });
}

#[test]
fn d7_a_setting_delivers_messages_after_a_local_close() {
    for role in ROLES {
        let mut connection = open(role, &timeless().deliver_after_close(true));
        connection.close(1000, "").unwrap();
        let late = [Frame::text("late"), Frame::binary([1]), Frame::close(1000, ""), Frame::text("too late")];
        let seen = peer(&mut connection, &late);
        assert_eq!(seen, [Seen::text("late"), Seen::binary([1]), Seen::clean(1000, "", ClosedBy::Local)]);
    }
}

#[test]
fn d7_messages_after_a_local_close_are_still_validated() {
    for (frame, violation, code) in [
        (Frame::text([0xff]), Violation::TextNotUtf8, 1007),
        (Frame::continuation(""), Violation::NothingToContinue, 1002),
        (Frame::text("").claiming_64(1 << 40), Violation::TextTooLarge { length: 1 << 40, max: 1 << 20 }, 1009),
        (Frame::close(1005, ""), Violation::CloseCode(CloseCode(1005)), 1002),
    ] {
        each_role(|role, mut connection| {
            connection.close(1000, "").unwrap();
            let seen = peer(&mut connection, std::slice::from_ref(&frame));
            assert_eq!(seen, [Seen::error(violation), Seen::failed(code, &violation.close_reason())]);
            // A close frame is the last frame: there is no second one.
            assert_eq!(output(&connection), Frame::close(1000, "").sent_by(role));
        });
    }
}

#[test]
fn d9_pings_after_a_local_close_are_seen_and_not_answered() {
    each_role(|role, mut connection| {
        connection.close(1000, "").unwrap();
        assert_eq!(peer(&mut connection, &[Frame::ping("?"), Frame::pong("!")]), [Seen::ping("?"), Seen::pong("!")]);
        assert_eq!(output(&connection), Frame::close(1000, "").sent_by(role));
    });
}

// Vanishing.

#[test]
fn a_peer_that_vanishes_is_1006_and_what_was_queued_is_dropped() {
    each_role(|_, mut connection| {
        connection.send("nobody reads this").unwrap();
        connection.receive_eof();
        assert_eq!(waiting(&mut connection), [Seen::error(Error::Vanished), Seen::abnormal(ClosedBy::Peer)]);
        assert!(connection.output().is_empty() && connection.is_finished() && connection.is_lost());
    });
}

#[test]
fn a_transport_that_fails_is_1006_with_its_error() {
    each_role(|_, mut connection| {
        connection.transport_failed("connection reset");
        let error = Error::Transport(shared("connection reset"));
        assert_eq!(waiting(&mut connection), [Seen::error(error), Seen::abnormal(ClosedBy::Peer)]);
        assert!(connection.is_lost());
    });
}

#[test]
fn d4_a_peer_that_vanishes_after_a_local_close_is_1006_by_this_side() {
    each_role(|_, mut connection| {
        connection.close(1000, "").unwrap();
        connection.receive_eof();
        assert_eq!(waiting(&mut connection), [Seen::error(Error::Vanished), Seen::abnormal(ClosedBy::Local)]);
    });
}

#[test]
fn a_peer_that_vanishes_within_a_frame_has_sent_no_message() {
    each_role(|role, mut connection| {
        let bytes = Frame::text("whole or not at all").sent_by(peer_of(role));
        assert_eq!(feed(&mut connection, START, &bytes[..bytes.len() - 1]), []);
        connection.receive_eof();
        assert_eq!(waiting(&mut connection), [Seen::error(Error::Vanished), Seen::abnormal(ClosedBy::Peer)]);
    });
}

#[test]
fn an_end_of_input_after_the_closing_handshake_is_no_event() {
    each_role(|_, mut connection| {
        peer(&mut connection, &[Frame::close(1000, "")]);
        write_all(&mut connection, START);
        connection.receive_eof();
        assert_eq!(waiting(&mut connection), []);
    });
}

/// A peer that ends its sending side may go on reading: the last messages and the close frame are for it.
#[test]
fn an_end_of_input_behind_the_peer_s_close_frame_does_not_lose_the_answer() {
    each_role(|role, mut connection| {
        connection.send("queued").unwrap();
        peer(&mut connection, &[Frame::close(1000, "")]);
        connection.receive_eof();
        assert_eq!(output(&connection), wire(&[Frame::text("queued"), Frame::close(1000, "")], role));
        assert!(!connection.is_lost(), "{role:?}: there is something left to be said");
    });
}

#[test]
fn an_end_of_input_behind_a_violation_does_not_lose_the_close_frame() {
    each_role(|role, mut connection| {
        peer(&mut connection, &[Frame::new(3, "")]);
        connection.receive_eof();
        assert_eq!(output(&connection), Frame::close(1002, "Reserved opcode: 0x3").sent_by(role));
        assert!(!connection.is_lost(), "{role:?}: there is something left to be said");
    });
}

#[test]
fn a_transport_that_fails_after_the_end_is_lost_without_an_event() {
    each_role(|_, mut connection| {
        peer(&mut connection, &[Frame::close(1000, "")]);
        assert!(!connection.is_lost());
        connection.transport_failed("broken pipe");
        assert!(connection.is_lost());
        assert_eq!(waiting(&mut connection), []);
    });
}

// Failing.

#[test]
fn d21_failing_ends_at_once_and_leaves_the_close_frame_behind_what_was_queued() {
    each_role(|role, mut connection| {
        connection.send("queued").unwrap();
        let seen = peer(&mut connection, &[Frame::new(3, "")]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(connection.is_finished() && !connection.is_lost());
        let frames = [Frame::text("queued"), Frame::close(1002, "Reserved opcode: 0x3")];
        assert_eq!(write_all(&mut connection, START), wire(&frames, role));
        assert_eq!(connection.buffered(), 0);
        assert_eq!(connection.poll_timeout(), None);
    });
}

#[test]
fn each_error_of_this_side_has_its_code_and_tells_the_peer_nothing_of_the_inside() {
    type Make = fn() -> Error;
    let table: [(Make, u16, &str); 5] = [
        (|| Error::Callback(shared("secret")), 1011, "Unexpected Error"),
        (|| Error::Panicked("secret".into()), 1011, "Unexpected Error"),
        (|| Error::SlowReader, 1013, "Too much unread output"),
        (|| Error::Timeout(Timeout::Idle), 1001, "Connection Idle Timeout"),
        (|| Error::Timeout(Timeout::Keepalive), 1011, "Keepalive Ping Timeout"),
    ];
    for (error, code, reason) in table {
        each_role(|role, mut connection| {
            connection.fail(error());
            assert_eq!(waiting(&mut connection), [Seen::error(error()), Seen::failed(code, reason)]);
            assert_eq!(output(&connection), Frame::close(code, reason).sent_by(role));
        });
    }
}

#[test]
fn failing_with_nobody_to_tell_sends_nothing() {
    let errors: [fn() -> Error; 4] =
        [|| Error::Abandoned, || Error::Vanished, || Error::Transport(shared("x")), || Error::Timeout(Timeout::Close)];
    for error in errors {
        each_role(|_, mut connection| {
            connection.send("dropped").unwrap();
            connection.fail(error());
            assert_eq!(waiting(&mut connection), [Seen::error(error()), Seen::abnormal(ClosedBy::Local)]);
            assert!(connection.output().is_empty() && connection.is_lost());
        });
    }
}

#[test]
fn the_first_failure_counts() {
    each_role(|role, mut connection| {
        connection.fail(Error::Callback(shared("first")));
        connection.fail(Error::SlowReader);
        connection.transport_failed("third");
        connection.receive_eof();
        let error = Error::Callback(shared("first"));
        assert_eq!(waiting(&mut connection), [Seen::error(error), Seen::failed(1011, "Unexpected Error")]);
        assert_eq!(output(&connection), Frame::close(1011, "Unexpected Error").sent_by(role));
    });
}

#[test]
fn input_after_the_end_is_taken_and_ignored() {
    each_role(|_, mut connection| {
        connection.fail(Error::SlowReader);
        let seen = peer(&mut connection, &[Frame::text("late"), Frame::new(3, ""), Frame::close(1000, "")]);
        assert_eq!(seen.len(), 2, "{seen:?}");
        let before = output(&connection);
        assert_eq!(peer(&mut connection, &[Frame::text("later"), Frame::ping("?"), Frame::close(1000, "")]), []);
        assert_eq!(output(&connection), before);
    });
}

// Exactly once.

#[derive(Debug, Clone)]
enum Step {
    Feed(Vec<u8>),
    Events(usize),
    Send,
    Close,
    Abort,
    Eof,
    TransportFailed,
    Fail,
    Timeout(u64),
    Write(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let frames = prop_oneof![
        Just(Frame::text("x")),
        Just(Frame::ping("x")),
        Just(Frame::close(1000, "")),
        Just(Frame::new(3, "")),
        Just(Frame::text([0xff])),
    ];
    prop_oneof![
        4 => (frames, prop::sample::select(&ROLES)).prop_map(|(frame, role)| Step::Feed(frame.sent_by(role))),
        4 => (0..3usize).prop_map(Step::Events),
        2 => Just(Step::Send),
        1 => Just(Step::Close),
        1 => Just(Step::Abort),
        1 => Just(Step::Eof),
        1 => Just(Step::TransportFailed),
        1 => Just(Step::Fail),
        2 => (0..100u64).prop_map(Step::Timeout),
        2 => (0..100usize).prop_map(Step::Write),
    ]
}

proptest! {
    #[test]
    fn it_ends_exactly_once_whatever_happens_in_whatever_order(
        role in prop::sample::select(&ROLES),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut connection = open(role, &Config::default());
        let (mut now, mut seen, mut sent) = (START, Vec::new(), Vec::new());
        let mut take = |connection: &mut Connection, now, bytes: &mut [u8], most: usize| {
            let mut input = bytes;
            for _ in 0..most {
                seen.extend(connection.next_event(now, &mut input).map(Seen::from));
            }
        };
        for step in steps {
            match step {
                Step::Feed(mut bytes) => take(&mut connection, now, &mut bytes, 10),
                Step::Events(most) => take(&mut connection, now, &mut [], most),
                Step::Send => drop(connection.send("x")),
                Step::Close => drop(connection.close(1000, "")),
                Step::Abort => connection.abort(),
                Step::Eof => connection.receive_eof(),
                Step::TransportFailed => connection.transport_failed("x"),
                Step::Fail => connection.fail(Error::SlowReader),
                Step::Timeout(later) => {
                    now += secs(later);
                    connection.handle_timeout(now);
                }
                Step::Write(most) => {
                    let bytes = output(&connection);
                    let count = most.min(bytes.len());
                    connection.wrote(now, count);
                    sent.extend_from_slice(&bytes[..count]);
                }
            }
        }
        connection.receive_eof();
        take(&mut connection, now, &mut [], 10);
        let closed = seen.iter().filter(|event| matches!(event, Seen::Closed(_))).count();
        prop_assert_eq!(closed, 1);
        prop_assert!(matches!(seen.last(), Some(Seen::Closed(_))));
        let errors: Vec<_> = seen.iter().enumerate().filter(|(_, event)| matches!(event, Seen::Error(_))).collect();
        prop_assert!(errors.len() <= 1 && errors.iter().all(|(at, _)| at + 2 == seen.len()), "{:?}", seen);
        prop_assert!(connection.is_finished() && !connection.is_open());
        prop_assert_eq!(connection.poll_timeout(), None);
        // The peer got whole frames at most up to where it ended, and nothing behind a close frame.
        sent.extend(output(&connection));
        let mut other = open(peer_of(role), &Config::default());
        let received = feed(&mut other, START, &sent);
        prop_assert!(!received.iter().any(|event| matches!(event, Seen::Error(_))), "{:?}", received);
    }
}
