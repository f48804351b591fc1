//! A server's driver, from the first byte of a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bellwire_core::backend::{Driver, Service, Step};
use bellwire_core::{Config, Listener, Request, Response, Role, ServerError, is_upgrade_request, listener};

use crate::common::*;
use crate::logging::*;

struct Server {
    service: Arc<Service>,
    log: Log,
    reports: Log,
}

impl Server {
    /// `answer` gets the request, and a listener that logs.
    fn new(answer: impl Fn(&Request, Box<dyn Listener>) -> Response + Send + Sync + 'static) -> Self {
        Self::with_config(Config::default(), answer)
    }

    fn with_config(
        config: Config,
        answer: impl Fn(&Request, Box<dyn Listener>) -> Response + Send + Sync + 'static,
    ) -> Self {
        let (log, reports) = (Log::default(), Log::default());
        let (own, reported) = (log.clone(), reports.clone());
        let service = Service::new(
            config,
            move |request: &Request| answer(request, logging(&own, |_, _| Ok(()))),
            move |error: &ServerError| reported.add(error.to_string()),
        );
        Self { service: Arc::new(service), log, reports }
    }

    fn echo() -> Self {
        Self::new(|_, listener| Response::websocket(listener))
    }

    fn accept(&self) -> Driver {
        Driver::server(self.service.clone(), None, START)
    }

    /// What is answered to these bytes.
    fn answer(&self, bytes: &[u8]) -> (Driver, String) {
        let mut driver = self.accept();
        driver.receive(START, &mut bytes.to_vec());
        let answer = written(&mut driver);
        (driver, String::from_utf8(answer).unwrap())
    }
}

#[test]
fn a_server_answers_101_and_only_then_opens() {
    let server = Server::echo();
    let (driver, answer) = server.answer(&request(""));
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    assert_eq!(server.log.take(), ["open"]);
    assert!(!driver.is_handshaking() && driver.socket().unwrap().is_open());
    assert_eq!(server.reports.take(), [""; 0]);
}

#[test]
fn a_server_s_conversation_does_not_depend_on_how_it_is_cut_and_glued() {
    let frames = [Frame::text("glued"), Frame::ping("p"), Frame::close(1000, "")];
    let bytes = [request(""), wire(&frames, Role::Client)].concat();
    let converse = |pieces: &[&[u8]]| {
        let server = Server::new(|request, listener| {
            assert!(is_upgrade_request(request));
            Response::websocket(listener)
        });
        let mut driver = server.accept();
        let mut sent = Vec::new();
        for piece in pieces {
            driver.receive(START, &mut piece.to_vec());
            sent.extend(written(&mut driver));
        }
        assert_eq!(driver.step(START), Step::Shutdown);
        (server.log.take(), sent)
    };
    let whole = converse(&[&bytes]);
    assert_eq!(whole.0, ["open", "text glued", "ping p", "close 1000 "]);
    assert!(whole.1.ends_with(&[&b"\r\n\r\n"[..], &Frame::close(1000, "").sent_by(Role::Server)].concat()));
    for at in 0..=bytes.len() {
        assert_eq!(converse(&[&bytes[..at], &bytes[at..]]), whole, "{at}");
    }
    assert_eq!(converse(&bytes.chunks(1).collect::<Vec<_>>()), whole);
}

#[test]
fn what_on_open_sends_leaves_behind_the_101() {
    let server = Server::new(|_, _| Response::websocket(listener().on_open(|socket| socket.send("Hello"))));
    let mut driver = server.accept();
    driver.receive(START, &mut request(""));
    let answer = written(&mut driver);
    assert!(answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(b"\r\n\r\n\x81\x05Hello"), "{}", data(&answer));
}

#[test]
fn a_bad_handshake_is_answered_and_no_callback_runs() {
    let table: [(&str, &str); 4] = [
        ("GET /chat HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("POST /chat HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 "),
        ("GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 "),
        ("\u{16}\u{3}\u{1}", "HTTP/1.1 400 "),
    ];
    for (bytes, status) in table {
        let server = Server::echo();
        let (mut driver, answer) = server.answer(bytes.as_bytes());
        assert!(answer.starts_with(status), "{answer}");
        assert_eq!(server.reports.take().len(), 1);
        // Gently: what was sent is not to be destroyed by a reset.
        assert_eq!(driver.step(START), Step::Shutdown);
        assert_eq!(driver.step(START), Step::Read);
        driver.receive(START, b"more".to_vec().as_mut_slice());
        driver.receive_eof(START);
        assert_eq!(driver.step(START), Step::Done);
        drop(driver);
        assert_eq!(server.log.take(), [""; 0]);
    }
}

#[test]
fn plain_http_is_answered_and_closed() {
    let server = Server::new(|request, _| Response::text(format!("you asked for {}", request.path())));
    let mut driver = server.accept();
    driver.receive(START, &mut b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    assert_eq!(driver.step(START), Step::Read, "the answer is not written");
    let output = driver.take_output().unwrap();
    assert!(driver.take_output().is_none());
    let answer: Vec<u8> = output.pieces().flatten().copied().collect();
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nyou asked for /page"));
    driver.wrote(START, output.len() - 1);
    assert_eq!(driver.step(START), Step::Read);
    driver.wrote(START, 1);
    assert_eq!(driver.step(START), Step::Shutdown);
    driver.handle_timeout(at(secs(2)));
    assert_eq!(driver.step(at(secs(2))), Step::Done);
    assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
}

#[test]
fn a_plain_answer_to_an_upgrade_refuses_it_without_a_callback() {
    let server = Server::new(|_, _| Response::not_found());
    let (_, answer) = server.answer(&request(""));
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
}

#[test]
fn a_handler_that_fails_is_500_and_a_report_and_tells_the_client_nothing() {
    let reports = Log::default();
    type Handler = fn(&Request) -> Result<Response, String>;
    let handlers: [(Handler, &str); 2] = [
        (|_| Err("the secret".into()), "the handler failed: the secret"),
        (|_| panic!("the secret"), "the handler panicked: the secret"),
    ];
    for (handler, report) in handlers {
        let reported = reports.clone();
        let service =
            Service::new(Config::default(), handler, move |error: &ServerError| reported.add(error.to_string()));
        let mut driver = Driver::server(Arc::new(service), None, START);
        driver.receive(START, &mut request(""));
        let answer = String::from_utf8(written(&mut driver)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("secret"), "{answer}");
        assert_eq!(reports.take(), [report]);
        assert_eq!(driver.step(START), Step::Shutdown);
    }
}

#[test]
fn a4_a_handler_that_fails_is_called_once() {
    let calls = Log::default();
    let counted = calls.clone();
    let handler = move |_: &Request| -> Result<Response, &str> {
        counted.add("called");
        Err("x")
    };
    let service = Service::new(Config::default(), handler, |_: &ServerError| ());
    let mut driver = Driver::server(Arc::new(service), None, START);
    driver.receive(START, &mut [request(""), request("")].concat());
    driver.receive(START, &mut request(""));
    driver.handle_timeout(at(secs(1)));
    driver.receive_eof(START);
    assert_eq!(calls.take(), ["called"]);
}

#[test]
fn d14_a_subprotocol_that_was_not_offered_is_500_and_a_report_and_no_101() {
    let server = Server::new(|_, listener| Response::websocket(listener).protocol("mqtt"));
    for offer in ["", "Sec-WebSocket-Protocol: soap\r\n", "Sec-WebSocket-Protocol: MQTT\r\n"] {
        let (_, answer) = server.answer(&request(offer));
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("mqtt"), "{answer}");
        let reports = server.reports.take();
        assert!(reports.len() == 1 && reports[0].contains("mqtt"), "{reports:?}");
        assert_eq!(server.log.take(), [""; 0]);
    }
    let (_driver, answer) = server.answer(&request("Sec-WebSocket-Protocol: soap, mqtt\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
    assert_eq!((server.log.take(), server.reports.take()), (vec!["open".to_string()], vec![]));
}

/// What a service says to these bytes.
fn said(service: &Arc<Service>, mut bytes: Vec<u8>) -> String {
    let mut driver = Driver::server(service.clone(), None, START);
    driver.receive(START, &mut bytes);
    // A future is polled where the driver is about to sleep.
    let _ = driver.park(START, std::task::Waker::noop());
    String::from_utf8(written(&mut driver)).unwrap()
}

#[test]
fn h1_h2_options_and_http_1_0_are_served_whatever_the_handler_is_made_of() {
    let page = || Response::text("page");
    let silent = |_: &ServerError| ();
    for service in [
        Service::new(Config::default(), move |_: &Request| page(), silent),
        Service::with_responder(Config::default(), move |_, responder| responder.respond(page()), silent),
        Service::asynchronous(Config::default(), move |_| async move { page() }, silent),
    ] {
        let service = Arc::new(service);
        let options = said(&service, b"OPTIONS / HTTP/1.0\r\n\r\n".to_vec());
        assert!(
            options.starts_with("HTTP/1.1 204 ") && options.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"),
            "{options}"
        );
        let page = said(&service, b"GET / HTTP/1.0\r\n\r\n".to_vec());
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("page"), "{page}");
    }
}

#[test]
fn h11_h12_dates_and_the_word_about_subprotocols_go_by_the_clock_that_was_lent() {
    static NOW: AtomicU64 = AtomicU64::new(784_111_777);
    let reports = Log::default();
    let reported = reports.clone();
    let hook = move |error: &ServerError| reported.add(error.to_string());
    let handler = |_: &Request| Response::websocket(listener());
    let service = Arc::new(Service::new(Config::default(), handler, hook));
    let offer = || request("Sec-WebSocket-Protocol: soap\r\n");
    assert!(!said(&service, request("")).contains("Date"), "no clock, no date");
    service.lend_clock(|| Duration::from_secs(NOW.load(Ordering::Relaxed)));
    for (seconds, date) in [(0, "08:49:37"), (0, "08:49:37"), (1, "08:49:38"), (58, "08:50:36")] {
        NOW.fetch_add(seconds, Ordering::Relaxed);
        let answer = said(&service, offer());
        assert!(answer.contains(&format!("\r\nDate: Sun, 06 Nov 1994 {date} GMT\r\n")), "{answer}");
    }
    assert_eq!(reports.take().len(), 1, "once per minute");
    NOW.fetch_add(1, Ordering::Relaxed);
    said(&service, offer());
    said(&service, offer());
    assert_eq!(reports.take().len(), 1, "the next minute");
}

#[test]
fn d17_an_upgrade_may_bring_its_own_limits() {
    let server = Server::new(|_, listener| Response::websocket(listener).config(Config::default().max_message(5)));
    let mut driver = server.accept();
    driver.receive(START, &mut [request(""), Frame::text("123456").sent_by(Role::Client)].concat());
    let (error, text) = ("text message too large: 6 > 5", "Text message too large: 6 > 5");
    assert_eq!(server.log.take(), ["open", &format!("error {error}"), &format!("close 1009 {text}")]);
}

#[test]
fn d17_an_upgrade_may_bring_its_own_deadlines() {
    let config = || Config::default().close_timeout(secs(50)).linger_timeout(secs(70));
    let server = Server::new(move |_, listener| Response::websocket(listener).config(config()));
    let (mut driver, _) = server.answer(&request(""));
    driver.receive(START, &mut Frame::close(1000, "").sent_by(Role::Client));
    assert_eq!((driver.step(START), driver.poll_timeout()), (Step::Read, Some(at(secs(50)))), "until all is written");
    written(&mut driver);
    assert_eq!((driver.step(START), driver.poll_timeout()), (Step::Shutdown, Some(at(secs(70)))));
}

#[test]
fn a_request_that_is_too_slow_is_408_and_a_peer_that_leaves_gets_no_answer() {
    let server = Server::echo();
    let mut driver = server.accept();
    assert!(driver.is_handshaking());
    assert_eq!(driver.poll_timeout(), Some(at(secs(10))));
    driver.receive(at(secs(9)), b"GET / HT".to_vec().as_mut_slice());
    assert_eq!(driver.poll_timeout(), Some(at(secs(10))), "in total, not for each read");
    driver.handle_timeout(at(secs(10) - ms(1)));
    assert!(driver.take_output().is_none());
    driver.handle_timeout(at(secs(10)));
    let answer = String::from_utf8(written(&mut driver)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(driver.step(at(secs(10))), Step::Shutdown);
    assert_eq!(server.reports.take().len(), 1);

    let mut driver = server.accept();
    driver.receive(START, b"GET / HT".to_vec().as_mut_slice());
    driver.receive_eof(START);
    assert_eq!(written(&mut driver), b"");
    leaves(&mut driver, START);
    assert_eq!((server.log.take(), server.reports.take()), (vec![], vec![]));
}

#[test]
fn a_panic_in_on_error_or_on_close_is_reported_to_the_server_s_owner() {
    let server = Server::new(|_, _| {
        Response::websocket(listener().on_error(|_, _| panic!("in on_error")).on_close(|_, _, _| panic!("in on_close")))
    });
    let mut driver = server.accept();
    driver.receive(START, &mut [request(""), Frame::new(3, "").sent_by(Role::Client)].concat());
    let reports = server.reports.take();
    assert!(
        reports.len() == 2 && reports[0].contains("in on_error") && reports[1].contains("in on_close"),
        "{reports:?}"
    );
    // The connection ended as it would have.
    assert!(written(&mut driver).ends_with(&Frame::close(1002, "Reserved opcode: 0x3").sent_by(Role::Server)));
    assert_eq!(driver.step(START), Step::Shutdown);
}

#[test]
fn a_hook_that_panics_harms_no_connection() {
    let service = Service::new(Config::default(), |_: &Request| Err::<Response, _>("x"), |_| panic!("on purpose"));
    let mut driver = Driver::server(Arc::new(service), None, START);
    driver.receive(START, &mut request(""));
    assert!(written(&mut driver).starts_with(b"HTTP/1.1 500 "));
    assert_eq!(driver.step(START), Step::Shutdown);
}

#[test]
fn a_server_that_stops_closes_all_with_1001_and_answers_503() {
    let server = Server::echo();
    let (mut one, _) = server.answer(&request(""));
    let (mut two, _) = server.answer(&request(""));
    let (mut ended, _) = server.answer(&request(""));
    ended.receive(START, &mut Frame::close(1000, "").sent_by(Role::Client));
    written(&mut ended);
    server.log.take();
    server.service.registry().close_all();
    let close = Frame::close(1001, "Server Shutdown");
    for driver in [&mut one, &mut two] {
        assert_eq!(written(driver), close.sent_by(Role::Server));
        driver.receive(START, &mut close.sent_by(Role::Client));
        assert_eq!(driver.step(START), Step::Shutdown);
    }
    assert_eq!(server.log.take(), ["close 1001 Server Shutdown", "close 1001 Server Shutdown"]);
    assert_eq!(written(&mut ended), b"");
    let (_, answer) = server.answer(&request(""));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(server.log.take(), [""; 0]);
}

#[test]
fn a_connection_that_opens_while_the_server_stops_is_closed_too() {
    let service: Arc<OnceLock<Arc<Service>>> = Arc::default();
    let stops = service.clone();
    let server = Server::new(move |_, _| {
        let stops = stops.clone();
        Response::websocket(listener().on_open(move |_| stops.get().unwrap().registry().close_all()))
    });
    assert!(service.set(server.service.clone()).is_ok());
    let mut driver = server.accept();
    driver.receive(START, &mut request(""));
    assert!(written(&mut driver).ends_with(&Frame::close(1001, "Server Shutdown").sent_by(Role::Server)));
    assert!(!driver.socket().unwrap().is_open());
}

#[test]
fn a_server_that_runs_out_of_patience_drops_all() {
    let server = Server::echo();
    let (mut driver, _) = server.answer(&request(""));
    server.service.registry().close_all();
    server.service.registry().abort_all();
    driver.handle_timeout(START);
    assert_eq!(server.log.take(), ["open", "close 1006 "]);
    assert_eq!(driver.step(START), Step::Done);
}

#[test]
fn the_server_keeps_no_socket_of_a_connection_that_has_ended() {
    let ends: [fn(&mut Driver); 4] = [
        |driver| driver.receive(START, &mut Frame::close(1000, "").sent_by(Role::Client)),
        |driver| driver.receive_eof(START),
        |driver| driver.transport_failed(START, "x"),
        |driver| {
            driver.socket().unwrap().abort();
            driver.handle_timeout(START);
        },
    ];
    for end in ends {
        let server = Server::echo();
        let (mut driver, _) = server.answer(&request(""));
        let shared = Arc::downgrade(driver.shared().unwrap());
        let holders = shared.strong_count();
        end(&mut driver);
        assert_eq!(shared.strong_count(), holders - 1, "the server lets go as soon as it has ended");
        assert_eq!(server.log.take().iter().filter(|line| line.starts_with("close")).count(), 1);
        drop(driver);
        assert_eq!(shared.strong_count(), 0, "nobody holds it any more");
    }
    let server = Server::echo();
    let (driver, _) = server.answer(&request(""));
    let shared = Arc::downgrade(driver.shared().unwrap());
    drop(driver);
    assert_eq!(shared.strong_count(), 0);
    assert_eq!(server.log.take(), ["open", "error the connection's driver was dropped", "close 1006 "]);
}
