//! What only happens to tasks: they are aborted, and futures are dropped.

use std::time::Duration;

use bellwire::{Response, Role, listener};
use bellwire_tests::{
    Connect, Event, Frame, PATIENCE, Raw, Tasks, echo, logged, logged_handler, quiet, tasks, upgrade_request, within,
};

tasks! {
    server {
        i3_an_aborted_task_closes_its_connection_with_1006_once,
        i3_i1_an_aborted_task_that_was_shaking_hands_calls_nothing,
        i3_a_dropped_run_stops_listening_and_leaves_the_connections_open,
    }
    client {
        i3_i1_a_connect_that_is_dropped_calls_nothing,
    }
    both {
        i3_an_upgraded_stream_that_is_dropped_is_closed_with_1006_once,
        i3_an_upgraded_stream_that_is_never_driven_calls_nothing,
    }
}

const ABANDONED: &str = "the connection's driver was dropped";

fn i3_an_aborted_task_closes_its_connection_with_1006_once<B: Tasks>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let (stream, peer, _) = backend.memory(4096);
    let task = backend.spawn(backend.accepting(handler, stream));
    let mut client = Raw::open_over(peer, &upgrade_request("/", &[]));
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    task.abort();
    client.expect_end();
    logs.next().ends_with([Event::Open, Event::text("x"), Event::error(ABANDONED), Event::close(1006, "")]);
}

fn i3_i1_an_aborted_task_that_was_shaking_hands_calls_nothing<B: Tasks>() {
    let backend = B::start();
    let (stream, peer, _) = backend.memory(4096);
    let handler = |_: &bellwire::Request| -> Response { panic!("the handler was asked") };
    backend.spawn(backend.accepting(handler, stream)).abort();
    Raw::upgraded(peer, true).expect_end();
}

fn i3_i1_a_connect_that_is_dropped_calls_nothing<B: Tasks>() {
    let backend = B::start();
    let (stream, peer, _) = backend.memory(4096);
    let (listener, log) = logged(listener());
    let task = backend.spawn(backend.connecting(Connect::to("ws://localhost/"), stream, listener));
    // It waits for the answer.
    let mut server = Raw::server_over(peer);
    task.abort();
    assert!(server.try_read().is_ok_and(|frame| frame.is_none()));
    log.ends_with([]);
}

fn i3_an_upgraded_stream_that_is_dropped_is_closed_with_1006_once<B: Tasks>(role: Role) {
    let backend = B::start();
    let (stream, peer, _) = backend.memory(4096);
    let (listener, log) = logged(echo());
    let task = backend.spawn(backend.driving(stream, Vec::new(), role, quiet(), listener));
    let mut peer = Raw::upgraded(peer, role == Role::Server);
    peer.send([Frame::text("x")]);
    peer.expect([Frame::text("x")]);
    task.abort();
    peer.expect_end();
    log.ends_with([Event::Open, Event::text("x"), Event::error(ABANDONED), Event::close(1006, "")]);
}

fn i3_an_upgraded_stream_that_is_never_driven_calls_nothing<B: Tasks>(role: Role) {
    let backend = B::start();
    let (stream, peer, _) = backend.memory(4096);
    let (listener, log) = logged(listener());
    let leftover = Frame::text("never read").encode(role == Role::Server);
    drop(backend.driving(stream, leftover, role, quiet(), listener));
    log.ends_with([]);
    Raw::upgraded(peer, role == Role::Server).expect_end();
}

fn i3_a_dropped_run_stops_listening_and_leaves_the_connections_open<B: Tasks>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let (addr, shutdown, serving) = backend.serving(handler);
    let task = backend.spawn(serving);
    let mut client = Raw::open(addr);
    client.send([Frame::text("1")]);
    client.expect([Frame::text("1")]);
    task.abort();
    assert!(std::net::TcpStream::connect(addr).is_err(), "it does not listen any more");
    client.send([Frame::text("2")]);
    client.expect([Frame::text("2")]);

    let peer = std::thread::spawn(move || {
        client.expect([Frame::close(1001, "Server Shutdown")]);
        client.send([Frame::close(1001, "Server Shutdown")]);
        client.expect_end();
    });
    let dropped = within("shutdown", move || shutdown(PATIENCE + Duration::from_secs(5)));
    assert_eq!(dropped, 0);
    peer.join().unwrap();
    let end = Event::close(1001, "Server Shutdown");
    logs.next().ends_with([Event::Open, Event::text("1"), Event::text("2"), end]);
}
