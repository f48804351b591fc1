//! What recorders of `metrics` see.

use bellwire_core::{CloseCode, ServerError};
use metrics::Unit;

use super::*;
use crate::recorder::Recording;

#[test]
fn connections_are_counted_while_they_are_open_and_by_how_they_end() {
    for (role, name) in [(Role::Server, "server"), (Role::Client, "client")] {
        let label = format!("{{role={name}}}");
        let open = format!("bellwire_connections_open{label}");
        let (seen, ()) = Recording::of(|recording| {
            let make = || driver(role, Config::default(), |_, _| Ok(()));
            let (mut first, second) = (make(), make());
            assert_eq!(recording.value(&open), 2.0);
            receive(&mut first, START, frame(role, 8, b"\x03\xe8"));
            assert_eq!(recording.value(&open), 1.0);
            drop((first, second));
            // One that never opened was never counted.
            drop(Driver::connected(
                Connection::server(Arc::default(), START),
                bellwire_core::listener::IntoListener::into_listener(listener()),
            ));
        });
        assert_eq!(seen.values(&open), [1.0, 1.0, -1.0, -1.0]);
        assert_eq!(seen.value(&format!("bellwire_connections_opened_total{label}")), 2.0);
        let closed = |code, by, clean| {
            seen.value(&format!("bellwire_connections_closed_total{{role={name},code={code},by={by},clean={clean}}}"))
        };
        assert_eq!((closed(1000, "peer", true), closed(1006, "local", false)), (1.0, 1.0));
        assert_eq!(seen.value(&format!("bellwire_connections_failed_total{{role={name},kind=abandoned}}")), 1.0);
    }
}

#[test]
fn messages_and_bytes_are_added_up_turn_by_turn() {
    for (role, name) in [(Role::Server, "server"), (Role::Client, "client")] {
        let (incoming, outgoing) = if role == Role::Server { (11.0, 7.0) } else { (7.0, 11.0) };
        let (seen, ()) = Recording::of(|_| {
            let mut driver = driver(role, Config::default(), |socket, text| Ok(socket.send(text)?));
            receive(&mut driver, START, frame(role, 1, b"hello").repeat(3));
            receive(&mut driver, START, frame(role, 1, b"hello"));
            receive(&mut driver, START, frame(role, 8, b""));
        });
        let of = |what| seen.values(&format!("bellwire_{what}_total{{role={name}}}"));
        assert_eq!(of("received_messages"), [3.0, 1.0]);
        let close = if role == Role::Server { 6.0 } else { 2.0 };
        assert_eq!(of("received_bytes"), [3.0 * incoming, incoming, close]);
        assert_eq!(of("sent_messages").iter().sum::<f64>(), 4.0);
        // The answer to the close leaves when the connection has closed.
        let answer = if role == Role::Server { 2.0 } else { 6.0 };
        assert_eq!(of("sent_bytes"), [3.0 * outgoing, outgoing, answer]);
    }
}

#[test]
fn the_labels_of_close_codes_are_few_whatever_peers_send() {
    let (seen, ()) = Recording::of(|_| {
        for code in (1000..=1015).chain(3000..=4999) {
            if CloseCode(code).is_sendable() {
                let mut driver = driver(Role::Server, Config::default(), |_, _| Ok(()));
                receive(&mut driver, START, frame(Role::Server, 8, &code.to_be_bytes()));
            }
        }
    });
    let closed: Vec<_> = seen.keys().into_iter().filter(|key| key.starts_with("bellwire_connections_closed")).collect();
    assert_eq!(closed.len(), 14, "{closed:?}");
    for class in ["3xxx", "4xxx"] {
        let key = format!("bellwire_connections_closed_total{{role=server,code={class},by=peer,clean=true}}");
        assert_eq!(seen.value(&key), 1000.0);
    }
}

#[test]
fn a_slow_reader_shows_in_what_was_queued_refused_and_not_read() {
    let (seen, ()) = Recording::of(|_| {
        let config = Config::default().watermarks(10, 20).max_queued(100);
        let mut driver = driver(Role::Server, config, |socket, text| Ok(socket.send(text)?));
        receive(&mut driver, START, frame(Role::Server, 1, b"a"));
        driver.receive(START, &mut frame(Role::Server, 1, &[b'a'; 30]));
        let socket = driver.socket().unwrap().clone();
        socket.send(&[0; 90]).unwrap_err();
        socket.send(&[0; 90]).unwrap_err();
        let _ = driver.settle(Waker::noop());
        // It is dropped: what was queued was queued all the same.
        socket.abort();
        turn(&mut driver, START);
        drop(driver);
    });
    assert_eq!(seen.value("bellwire_sends_refused_total{role=server}"), 2.0);
    assert_eq!(seen.value("bellwire_reading_pauses_total{role=server}"), 1.0);
    assert_eq!(seen.values("bellwire_queue_peak_bytes{role=server}"), [32.0]);
}

#[test]
fn a_ping_and_its_answer_are_a_round_trip() {
    let (seen, ()) = Recording::of(|_| {
        let mut driver = driver(Role::Server, Config::default(), |_, _| Ok(()));
        driver.handle_timeout(at(20_000));
        turn(&mut driver, at(20_000));
        receive(&mut driver, at(20_250), frame(Role::Server, 10, b""));
        receive(&mut driver, at(20_300), frame(Role::Server, 10, b"unasked"));
    });
    assert_eq!(seen.values("bellwire_ping_round_trip_seconds{role=server}"), [0.25]);
}

#[test]
fn what_a_server_refuses_and_what_goes_wrong_there_is_counted_by_its_kind() {
    let (seen, ()) = Recording::of(|_| {
        let handler = |_: &Request| Response::websocket(listener());
        let service = Arc::new(Service::new(Config::default(), handler, |_: &ServerError| ()));
        for request in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut driver = Driver::server(service.clone(), None, START);
            driver.receive(START, &mut request.as_bytes().to_vec());
        }
        service.report(&ServerError::NoAnswer);
    });
    for reason in ["host", "http_version", "not_an_upgrade"] {
        assert_eq!(seen.value(&format!("bellwire_requests_refused_total{{reason={reason}}}")), 1.0, "{reason}");
    }
    assert_eq!(seen.value("bellwire_server_errors_total{kind=no_answer}"), 1.0);
    assert_eq!(seen.keys().len(), 4, "{:?}", seen.keys());
}

#[test]
fn clients_count_tries_that_fail_and_what_comes_of_them() {
    let (seen, ()) = Recording::of(|_| {
        let error = testing::connect(|_: &Request| Response::new(503)).unwrap_err();
        bellwire_core::backend::no_connection(&bellwire_core::Target::new("ws://a/").unwrap(), &error);
        crate::events::reconnect_in_vain();
    });
    assert_eq!(seen.value("bellwire_connects_failed_total{kind=refused}"), 1.0);
    assert_eq!(seen.value("bellwire_reconnects_total{kind=connect,next=try}"), 1.0);
    assert_eq!(seen.value("bellwire_reconnects_total{kind=connect,next=none}"), 1.0);
}

/// Each is a row of the guide's table.
#[test]
fn every_metric_is_described_with_its_unit_and_stands_in_the_guide() {
    let guide = include_str!("../../../docs/guide/seeing.md");
    let (seen, ()) = Recording::of(|_| bellwire_core::describe_metrics());
    let described = seen.described();
    assert_eq!(described.len(), 16);
    for (name, (kind, unit)) in &described {
        assert!(guide.contains(&format!("| `{name}` | {kind} |")), "{name}, a {kind}, is not in the guide");
        let expected = match name {
            name if name.contains("_bytes") => Unit::Bytes,
            name if name.ends_with("_seconds") => Unit::Seconds,
            _ => Unit::Count,
        };
        assert_eq!(unit, &Some(expected), "{name}");
    }
}
