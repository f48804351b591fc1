//! Handlers that answer later: Ring's handlers with three arguments (A1 to A4 and K2 in `docs/contract.md`).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use bellwire::listener::ListenerBuilder;
use bellwire::{Message, Request, Responder, Response, WebSocket, listener};
use bellwire_tests::{
    BINARY, Backend, Connect, Event, Frame, Http, PATIENCE, PING, PONG, Raw, Server, Setup, Theirs, backends, echo,
    http, logged, next, quiet, request, upgrade_request, within,
};
use tungstenite::Message as Their;

backends! {
    server {
        a1_a_ping_without_data_from_on_open_comes_back_in_on_pong,
        a2_text_and_binary_keep_their_types_and_their_order,
        a3_an_answer_after_the_client_has_gone_harms_nobody,
        a4_a_handler_that_fails_is_called_once_and_is_one_500_and_one_report,
        a4_a_handler_that_fails_later_is_called_once_and_is_one_500_and_one_report,
        k2_pings_go_out_if_an_upgrade_that_comes_later_asks_for_them,
        a_handler_that_panics_after_its_answer_is_reported_and_the_answer_stands,
        an_answer_from_inside_of_the_handler_is_as_good_as_a_later_one,
        a_late_answer_loses_nothing_that_came_before,
        a_late_answer_may_be_plain_http,
        a_late_refusal_is_told_and_reported,
        a_late_answer_chooses_a_subprotocol,
        d14_a_late_subprotocol_that_was_not_offered_is_500_and_reported,
        a_handler_has_more_time_than_its_client_has_for_the_request,
        a_send_from_another_thread_after_a_late_answer_leaves_at_once,
        many_requests_wait_while_others_are_served,
        shutdown_waits_for_no_answer,
        shutdown_closes_those_who_were_answered_late,
    }
    pair {
        a_client_of_ours_waits_for_a_late_answer,
    }
}

/// A server whose handler leaves its requests to the test.
struct Leaving {
    server: Server,
    requests: Receiver<(Request, Responder)>,
    /// Dead when the handler was dropped.
    handler: Weak<()>,
}

impl Leaving {
    fn start(backend: &impl Backend) -> Self {
        Self::start_with(backend, Setup::default())
    }

    fn start_with(backend: &impl Backend, setup: Setup) -> Self {
        let (sender, requests) = mpsc::channel();
        let alive = Arc::new(());
        let handler = Arc::downgrade(&alive);
        let server = backend.serve_with(setup, move |request, responder| {
            let _ = &alive;
            // A test that is over does not answer.
            let _ = sender.send((request, responder));
        });
        Self { server, requests, handler }
    }

    /// A client that has sent this, and the responder of its request.
    #[track_caller]
    fn ask(&self, bytes: &[u8]) -> (TcpStream, Responder) {
        let client = send(self.server.addr, bytes);
        (client, next(&self.requests).1)
    }

    /// A client whose upgrade is answered with this listener.
    #[track_caller]
    fn open(&self, listener: ListenerBuilder) -> Raw {
        let (client, responder) = self.ask(&upgrade_request("/", &[]));
        responder.respond(Response::websocket(listener));
        Raw::open_over(client, b"")
    }

    /// Shuts it down, which nobody holds up, and waits until nothing is left of it.
    #[track_caller]
    fn stop(self) {
        // A test does not wait as long.
        assert_eq!(self.server.shutdown(PATIENCE * 2), 0, "nobody had to be dropped");
        self.server.wait();
        drop(self.server);
        let handler = self.handler;
        within("the end of all connections", move || {
            while handler.upgrade().is_some() {
                thread::yield_now();
            }
        });
    }
}

/// A new connection on which this was sent.
#[track_caller]
fn send(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Checks that the server is there and answers.
#[track_caller]
fn still_serves(leaving: &Leaving) {
    let mut client = leaving.open(echo());
    client.send([Frame::text("x"), Frame::close(1000, "")]);
    client.expect([Frame::text("x"), Frame::close(1000, "")]);
    client.expect_end();
}

/// A request for a page.
fn page() -> Vec<u8> {
    request("GET / HTTP/1.1", &["Host: localhost"])
}

fn a1_a_ping_without_data_from_on_open_comes_back_in_on_pong<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let (listener, log) = logged(listener().on_open(|socket| socket.ping([])));
    let (client, responder) = server.ask(&upgrade_request("/", &[]));
    responder.respond(Response::websocket(listener));
    let mut client = Raw::open_over(client, b"");
    client.expect([Frame::new(PING, "")]);
    client.send([Frame::new(PONG, ""), Frame::close(1000, "")]);
    client.expect([Frame::close(1000, "")]);
    client.expect_end();
    log.ends_with([Event::Open, Event::Pong(Vec::new()), Event::close(1000, "")]);
}

fn a2_text_and_binary_keep_their_types_and_their_order<B: Backend>() {
    fn greeter() -> ListenerBuilder {
        listener()
            .on_open(|socket| {
                socket.send("Hello")?;
                socket.send(b"World")
            })
            .on_message(|socket, message| match message {
                Message::Text(text) => socket.send(format!("t: {text}")),
                Message::Binary(bytes) => socket.send(format!("b: {}", String::from_utf8_lossy(bytes))),
            })
    }
    let backend = B::start();
    let server = backend.serve_with(Setup::default(), |_, responder| {
        thread::spawn(|| responder.respond(Response::websocket(greeter())));
    });
    let mut client = Theirs::connect(server.addr);
    client.send_text("one");
    client.send(Their::binary(b"two".as_slice()));
    assert_eq!(client.read(), Their::text("Hello"));
    assert_eq!(client.read(), Their::binary(b"World".as_slice()));
    assert_eq!(client.read(), Their::text("t: one"));
    assert_eq!(client.read(), Their::text("b: two"));
    client.close(1000, "");
    assert_eq!(client.read_close(), Some((1000, String::new())));
}

fn a3_an_answer_after_the_client_has_gone_harms_nobody<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let leave = || {
        let (client, responder) = server.ask(&[upgrade_request("/", &[]), Frame::text("glued").encode(true)].concat());
        drop(client);
        responder
    };
    // That it has gone may be found out before the answer, or behind the upgrade.
    let (listener, log) = logged(echo());
    leave().respond(Response::websocket(listener));
    match log.rest().as_slice() {
        [] => {}
        [Event::Open, Event::Text(_), Event::Error(_), Event::Close(1006, reason)] => assert_eq!(reason, ""),
        events => panic!("{events:?}"),
    }

    let gone = || {
        let responder = leave();
        within("the end of the waiting", move || {
            while responder.is_waiting() {
                thread::yield_now();
            }
            responder
        })
    };
    gone().respond(Response::text("late"));
    gone().respond(Response::text("late".repeat(1_000_000)));
    gone().raise("late");
    drop(gone());
    still_serves(&server);
    assert_eq!(server.server.reports.try_iter().next(), None, "there is nobody to be answered");
    server.stop();
}

type Fail = fn(Responder);

const RAISED: &str = "the handler failed: the secret";
const DROPPED: &str = "the handler dropped its responder without an answer: call respond or raise";

fn a4_a_handler_that_fails_is_called_once_and_is_one_500_and_one_report<B: Backend>() {
    let panicked = "the handler panicked: the secret";
    let table: [(Fail, &str); 5] = [
        (|responder| responder.raise("the secret"), RAISED),
        (|responder| responder.respond(Err::<Response, _>("the secret")), RAISED),
        (|_responder| panic!("the secret"), panicked),
        (|responder| responder.respond(the_secret()), panicked),
        (drop, DROPPED),
    ];
    fn the_secret() -> Response {
        panic!("the secret")
    }
    let backend = B::start();
    for (fail, report) in table {
        let (calls, called) = mpsc::channel();
        let server = backend.serve_with(Setup::default(), move |_, responder| {
            calls.send(()).unwrap();
            fail(responder);
        });
        for bytes in [upgrade_request("/", &[]), page()] {
            // A second request behind the first one does not ask again.
            fails(&Http::read(send(server.addr, &bytes.repeat(2))));
        }
        server.shutdown(PATIENCE);
        server.wait();
        assert_eq!(called.try_iter().count(), 2, "{report}");
        let reports: Vec<_> = server.reports.try_iter().map(|report| report.text).collect();
        assert_eq!(reports, [report; 2]);
    }
}

fn a4_a_handler_that_fails_later_is_called_once_and_is_one_500_and_one_report<B: Backend>() {
    let table: [(Fail, &str); 3] = [
        (|responder| responder.raise("the secret"), RAISED),
        (|responder| responder.respond(Err::<Response, _>("the secret")), RAISED),
        (drop, DROPPED),
    ];
    let backend = B::start();
    let server = Leaving::start(&backend);
    for (fail, report) in table {
        for bytes in [upgrade_request("/", &[]), page()] {
            let (client, responder) = server.ask(&bytes.repeat(2));
            fail(responder);
            fails(&Http::read(client));
            assert_eq!(next(&server.server.reports).text, report);
        }
    }
    still_serves(&server);
    assert_eq!(server.requests.try_iter().count(), 0, "nobody was asked twice");
    assert_eq!(server.server.reports.try_iter().next(), None, "nothing was reported twice");
}

#[track_caller]
fn fails(answer: &Http) {
    assert_eq!(answer.status, 500);
    assert!(!answer.body.contains("secret"), "D8: {}", answer.body);
}

fn k2_pings_go_out_if_an_upgrade_that_comes_later_asks_for_them<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let often = quiet().keepalive_interval(Duration::from_millis(20));
    let (listener, log) = logged(listener());
    let (client, responder) = server.ask(&upgrade_request("/", &[]));
    responder.respond(Response::websocket(listener).config(often));
    let mut client = Raw::open_over(client, b"");
    for _ in 0..3 {
        client.expect([Frame::new(PING, "")]);
        client.send([Frame::new(PONG, "")]);
    }
    let pong = Event::Pong(Vec::new());
    log.expect([Event::Open, pong.clone(), pong.clone(), pong]);
}

fn a_handler_that_panics_after_its_answer_is_reported_and_the_answer_stands<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_with(Setup::default(), |_, responder| {
        responder.respond(Response::text("fine"));
        panic!("afterwards");
    });
    let answer = http(server.addr, &page());
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    assert_eq!(next(&server.reports).text, "the handler panicked: afterwards");
}

fn an_answer_from_inside_of_the_handler_is_as_good_as_a_later_one<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_with(Setup::default(), |request, responder| match request.path() {
        "/echo" => responder.respond(Response::websocket(echo())),
        path => responder.respond(Response::text(path)),
    });
    let mut bytes = upgrade_request("/echo", &[]);
    bytes.extend(Frame::text("glued").encode(true));
    let mut client = Raw::open_with(server.addr, &bytes);
    client.expect([Frame::text("glued")]);
    let answer = http(server.addr, &request("GET /other HTTP/1.1", &["Host: localhost"]));
    assert_eq!((answer.status, answer.body.as_str()), (200, "/other"));
}

fn a_late_answer_loses_nothing_that_came_before<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    // Longer than what is read at once.
    let large = Frame::new(BINARY, vec![7; 100 * 1024]);
    let frames = [Frame::text("glued"), large, Frame::text("last"), Frame::close(4000, "bye")];
    let head = upgrade_request("/", &[]);
    let bytes = [&head[..], &frames.iter().flat_map(|frame| frame.encode(true)).collect::<Vec<_>>()].concat();
    // Wherever it is cut: behind the request, in a frame, nowhere.
    for first in [head.len(), head.len() + 3, head.len() + 20, bytes.len()] {
        let (listener, log) = logged(echo());
        let (client, responder) = server.ask(&bytes[..first]);
        let writing = thread::spawn({
            let (mut writer, rest) = (client.try_clone().unwrap(), bytes[first..].to_vec());
            move || writer.write_all(&rest).unwrap()
        });
        responder.respond(Response::websocket(listener));
        let mut client = Raw::open_over(client, b"");
        for frame in &frames {
            assert!(client.read() == *frame, "{first}: {:?}", frame.opcode);
        }
        client.expect_end();
        writing.join().unwrap();
        let large = Event::Binary(vec![7; 100 * 1024]);
        let events = [Event::Open, Event::text("glued"), large, Event::text("last"), Event::close(4000, "bye")];
        assert!(log.rest() == events, "{first}");
    }
}

fn a_late_answer_may_be_plain_http<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    // What lies unread behind the request must not destroy the answer.
    let junk = [b'x'; 100 * 1024];
    for bytes in [page(), upgrade_request("/", &[]), [page(), junk.to_vec()].concat()] {
        let client = send(server.server.addr, &bytes);
        let (request, responder) = next(&server.requests);
        assert_eq!((request.method(), request.path()), ("GET", "/"));
        responder.respond(Response::text("late").with_status(404));
        let answer = Http::read(client);
        assert_eq!((answer.status, answer.body.as_str()), (404, "late"));
        assert_eq!(answer.header("Connection"), Some("close"));
    }
    let (client, responder) = server.ask(&request("HEAD / HTTP/1.1", &["Host: localhost"]));
    responder.respond(Response::text("four"));
    let answer = Http::read(client);
    assert_eq!((answer.body.as_str(), answer.header("Content-Length")), ("", Some("4")));
    server.stop();
}

fn a_late_refusal_is_told_and_reported<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    for (bytes, status) in [(page(), 426), (upgrade_request("/", &["Origin: http://evil.example"]), 403)] {
        let (listener, log) = logged(echo());
        let (client, responder) = server.ask(&bytes);
        responder.respond(Response::websocket(listener));
        assert_eq!(Http::read(client).status, status);
        let report = next(&server.server.reports);
        assert_eq!(report.refused, Some(status));
        assert!(report.peer.is_some());
        log.ends_with([]);
    }
}

fn a_late_answer_chooses_a_subprotocol<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let answering = thread::spawn({
        let requests = server.requests;
        move || {
            let (request, responder) = next(&requests);
            assert_eq!(request.protocols(), ["soap", "mqtt"]);
            let response = Response::websocket(echo()).protocol("mqtt").header("X-Own", "yes");
            responder.respond(response);
        }
    });
    let mut client = Theirs::connect_with(server.server.addr, "/", &[], &["soap", "mqtt"]);
    answering.join().unwrap();
    assert_eq!(client.header("Sec-WebSocket-Protocol"), Some("mqtt"));
    assert_eq!(client.header("X-Own"), Some("yes"));
    client.send_text("x");
    assert_eq!(client.read(), Their::text("x"));
}

fn d14_a_late_subprotocol_that_was_not_offered_is_500_and_reported<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let (listener, log) = logged(echo());
    let (client, responder) = server.ask(&upgrade_request("/", &["Sec-WebSocket-Protocol: soap"]));
    responder.respond(Response::websocket(listener).protocol("mqtt"));
    assert_eq!(Http::read(client).status, 500);
    assert!(next(&server.server.reports).text.contains("mqtt"));
    log.ends_with([]);
}

fn a_handler_has_more_time_than_its_client_has_for_the_request<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start_with(&backend, Setup::new(quiet().open_timeout(Duration::from_millis(50))));
    let (client, responder) = server.ask(&upgrade_request("/", &[]));
    // This one came later, and its time is over.
    assert_eq!(http(server.server.addr, b"GET").status, 408);
    assert!(responder.is_waiting());
    responder.respond(Response::websocket(echo()));
    let mut client = Raw::open_over(client, b"");
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
}

fn a_send_from_another_thread_after_a_late_answer_leaves_at_once<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let (sockets, socket) = mpsc::channel::<WebSocket>();
    let mut client = server.open(listener().on_open(move |socket| sockets.send(socket.clone()).unwrap()));
    let socket = next(&socket);
    // Often enough to find the connection asleep, which has read nothing since it was answered.
    for index in 0..100 {
        socket.send(index.to_string()).unwrap();
        client.expect([Frame::text(index.to_string())]);
    }
}

fn many_requests_wait_while_others_are_served<B: Backend>() {
    const WAITING: usize = 50;
    let backend = B::start();
    let (waiting, waits) = mpsc::channel();
    let server = backend.serve_with(Setup::default(), move |request, responder| match request.path() {
        "/now" => responder.respond(Response::websocket(echo())),
        path => waiting.send((path.to_owned(), responder)).unwrap(),
    });
    let clients: Vec<_> =
        (0..WAITING).map(|index| send(server.addr, &upgrade_request(&format!("/{index}"), &[]))).collect();
    let mut asked: Vec<_> = (0..WAITING).map(|_| next(&waits)).collect();
    let mut other = Raw::open_with(server.addr, &upgrade_request("/now", &[]));
    for _ in 0..10 {
        other.send([Frame::text("x")]);
        other.expect([Frame::text("x")]);
    }
    // Answered in another order than asked, each with its own answer.
    asked.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, responder) in asked {
        responder.respond(Response::websocket(listener().on_open(move |socket| socket.send(path.as_str()))));
    }
    for (index, client) in clients.into_iter().enumerate() {
        Raw::open_over(client, b"").expect([Frame::text(format!("/{index}"))]);
    }
}

fn shutdown_waits_for_no_answer<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let asked: Vec<_> = (0..3).map(|_| server.ask(&upgrade_request("/", &[]))).collect();
    let (kept, log) = logged(echo());
    assert!(asked.iter().all(|(_, responder)| responder.is_waiting()));
    server.stop();
    let mut responses = [Response::websocket(kept), Response::text("late"), Response::not_found()].into_iter();
    for (mut client, responder) in asked {
        assert!(!responder.is_waiting());
        responder.respond(responses.next().unwrap());
        // Cut off, or told to try again later.
        let mut answer = Vec::new();
        match client.read_to_end(&mut answer) {
            Ok(_) => assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    log.ends_with([]);
}

fn shutdown_closes_those_who_were_answered_late<B: Backend>() {
    let backend = B::start();
    let server = Leaving::start(&backend);
    let mut client = server.open(echo());
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    let closing = thread::spawn(move || {
        client.expect([Frame::close(1001, "Server Shutdown")]);
        client.send([Frame::close(1001, "Server Shutdown")]);
        client.expect_end();
    });
    server.stop();
    closing.join().unwrap();
}

fn a_client_of_ours_waits_for_a_late_answer<B: Backend>() {
    let backend = B::start();
    let Leaving { server, requests, .. } = Leaving::start(&backend);
    let answering = thread::spawn(move || {
        next(&requests).1.respond(Response::websocket(echo().on_open(|socket| socket.send("at last"))));
        next(&requests).1.respond(Response::text("no").with_status(403));
    });
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open, Event::text("at last")]);
    client.socket.send("x").unwrap();
    log.expect([Event::text("x")]);
    client.socket.close().unwrap();
    assert!(client.closed().clean);
    let (listener, log) = logged(echo());
    let refused = backend.connect(Connect::to(server.url("/")), listener).map(drop).unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    log.ends_with([]);
    answering.join().unwrap();
}
