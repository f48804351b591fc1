//! Handlers that answer later, over sockets: who waits for the answer is a thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire_blocking::{Acceptor, Server, ServerHandle};
use bellwire_core::backend::Service;
use bellwire_core::listener::ListenerBuilder;
use bellwire_core::{Config, Request, Responder, Response, ServerError, WebSocket, listener};

const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A server whose handler leaves its responders to the test.
struct Running {
    addr: SocketAddr,
    handle: ServerHandle,
    responders: Receiver<Responder>,
    reports: Receiver<String>,
    thread: JoinHandle<()>,
    /// Dead when the handler was dropped.
    handler: Weak<()>,
}

impl Running {
    fn start() -> Self {
        let (sender, responders) = mpsc::channel();
        let mut running = Self::with_handler(move |_, responder| sender.send(responder).unwrap());
        running.responders = responders;
        running
    }

    fn with_handler(handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Self {
        let (reporter, reports) = mpsc::channel();
        let server =
            Server::bind("127.0.0.1:0").unwrap().on_error(move |error| reporter.send(error.to_string()).unwrap());
        let (addr, handle) = (server.local_addr().unwrap(), server.handle());
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let thread = thread::spawn(move || {
            let handler = move |request, responder| {
                let _ = &alive;
                handler(request, responder);
            };
            server.run_with(handler).unwrap();
        });
        Self { addr, handle, responders: mpsc::channel().1, reports, thread, handler: weak }
    }

    /// A client that has sent this, and the responder of its request.
    fn ask(&self, bytes: &[u8]) -> (TcpStream, Responder) {
        let client = connect(self.addr, bytes);
        (client, self.responders.recv_timeout(PATIENCE).unwrap())
    }

    fn stop(self) {
        assert_eq!(self.handle.shutdown(PATIENCE), 0, "nobody had to be dropped");
        self.thread.join().unwrap();
        assert!(self.handler.upgrade().is_none(), "the handler lives on");
    }
}

fn connect(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(bytes).unwrap();
    client
}

/// A masked text frame; the mask is zero.
fn text(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat()
}

fn echo() -> ListenerBuilder {
    listener().on_message(|socket, message| socket.send(message))
}

#[track_caller]
fn expect(client: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    client.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes, "{}", String::from_utf8_lossy(&read));
}

#[track_caller]
fn expect_switching(client: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
}

fn read_to_end(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_upgrade_from_another_thread_is_open_and_loses_nothing_that_came_before() {
    let running = Running::start();
    let (mut client, responder) = running.ask(&[REQUEST, &text("glued")].concat());
    client.write_all(&text("behind")).unwrap();
    thread::spawn(|| responder.respond(Response::websocket(echo()))).join().unwrap();
    expect_switching(&mut client);
    expect(&mut client, b"\x81\x05glued\x81\x06behind");
    client.write_all(&text("later")).unwrap();
    expect(&mut client, b"\x81\x05later");
    client.write_all(b"\x88\x80\0\0\0\0").unwrap();
    expect(&mut client, b"\x88\0");
    drop(client);
    running.stop();
}

#[test]
fn what_other_threads_send_after_a_late_answer_is_written() {
    let running = Running::start();
    let (sockets, socket) = mpsc::channel::<WebSocket>();
    let (mut client, responder) = running.ask(REQUEST);
    responder.respond(Response::websocket(echo().on_open(move |socket| sockets.send(socket.clone()).unwrap())));
    expect_switching(&mut client);
    let socket = socket.recv_timeout(PATIENCE).unwrap();
    // Often enough to find its thread asleep, which has read nothing since it was answered.
    for _ in 0..100 {
        socket.send("x").unwrap();
        expect(&mut client, b"\x81\x01x");
    }
    socket.abort();
    drop(client);
    running.stop();
}

#[test]
fn a_late_answer_may_be_plain_or_an_error_or_forgotten() {
    type Answer = fn(Responder);
    let table: [(Answer, &str, Option<&str>); 3] = [
        (|responder| responder.respond(Response::text("late")), "200", None),
        (|responder| responder.raise("the secret"), "500", Some("the handler failed: the secret")),
        (drop, "500", Some("the handler dropped its responder without an answer: call respond or raise")),
    ];
    let running = Running::start();
    for (answer, status, report) in table {
        let (client, responder) = running.ask(REQUEST);
        answer(responder);
        let response = read_to_end(client);
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")) && !response.contains("secret"), "{response}");
        assert_eq!(report, running.reports.try_recv().ok().as_deref());
    }
    running.stop();
}

#[test]
fn a_handler_that_panics_is_500_and_one_report() {
    let running = Running::with_handler(|_, _responder| panic!("the secret"));
    let response = read_to_end(connect(running.addr, REQUEST));
    assert!(response.starts_with("HTTP/1.1 500 ") && !response.contains("secret"), "{response}");
    assert_eq!(running.reports.try_iter().collect::<Vec<_>>(), ["the handler panicked: the secret"]);
    running.stop();
}

#[test]
fn an_answer_from_inside_of_the_handler_needs_no_second_thought() {
    let running = Running::with_handler(|request, responder| responder.respond(Response::text(request.path())));
    let response = read_to_end(connect(running.addr, REQUEST));
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n/"), "{response}");
    running.stop();
}

#[test]
fn a_server_that_shuts_down_waits_for_no_answer() {
    let running = Running::start();
    let (client, responder) = running.ask(REQUEST);
    let (other, forgotten) = running.ask(REQUEST);
    running.stop();
    for responder in [responder, forgotten] {
        assert!(!responder.is_waiting());
        responder.respond(Response::websocket(listener().on_open(|_| unreachable!("nobody is there"))));
    }
    drop((client, other));
}

/// Both ends of a TCP connection.
fn pair() -> (TcpStream, TcpStream) {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listening.local_addr().unwrap(), REQUEST);
    (listening.accept().unwrap().0, client)
}

/// An acceptor whose handler leaves its responders to the test.
fn acceptor() -> (Acceptor, Receiver<Responder>) {
    let (sender, responders) = mpsc::channel();
    let handler = move |_, responder| sender.send(responder).unwrap();
    let service = Service::with_responder(Config::default(), handler, |_: &ServerError| ());
    (Acceptor::from_service(Arc::new(service)), responders)
}

#[test]
fn an_acceptor_that_is_closed_answers_503_to_whoever_waits() {
    let (acceptor, responders) = acceptor();
    let (here, client) = pair();
    let other = acceptor.clone();
    let driving = thread::spawn(move || other.accept(here, None));
    let responder = responders.recv_timeout(PATIENCE).unwrap();
    acceptor.close_all();
    let response = read_to_end(client);
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    driving.join().unwrap();
    responder.raise("too late");
}

#[test]
fn a3_an_answer_after_the_client_has_gone_does_no_harm() {
    type Answer = fn(Responder, mpsc::Sender<&'static str>);
    let answers: [Answer; 4] = [
        |responder, log| {
            let opened = log.clone();
            let listener = listener().on_open(move |_| opened.send("open")).on_close(move |_, _, _| {
                let _ = log.send("close");
            });
            responder.respond(Response::websocket(listener));
        },
        |responder, _| responder.respond(Response::text("late")),
        |responder, _| responder.raise("late"),
        |responder, _| drop(responder),
    ];
    for answer in answers {
        let (acceptor, responders) = acceptor();
        let (here, client) = pair();
        let driving = thread::spawn(move || acceptor.accept(here, None));
        let responder = responders.recv_timeout(PATIENCE).unwrap();
        drop(client);
        let (log, logged) = mpsc::channel();
        answer(responder, log);
        driving.join().unwrap();
        // It is looked for now and then: it may open before it is found to be gone.
        let logged: Vec<_> = logged.try_iter().collect();
        assert!(logged.is_empty() || logged == ["open", "close"], "{logged:?}");
    }
}
