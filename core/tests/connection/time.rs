//! Deadlines, in virtual time.

use std::time::Duration;

use bellwire_core::{Config, Connection, Role, Side, Time, Timeout};
use proptest::prelude::*;

use crate::common::*;

fn each_role(config: &Config, test: impl Fn(Role, Connection)) {
    for role in ROLES {
        test(role, open(role, config));
    }
}

fn keepalive() -> Config {
    Config::default().keepalive_interval(secs(20)).pong_timeout(secs(10))
}

/// Nothing happens before the deadline, and what is called early does nothing.
#[track_caller]
fn nothing_before(connection: &mut Connection, deadline: Time) {
    assert_eq!(connection.poll_timeout(), Some(deadline));
    let before = output(connection);
    for early in [Time::ZERO, deadline / 2, deadline - ms(1), deadline - Duration::from_nanos(1)] {
        connection.handle_timeout(early);
        assert_eq!(feed(connection, early, b""), []);
        assert_eq!(output(connection), before);
        assert_eq!(connection.poll_timeout(), Some(deadline));
    }
}

#[track_caller]
fn fails_at(connection: &mut Connection, deadline: Time, timeout: Timeout, closed: Seen) {
    nothing_before(connection, deadline);
    connection.handle_timeout(deadline);
    assert_eq!(feed(connection, deadline, b""), [Seen::error(timeout), closed]);
    assert_eq!(connection.poll_timeout(), None);
}

fn keepalive_failed() -> Seen {
    Seen::failed(1011, "Keepalive Ping Timeout")
}

// Keepalive.

#[test]
fn d17_by_default_a_ping_is_sent_after_20_s_of_silence_and_the_pong_has_20_s() {
    each_role(&Config::default(), |role, mut connection| {
        nothing_before(&mut connection, secs(20));
        connection.handle_timeout(secs(20));
        assert_eq!(write_all(&mut connection, secs(20)), Frame::ping("").sent_by(role));
        fails_at(&mut connection, secs(40), Timeout::Keepalive, keepalive_failed());
        assert_eq!(output(&connection), Frame::close(1011, "Keepalive Ping Timeout").sent_by(role));
    });
}

#[test]
fn the_pong_deadline_starts_when_the_ping_has_reached_the_transport() {
    each_role(&keepalive(), |_, mut connection| {
        connection.handle_timeout(secs(20));
        write_all(&mut connection, secs(27));
        fails_at(&mut connection, secs(37), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn only_one_ping_is_sent_for_one_silence() {
    each_role(&keepalive(), |role, mut connection| {
        for second in 20..30 {
            connection.handle_timeout(secs(second));
        }
        assert_eq!(output(&connection), Frame::ping("").sent_by(role));
    });
}

#[test]
fn k1_pings_go_on_as_long_as_they_are_answered() {
    each_role(&keepalive(), |role, mut connection| {
        let pong = Frame::pong("").sent_by(peer_of(role));
        for round in 1..=10 {
            let now = secs(round * 20);
            nothing_before(&mut connection, now);
            connection.handle_timeout(now);
            assert_eq!(write_all(&mut connection, now), Frame::ping("").sent_by(role), "{round}");
            assert_eq!(feed(&mut connection, now, &pong), [Seen::pong("")]);
        }
        // None after the end.
        connection.close(1000, "").unwrap();
        feed(&mut connection, secs(200), &Frame::close(1000, "").sent_by(peer_of(role)));
        write_all(&mut connection, secs(200));
        connection.handle_timeout(secs(1000));
        assert!(connection.output().is_empty());
    });
}

#[test]
fn any_byte_received_ends_the_pong_deadline() {
    each_role(&keepalive(), |role, mut connection| {
        connection.handle_timeout(secs(20));
        write_all(&mut connection, secs(20));
        // The first byte of a frame that comes slowly.
        let byte = Frame::binary(vec![0; 1000]).sent_by(peer_of(role))[0];
        assert_eq!(feed(&mut connection, secs(29), &[byte]), []);
        nothing_before(&mut connection, secs(49));
        connection.handle_timeout(secs(49));
        assert_eq!(output(&connection), Frame::ping("").sent_by(role), "it begins anew");
    });
}

#[test]
fn asking_for_events_without_input_is_no_life() {
    each_role(&keepalive(), |_, mut connection| {
        assert_eq!(feed(&mut connection, secs(19), b""), []);
        assert_eq!(connection.poll_timeout(), Some(secs(20)));
        connection.wrote(secs(19), 0);
        assert_eq!(connection.poll_timeout(), Some(secs(20)));
    });
}

#[test]
fn bytes_received_or_written_put_the_ping_off() {
    each_role(&keepalive(), |role, mut connection| {
        feed(&mut connection, secs(5), &Frame::text("x").sent_by(peer_of(role)));
        assert_eq!(connection.poll_timeout(), Some(secs(25)));
        connection.send("x").unwrap();
        assert_eq!(connection.poll_timeout(), Some(secs(25)), "what is queued has not reached the transport");
        connection.wrote(secs(11), 1);
        assert_eq!(connection.poll_timeout(), Some(secs(31)));
    });
}

#[test]
fn written_bytes_put_the_pong_deadline_off_and_do_not_end_it() {
    each_role(&keepalive(), |_, mut connection| {
        connection.send(vec![0; 50_000]).unwrap();
        connection.handle_timeout(secs(20));
        // A slow peer, which takes a little every 9 s.
        let mut now = secs(20);
        for _ in 0..10 {
            now += secs(9);
            connection.handle_timeout(now);
            assert_eq!(feed(&mut connection, now, b""), []);
            connection.wrote(now, 100);
        }
        fails_at(&mut connection, now + secs(10), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn a_peer_that_takes_no_byte_is_dropped_after_interval_and_timeout() {
    each_role(&keepalive(), |_, mut connection| {
        connection.send(vec![0; 500_000]).unwrap();
        assert!(!connection.wants_read(), "it is not read, either");
        nothing_before(&mut connection, secs(20));
        connection.handle_timeout(secs(20));
        fails_at(&mut connection, secs(30), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn a_ping_that_does_not_fit_into_the_queue_is_no_error() {
    let config = keepalive().max_queued(10);
    each_role(&config, |_, mut connection| {
        connection.send(vec![0; 5000]).unwrap();
        let buffered = connection.buffered();
        connection.handle_timeout(secs(20));
        assert_eq!(connection.buffered(), buffered);
        assert!(connection.is_open());
        fails_at(&mut connection, secs(30), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn without_a_keepalive_interval_there_is_no_ping_and_no_deadline() {
    each_role(&Config::default().keepalive_interval(None), |_, mut connection| {
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(secs(1_000_000));
        assert!(connection.is_open() && connection.output().is_empty());
    });
}

#[test]
fn without_a_pong_timeout_one_ping_is_sent_and_waited_for_for_ever() {
    each_role(&keepalive().pong_timeout(None), |role, mut connection| {
        connection.handle_timeout(secs(20));
        assert_eq!(write_all(&mut connection, secs(20)), Frame::ping("").sent_by(role));
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(secs(1_000_000));
        assert!(connection.is_open() && connection.output().is_empty());
    });
}

// Idle.

#[test]
fn j9_a_silent_peer_is_closed_with_1001_after_exactly_the_idle_timeout() {
    each_role(&Config::default().idle_timeout(ms(100)), |role, mut connection| {
        fails_at(&mut connection, ms(100), Timeout::Idle, Seen::failed(1001, "Connection Idle Timeout"));
        assert_eq!(output(&connection), Frame::close(1001, "Connection Idle Timeout").sent_by(role));
    });
}

#[test]
fn bytes_received_or_written_put_the_idle_deadline_off() {
    each_role(&Config::default().idle_timeout(secs(10)), |role, mut connection| {
        let bytes = Frame::pong("").sent_by(peer_of(role));
        feed(&mut connection, secs(3), &bytes[..1]);
        assert_eq!(connection.poll_timeout(), Some(secs(13)));
        connection.send("x").unwrap();
        connection.wrote(secs(8), 1);
        fails_at(&mut connection, secs(18), Timeout::Idle, Seen::failed(1001, "Connection Idle Timeout"));
    });
}

#[test]
fn d17_by_default_there_is_no_idle_deadline() {
    each_role(&Config::default().keepalive_interval(None), |_, connection| {
        assert_eq!(connection.poll_timeout(), None);
    });
}

// The closing handshake.

#[test]
fn d6_a_peer_that_does_not_answer_a_close_is_dropped_after_10_s() {
    each_role(&Config::default(), |role, mut connection| {
        connection.close(1000, "").unwrap();
        assert_eq!(write_all(&mut connection, secs(1)), Frame::close(1000, "").sent_by(role));
        fails_at(&mut connection, secs(11), Timeout::Close, Seen::abnormal(Side::Local));
        assert!(connection.is_lost());
    });
}

#[test]
fn the_close_deadline_starts_when_the_close_frame_has_reached_the_transport() {
    each_role(&Config::default(), |_, mut connection| {
        connection.send("queued before").unwrap();
        connection.close(1000, "").unwrap();
        let total = connection.buffered();
        connection.handle_timeout(secs(2));
        assert_eq!(connection.poll_timeout(), Some(secs(12)), "a peer that takes nothing is not waited for");
        connection.wrote(secs(9), 3);
        assert_eq!(connection.poll_timeout(), Some(secs(19)), "progress");
        connection.wrote(secs(15), total - 3);
        fails_at(&mut connection, secs(25), Timeout::Close, Seen::abnormal(Side::Local));
    });
}

#[test]
fn a_close_that_nobody_has_told_the_time_is_looked_at_at_once() {
    each_role(&Config::default(), |_, mut connection| {
        feed(&mut connection, secs(100), &[]);
        connection.close(1000, "").unwrap();
        assert_eq!(connection.poll_timeout(), Some(Time::ZERO), "a time in the past: at once");
        connection.handle_timeout(secs(100));
        assert_eq!(connection.poll_timeout(), Some(secs(110)));
    });
}

#[test]
fn what_a_peer_sends_does_not_put_the_close_deadline_off() {
    each_role(&Config::default(), |role, mut connection| {
        connection.close(1000, "").unwrap();
        write_all(&mut connection, secs(0));
        for second in 1..10 {
            feed(&mut connection, secs(second), &Frame::text("still talking").sent_by(peer_of(role)));
        }
        fails_at(&mut connection, secs(10), Timeout::Close, Seen::abnormal(Side::Local));
    });
}

#[test]
fn while_closing_neither_keepalive_nor_idle_count() {
    let config = keepalive().idle_timeout(secs(5)).close_timeout(secs(3600));
    each_role(&config, |_, mut connection| {
        connection.close(1000, "").unwrap();
        write_all(&mut connection, secs(0));
        fails_at(&mut connection, secs(3600), Timeout::Close, Seen::abnormal(Side::Local));
    });
}

#[test]
fn without_a_close_timeout_the_peer_is_waited_for_for_ever() {
    each_role(&Config::default().close_timeout(None), |_, mut connection| {
        connection.close(1000, "").unwrap();
        connection.handle_timeout(secs(1));
        write_all(&mut connection, secs(1));
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(secs(1_000_000));
        assert_eq!(waiting(&mut connection), []);
    });
}

// Arithmetic.

#[test]
fn the_largest_durations_are_for_ever() {
    let config = Config::default()
        .keepalive_interval(Duration::MAX)
        .pong_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .close_timeout(Duration::MAX);
    each_role(&config, |role, mut connection| {
        let now = secs(1 << 40);
        feed(&mut connection, now, &Frame::ping("").sent_by(peer_of(role)));
        write_all(&mut connection, now);
        assert_eq!(connection.poll_timeout(), Some(Duration::MAX));
        connection.close(1000, "").unwrap();
        write_all(&mut connection, now);
        assert_eq!(connection.poll_timeout(), Some(Duration::MAX));
    });
}

#[derive(Debug, Clone)]
enum Step {
    Receive(usize),
    Send,
    Write(usize),
    Close,
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9usize).prop_map(Step::Receive),
        Just(Step::Send),
        (0..20usize).prop_map(Step::Write),
        Just(Step::Close),
        (0..50u64).prop_map(Step::Sleep),
    ]
}

proptest! {
    /// Whoever sleeps until the deadline and calls never spins: the next deadline is later, or there is none.
    #[test]
    fn after_a_deadline_was_handled_the_next_one_is_later(
        role in prop::sample::select(&ROLES),
        timeouts in prop::collection::vec(prop::option::of(0..30u64), 4),
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let timeout = |i: usize| timeouts[i].map(ms);
        let config = Config::default()
            .keepalive_interval(timeout(0))
            .pong_timeout(timeout(1))
            .idle_timeout(timeout(2))
            .close_timeout(timeout(3));
        let mut connection = open(role, &config);
        let mut now = START;
        let pings = Frame::ping("").sent_by(peer_of(role)).repeat(100);
        let mut received = 0;
        for step in steps {
            match step {
                Step::Receive(count) => {
                    feed(&mut connection, now, &pings[received..received + count]);
                    received += count;
                }
                Step::Send => drop(connection.send("x")),
                Step::Write(count) => connection.wrote(now, count.min(connection.output().len())),
                Step::Close => drop(connection.close(1000, "")),
                Step::Sleep(time) => now += ms(time),
            }
            connection.handle_timeout(now);
            if let Some(deadline) = connection.poll_timeout() {
                prop_assert!(deadline > now, "{:?} at {:?}", deadline, now);
            }
        }
    }
}
