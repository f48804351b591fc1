//! From events to callbacks: the invariant 1.13 of the contract.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellwire_core::backend::{Driver, Step};
use bellwire_core::testing::Recorder;
use bellwire_core::{CloseCode, Closed, ClosedBy, Role, SendError, WebSocket};

use crate::common::*;
use crate::logging::*;

// Order.

#[test]
fn callbacks_come_in_the_order_open_messages_close() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        assert_eq!(log.take(), ["open"]);
        let frames = [
            Frame::text("1").not_final(),
            Frame::ping("2"),
            Frame::continuation("3"),
            Frame::binary("4"),
            Frame::pong("5"),
            Frame::close(1000, "Normal close"),
            Frame::text("6"),
        ];
        receive(&mut driver, role, &frames);
        assert_eq!(log.take(), ["ping 2", "text 13", "binary 4", "pong 5", "close 1000 Normal close"]);
        receive(&mut driver, role, &[Frame::text("7")]);
        driver.receive_eof(START);
        driver.transport_failed(START, "x");
        drop(driver);
        assert_eq!(log.take(), [""; 0]);
    }
}

#[test]
fn j1_foo_bar_and_a_normal_close() {
    let (mut driver, log) = logged(Role::Server);
    receive(&mut driver, Role::Server, &[Frame::text("foo"), Frame::pong("bar"), Frame::close(1000, "Normal close")]);
    assert_eq!(log.take(), ["open", "text foo", "pong bar", "close 1000 Normal close"]);
}

#[test]
fn an_error_comes_before_its_close() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        receive(&mut driver, role, &[Frame::text("before"), Frame::text([0xff]), Frame::text("after")]);
        let (error, text) = ("text message not UTF-8", "Text message not UTF-8");
        assert_eq!(log.take(), ["open", "text before", &format!("error {error}"), &format!("close 1007 {text}")]);
        assert_eq!(written(&mut driver), Frame::close(1007, text).sent_by(role));
    }
}

#[test]
fn no_callback_runs_before_the_start() {
    for role in ROLES {
        let log = Log::default();
        let driver = Driver::connected(open(role, &timeless()), logging(&log, |_, _| Ok(())));
        assert_eq!(log.take(), [""; 0]);
        drop(driver);
        assert_eq!(log.take(), [""; 0], "no close without an open");
    }
}

#[test]
fn a_peer_that_vanishes_is_one_close_with_1006() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        driver.receive_eof(START);
        assert_eq!(log.take(), ["open", "error the peer ended the transport without a close frame", "close 1006 "]);
        leaves(&mut driver, START);
    }
}

#[test]
fn e5_an_error_that_says_that_the_peer_is_gone_is_no_failure_of_the_transport() {
    for role in ROLES {
        for kind in
            [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe]
        {
            let (mut driver, log) = logged(role);
            // As rustls says it: an error with a text of its own.
            driver.transport_failed(START, io::Error::new(kind, "peer closed connection without sending close_notify"));
            let vanished = "error the peer ended the transport without a close frame";
            assert_eq!(log.take(), ["open", vanished, "close 1006 "], "{kind}");
            match kind {
                // Our sending side is whole: it is ended as it should.
                ErrorKind::UnexpectedEof => leaves(&mut driver, START),
                _ => assert_eq!(driver.step(START), Step::Done),
            }
        }
    }
}

#[test]
fn e5_a_reset_behind_the_closing_handshake_changes_nothing() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        receive(&mut driver, role, &[Frame::close(4000, "bye")]);
        driver.transport_failed(START, io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!((log.take(), driver.step(START)), (vec!["open".into(), "close 4000 bye".into()], Step::Done));

        let (mut driver, log) = logged(role);
        driver.socket().unwrap().close().unwrap();
        written(&mut driver);
        receive(&mut driver, role, &[Frame::close(4001, "bye")]);
        driver.transport_failed(START, io::Error::from(ErrorKind::ConnectionReset));
        assert_eq!((log.take(), driver.step(START)), (vec!["open".into(), "close 4001 bye".into()], Step::Done));
        assert!(driver.socket().unwrap().closed().unwrap().clean);
    }
}

#[test]
fn a_transport_that_fails_is_one_close_with_1006() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        driver.transport_failed(START, "connection reset");
        assert_eq!(log.take(), ["open", "error the transport failed: connection reset", "close 1006 "]);
        assert_eq!(driver.step(START), Step::Done);
    }
}

#[test]
fn the_callbacks_do_not_depend_on_how_the_bytes_are_cut() {
    let frames = [
        Frame::text("Hello"),
        Frame::ping("p"),
        Frame::text("echo ").not_final(),
        Frame::pong("q"),
        Frame::continuation("this"),
        Frame::text("exit"),
        Frame::text("too late"),
        Frame::close(1000, "bye"),
    ];
    for role in ROLES {
        let converse = |pieces: &[&[u8]]| {
            let log = Log::default();
            let greeter = logging(&log, |socket, line| match line.strip_prefix("text ") {
                Some("exit") => Ok(socket.close()?),
                Some(text) => Ok(socket.send(text)?),
                None => Ok(()),
            });
            let mut driver = started(role, &timeless(), greeter);
            for piece in pieces {
                driver.receive(START, &mut piece.to_vec());
            }
            (log.take(), written(&mut driver))
        };
        let bytes = wire(&frames, peer_of(role));
        let whole = converse(&[&bytes]);
        let expected = ["open", "text Hello", "ping p", "pong q", "text echo this", "text exit", "close 1000 bye"];
        assert_eq!(whole.0, expected);
        let sent = [Frame::text("Hello"), Frame::text("echo this"), Frame::close(1000, "Normal Closure")];
        assert_eq!(whole.1, wire(&sent, role));
        for at in 0..=bytes.len() {
            assert_eq!(converse(&[&bytes[..at], &bytes[at..]]), whole, "{at}");
        }
        assert_eq!(converse(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }
}

// D8: callbacks that fail.

#[test]
fn d8_a_callback_that_fails_closes_with_1011_and_tells_only_its_listener_why() {
    let frames = [Frame::text("x"), Frame::ping("x"), Frame::pong("x"), Frame::binary("after")];
    for role in ROLES {
        for (at, line) in ["open", "text x", "ping x", "pong x"].into_iter().enumerate() {
            for panics in [false, true] {
                let log = Log::default();
                let fails = move |_: &WebSocket, now: &str| match (now == line, panics) {
                    (true, true) => panic!("the secret"),
                    (true, false) => Err("the secret".into()),
                    _ => Ok(()),
                };
                let mut driver = started(role, &timeless(), logging(&log, fails));
                receive(&mut driver, role, &frames);
                let mut expected: Vec<_> = ["open", "text x", "ping x", "pong x"][..=at].to_vec();
                let how = if panics { "panicked" } else { "failed" };
                let error = format!("error a callback {how}: the secret");
                expected.extend([&*error, "close 1011 Unexpected Error"]);
                assert_eq!(log.take(), expected);
                assert_eq!(written(&mut driver), Frame::close(1011, "Unexpected Error").sent_by(role));
            }
        }
    }
}

#[test]
fn a_panic_with_any_payload_is_told() {
    for (payload, text) in [(0, "static"), (1, "formatted 1"), (2, "no message")] {
        let log = Log::default();
        let panics = move |_: &WebSocket, line: &str| {
            if line == "open" {
                match payload {
                    0 => panic!("static"),
                    1 => panic!("formatted {payload}"),
                    _ => std::panic::panic_any(7),
                }
            }
            Ok(())
        };
        let _driver = started(Role::Server, &timeless(), logging(&log, panics));
        assert_eq!(log.take()[1], format!("error a callback panicked: {text}"));
    }
}

#[test]
fn d10_a_send_that_comes_too_late_is_no_failure_of_the_callback() {
    for role in ROLES {
        let log = Log::default();
        let late = |socket: &WebSocket, line: &str| {
            if line.starts_with("text") {
                socket.close()?;
                assert_eq!(socket.send("x"), Err(SendError::Closed));
                socket.send("a second time, with a question mark")?;
            }
            Ok(())
        };
        let mut driver = started(role, &timeless(), logging(&log, late));
        receive(&mut driver, role, &[Frame::text("exit"), Frame::close(1000, "")]);
        assert_eq!(log.take(), ["open", "text exit", "close 1000 "]);
        assert_eq!(written(&mut driver), Frame::close(1000, "Normal Closure").sent_by(role));
    }
}

#[test]
fn d8_another_error_of_send_is_a_failure_of_the_callback() {
    type Send = fn(&WebSocket) -> Result<(), SendError>;
    let refused: [Send; 3] = [
        |socket| socket.close_with(1005, ""),
        |socket| socket.ping([0; 126]),
        // The socket of somebody else, while this connection is open.
        |_| {
            let other = Recorder::new();
            other.end();
            other.socket().send("x")
        },
    ];
    for send in refused {
        let log = Log::default();
        let fails = move |socket: &WebSocket, line: &str| if line == "open" { Ok(send(socket)?) } else { Ok(()) };
        let _driver = started(Role::Server, &timeless(), logging(&log, fails));
        assert_eq!(log.take().last().unwrap(), "close 1011 Unexpected Error");
    }
}

#[test]
fn an_error_of_its_own_after_a_close_is_still_told() {
    let log = Log::default();
    let fails = |socket: &WebSocket, line: &str| {
        if line == "open" {
            socket.close()?;
            return Err("a real one".into());
        }
        Ok(())
    };
    let mut driver = started(Role::Server, &timeless(), logging(&log, fails));
    assert_eq!(log.take(), ["open", "error a callback failed: a real one", "close 1011 Unexpected Error"]);
    assert_eq!(written(&mut driver), Frame::close(1000, "Normal Closure").sent_by(Role::Server));
}

#[test]
fn on_close_comes_though_on_error_panics_and_a_panic_in_it_harms_nobody() {
    for role in ROLES {
        let log = Log::default();
        let panics = |_: &WebSocket, line: &str| {
            assert!(line == "open", "on purpose");
            Ok(())
        };
        let mut driver = started(role, &timeless(), logging(&log, panics));
        receive(&mut driver, role, &[Frame::new(3, "")]);
        let (error, text) = ("reserved opcode: 0x3", "Reserved opcode: 0x3");
        assert_eq!(log.take(), ["open", &format!("error {error}"), &format!("close 1002 {text}")]);
        assert_eq!(written(&mut driver), Frame::close(1002, text).sent_by(role));
        assert_eq!(driver.step(START), Step::Shutdown, "it goes on to its end");
    }
}

// D1, D2: closing from inside a callback.

#[test]
fn d1_j6_a_close_in_on_open_is_seen_at_once_and_on_close_comes_later() {
    for role in ROLES {
        let log = Log::default();
        let own = log.clone();
        let closes = move |socket: &WebSocket, line: &str| {
            if line == "open" {
                own.add(format!("{}", socket.is_open()));
                socket.close()?;
                own.add(format!("{}", socket.is_open()));
            }
            Ok(())
        };
        let mut driver = started(role, &timeless(), logging(&log, closes));
        assert_eq!(log.take(), ["open", "true", "false"]);
        assert_eq!(written(&mut driver), Frame::close(1000, "Normal Closure").sent_by(role));
        receive(&mut driver, role, &[Frame::close(1000, "Normal Closure")]);
        assert_eq!(log.take(), ["close 1000 Normal Closure"]);
    }
}

#[test]
fn d1_no_callback_runs_inside_another() {
    let actions: [fn(&WebSocket); 2] = [WebSocket::abort, |socket| {
        let _ = socket.send(vec![0; 200]);
    }];
    for action in actions {
        for role in ROLES {
            let log = Log::default();
            let own = log.clone();
            let acts = move |socket: &WebSocket, line: &str| {
                if line.starts_with("text") {
                    action(socket);
                    own.add(format!("returns, open: {}", socket.is_open()));
                }
                Ok(())
            };
            // The send does not fit, and is to close the connection.
            let config = timeless().max_queued(100).slow_reader(bellwire_core::config::SlowReader::Close);
            let mut driver = started(role, &config, logging(&log, acts));
            driver.socket().unwrap().send("something queued").unwrap();
            receive(&mut driver, role, &[Frame::text("now"), Frame::text("dropped")]);
            let log = log.take();
            assert_eq!(log[..3], ["open", "text now", "returns, open: false"]);
            assert!(log.last().unwrap().starts_with("close"), "{log:?}");
            assert_eq!(log.iter().filter(|line| line.starts_with("text")).count(), 1);
        }
    }
}

#[test]
fn d2_it_is_not_open_in_on_error_and_on_close_and_how_it_ended_is_known_there() {
    let log = Log::default();
    let own = log.clone();
    let asks = move |socket: &WebSocket, _: &str| {
        own.add(format!("{} {}", socket.is_open(), socket.closed().is_some()));
        assert_eq!(socket.send("x").is_ok(), socket.is_open());
        Ok(())
    };
    let mut driver = started(Role::Server, &timeless(), logging(&log, asks));
    receive(&mut driver, Role::Server, &[Frame::new(3, "")]);
    let (error, text) = ("reserved opcode: 0x3", "Reserved opcode: 0x3");
    assert_eq!(
        log.take(),
        ["open", "true false", &format!("error {error}"), "false false", &format!("close 1002 {text}"), "false true"]
    );
    let closed = driver.socket().unwrap().closed().unwrap();
    assert_eq!(closed, Closed::failed(CloseCode(1002), text));
}

#[test]
fn d4_who_began_and_whether_it_was_clean_is_told_beside_ring_s_arguments() {
    let (mut driver, _) = logged(Role::Server);
    let socket = driver.socket().unwrap().clone();
    assert_eq!(socket.closed(), None);
    socket.close_with(3000, "mine").unwrap();
    receive(&mut driver, Role::Server, &[Frame::close(3001, "yours")]);
    drop(driver);
    let closed = Closed::clean(CloseCode(3001), "yours", ClosedBy::Local);
    assert_eq!(socket.closed(), Some(closed), "handles outlive the driver");
}

#[test]
fn an_abort_from_outside_is_1006_without_an_error() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        driver.socket().unwrap().send("dropped").unwrap();
        driver.socket().unwrap().abort();
        driver.receive(START, &mut []);
        assert_eq!(log.take(), ["open", "close 1006 "]);
        assert_eq!((written(&mut driver), driver.step(START)), (vec![], Step::Done));
    }
}

// A driver that is dropped.

#[test]
fn a_dropped_driver_ends_its_connection_exactly_once() {
    for role in ROLES {
        let (driver, log) = logged(role);
        let socket = driver.socket().unwrap().clone();
        drop(driver);
        assert_eq!(log.take(), ["open", "error the connection's driver was dropped", "close 1006 "]);
        assert_eq!(socket.send("x"), Err(SendError::Closed));
        let closed = Closed::abnormal(ClosedBy::Local);
        assert_eq!(socket.closed(), Some(closed));
    }
}

#[test]
fn a_driver_that_is_dropped_while_closing_reports_1006() {
    let (driver, log) = logged(Role::Server);
    driver.socket().unwrap().close().unwrap();
    drop(driver);
    assert_eq!(log.take(), ["open", "error the connection's driver was dropped", "close 1006 "]);
}

#[test]
fn a_driver_that_is_dropped_by_a_panic_still_ends_its_connection() {
    for listener_panics in [false, true] {
        let log = Log::default();
        let panics = move |_: &WebSocket, line: &str| {
            assert!(line == "open" || !listener_panics, "on purpose");
            Ok(())
        };
        let driver = started(Role::Server, &timeless(), logging(&log, panics));
        let result = catch_unwind(AssertUnwindSafe(move || {
            let _driver = driver;
            panic!("the backend");
        }));
        assert!(result.is_err());
        assert_eq!(log.take(), ["open", "error the connection's driver was dropped", "close 1006 "]);
    }
}
