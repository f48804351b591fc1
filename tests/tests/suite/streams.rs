//! Transports that the caller has, and how many connections a server takes.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bellwire::{Response, Role, listener};
use bellwire_tests::{
    Acceptor, Backend, Connect, Driven, Event, Frame, Http, Over, PATIENCE, Raw, Setup, backends, echo, http, logged,
    logged_handler, next, quiet, request, upgrade_request,
};

backends! {
    server {
        a_server_answers_over_the_callers_tcp_stream,
        a_server_answers_over_a_unix_socket,
        a_server_answers_over_memory,
        a_stream_that_was_upgraded_elsewhere_goes_on_as_a_server,
        t14_i5_an_acceptor_closes_all_its_connections_and_refuses_new_ones,
        an_acceptor_reports_refusals,
        max_connections_lets_the_next_one_wait,
        a_server_takes_the_callers_listener,
        a_busy_port_is_a_clear_error,
    }
    client {
        a_client_connects_over_the_callers_tcp_stream,
        a_client_connects_over_a_unix_socket,
        a_client_connects_over_memory,
        a_stream_that_was_upgraded_elsewhere_goes_on_as_a_client,
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    there.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, there)
}

#[cfg(unix)]
fn unix_pair() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    there.set_read_timeout(Some(PATIENCE)).unwrap();
    (here, there)
}

/// A whole conversation with a server over one stream.
fn converse<B: Backend>(backend: &B, over: Over<B::Memory>, peer: impl std::io::Read + Write) {
    let (handler, logs) = logged_handler(|request| {
        assert_eq!(request.peer_addr(), Some(([192, 0, 2, 1], 7).into()));
        echo()
    });
    let acceptor: Acceptor<B::Memory> = backend.acceptor(Setup::default(), handler);
    let driven = acceptor.accept(over, Some(([192, 0, 2, 1], 7).into()));
    let mut bytes = upgrade_request("/", &[]);
    bytes.extend(Frame::text("glued").encode(true));
    let mut client = Raw::open_over(peer, &bytes);
    client.expect([Frame::text("glued")]);
    let large = "x".repeat(300_000);
    client.send([Frame::text(&large), Frame::close(3000, "bye")]);
    client.expect([Frame::text(&large), Frame::close(3000, "bye")]);
    client.expect_end();
    driven.wait();
    logs.next().ends_with([Event::Open, Event::text("glued"), Event::text(large), Event::close(3000, "bye")]);
}

fn a_server_answers_over_the_callers_tcp_stream<B: Backend>() {
    let (here, there) = tcp_pair();
    converse(&B::start(), Over::Tcp(here), there);
}

fn a_server_answers_over_a_unix_socket<B: Backend>() {
    #[cfg(unix)]
    {
        let (here, there) = unix_pair();
        converse(&B::start(), Over::Unix(here), there);
    }
}

fn a_server_answers_over_memory<B: Backend>() {
    let backend = B::start();
    // Nobody reads while the large message is written: it has to fit.
    let (here, there, _) = backend.memory(1024 * 1024);
    converse(&backend, Over::Memory(here), there);
}

/// A whole conversation with a client over one stream.
fn converse_with_client<B: Backend>(
    backend: &B,
    over: Over<B::Memory>,
    peer: impl std::io::Read + Write + Send + 'static,
) {
    let server = std::thread::spawn(move || {
        let mut raw = Raw::server_over(peer);
        assert!(raw.head.starts_with("GET /secret HTTP/1.1\r\nHost: example.com\r\n"), "{}", raw.head);
        let mut bytes = raw.switching(&["Sec-WebSocket-Protocol: mqtt"]);
        bytes.extend(Frame::text("glued").encode(false));
        raw.write(&bytes);
        raw.expect([Frame::text("hello"), Frame::text("outside")]);
        raw.send([Frame::close(1000, "")]);
        raw.expect([Frame::close(1000, "")]);
    });
    let (listener, log) = logged(listener().on_open(|socket| socket.send("hello")));
    // The TLS of this URL is the stream's affair.
    let connect = Connect { protocols: vec!["mqtt"], ..Connect::to("wss://example.com/secret") };
    let client = backend.connect_over(connect, over, listener).unwrap();
    assert_eq!(client.response.protocol(), Some("mqtt"));
    log.expect([Event::Open, Event::text("glued")]);
    client.socket.send("outside").unwrap();
    assert_eq!(client.closed().code, 1000);
    log.ends_with([Event::close(1000, "")]);
    server.join().unwrap();
}

fn a_client_connects_over_the_callers_tcp_stream<B: Backend>() {
    let (here, there) = tcp_pair();
    converse_with_client(&B::start(), Over::Tcp(here), there);
}

fn a_client_connects_over_a_unix_socket<B: Backend>() {
    #[cfg(unix)]
    {
        let (here, there) = unix_pair();
        converse_with_client(&B::start(), Over::Unix(here), there);
    }
}

fn a_client_connects_over_memory<B: Backend>() {
    let backend = B::start();
    let (here, there, _) = backend.memory(1024);
    converse_with_client(&backend, Over::Memory(here), there);
}

fn a_stream_that_was_upgraded_elsewhere_goes_on_as_a_server<B: Backend>() {
    let backend = B::start();
    let (here, there) = tcp_pair();
    let (listener, log) = logged(echo().on_open(|socket| socket.send("hello")));
    // What was read behind the handshake ends in the middle of a frame.
    let mut leftover = Frame::text("left over").encode(true);
    let rest = leftover.split_off(5);
    let driven: Driven = backend.upgraded(Over::Tcp(here), leftover, Role::Server, quiet(), listener);
    let mut client = Raw::upgraded(there, true);
    client.expect([Frame::text("hello")]);
    client.write(&rest);
    client.send([Frame::close(1000, "")]);
    client.expect([Frame::text("left over"), Frame::close(1000, "")]);
    client.expect_end();
    driven.wait();
    log.ends_with([Event::Open, Event::text("left over"), Event::close(1000, "")]);
}

fn a_stream_that_was_upgraded_elsewhere_goes_on_as_a_client<B: Backend>() {
    let backend = B::start();
    let (here, there, _) = backend.memory(1024);
    let (listener, log) = logged(echo().on_open(|socket| socket.send("hello")));
    let mut leftover = Frame::text("left over").encode(false);
    leftover.extend(Frame::close(1000, "all of it").encode(false));
    let driven = backend.upgraded(Over::Memory(here), leftover, Role::Client, quiet(), listener);
    // It checks that what comes is masked.
    let mut server = Raw::upgraded(there, false);
    server.expect([Frame::text("hello"), Frame::text("left over"), Frame::close(1000, "all of it")]);
    drop(server);
    driven.wait();
    log.ends_with([Event::Open, Event::text("left over"), Event::close(1000, "all of it")]);
}

fn t14_i5_an_acceptor_closes_all_its_connections_and_refuses_new_ones<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let acceptor = backend.acceptor(Setup::default(), handler);
    let (here, there) = tcp_pair();
    let driven = acceptor.accept(Over::Tcp(here), None);
    let mut client = Raw::open_over(there, &upgrade_request("/", &[]));
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    acceptor.close_all();
    client.expect([Frame::close(1001, "Server Shutdown")]);
    client.send([Frame::close(1001, "Server Shutdown")]);
    client.expect_end();
    driven.wait();
    logs.next().ends_with([Event::Open, Event::text("x"), Event::close(1001, "Server Shutdown")]);

    let (here, mut there) = tcp_pair();
    let driven = acceptor.accept(Over::Tcp(here), None);
    there.write_all(&upgrade_request("/", &[])).unwrap();
    assert_eq!(Http::read(there).status, 503);
    driven.wait();
}

fn an_acceptor_reports_refusals<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), |_| Response::websocket(listener()));
    let (here, mut there, _) = backend.memory(4096);
    let driven = acceptor.accept(Over::Memory(here), None);
    there.write_all(&request("GET / HTTP/1.1", &["Host: localhost"])).unwrap();
    assert_eq!(Http::read(there).status, 426);
    let report = next(&acceptor.reports);
    assert_eq!((report.refused, report.peer), (Some(426), None));
    driven.wait();
}

fn max_connections_lets_the_next_one_wait<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let setup = Setup { max_connections: Some(2), ..Setup::default() };
    let server = backend.serve(setup, handler);
    let mut first = Raw::open(server.addr);
    let mut second = Raw::open(server.addr);
    let (first_log, second_log) = (logs.next(), logs.next());

    // The system takes it, and the server does not.
    let mut third = TcpStream::connect(server.addr).unwrap();
    third.write_all(&upgrade_request("/", &[])).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let error = third.peek(&mut [0]).expect_err("nobody answers");
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    // The others are alive meanwhile.
    for client in [&mut first, &mut second] {
        client.send([Frame::text("x")]);
        client.expect([Frame::text("x")]);
    }

    first.send([Frame::close(1000, "")]);
    first.expect([Frame::close(1000, "")]);
    first.expect_end();
    first_log.ends_with([Event::Open, Event::text("x"), Event::close(1000, "")]);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut third = Raw::open_over(third, b"");
    third.send([Frame::text("y")]);
    third.expect([Frame::text("y")]);
    logs.next().expect([Event::Open, Event::text("y")]);
    second_log.expect([Event::Open, Event::text("x")]);

    // Plain HTTP needs a place as well, and gives it back.
    drop(second);
    for _ in 0..4 {
        assert_eq!(http(server.addr, &request("GET / HTTP/1.1", &["Host: localhost"])).status, 426);
    }
}

fn a_server_takes_the_callers_listener<B: Backend>() {
    let backend = B::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let setup = Setup { listener: Some(listener), ..Setup::default() };
    let server = backend.serve(setup, |_| Response::websocket(echo()));
    assert_eq!(server.addr, addr);
    let mut client = Raw::open(addr);
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
}

fn a_busy_port_is_a_clear_error<B: Backend>() {
    let backend = B::start();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = busy.local_addr().unwrap();
    let error = backend.bind(addr).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(backend.bind(([127, 0, 0, 1], 0).into()).is_ok_and(|addr| addr.port() != 0), "port 0 works");
}
