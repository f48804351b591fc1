//! Handlers that answer later: a request, its responder, and the driver in between.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use bellwire_core::backend::{Answer, Busy, Driver, Service, Step};
use bellwire_core::listener::ListenerBuilder;
use bellwire_core::{BoxError, Config, Listener, Message, Request, Responder, Response, Role, ServerError, listener};

use crate::common::*;
use crate::logging::*;

struct Server {
    service: Arc<Service>,
    /// Calls of the handler, and what its listeners see.
    log: Log,
    reports: Log,
}

impl Server {
    fn new(handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Self {
        Self::with_config(Config::default().handler_timeout(None), handler)
    }

    fn with_config(config: Config, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Self {
        let (log, reports) = (Log::default(), Log::default());
        let (calls, reported) = (log.clone(), reports.clone());
        let service = Service::with_responder(
            config,
            move |request, responder| {
                calls.add("asked");
                handler(request, responder);
            },
            move |error: &ServerError| reported.add(error.to_string()),
        );
        Self { service: Arc::new(service), log, reports }
    }

    /// A server whose handler leaves the answers to the test.
    fn leaving() -> (Self, Receiver<Responder>) {
        let (sender, responders) = mpsc::channel();
        (Self::new(move |_, responder| sender.send(responder).unwrap()), responders)
    }

    fn accept(&self) -> Driver {
        Driver::server(self.service.clone(), None, START)
    }

    /// A driver that was given these bytes.
    fn receive(&self, bytes: &[u8]) -> Driver {
        let mut driver = self.accept();
        driver.receive(START, &mut bytes.to_vec());
        driver
    }

    /// A listener that logs, and sends messages back.
    fn echo(&self) -> Box<dyn Listener> {
        logging(&self.log, |socket, line| match line.strip_prefix("text ") {
            Some(text) => Ok(socket.send(text)?),
            None => Ok(()),
        })
    }
}

/// A driver whose request waits for the answer of this responder.
fn asked() -> (Server, Driver, Responder) {
    let (server, responders) = Server::leaving();
    let driver = server.receive(&request(""));
    let responder = responders.try_recv().unwrap();
    assert_eq!(server.log.take(), ["asked"]);
    (server, driver, responder)
}

/// What is written when the driver finds the answer.
fn answered(driver: &mut Driver) -> String {
    assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
    assert!(!driver.is_handshaking());
    data(&written(driver))
}

fn sleeps(driver: &mut Driver) {
    assert_eq!(driver.park(START, Waker::noop()), Ok(None));
}

// What Ring's tests assert.

#[test]
fn a1_a_ping_without_data_from_on_open_comes_back_in_on_pong() {
    let (server, mut driver, responder) = asked();
    let pings = logging(&server.log, |socket, line| if line == "open" { Ok(socket.ping([])?) } else { Ok(()) });
    responder.respond(Response::websocket(pings));
    let sent = answered(&mut driver);
    assert!(sent.starts_with("HTTP/1.1 101 ") && sent.ends_with("\r\n\r\n\u{fffd}\0"), "{sent:?}");
    driver.receive(START, &mut Frame::pong("").sent_by(Role::Client));
    assert_eq!(server.log.take(), ["open", "pong "]);
}

#[test]
fn a2_text_and_binary_keep_their_types_and_their_order() {
    fn greeter() -> ListenerBuilder {
        listener()
            .on_open(|socket| {
                socket.send("Hello")?;
                socket.send(b"World")
            })
            .on_message(|socket, message| match message {
                Message::Text(text) => socket.send(format!("t: {text}")),
                Message::Binary(bytes) => socket.send(format!("b: {}", data(bytes))),
            })
    }
    let (_server, mut driver, responder) = asked();
    responder.respond(Response::websocket(greeter()));
    assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
    driver.receive(START, &mut wire(&[Frame::text("one"), Frame::binary("two")], Role::Client));
    let frames = [Frame::text("Hello"), Frame::binary("World"), Frame::text("t: one"), Frame::text("b: two")];
    let sent = written(&mut driver);
    assert!(sent.ends_with(&[b"\r\n\r\n", &wire(&frames, Role::Server)[..]].concat()), "{}", data(&sent));
}

type Respond = fn(Responder, &Server);
const ANSWERS: [Respond; 5] = [
    |responder, server| responder.respond(Response::websocket(server.echo())),
    |responder, _| responder.respond(Response::text("late")),
    |responder, _| responder.respond(Err::<Response, _>("late")),
    |responder, _| responder.raise("late"),
    |responder, _| drop(responder),
];

type Leave = fn(Driver) -> Option<Driver>;
const LEAVES: [Leave; 3] = [
    |mut driver| {
        driver.receive_eof(START);
        Some(driver)
    },
    |mut driver| {
        driver.transport_failed(START, "reset");
        Some(driver)
    },
    |_| None,
];

#[test]
fn a3_an_answer_after_the_client_has_gone_does_nothing() {
    for leave in LEAVES {
        for answer in ANSWERS {
            let (server, mut driver, responder) = asked();
            let (wakes, waker) = waker();
            assert_eq!(driver.park(START, &waker), Ok(None));
            drop(waker);
            assert!(responder.is_waiting());
            let driver = leave(driver);
            assert!(!responder.is_waiting());
            assert_eq!(Arc::strong_count(&wakes), 1, "what the waker holds is let go");
            answer(responder, &server);
            if let Some(mut driver) = driver {
                assert!(driver.park(START, Waker::noop()).is_ok());
                assert_eq!(written(&mut driver), b"");
                while driver.step(START) == Step::Shutdown {}
                assert_eq!(driver.step(START), Step::Done);
            }
            assert_eq!((server.log.take(), server.reports.take(), wakes.count()), (vec![], vec![], 0));
        }
    }
}

#[test]
fn a3_an_answer_that_was_not_found_before_the_client_has_gone_does_nothing() {
    for leave in LEAVES {
        for answer in ANSWERS {
            let (server, driver, responder) = asked();
            answer(responder, &server);
            drop(leave(driver));
            assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
        }
    }
}

#[test]
fn a4_a_handler_that_fails_is_called_once_and_is_one_500_and_one_report() {
    let raised = "the handler failed: the secret";
    let panicked = "the handler panicked: the secret";
    let dropped = "the handler dropped its responder without an answer: call respond or raise";
    type Handler = fn(Request, Responder);
    let table: [(Handler, &str); 5] = [
        (|_, responder| responder.raise("the secret"), raised),
        (|_, responder| responder.respond(Err::<Response, BoxError>("the secret".into())), raised),
        (|_, _responder| panic!("the secret"), panicked),
        (|_, responder| responder.respond(the_secret()), panicked),
        (|_, _| (), dropped),
    ];
    fn the_secret() -> Response {
        panic!("the secret")
    }
    for (handler, report) in table {
        let server = Server::new(handler);
        let mut driver = server.receive(&[request(""), request("")].concat());
        let answer = data(&written(&mut driver));
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("secret"), "{answer}");
        driver.receive(START, &mut request(""));
        driver.handle_timeout(at(secs(1)));
        driver.receive_eof(START);
        drop(driver);
        assert_eq!((server.log.take(), server.reports.take()), (vec!["asked".into()], vec![report.into()]));
    }
}

#[test]
fn a4_a_handler_that_fails_later_is_called_once_and_is_one_500_and_one_report() {
    type Fail = fn(Responder);
    let table: [(Fail, &str); 3] = [
        (|responder| responder.raise("the secret"), "the handler failed: the secret"),
        (|responder| responder.respond(Err::<Response, _>("the secret")), "the handler failed: the secret"),
        (drop, "the handler dropped its responder without an answer: call respond or raise"),
    ];
    for (fail, report) in table {
        let (server, mut driver, responder) = asked();
        driver.receive(START, &mut request(""));
        fail(responder);
        let answer = answered(&mut driver);
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("secret"), "{answer}");
        assert_eq!(driver.step(START), Step::Shutdown);
        driver.receive_eof(START);
        assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![report.into()]));
    }
}

// Handlers that panic.

#[test]
fn a_handler_that_panics_after_its_answer_is_reported_and_the_answer_stands() {
    let server = Server::new(|_, responder| {
        responder.respond(Response::text("fine"));
        panic!("afterwards");
    });
    let answer = data(&written(&mut server.receive(&request(""))));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("fine"), "{answer}");
    assert_eq!(server.reports.take(), ["the handler panicked: afterwards"]);
}

#[test]
fn a_handler_that_panics_when_it_has_given_its_responder_away_is_reported_and_the_answer_awaited() {
    let (sender, responders) = mpsc::channel();
    let server = Server::new(move |_, responder| {
        sender.send(responder).unwrap();
        panic!("afterwards");
    });
    let mut driver = server.receive(&request(""));
    assert_eq!(server.reports.take(), ["the handler panicked: afterwards"]);
    sleeps(&mut driver);
    responders.try_recv().unwrap().respond(Response::text("fine"));
    assert!(answered(&mut driver).ends_with("fine"));
    assert_eq!(server.reports.take(), [""; 0]);
}

// Waiting.

#[test]
fn nothing_is_written_and_no_other_deadline_runs_while_a_handler_thinks() {
    let (server, mut driver, responder) = asked();
    for now in [START, at(secs(10)), at(secs(1_000_000))] {
        driver.handle_timeout(now);
        assert_eq!((driver.step(now), driver.poll_timeout()), (Step::Read, None));
        assert_eq!(driver.park(now, Waker::noop()), Ok(None));
        assert!(driver.take_output().is_none() && driver.is_handshaking() && !driver.is_flushing());
        assert!(driver.socket().is_none() && driver.shared().is_none() && responder.is_waiting());
    }
    responder.respond(Response::websocket(server.echo()));
    let now = secs(2_000_000);
    assert_eq!(driver.park(at(now), Waker::noop()), Err(Busy));
    assert_eq!(driver.step(at(now)), Step::Read);
    assert_eq!(driver.poll_timeout(), Some(at(now + secs(20))), "the first ping is due that long after the answer");
    assert_eq!((server.log.take(), server.reports.take()), (vec!["open".to_string()], vec![]));
}

#[test]
fn l6_a_handler_has_a_deadline_which_is_on_by_default() {
    let (sender, responders) = mpsc::channel();
    let server = Server::with_config(Config::default(), move |_, responder| sender.send(responder).unwrap());
    for late in [secs(30), secs(1_000_000)] {
        let mut driver = server.receive(&request(""));
        let responder: Responder = responders.try_recv().unwrap();
        assert_eq!(driver.park(START, Waker::noop()), Ok(Some(at(secs(30)))));
        driver.handle_timeout(at(secs(30) - ms(1)));
        assert!(responder.is_waiting() && driver.is_asking());
        driver.handle_timeout(at(late));
        assert!(!responder.is_waiting() && !driver.is_asking());
        assert!(data(&written(&mut driver)).starts_with("HTTP/1.1 503 "));
        assert_eq!(driver.step(at(late)), Step::Shutdown);
        let report = "the handler has not answered within 30s: make it faster, or raise handler_timeout";
        assert_eq!(server.reports.take(), [report]);
        responder.respond(Response::websocket(server.echo()));
        assert_eq!(server.log.take(), ["asked"]);
    }
}

#[test]
fn l6_an_answer_that_was_there_before_its_deadline_was_judged_stands() {
    let (sender, responders) = mpsc::channel();
    let server = Server::with_config(Config::default(), move |_, responder| sender.send(responder).unwrap());
    let mut driver = server.receive(&request(""));
    assert!(driver.park(START, Waker::noop()).is_ok());
    let responder: Responder = responders.try_recv().unwrap();
    responder.respond(Response::text("just in time"));
    driver.handle_timeout(at(secs(31)));
    assert!(data(&written(&mut driver)).ends_with("just in time"));
    assert_eq!(server.reports.take(), Vec::<String>::new());
}

#[test]
fn l5_an_answer_that_is_there_at_once_is_given_to_a_peer_that_has_ended_its_sending_side() {
    let (_server, mut driver, responder) = asked();
    driver.receive_eof(START);
    assert_eq!(driver.step(START), Step::Wait);
    responder.respond(Response::text("here"));
    assert!(answered(&mut driver).ends_with("here"));
    assert_eq!(driver.step(START), Step::Shutdown);
    assert_eq!(driver.step(START), Step::Done);
}

#[test]
fn l5_an_upgrade_that_is_accepted_at_once_ends_behind_what_was_sent_before_the_end() {
    let (server, mut driver, responder) = asked();
    driver.receive(START, &mut Frame::text("x").sent_by(Role::Client));
    driver.receive_eof(START);
    responder.respond(Response::websocket(server.echo()));
    assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
    let log = server.log.take();
    assert_eq!(log[..2], ["open", "text x"]);
    assert!(log[2].starts_with("error ") && log[3].starts_with("close 1006"), "{log:?}");
    assert_eq!((driver.step(START), driver.step(START)), (Step::Shutdown, Step::Done));
}

#[test]
fn l5_a_peer_that_ends_while_the_handler_thinks_has_left() {
    let (server, mut driver, responder) = asked();
    driver.receive_eof(START);
    assert!(responder.is_waiting(), "it was not looked for yet");
    assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
    assert!(!responder.is_waiting());
    assert_eq!((driver.step(START), written(&mut driver)), (Step::Shutdown, vec![]));
    assert_eq!(driver.step(START), Step::Done);
    assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
}

#[test]
fn l5_what_is_read_ahead_of_an_answer_is_bounded() {
    const READ: usize = 10_000;
    let (server, mut driver, responder) = asked();
    sleeps(&mut driver);
    let mut input = wire(&vec![Frame::text([b'x'; 100]); 1000], Role::Client);
    let mut read = 0;
    while driver.step(START) == Step::Read {
        driver.receive(START, &mut input[read..read + READ]);
        sleeps(&mut driver);
        read += READ;
    }
    assert_eq!(read, 70_000, "64 KiB, and what goes beyond with the last read");
    responder.respond(Response::websocket(server.echo()));
    answered(&mut driver);
    assert_eq!(driver.step(START), Step::Read);
    driver.receive(START, &mut input[read..]);
    assert_eq!(server.log.take().len(), 1001);
}

#[test]
fn a_request_that_is_not_complete_still_has_its_deadline() {
    let (server, responders) = Server::leaving();
    let mut driver = server.receive(b"GET / HT");
    assert_eq!(driver.poll_timeout(), Some(at(secs(10))));
    driver.handle_timeout(at(secs(10)));
    assert!(data(&written(&mut driver)).starts_with("HTTP/1.1 408 "));
    assert!(responders.try_recv().is_err(), "nobody was asked");
}

#[test]
fn an_answer_from_inside_of_the_handler_is_used_at_once() {
    let server = Server::new(|request, responder| {
        assert_eq!(request.path(), "/chat");
        responder.respond(Response::websocket(listener().on_open(|socket| socket.send("Hello"))));
    });
    let mut driver = server.receive(&request(""));
    assert!(!driver.is_handshaking());
    assert!(written(&mut driver).ends_with(b"\r\n\r\n\x81\x05Hello"));
}

#[test]
fn what_came_behind_the_request_is_not_lost_however_it_is_cut_and_whenever_it_is_answered() {
    let frames = [Frame::text("glued"), Frame::ping("p"), Frame::text("more"), Frame::close(1000, "")];
    let bytes = [request(""), wire(&frames, Role::Client)].concat();
    // With all bytes there, after each piece, or from inside of the handler.
    let converse = |pieces: &[&[u8]], when: &str| {
        let (sender, responders) = mpsc::channel::<Responder>();
        let log = Log::default();
        let (own, at_once) = (log.clone(), when == "at once");
        let echo = move |responder: Responder| {
            let echo = logging(&own, |socket, line| match line.strip_prefix("text ") {
                Some(text) => Ok(socket.send(text)?),
                None => Ok(()),
            });
            responder.respond(Response::websocket(echo));
        };
        let answer = echo.clone();
        let server =
            Server::new(move |_, responder| if at_once { answer(responder) } else { sender.send(responder).unwrap() });
        let (mut driver, mut sent) = (server.accept(), Vec::new());
        let respond = |driver: &mut Driver| {
            if let Ok(responder) = responders.try_recv() {
                assert_eq!(log.take(), [""; 0]);
                echo(responder);
                assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
            }
        };
        for piece in pieces {
            driver.receive(START, &mut piece.to_vec());
            if when == "soon" {
                respond(&mut driver);
            }
            sent.extend(written(&mut driver));
        }
        respond(&mut driver);
        sent.extend(written(&mut driver));
        assert_eq!(driver.step(START), Step::Shutdown);
        assert_eq!(server.log.take(), ["asked"]);
        (log.take(), sent)
    };
    let whole = converse(&[&bytes], "at once");
    assert_eq!(whole.0, ["open", "text glued", "ping p", "text more", "close 1000 "]);
    let frames = [Frame::text("glued"), Frame::text("more"), Frame::close(1000, "")];
    assert!(whole.1.ends_with(&[b"\r\n\r\n", &wire(&frames, Role::Server)[..]].concat()));
    for when in ["at once", "soon", "at the end"] {
        for at in 0..=bytes.len() {
            assert_eq!(converse(&[&bytes[..at], &bytes[at..]], when), whole, "{at}, {when}");
        }
        assert_eq!(converse(&bytes.chunks(1).collect::<Vec<_>>(), when), whole, "{when}");
    }
}

#[test]
fn each_request_gets_its_own_answer_in_any_order() {
    let (server, responders) = Server::leaving();
    let mut drivers = [server.receive(&request("")), server.receive(&request(""))];
    let [one, two] = [responders.try_recv().unwrap(), responders.try_recv().unwrap()];
    two.respond(Response::text("two"));
    sleeps(&mut drivers[0]);
    assert!(answered(&mut drivers[1]).ends_with("two"));
    one.respond(Response::text("one"));
    assert!(answered(&mut drivers[0]).ends_with("one"));
}

// Answers.

#[test]
fn a_plain_answer_refuses_the_upgrade_and_one_to_head_has_no_body() {
    let (server, responders) = Server::leaving();
    let mut driver = server.receive(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    responders.try_recv().unwrap().respond(Response::text("body"));
    let answer = answered(&mut driver);
    assert!(answer.contains("Content-Length: 4\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");

    let (server, mut driver, responder) = asked();
    responder.respond(Response::not_found());
    assert!(answered(&mut driver).starts_with("HTTP/1.1 404 "));
    assert_eq!(driver.step(START), Step::Shutdown);
    assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
}

#[test]
fn an_upgrade_that_the_request_does_not_allow_is_refused_when_it_is_answered() {
    let (server, responders) = Server::leaving();
    let peer: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let mut driver = Driver::server(server.service.clone(), Some(peer), START);
    let bytes = String::from_utf8(request("")).unwrap().replace("dGhl", "");
    driver.receive(START, &mut bytes.into_bytes());
    assert_eq!((driver.step(START), server.reports.take()), (Step::Read, vec![]));
    responders.try_recv().unwrap().respond(Response::websocket(server.echo()));
    assert!(answered(&mut driver).starts_with("HTTP/1.1 400 "));
    let reports = server.reports.take();
    assert!(
        reports.len() == 1 && reports[0].starts_with("request from 192.0.2.1:5 for \"/chat\" refused: "),
        "{reports:?}"
    );
    drop(driver);
    assert_eq!(server.log.take(), ["asked"]);
}

#[test]
fn a_subprotocol_that_was_not_offered_is_500_and_a_report() {
    let (server, mut driver, responder) = asked();
    responder.respond(Response::websocket(server.echo()).protocol("mqtt"));
    assert!(answered(&mut driver).starts_with("HTTP/1.1 500 "));
    let reports = server.reports.take();
    assert!(reports.len() == 1 && reports[0].contains("mqtt"), "{reports:?}");
    assert_eq!(server.log.take(), [""; 0]);
}

// A server that stops.

#[test]
fn a_server_that_stops_answers_503_to_whoever_waits() {
    for answer in ANSWERS {
        let (server, mut driver, responder) = asked();
        let (wakes, waker) = waker();
        assert_eq!(driver.park(START, &waker), Ok(None));
        server.service.registry().close_all();
        assert_eq!(wakes.count(), 1);
        assert!(!responder.is_waiting());
        assert!(answered(&mut driver).starts_with("HTTP/1.1 503 "));
        answer(responder, &server);
        assert_eq!((driver.step(START), wakes.count()), (Step::Shutdown, 1));
        assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
    }
}

#[test]
fn a_server_that_stops_answers_503_in_place_of_an_answer_that_was_not_found_yet() {
    for answer in ANSWERS {
        let (server, mut driver, responder) = asked();
        answer(responder, &server);
        server.service.registry().close_all();
        assert!(answered(&mut driver).starts_with("HTTP/1.1 503 "));
        assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
    }
}

#[test]
fn a_server_that_stops_while_its_handler_runs_answers_503() {
    let service: Arc<Mutex<Option<Arc<Service>>>> = Arc::default();
    let (stops, (sender, responders)) = (service.clone(), mpsc::channel());
    let server = Server::new(move |_, responder| {
        stops.lock().unwrap().take().unwrap().registry().close_all();
        sender.send(responder).unwrap();
    });
    *service.lock().unwrap() = Some(server.service.clone());
    let mut driver = server.receive(&request(""));
    assert!(answered(&mut driver).starts_with("HTTP/1.1 503 "));
    assert!(!responders.try_recv().unwrap().is_waiting());
}

#[test]
fn a_server_that_has_stopped_asks_nobody() {
    let (server, _responders) = Server::leaving();
    server.service.registry().close_all();
    assert!(data(&written(&mut server.receive(&request("")))).starts_with("HTTP/1.1 503 "));
    assert_eq!(server.log.take(), [""; 0]);
}

#[test]
fn the_server_forgets_a_request_that_was_answered() {
    let (server, mut driver, responder) = asked();
    let (wakes, waker) = waker();
    assert_eq!(driver.park(START, &waker), Ok(None));
    drop(waker);
    responder.respond(Response::websocket(server.echo()));
    assert_eq!((wakes.count(), Arc::strong_count(&wakes)), (1, 1));
    answered(&mut driver);
    server.service.registry().close_all();
    assert_eq!(wakes.count(), 1);
    assert_eq!(written(&mut driver), Frame::close(1001, "Server Shutdown").sent_by(Role::Server));
}

// Waking.

#[test]
fn the_waker_of_the_last_park_is_called_once_by_whichever_answer() {
    for answer in ANSWERS {
        let (server, mut driver, responder) = asked();
        let ((before, old), (wakes, waker)) = (waker(), waker());
        for waker in [&old, &waker, &waker] {
            assert_eq!(driver.park(START, waker), Ok(None));
        }
        assert_eq!(wakes.count(), 0);
        answer(responder, &server);
        assert_eq!((before.count(), wakes.count()), (0, 1));
        answered(&mut driver);
        drop(driver);
        assert_eq!((before.count(), wakes.count()), (0, 1));
    }
}

/// A waker that looks at what it is called for, as long as it has something to look at.
struct Looks<T>(Mutex<Option<T>>, fn(T) -> String, Log);

impl<T> Looks<T> {
    fn look(&self) {
        // Not under the lock of the test, either.
        let thing = self.0.lock().unwrap().take();
        if let Some(thing) = thing {
            self.2.add((self.1)(thing));
        }
    }
}

impl<T: Send + 'static> Wake for Looks<T> {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

/// Looks when it is dropped.
struct LooksLast<T>(Looks<T>);

impl<T: Send + 'static> Wake for LooksLast<T> {
    fn wake(self: Arc<Self>) {}
}

impl<T> Drop for LooksLast<T> {
    fn drop(&mut self) {
        self.0.look();
    }
}

fn is_waiting(responder: Responder) -> String {
    format!("waiting: {}", responder.is_waiting())
}

#[test]
fn a_waker_may_use_the_responder_and_drop_it() {
    let (server, mut driver, responder) = asked();
    let log = Log::default();
    let looks = Arc::new(Looks(Mutex::new(Some(responder)), is_waiting, log.clone()));
    assert_eq!(driver.park(START, &looks.into()), Ok(None));
    server.service.registry().close_all();
    assert_eq!(log.take(), ["waiting: false"]);
}

#[test]
fn a_waker_may_take_the_answer() {
    fn take(answer: Arc<Answer>) -> String {
        format!("{:?}", answer.take().map(|answer| answer.unwrap().status()))
    }
    let (responder, answer) = Responder::pair();
    let (answer, log) = (Arc::new(answer), Log::default());
    let looks = Arc::new(Looks(Mutex::new(Some(answer.clone())), take, log.clone()));
    assert!(answer.poll(&looks.into()).is_pending());
    responder.respond(Response::new(200));
    assert_eq!(log.take(), ["Some(200)"]);
    assert!(answer.take().is_none(), "once");
}

#[test]
fn a_waker_may_use_the_responder_when_it_is_dropped() {
    type Drops = fn(&mut Driver);
    let drops: [(Drops, &str); 2] = [
        // In place of another; what it drops is the answer that is found.
        (|driver| assert_eq!(driver.park(START, Waker::noop()), Err(Busy)), "waiting: true"),
        (|driver| driver.receive_eof(START), "waiting: false"),
    ];
    for (drops, expected) in drops {
        let (_server, mut driver, responder) = asked();
        let log = Log::default();
        let looks = Looks(Mutex::new(Some(responder)), is_waiting, log.clone());
        assert_eq!(driver.park(START, &Arc::new(LooksLast(looks)).into()), Ok(None));
        assert_eq!(log.take(), [""; 0]);
        drops(&mut driver);
        assert_eq!(log.take(), [expected]);
    }
}

#[test]
fn a_listener_that_is_dropped_may_use_the_server() {
    struct Stops(Arc<Service>, Log);
    impl Listener for Stops {}
    impl Drop for Stops {
        fn drop(&mut self) {
            self.0.registry().close_all();
            self.1.add("stopped");
        }
    }
    let drops: [fn(&Server, Driver, Responder); 3] = [
        |server, driver, responder| {
            drop(driver);
            responder.respond(Response::websocket(Stops(server.service.clone(), server.log.clone())));
        },
        |server, driver, responder| {
            responder.respond(Response::websocket(Stops(server.service.clone(), server.log.clone())));
            drop(driver);
        },
        |server, mut driver, responder| {
            responder.respond(Response::websocket(Stops(server.service.clone(), server.log.clone())));
            server.service.registry().close_all();
            answered(&mut driver);
        },
    ];
    for drops in drops {
        let (server, driver, responder) = asked();
        drops(&server, driver, responder);
        assert_eq!(server.log.take(), ["stopped"]);
    }
}

// By hand.

#[test]
fn a_pair_hands_over_one_answer_once() {
    let (responder, answer) = Responder::pair();
    assert!(responder.is_waiting() && answer.take().is_none() && responder.is_waiting());
    assert!(answer.poll(Waker::noop()).is_pending());
    responder.respond(Response::new(201));
    assert!(matches!(answer.poll(Waker::noop()), Poll::Ready(Ok(response)) if response.status() == 201));
    assert!(answer.take().is_none() && answer.poll(Waker::noop()).is_pending());

    let (responder, answer) = Responder::pair();
    drop(responder);
    assert!(matches!(answer.take(), Some(Err(ServerError::NoAnswer))));

    let (responder, answer) = Responder::pair();
    responder.raise("x");
    assert!(matches!(answer.take(), Some(Err(ServerError::Handler(error))) if error.to_string() == "x"));

    let (responder, answer) = Responder::pair();
    assert_eq!(format!("{responder:?}, {answer:?}"), "Responder { is_waiting: true }, Answer { is_waiting: true }");
    drop(answer);
    assert_eq!(format!("{responder:?}"), "Responder { is_waiting: false }");
}

#[test]
fn a_responder_can_be_sent_to_another_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Responder>();
    is_send::<Answer>();
    is_send::<Driver>();
}
