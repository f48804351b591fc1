//! What only happens on a runtime that ends.

use bellwire::{Response, listener};
use bellwire_tests::{Connect, Ending, Event, Frame, Raw, Setup, echo, logged, quiet, runtimes};

runtimes! {
    server {
        i3_a_runtime_that_ends_closes_a_server_connection_with_1006_once,
    }
    client {
        i3_a_runtime_that_ends_closes_a_client_connection_with_1006_once,
    }
}

const ABANDONED: &str = "the connection's driver was dropped";

fn i3_a_runtime_that_ends_closes_a_server_connection_with_1006_once<B: Ending>() {
    let mut backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    backend.end();
    client.expect_end();
    server.log().ends_with([Event::Open, Event::text("x"), Event::error(ABANDONED), Event::close(1006, "")]);
}

fn i3_a_runtime_that_ends_closes_a_client_connection_with_1006_once<B: Ending>() {
    let mut backend = B::start();
    let other = B::start();
    let server = other.serve(Setup::default(), |_| Response::websocket(echo()));
    let (listener, log) = logged(listener().on_open(|socket| socket.send("x")));
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open, Event::text("x")]);
    backend.end();
    log.ends_with([Event::error(ABANDONED), Event::close(1006, "")]);
    assert_eq!(client.socket.closed().unwrap().code, 1006);
}
