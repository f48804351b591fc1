//! What only happens on a runtime: tasks that are aborted, futures that are dropped, a runtime that ends.

use std::time::Duration;

use bellwire::tokio::{Acceptor, Server, connect_over, upgraded};
use bellwire::{Response, Role, listener};
use bellwire_tests::{
    Backend, Connect, Event, Flavor, Frame, OnTokio, PATIENCE, Raw, Setup, echo, logged, logged_handler, quiet,
    runtimes, upgrade_request, within,
};

runtimes! {
    a_runtime_that_ends_closes_a_server_connection_with_1006_once,
    a_runtime_that_ends_closes_a_client_connection_with_1006_once,
    an_aborted_task_closes_its_connection_with_1006_once,
    an_aborted_task_that_was_shaking_hands_calls_nothing,
    a_connect_that_is_dropped_calls_nothing,
    an_upgraded_stream_that_is_never_driven_calls_nothing,
    a_dropped_run_stops_listening_and_leaves_the_connections_open,
}

const ABANDONED: &str = "The connection's driver was dropped";

fn a_runtime_that_ends_closes_a_server_connection_with_1006_once<F: Flavor>() {
    let mut backend = OnTokio::<F>::start();
    let server = backend.serve_logged(quiet(), echo);
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    backend.end_runtime();
    client.expect_end();
    server.log().ends_with([Event::Open, Event::text("x"), Event::error(ABANDONED), Event::close(1006, "")]);
}

fn a_runtime_that_ends_closes_a_client_connection_with_1006_once<F: Flavor>() {
    let mut backend = OnTokio::<F>::start();
    let other = OnTokio::<F>::start();
    let server = other.serve(Setup::default(), |_| Response::websocket(echo()));
    let (listener, log) = logged(listener().on_open(|socket| socket.send("x")));
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open, Event::text("x")]);
    backend.end_runtime();
    log.ends_with([Event::error(ABANDONED), Event::close(1006, "")]);
    assert_eq!(client.socket.closed().unwrap().code, 1006);
}

fn an_aborted_task_closes_its_connection_with_1006_once<F: Flavor>() {
    let backend = OnTokio::<F>::start();
    let (handler, logs) = logged_handler(|_| echo());
    let acceptor = Acceptor::new(handler);
    let (stream, peer, _) = backend.memory(4096);
    let task = backend.handle().spawn(acceptor.accept(stream, None));
    let mut client = Raw::open_over(peer, &upgrade_request("/", &[]));
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    task.abort();
    client.expect_end();
    logs.next().ends_with([Event::Open, Event::text("x"), Event::error(ABANDONED), Event::close(1006, "")]);
}

fn an_aborted_task_that_was_shaking_hands_calls_nothing<F: Flavor>() {
    let backend = OnTokio::<F>::start();
    let acceptor = Acceptor::new(|_: &bellwire::Request| -> Response { panic!("the handler was asked") });
    let (stream, peer, _) = backend.memory(4096);
    let task = backend.handle().spawn(acceptor.accept(stream, None));
    task.abort();
    Raw::upgraded(peer, true).expect_end();
}

fn a_connect_that_is_dropped_calls_nothing<F: Flavor>() {
    let backend = OnTokio::<F>::start();
    let (stream, peer, _) = backend.memory(4096);
    let (listener, log) = logged(listener());
    let task = backend.handle().spawn(async move { drop(connect_over("ws://localhost/", stream, listener).await) });
    // It waits for the answer.
    let mut server = Raw::server_over(peer);
    task.abort();
    assert!(server.try_read().is_ok_and(|frame| frame.is_none()));
    log.ends_with([]);
}

fn an_upgraded_stream_that_is_never_driven_calls_nothing<F: Flavor>() {
    let backend = OnTokio::<F>::start();
    let (stream, peer, _) = backend.memory(4096);
    let (listener, log) = logged(listener());
    let _entered = backend.handle().enter();
    drop(upgraded(stream, b"\x81\x80\0\0\0\0".to_vec(), Role::Server, quiet(), listener));
    log.ends_with([]);
    Raw::upgraded(peer, true).expect_end();
}

fn a_dropped_run_stops_listening_and_leaves_the_connections_open<F: Flavor>() {
    let backend = OnTokio::<F>::start();
    let (handler, logs) = logged_handler(|_| echo());
    let server = backend.handle().block_on(Server::bind("127.0.0.1:0")).unwrap();
    let (addr, stop) = (server.local_addr().unwrap(), server.handle());
    let task = backend.handle().spawn(server.run(handler));
    let mut client = Raw::open(addr);
    client.send([Frame::text("1")]);
    client.expect([Frame::text("1")]);
    task.abort();
    assert!(backend.handle().block_on(task).unwrap_err().is_cancelled());
    assert!(std::net::TcpStream::connect(addr).is_err(), "it does not listen any more");
    client.send([Frame::text("2")]);
    client.expect([Frame::text("2")]);

    let peer = std::thread::spawn(move || {
        client.expect([Frame::close(1001, "Server Shutdown")]);
        client.send([Frame::close(1001, "Server Shutdown")]);
        client.expect_end();
    });
    let handle = backend.handle().clone();
    let dropped = within("shutdown", move || handle.block_on(stop.shutdown(PATIENCE + Duration::from_secs(5))));
    assert_eq!(dropped, 0);
    peer.join().unwrap();
    let end = Event::close(1001, "Server Shutdown");
    logs.next().ends_with([Event::Open, Event::text("1"), Event::text("2"), end]);
}
