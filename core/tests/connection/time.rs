//! Deadlines, in virtual time.

use std::time::Duration;

use bellwire_core::proto::{Connection, Time, Timeout};
use bellwire_core::{ClosedBy, Config, Role, SendError};
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
    let elapsed = deadline.since_start();
    for early in [Duration::ZERO, elapsed / 2, elapsed - ms(1), elapsed - Duration::from_nanos(1)].map(at) {
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
        nothing_before(&mut connection, at(secs(20)));
        connection.handle_timeout(at(secs(20)));
        assert_eq!(write_all(&mut connection, at(secs(20))), Frame::ping("").sent_by(role));
        fails_at(&mut connection, at(secs(40)), Timeout::Keepalive, keepalive_failed());
        assert_eq!(output(&connection), Frame::close(1011, "Keepalive Ping Timeout").sent_by(role));
    });
}

#[test]
fn the_pong_deadline_starts_when_the_ping_has_reached_the_transport() {
    each_role(&keepalive(), |_, mut connection| {
        connection.handle_timeout(at(secs(20)));
        write_all(&mut connection, at(secs(27)));
        fails_at(&mut connection, at(secs(37)), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn only_one_ping_is_sent_for_one_silence() {
    each_role(&keepalive(), |role, mut connection| {
        for second in 20..30 {
            connection.handle_timeout(at(secs(second)));
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
            nothing_before(&mut connection, at(now));
            connection.handle_timeout(at(now));
            assert_eq!(write_all(&mut connection, at(now)), Frame::ping("").sent_by(role), "{round}");
            assert_eq!(feed(&mut connection, at(now), &pong), [Seen::pong("")]);
        }
        // None after the end.
        connection.close(1000, "").unwrap();
        feed(&mut connection, at(secs(200)), &Frame::close(1000, "").sent_by(peer_of(role)));
        write_all(&mut connection, at(secs(200)));
        connection.handle_timeout(at(secs(1000)));
        assert!(connection.output().is_empty());
    });
}

#[test]
fn any_byte_received_ends_the_pong_deadline() {
    each_role(&keepalive(), |role, mut connection| {
        connection.handle_timeout(at(secs(20)));
        write_all(&mut connection, at(secs(20)));
        // The first byte of a frame that comes slowly.
        let byte = Frame::binary(vec![0; 1000]).sent_by(peer_of(role))[0];
        assert_eq!(feed(&mut connection, at(secs(29)), &[byte]), []);
        nothing_before(&mut connection, at(secs(40)));
        connection.handle_timeout(at(secs(40)));
        assert_eq!(output(&connection), Frame::ping("").sent_by(role), "it begins anew");
    });
}

#[test]
fn asking_for_events_without_input_is_no_life() {
    each_role(&keepalive(), |_, mut connection| {
        assert_eq!(feed(&mut connection, at(secs(19)), b""), []);
        assert_eq!(connection.poll_timeout(), Some(at(secs(20))));
        connection.wrote(at(secs(19)), 0);
        assert_eq!(connection.poll_timeout(), Some(at(secs(20))));
    });
}

#[test]
fn l1_received_bytes_put_the_ping_off_only_while_this_side_speaks_too() {
    each_role(&keepalive(), |role, mut connection| {
        let text = Frame::text("x").sent_by(peer_of(role));
        feed(&mut connection, at(secs(5)), &text);
        assert_eq!(connection.poll_timeout(), Some(at(secs(20))), "nothing was written since the beginning");
        connection.send("x").unwrap();
        assert_eq!(connection.poll_timeout(), Some(at(secs(25))), "what waits is as good as a ping for the line");
        connection.wrote(at(secs(11)), 1);
        assert_eq!(connection.poll_timeout(), Some(at(secs(25))), "what is written is no sign of the peer's life");
        write_all(&mut connection, at(secs(11)));
        feed(&mut connection, at(secs(12)), &text);
        assert_eq!(connection.poll_timeout(), Some(at(secs(31))), "nothing was written since 11 s");
    });
}

/// What this side says at each of these times, to a peer that is fed at others.
fn pings(connection: &mut Connection, until: u64, send_every: u64, feed_every: u64) -> Vec<u64> {
    let role = connection.role();
    let mut pings = vec![];
    for second in 1..=until {
        let now = secs(second);
        if feed_every > 0 && second % feed_every == 0 {
            feed(connection, at(now), &Frame::text("x").sent_by(peer_of(role)));
        }
        connection.handle_timeout(at(now));
        if !connection.output().is_empty() {
            assert_eq!(write_all(connection, at(now)), Frame::ping("").sent_by(role));
            pings.push(second);
            feed(connection, at(now), &Frame::pong("").sent_by(peer_of(role)));
        }
        if send_every > 0 && second % send_every == 0 {
            connection.send("x").unwrap();
            write_all(connection, at(now));
        }
    }
    pings
}

#[test]
fn l1_a_ping_goes_out_after_each_interval_without_a_received_byte_however_much_is_sent() {
    each_role(&keepalive(), |_, mut connection| assert_eq!(pings(&mut connection, 100, 1, 0), [20, 40, 60, 80, 100]));
}

#[test]
fn l2_a_ping_goes_out_after_each_interval_without_a_written_byte_however_much_is_received() {
    each_role(&keepalive(), |_, mut connection| assert_eq!(pings(&mut connection, 100, 0, 1), [20, 40, 60, 80, 100]));
}

#[test]
fn l1_l2_no_ping_goes_out_while_both_speak() {
    each_role(&keepalive(), |_, mut connection| assert_eq!(pings(&mut connection, 100, 19, 19), [0; 0]));
}

#[test]
fn l1_a_peer_that_takes_everything_and_says_nothing_is_failed_after_the_interval_and_the_timeout() {
    // However often this side sends, and whether that is above the high watermark or not.
    for size in [1, 1000, 200_000] {
        each_role(&keepalive().max_queued(1 << 30), |_, mut connection| {
            for tenth in 1..300 {
                let now = ms(tenth * 100);
                connection.handle_timeout(at(now));
                assert_eq!(feed(&mut connection, at(now), b""), [], "{now:?}");
                connection.send(vec![0; size]).unwrap();
                write_all(&mut connection, at(now));
            }
            fails_at(&mut connection, at(secs(30)), Timeout::Keepalive, keepalive_failed());
        });
    }
}

#[test]
fn l1_a_peer_that_is_seldom_read_is_failed_too() {
    // The output is hardly ever below the watermark.
    each_role(&keepalive().max_queued(1 << 30), |_, mut connection| {
        for second in 1..30 {
            let now = secs(second);
            connection.send(vec![0; 200_000]).unwrap();
            assert!(!connection.wants_read());
            connection.handle_timeout(at(now));
            assert_eq!(feed(&mut connection, at(now), b""), [], "{now:?}");
            let left = 20_000;
            connection.wrote(at(now), connection.buffered() - left);
            assert!(!connection.wants_read());
            connection.wrote(at(now), left);
            assert!(connection.wants_read());
        }
        fails_at(&mut connection, at(secs(30)), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn l3_written_bytes_put_the_pong_deadline_off_until_the_ping_has_left() {
    each_role(&keepalive(), |_, mut connection| {
        // A slow peer, which takes a little every 9 s.
        connection.send(vec![0; 1000]).unwrap();
        connection.handle_timeout(at(secs(20)));
        let mut now = secs(20);
        while connection.buffered() > 100 {
            now += secs(9);
            connection.handle_timeout(at(now));
            assert_eq!(feed(&mut connection, at(now), b""), []);
            connection.wrote(at(now), 100);
        }
        // Then what follows does not.
        now += secs(5);
        write_all(&mut connection, at(now));
        connection.send("more").unwrap();
        write_all(&mut connection, at(now + secs(5)));
        fails_at(&mut connection, at(now + secs(10)), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn l3_a_peer_that_is_not_read_has_time_as_long_as_it_takes_output() {
    each_role(&keepalive().idle_timeout(secs(15)), |role, mut connection| {
        connection.send(vec![0; 500_000]).unwrap();
        for second in (5..100).step_by(9) {
            connection.wrote(at(secs(second)), 1000);
            connection.handle_timeout(at(secs(second)));
            assert_eq!(feed(&mut connection, at(secs(second)), b""), []);
        }
        assert!(!connection.wants_read());
        // Its pong has come meanwhile, and is read before anything is judged.
        write_all(&mut connection, at(secs(100)));
        assert!(connection.wants_read());
        assert_eq!(feed(&mut connection, at(secs(100)), &Frame::pong("").sent_by(peer_of(role))), [Seen::pong("")]);
        connection.handle_timeout(at(secs(100)));
        assert!(connection.is_open());
        assert_eq!(connection.poll_timeout(), Some(at(secs(115))));
    });
}

#[test]
fn a_peer_that_takes_no_byte_is_dropped_after_interval_and_timeout() {
    each_role(&keepalive(), |_, mut connection| {
        connection.send(vec![0; 500_000]).unwrap();
        assert!(!connection.wants_read(), "it is not read, either");
        nothing_before(&mut connection, at(secs(20)));
        connection.handle_timeout(at(secs(20)));
        fails_at(&mut connection, at(secs(30)), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn l4_a_ping_is_sent_however_full_the_queue_is_and_one_at_a_time() {
    let config = keepalive().pong_timeout(secs(1000)).max_queued(10);
    each_role(&config, |role, mut connection| {
        connection.send(vec![0; 5000]).unwrap();
        assert_eq!(connection.send("too much"), Err(SendError::Full));
        let ping = Frame::ping("").sent_by(role).len();
        let buffered = connection.buffered();
        for now in (20..1000).step_by(20).map(secs) {
            connection.handle_timeout(at(now));
            assert_eq!(connection.buffered(), buffered + ping);
            assert!(connection.is_open());
        }
        fails_at(&mut connection, at(secs(1020)), Timeout::Keepalive, keepalive_failed());
    });
}

#[test]
fn l4_a_peer_that_was_not_asked_is_not_failed() {
    each_role(&keepalive().max_queued(0), |role, mut connection| {
        for now in (20..200).step_by(20).map(secs) {
            connection.handle_timeout(at(now));
            assert_eq!(write_all(&mut connection, at(now)), Frame::ping("").sent_by(role));
            assert_eq!(feed(&mut connection, at(now), &Frame::pong("").sent_by(peer_of(role))), [Seen::pong("")]);
        }
    });
}

#[test]
fn without_a_keepalive_interval_there_is_no_ping_and_no_deadline() {
    each_role(&Config::default().keepalive_interval(None), |_, mut connection| {
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(at(secs(1_000_000)));
        assert!(connection.is_open() && connection.output().is_empty());
    });
}

#[test]
fn without_a_pong_timeout_pings_keep_the_line_open_and_are_waited_for_for_ever() {
    each_role(&keepalive().pong_timeout(None), |role, mut connection| {
        for now in (20..200).step_by(20).map(secs) {
            nothing_before(&mut connection, at(now));
            connection.handle_timeout(at(now));
            assert_eq!(output(&connection), Frame::ping("").sent_by(role));
            if now == secs(180) {
                assert_eq!(connection.poll_timeout(), None, "one at a time");
                connection.handle_timeout(at(secs(1_000_000)));
                assert_eq!(output(&connection), Frame::ping("").sent_by(role));
            }
            write_all(&mut connection, at(now));
        }
        assert!(connection.is_open());
    });
}

// Idle.

#[test]
fn j9_a_silent_peer_is_closed_with_1001_after_exactly_the_idle_timeout() {
    each_role(&Config::default().idle_timeout(ms(100)), |role, mut connection| {
        fails_at(&mut connection, at(ms(100)), Timeout::Idle, Seen::failed(1001, "Connection Idle Timeout"));
        assert_eq!(output(&connection), Frame::close(1001, "Connection Idle Timeout").sent_by(role));
    });
}

#[test]
fn l10_received_bytes_put_the_idle_deadline_off_and_written_ones_do_not() {
    each_role(&Config::default().idle_timeout(secs(10)), |role, mut connection| {
        let bytes = Frame::pong("").sent_by(peer_of(role));
        feed(&mut connection, at(secs(3)), &bytes[..1]);
        assert_eq!(connection.poll_timeout(), Some(at(secs(13))));
        for second in 4..13 {
            connection.send("x").unwrap();
            write_all(&mut connection, at(secs(second)));
        }
        fails_at(&mut connection, at(secs(13)), Timeout::Idle, Seen::failed(1001, "Connection Idle Timeout"));
    });
}

#[test]
fn l10_a_peer_that_is_not_read_is_idle_when_it_takes_nothing() {
    each_role(&Config::default().keepalive_interval(None).idle_timeout(secs(10)), |_, mut connection| {
        connection.send(vec![0; 500_000]).unwrap();
        assert!(!connection.wants_read());
        for second in (5..50).step_by(5) {
            connection.wrote(at(secs(second)), 1000);
            assert_eq!(connection.poll_timeout(), Some(at(secs(second + 10))));
            connection.handle_timeout(at(secs(second)));
        }
        fails_at(&mut connection, at(secs(55)), Timeout::Idle, Seen::failed(1001, "Connection Idle Timeout"));
    });
}

#[test]
fn l11_no_duration_makes_a_flood() {
    let zero = Duration::ZERO;
    let config = Config::default().keepalive_interval(zero).pong_timeout(zero);
    each_role(&config, |role, mut connection| {
        let (mut now, mut pings) = (ms(0), 0);
        while now < secs(1) {
            now = connection.poll_timeout().unwrap().since_start();
            connection.handle_timeout(at(now));
            if !write_all(&mut connection, at(now)).is_empty() {
                pings += 1;
                feed(&mut connection, at(now), &Frame::pong("").sent_by(peer_of(role)));
            }
        }
        assert_eq!(pings, 100);
    });
    each_role(&config.idle_timeout(zero), |_, connection| assert_eq!(connection.poll_timeout(), Some(at(ms(10)))));
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
        assert_eq!(write_all(&mut connection, at(secs(1))), Frame::close(1000, "").sent_by(role));
        fails_at(&mut connection, at(secs(11)), Timeout::Close, Seen::abnormal(ClosedBy::Local));
        assert!(connection.is_lost());
    });
}

#[test]
fn the_close_deadline_starts_when_the_close_frame_has_reached_the_transport() {
    each_role(&Config::default(), |_, mut connection| {
        connection.send("queued before").unwrap();
        connection.close(1000, "").unwrap();
        let total = connection.buffered();
        connection.handle_timeout(at(secs(2)));
        assert_eq!(connection.poll_timeout(), Some(at(secs(12))), "a peer that takes nothing is not waited for");
        connection.wrote(at(secs(9)), 3);
        assert_eq!(connection.poll_timeout(), Some(at(secs(19))), "progress");
        connection.wrote(at(secs(15)), total - 3);
        fails_at(&mut connection, at(secs(25)), Timeout::Close, Seen::abnormal(ClosedBy::Local));
    });
}

#[test]
fn a_close_that_nobody_has_told_the_time_is_looked_at_at_once() {
    each_role(&Config::default(), |_, mut connection| {
        feed(&mut connection, at(secs(100)), &[]);
        connection.close(1000, "").unwrap();
        assert_eq!(connection.poll_timeout(), Some(Time::ZERO), "a time in the past: at once");
        connection.handle_timeout(at(secs(100)));
        assert_eq!(connection.poll_timeout(), Some(at(secs(110))));
    });
}

#[test]
fn what_a_peer_sends_does_not_put_the_close_deadline_off() {
    each_role(&Config::default(), |role, mut connection| {
        connection.close(1000, "").unwrap();
        write_all(&mut connection, at(secs(0)));
        for second in 1..10 {
            feed(&mut connection, at(secs(second)), &Frame::text("still talking").sent_by(peer_of(role)));
        }
        fails_at(&mut connection, at(secs(10)), Timeout::Close, Seen::abnormal(ClosedBy::Local));
    });
}

#[test]
fn while_closing_neither_keepalive_nor_idle_count() {
    let config = keepalive().idle_timeout(secs(5)).close_timeout(secs(3600));
    each_role(&config, |_, mut connection| {
        connection.close(1000, "").unwrap();
        write_all(&mut connection, at(secs(0)));
        fails_at(&mut connection, at(secs(3600)), Timeout::Close, Seen::abnormal(ClosedBy::Local));
    });
}

#[test]
fn without_a_close_timeout_the_peer_is_waited_for_for_ever() {
    each_role(&Config::default().close_timeout(None), |_, mut connection| {
        connection.close(1000, "").unwrap();
        connection.handle_timeout(at(secs(1)));
        write_all(&mut connection, at(secs(1)));
        assert_eq!(connection.poll_timeout(), None);
        connection.handle_timeout(at(secs(1_000_000)));
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
        feed(&mut connection, at(now), &Frame::ping("").sent_by(peer_of(role)));
        write_all(&mut connection, at(now));
        assert_eq!(connection.poll_timeout(), Some(at(Duration::MAX)));
        connection.close(1000, "").unwrap();
        write_all(&mut connection, at(now));
        assert_eq!(connection.poll_timeout(), Some(at(Duration::MAX)));
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
