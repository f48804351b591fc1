//! What a connection says that it has done.

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, SystemTime};

use bellwire_core::backend::Driver;
use bellwire_core::proto::{Connection, SocketContext, server};
use bellwire_core::testing::Recorder;
use bellwire_core::{Config, Role, SendError, Stats, Traffic, WebSocket};

use crate::common::*;
use crate::logging::*;

/// Messages and bytes.
#[track_caller]
fn assert_traffic(traffic: Traffic, messages: u64, bytes: usize) {
    assert_eq!((traffic.messages, traffic.bytes), (messages, bytes as u64));
}

fn stats(driver: &Driver) -> Stats {
    driver.socket().unwrap().stats()
}

/// All frames that a peer may send while a connection is open, of which three make messages.
fn all_kinds() -> Vec<Frame> {
    vec![
        Frame::text("Hello"),
        Frame::ping("p"),
        Frame::binary([7; 300]).not_final(),
        Frame::pong("q"),
        Frame::continuation([7; 70_000]),
        Frame::text(""),
    ]
}

#[test]
fn what_is_received_is_counted_however_it_is_cut() {
    for role in ROLES {
        let bytes = wire(&all_kinds(), peer_of(role));
        for lengths in
            [vec![bytes.len()], vec![1, bytes.len() - 1], vec![100; bytes.len().div_ceil(100)], vec![1; bytes.len()]]
        {
            let mut connection = open(role, &timeless());
            let (mut driver, _log) = logged(role);
            let mut rest = &bytes[..];
            for length in lengths {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                feed(&mut connection, START, piece);
                driver.receive(START, &mut piece.to_vec());
                driver.settle(Waker::noop()).ok();
                rest = after;
                let come = bytes.len() - rest.len();
                assert_eq!(connection.stats().received.bytes, come as u64);
                assert_eq!(stats(&driver).received.bytes, come as u64);
            }
            assert_traffic(connection.stats().received, 3, bytes.len());
            assert_traffic(stats(&driver).received, 3, bytes.len());
        }
    }
}

#[test]
fn what_is_sent_is_counted_when_the_transport_has_taken_it() {
    for role in ROLES {
        let (mut driver, _log) = logged(role);
        let socket = driver.socket().unwrap().clone();
        socket.send("Hello").unwrap();
        socket.ping("p").unwrap();
        socket.send(vec![7; 70_000]).unwrap();
        let frames = [Frame::text("Hello"), Frame::ping("p"), Frame::binary([7; 70_000])];
        let length = wire(&frames, role).len();
        assert_traffic(socket.stats().sent, 2, 0);
        let output = driver.take_output().unwrap();
        driver.wrote(START, 3);
        assert_traffic(socket.stats().sent, 2, 3);
        driver.wrote(START, output.len() - 3);
        assert_traffic(socket.stats().sent, 2, length);
        socket.close_with(1000, "").unwrap();
        written(&mut driver);
        assert_traffic(socket.stats().sent, 2, length + Frame::close(1000, "").sent_by(role).len());
        // What is dropped was not sent; that it was accepted stays true.
        let (driver, _log) = logged(role);
        let socket = driver.socket().unwrap();
        socket.send("Hello").unwrap();
        socket.abort();
        assert_traffic(socket.stats().sent, 1, 0);
    }
}

#[test]
fn the_opening_handshake_does_not_count() {
    let mut bytes = request("");
    let mut handshake = server::Handshake::new(Arc::new(timeless()), START);
    let asked = handshake.receive(&mut &mut bytes[..]).unwrap().unwrap();
    let mut connection = asked.accept(&server::Accept::new(), Arc::new(timeless()), START).unwrap();
    assert!(write_all(&mut connection, START).starts_with(b"HTTP/1.1 101"));
    assert_traffic(connection.stats().sent, 0, 0);
    connection.send("Hello").unwrap();
    write_all(&mut connection, START);
    assert_traffic(connection.stats().sent, 1, 7);
    // Nor on a driver, where a frame comes in the same read as the request.
    let log = Log::default();
    let mut driver = driver_of(&log);
    let frame = Frame::text("a").sent_by(Role::Client);
    driver.receive(START, &mut [&request("")[..], &frame].concat());
    written(&mut driver);
    driver.settle(Waker::noop()).unwrap();
    assert_traffic(stats(&driver).received, 1, frame.len());
    assert_traffic(stats(&driver).sent, 0, 0);
}

fn driver_of(log: &Log) -> Driver {
    use bellwire_core::backend::Service;
    use bellwire_core::{Request, Response};
    let log = log.clone();
    let handler = move |_: &Request| Response::websocket(logging(&log, |_, _| Ok(())));
    Driver::server(Arc::new(Service::new(timeless(), handler, |_: &_| ())), None, START)
}

#[test]
fn on_close_finds_everything_counted_and_a_callback_what_came_before_its_turn() {
    for role in ROLES {
        let (seen, log) = (Arc::new(Mutex::new(Vec::new())), Log::default());
        let kept = seen.clone();
        let look = move |socket: &WebSocket, line: &str| {
            kept.lock().unwrap().push((line.to_string(), socket.stats().received));
            Ok(())
        };
        let mut driver = started(role, &timeless(), logging(&log, look));
        let [one, two, close] =
            [Frame::text("1"), Frame::text("2"), Frame::close(1000, "")].map(|frame| frame.sent_by(peer_of(role)));
        driver.receive(START, &mut one.clone());
        driver.settle(Waker::noop()).unwrap();
        driver.receive(START, &mut [&two[..], &close].concat());
        let seen = seen.lock().unwrap();
        let lines: Vec<_> = seen.iter().map(|(line, received)| (&**line, received.messages, received.bytes)).collect();
        let (first, all) = (one.len() as u64, [one, two, close].concat().len() as u64);
        assert_eq!(lines, [("open", 0, 0), ("text 1", 0, 0), ("text 2", 1, first), ("close 1000 ", 2, all)]);
    }
}

#[test]
fn what_is_refused_for_want_of_room_is_counted() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(100));
        connection.send("the first always fits").unwrap();
        assert_eq!(connection.send(&[0; 100]), Err(SendError::Full));
        assert_eq!(connection.ping(&[0; 100]), Err(SendError::Full));
        assert_eq!(connection.ping(&[0; 126]), Err(SendError::ControlTooLong(126)));
        let stats = connection.stats();
        assert_eq!((stats.refused, stats.sent.messages), (2, 1));
    }
}

// Round trips.

fn round_trip(connection: &Connection) -> Option<Duration> {
    connection.stats().round_trip
}

fn pong(connection: &mut Connection, role: Role, milliseconds: u64, data: &str) {
    feed(connection, at(ms(milliseconds)), &Frame::pong(data).sent_by(peer_of(role)));
}

#[test]
fn the_round_trip_of_the_keepalives_ping_counts_from_when_it_has_left() {
    for role in ROLES {
        let mut connection = open(role, &Config::default().keepalive_interval(secs(20)));
        connection.handle_timeout(at(secs(20)));
        // The first byte of it, and later the rest.
        connection.wrote(at(ms(20_001)), 1);
        pong(&mut connection, role, 20_002, "");
        assert_eq!(round_trip(&connection), None, "it has not left");
        write_all(&mut connection, at(ms(20_100)));
        pong(&mut connection, role, 20_107, "");
        assert_eq!(round_trip(&connection), Some(ms(7)));
        // The next one says something new, and until then the last one stands.
        connection.handle_timeout(at(ms(40_200)));
        write_all(&mut connection, at(ms(40_200)));
        assert_eq!(round_trip(&connection), Some(ms(7)));
        pong(&mut connection, role, 40_203, "");
        assert_eq!(round_trip(&connection), Some(ms(3)));
        // A pong that nobody has asked for is no answer.
        pong(&mut connection, role, 50_000, "");
        assert_eq!(round_trip(&connection), Some(ms(3)));
    }
}

#[test]
fn a_ping_of_the_users_is_measured_and_told_from_others() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        connection.ping(b"one").unwrap();
        write_all(&mut connection, at(ms(10)));
        connection.ping(b"two").unwrap();
        write_all(&mut connection, at(ms(20)));
        pong(&mut connection, role, 25, "two");
        assert_eq!(round_trip(&connection), None, "one at a time");
        pong(&mut connection, role, 30, "one");
        assert_eq!(round_trip(&connection), Some(ms(20)));
        connection.ping(b"three").unwrap();
        write_all(&mut connection, at(ms(40)));
        pong(&mut connection, role, 41, "three");
        assert_eq!(round_trip(&connection), Some(ms(1)));
    }
}

#[test]
fn a_ping_that_is_never_answered_is_given_up() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        for number in 0..=17 {
            connection.ping(&[number]).unwrap();
            write_all(&mut connection, at(ms(number.into())));
        }
        feed(&mut connection, at(ms(100)), &Frame::pong([17]).sent_by(peer_of(role)));
        assert_eq!(round_trip(&connection), Some(ms(83)));
    }
}

#[test]
fn a_driver_measures_as_a_connection_does() {
    for role in ROLES {
        let (mut driver, _log) = logged(role);
        driver.socket().unwrap().ping("p").unwrap();
        let output = driver.take_output().unwrap();
        driver.wrote(at(ms(5)), output.len());
        driver.receive(at(ms(9)), &mut Frame::pong("p").sent_by(peer_of(role)));
        assert_eq!(stats(&driver).round_trip, Some(ms(4)));
    }
}

#[test]
fn a_pong_that_is_read_before_its_ping_is_known_to_have_left_measures_nothing_and_spoils_nothing() {
    for role in ROLES {
        let (mut driver, _log) = logged(role);
        let pong = Frame::pong("p").sent_by(peer_of(role));
        driver.socket().unwrap().ping("p").unwrap();
        // Another thread writes it, and has not said so.
        let output = driver.take_output().unwrap();
        driver.receive(at(ms(1)), &mut pong.clone());
        driver.wrote(at(ms(2)), output.len());
        assert_eq!(stats(&driver).round_trip, None);
        driver.socket().unwrap().ping("p").unwrap();
        let output = driver.take_output().unwrap();
        driver.wrote(at(secs(20)), output.len());
        driver.receive(at(secs(20) + ms(3)), &mut pong.clone());
        assert_eq!(stats(&driver).round_trip, Some(ms(3)));
    }
}

// What was known from the beginning.

#[test]
fn the_numbers_say_what_was_negotiated_and_when_it_opened() {
    for role in ROLES {
        let context = || SocketContext::new().protocol("mqtt").opened(secs(1_700_000_000));
        let opened = Some(SystemTime::UNIX_EPOCH + secs(1_700_000_000));
        let mut connection = open(role, &timeless());
        assert_eq!(connection.stats(), Stats::default());
        connection.set_context(context());
        // What comes later does not forget it.
        connection.set_context(SocketContext::new().protocol("mqtt"));
        let driver = Driver::connected(connection, logging(&Log::default(), |_, _| Ok(())));
        let recorder = Recorder::with_context(context());
        for socket in [driver.socket().unwrap(), &recorder.socket()] {
            assert_eq!((socket.stats().protocol.as_deref(), socket.stats().opened), (Some("mqtt"), opened));
        }
        recorder.socket().send("x").unwrap();
        assert_eq!(recorder.socket().stats().sent.messages, 1);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages_are_counted_as_they_are_sent() {
    use bellwire_core::config::Deflate;
    use bellwire_core::{Compression, proto::client, proto::server::Accept};
    let config = Arc::new(timeless().deflate(Deflate::default()));
    let target = bellwire_core::Target::new("ws://a/").unwrap().config((*config).clone());
    let mut handshake: client::Handshake = target.handshake(START);
    let mut asked = handshake.output().to_vec();
    let mut accepting = server::Handshake::new(config.clone(), START);
    let request = accepting.receive(&mut &mut asked[..]).unwrap().unwrap();
    let mut server = request.accept(&Accept::new(), config, START).unwrap();
    let compression: Option<Compression> = server.stats().compression;
    assert!(compression.unwrap().to_string().starts_with("permessage-deflate"));
    let _ = handshake.receive(START, &mut &mut write_all(&mut server, START)[..]).unwrap().unwrap();
    server.send("word ".repeat(1000)).unwrap();
    let frame = write_all(&mut server, START);
    assert!(frame.len() < 200);
    assert_traffic(server.stats().sent, 1, frame.len());
}
