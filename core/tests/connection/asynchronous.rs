//! Handlers and listeners that are asynchronous, polled by hand and in virtual time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use allocation_counter::measure;
use bellwire_core::backend::{Busy, Driver, Service, Step};
use bellwire_core::listener::{
    AnyListener, BoxAsyncListener, IntoAnyListener, IntoAsyncListener, IntoAsyncResponse, IntoListener,
};
use bellwire_core::proto::Time;
use bellwire_core::{
    AsyncListener, AsyncResponse, BoxError, CloseCode, Config, Error, Outcome, OwnedMessage, Request, Response, Role,
    SendError, ServerError, WebSocket, async_listener, listener,
};
use bytes::Bytes;

use crate::common::*;
use crate::logging::*;

/// Pending for so many polls.
async fn polls(mut left: usize) {
    poll_fn(|_| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

/// What callbacks and handlers wait at until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    async fn pass(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        let waker = gate.1.take();
        drop(gate);
        waker.unwrap().wake();
    }

    fn shut(&self) {
        self.0.lock().unwrap().0 = false;
    }
}

/// Logs that it was dropped.
struct Guard(Log);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

/// Does what a backend does, until the driver sleeps: what was written.
fn settle_at(driver: &mut Driver, now: Time, waker: &Waker) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend(written_at(driver, now));
        if driver.park(now, waker).is_ok() {
            return bytes;
        }
    }
    panic!("it never sleeps");
}

fn settle(driver: &mut Driver) -> Vec<u8> {
    settle_at(driver, START, Waker::noop())
}

// Handlers.

struct Server {
    service: Arc<Service>,
    log: Log,
    reports: Log,
}

impl Server {
    fn new<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
        handler: impl Fn(Request, Log) -> F + Send + Sync + 'static,
    ) -> Self {
        let (log, reports) = (Log::default(), Log::default());
        let (own, reported) = (log.clone(), reports.clone());
        let service = Service::asynchronous(
            Config::default().handler_timeout(None),
            move |request| {
                own.add("asked");
                handler(request, own.clone())
            },
            move |error: &ServerError| reported.add(error.to_string()),
        );
        Self { service: Arc::new(service), log, reports }
    }

    /// A driver that was given these bytes.
    fn receive(&self, bytes: &[u8]) -> Driver {
        let mut driver = Driver::server(self.service.clone(), None, START);
        driver.receive(START, &mut bytes.to_vec());
        driver
    }
}

fn status(answer: &[u8]) -> String {
    data(answer).split(' ').nth(1).unwrap_or_default().into()
}

#[test]
fn a_handler_is_asked_once_and_answers_after_as_many_polls_as_it_likes() {
    for count in 0..4 {
        let server = Server::new(move |request, _| async move {
            polls(count).await;
            Response::text(format!("{} after {count}", request.path()))
        });
        let mut driver = server.receive(&request(""));
        for _ in 0..count {
            assert_eq!((driver.step(START), driver.park(START, Waker::noop())), (Step::Read, Ok(None)));
            assert!(driver.take_output().is_none() && driver.is_handshaking());
        }
        assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
        let answer = data(&written(&mut driver));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("/chat after {count}")), "{answer}");
        assert_eq!(driver.step(START), Step::Shutdown);
        drop(driver);
        assert_eq!((server.log.take(), server.reports.take()), (vec!["asked".into()], vec![]));
    }
}

#[test]
fn a_handler_that_waits_wakes_the_waker_of_the_last_park_once() {
    let gate = Gate::default();
    let waits = gate.clone();
    let server = Server::new(move |_, _| {
        let gate = waits.clone();
        async move {
            gate.pass().await;
            Response::text("fine")
        }
    });
    let mut driver = server.receive(&request(""));
    let ((before, old), (wakes, waker)) = (waker(), waker());
    for waker in [&old, &waker, &waker] {
        assert_eq!(driver.park(START, waker), Ok(None));
    }
    gate.open();
    assert_eq!((before.count(), wakes.count()), (0, 1));
    assert!(data(&settle(&mut driver)).ends_with("fine"));
    assert_eq!(before.count(), 0);
}

#[test]
fn a_handler_that_fails_anywhere_is_one_500_and_one_report() {
    type Work = Pin<Box<dyn Future<Output = Result<AsyncResponse, BoxError>> + Send>>;
    type Handler = fn() -> Work;
    let (failed, panicked) = ("the handler failed: the secret", "the handler panicked: the secret");
    let table: [(Handler, &str); 5] = [
        (|| panic!("the secret"), panicked),
        (|| Box::pin(async { panic!("the secret") }), panicked),
        (|| Box::pin(async { Err("the secret".into()) }), failed),
        (
            || {
                Box::pin(async {
                    polls(2).await;
                    panic!("the secret")
                })
            },
            panicked,
        ),
        (
            || {
                Box::pin(async {
                    polls(2).await;
                    Err("the secret".into())
                })
            },
            failed,
        ),
    ];
    for (handler, report) in table {
        let server = Server::new(move |_, _| handler());
        let mut driver = server.receive(&[request(""), request("")].concat());
        let mut answer = settle(&mut driver);
        for _ in 0..2 {
            answer.extend(settle(&mut driver));
        }
        let answer = data(&answer);
        assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("secret"), "{answer}");
        driver.receive_eof(START);
        drop(driver);
        assert_eq!((server.log.take(), server.reports.take()), (vec!["asked".into()], vec![report.into()]));
    }
}

/// A server whose handler waits at a gate, and logs when it is dropped.
fn waiting() -> (Server, Gate) {
    let gate = Gate::default();
    let waits = gate.clone();
    let server = Server::new(move |_, log| {
        let (gate, guard) = (waits.clone(), Guard(log.clone()));
        async move {
            gate.pass().await;
            drop(guard);
            Response::websocket(logging(&log, |_, _| Ok(())))
        }
    });
    (server, gate)
}

#[test]
fn a_handler_is_dropped_where_it_waits_when_its_client_has_gone() {
    type Leave = fn(&mut Driver);
    let leaves: [Leave; 3] = [
        |driver| driver.receive_eof(START),
        |driver| driver.transport_failed(START, "reset"),
        |driver| *driver = logged(Role::Server).0,
    ];
    for leave in leaves {
        let (server, _gate) = waiting();
        let mut driver = server.receive(&request(""));
        let (wakes, waker) = waker();
        assert_eq!(driver.park(START, &waker), Ok(None));
        assert_eq!(server.log.take(), ["asked"]);
        leave(&mut driver);
        assert_eq!((server.log.take(), server.reports.take()), (vec!["dropped".into()], vec![]));
        assert!(written(&mut driver).is_empty());
        assert_eq!(wakes.count(), 0);
    }
}

#[test]
fn a_handler_is_dropped_where_it_waits_when_its_server_stops_and_503_is_sent() {
    for answers in [false, true] {
        let (server, gate) = waiting();
        let mut driver = server.receive(&request(""));
        let (wakes, waker) = waker();
        assert_eq!(driver.park(START, &waker), Ok(None));
        if answers {
            // Too late: nobody has looked yet.
            gate.open();
        }
        let before = wakes.count();
        server.service.registry().close_all();
        assert_eq!(wakes.count(), before + 1);
        assert_eq!(status(&settle(&mut driver)), "503");
        assert_eq!((server.log.take(), server.reports.take()), (vec!["asked".into(), "dropped".into()], vec![]));
        assert_eq!(driver.step(START), Step::Shutdown);
    }
}

#[test]
fn a_handler_that_panics_when_it_is_dropped_harms_nobody() {
    struct Panics(#[allow(dead_code)] Guard);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    type End = fn(&Server, Driver);
    let ends: [End; 4] = [
        |_, mut driver| driver.receive_eof(START),
        |_, mut driver| driver.transport_failed(START, "reset"),
        |_, driver| drop(driver),
        |server, mut driver| {
            server.service.registry().close_all();
            assert_eq!(status(&settle(&mut driver)), "503");
        },
    ];
    for end in ends {
        let server = Server::new(move |_, log| async move {
            let _panics = Panics(Guard(log));
            std::future::pending::<Response>().await
        });
        let mut driver = server.receive(&request(""));
        assert_eq!(driver.park(START, Waker::noop()), Ok(None));
        end(&server, driver);
        assert_eq!(server.log.take(), ["asked", "dropped"]);
        assert_eq!(server.reports.take(), [""; 0]);
    }
}

#[test]
fn what_came_behind_the_request_is_kept_for_the_listener_however_it_is_cut() {
    let frames = [Frame::text("glued"), Frame::ping("p"), Frame::binary("more"), Frame::close(1000, "")];
    let bytes = [request(""), wire(&frames, Role::Client)].concat();
    // The handler and each callback are pending for so many polls.
    let converse = |pieces: &[&[u8]], count: usize| {
        let server = Server::new(move |_, log| async move {
            polls(count).await;
            AsyncResponse::websocket(echo(&log, count))
        });
        let mut driver = server.receive(b"");
        let mut sent = Vec::new();
        for piece in pieces {
            // A backend would not read; it does no harm.
            driver.receive(START, &mut piece.to_vec());
            sent.extend(settle(&mut driver));
        }
        for _ in 0..=count * 6 {
            sent.extend(settle(&mut driver));
        }
        assert_eq!(driver.step(START), Step::Shutdown);
        (server.log.take(), sent)
    };
    let whole = converse(&[&bytes], 0);
    assert_eq!(whole.0, ["asked", "open", "text glued", "ping p", "binary more", "close 1000 "]);
    let frames = [Frame::text("glued"), Frame::pong("p"), Frame::binary("more"), Frame::close(1000, "")];
    assert!(whole.1.ends_with(&[b"\r\n\r\n", &wire(&frames, Role::Server)[..]].concat()));
    for count in 0..3 {
        for at in 0..=bytes.len() {
            assert_eq!(converse(&[&bytes[..at], &bytes[at..]], count), whole, "{at}, {count}");
        }
        assert_eq!(converse(&bytes.chunks(1).collect::<Vec<_>>(), count), whole, "{count}");
    }
}

/// Logs, waits, and then echoes.
fn echo(log: &Log, count: usize) -> impl IntoAsyncListener + use<> {
    struct Echo(Log, usize);
    impl AsyncListener for Echo {
        async fn on_open(&mut self, _: &WebSocket) -> Outcome {
            self.0.add("open");
            polls(self.1).await;
            Ok(())
        }

        async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
            self.0.add(line(&message));
            polls(self.1).await;
            Ok(socket.send(message)?)
        }

        async fn on_ping(&mut self, socket: &WebSocket, bytes: Bytes) -> Outcome {
            self.0.add(format!("ping {}", data(&bytes)));
            polls(self.1).await;
            Ok(socket.pong(bytes)?)
        }

        fn on_close(&mut self, _: &WebSocket, code: CloseCode, reason: &str) {
            self.0.add(format!("close {code} {reason}"));
        }
    }
    Echo(log.clone(), count)
}

fn line(message: &OwnedMessage) -> String {
    let kind = if message.as_text().is_some() { "text" } else { "binary" };
    format!("{kind} {}", data(message.as_bytes()))
}

#[test]
fn a_plain_response_is_answered_as_it_is() {
    let server = Server::new(|_, log| async move { Response::websocket(logging(&log, |_, _| Ok(()))) });
    let bytes = wire(&[Frame::text("x"), Frame::close(1000, "")], Role::Client);
    let mut driver = server.receive(&[request(""), bytes].concat());
    assert_eq!(status(&settle(&mut driver)), "101");
    assert_eq!(server.log.take(), ["asked", "open", "text x", "close 1000 "]);

    let response = AsyncResponse::from(Response::text("no").with_status(404));
    assert_eq!((response.is_websocket(), response.status()), (false, 404));
    let response = AsyncResponse::websocket(async_listener());
    assert_eq!((response.is_websocket(), response.status()), (true, 101));
    let response = AsyncResponse::from(Response::websocket(listener()));
    assert_eq!((response.is_websocket(), response.status()), (true, 101));
}

#[test]
fn a_response_with_an_asynchronous_listener_carries_protocol_headers_and_config() {
    let server = Server::new(|_, log| async move {
        let config = Config::default().max_message(3);
        AsyncResponse::websocket(echo(&log, 0)).header("X-Own", "1").protocol("b").config(config)
    });
    let mut driver = server.receive(&request("Sec-WebSocket-Protocol: a, b\r\n"));
    let answer = data(&settle(&mut driver));
    assert!(answer.contains("X-Own: 1\r\n") && answer.contains("Sec-WebSocket-Protocol: b\r\n"), "{answer}");
    driver.receive(START, &mut Frame::text("1234").sent_by(Role::Client));
    assert_eq!(server.log.take(), ["asked", "open", "close 1009 Text message too large: 4 > 3"]);

    let server = Server::new(|_, log| async move { AsyncResponse::websocket(echo(&log, 0)).protocol("b") });
    assert_eq!(status(&settle(&mut server.receive(&request("")))), "500", "it was not offered");
    assert_eq!((server.log.take(), server.reports.take().len()), (vec!["asked".into()], 1));
    assert!(AsyncResponse::websocket(async_listener()).try_header("X", "a\r\nb").is_err());
}

#[test]
fn u5_a_header_that_cannot_be_sent_makes_an_asynchronous_answer_a_500_and_its_owner_is_told() {
    let server = Server::new(|_, log| async move { AsyncResponse::websocket(echo(&log, 0)).header("X", "a\r\nb") });
    assert_eq!(status(&settle(&mut server.receive(&request("")))), "500");
    let reports = server.reports.take();
    assert_eq!((server.log.take(), reports.len()), (vec!["asked".into()], 1));
    assert!(reports[0].contains("\"X\""), "{reports:?}");
}

// Listeners.

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What callbacks do behind their line in the log.
type Act = Arc<dyn Fn(WebSocket, String) -> Work + Send + Sync>;

fn act<F: Future<Output = Outcome> + Send + 'static>(
    act: impl Fn(WebSocket, String) -> F + Send + Sync + 'static,
) -> Act {
    Arc::new(move |socket, line| Box::pin(act(socket, line)))
}

fn nothing() -> Act {
    act(|_, _| async { Ok(()) })
}

/// Logs all its events, and answers pings by itself.
struct Logger {
    log: Log,
    act: Act,
}

impl Logger {
    async fn note(&mut self, socket: &WebSocket, line: String) -> Outcome {
        self.log.add(&line);
        (self.act)(socket.clone(), line).await
    }
}

impl AsyncListener for Logger {
    async fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.note(socket, "open".into()).await
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        self.note(socket, line(&message)).await
    }

    async fn on_ping(&mut self, socket: &WebSocket, bytes: Bytes) -> Outcome {
        self.note(socket, format!("ping {}", data(&bytes))).await
    }

    async fn on_pong(&mut self, socket: &WebSocket, bytes: Bytes) -> Outcome {
        self.note(socket, format!("pong {}", data(&bytes))).await
    }

    fn on_error(&mut self, _: &WebSocket, error: &Error) {
        self.log.add(format!("error {error}"));
    }

    fn on_close(&mut self, _: &WebSocket, code: CloseCode, reason: &str) {
        self.log.add(format!("close {code} {reason}"));
    }
}

fn closures(log: &Log, act: &Act) -> AnyListener {
    let note = || {
        let (log, act) = (log.clone(), act.clone());
        move |socket: WebSocket, line: String| {
            log.add(&line);
            act(socket, line)
        }
    };
    let (open, message, ping, pong) = (note(), note(), note(), note());
    let (errors, closes) = (log.clone(), log.clone());
    let closures = async_listener()
        .on_open(move |socket| open(socket, "open".into()))
        .on_message(move |socket, text| message(socket, line(&text)))
        .on_ping(move |socket, bytes| ping(socket, format!("ping {}", data(&bytes))))
        .on_pong(move |socket, bytes| pong(socket, format!("pong {}", data(&bytes))))
        .on_error(move |_, error| errors.add(format!("error {error}")))
        .on_close(move |_, code, reason| closes.add(format!("close {code} {reason}")));
    closures.into_async_listener().into()
}

fn logger(log: &Log, act: &Act) -> AnyListener {
    Logger { log: log.clone(), act: act.clone() }.into_async_listener().into()
}

/// Some closures have a state, and some were there before it.
fn stateful(log: &Log, act: &Act) -> AnyListener {
    let (open, closes) = ((log.clone(), act.clone()), log.clone());
    async_listener()
        .on_open(move |socket| {
            let (log, act) = open.clone();
            log.add("open");
            act(socket, "open".into())
        })
        .on_ping(async |_, _| unreachable!("there is another one"))
        .on_close(move |_, code, reason| closes.add(format!("close {code} {reason}")))
        .with_state((log.clone(), act.clone()))
        .on_message(async |(log, act), socket, message| {
            log.add(line(&message));
            act(socket, line(&message)).await
        })
        .on_ping(|(log, act), socket, bytes| async move {
            let line = format!("ping {}", data(&bytes));
            log.add(&line);
            act(socket, line).await
        })
        .on_pong(|(log, act), socket, bytes| {
            let line = format!("pong {}", data(&bytes));
            log.add(&line);
            act(socket, line)
        })
        .on_error(|(log, _), _, error| log.add(format!("error {error}")))
        .into_any_listener()
}

/// A wrapper that overrides nothing.
struct Wrapper(BoxAsyncListener);

impl AsyncListener for Wrapper {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }
}

/// In two wrappers, one of which is boxed between.
fn wrapped(log: &Log, act: &Act) -> AnyListener {
    let inner = Logger { log: log.clone(), act: act.clone() }.into_async_listener();
    let boxed = Wrapper(inner).into_async_listener().into_async_listener();
    Wrapper(boxed).into_async_listener().into()
}

/// The same listener as a type, as closures, as closures with a state, and inside of others.
const FORMS: [fn(&Log, &Act) -> AnyListener; 4] = [logger, closures, stateful, wrapped];

/// Runs a test for both roles and both forms of a listener.
fn each(config: &Config, act: &Act, test: impl Fn(Role, Driver, Log)) {
    each_new(config, |_| act.clone(), test);
}

fn each_new(config: &Config, act: impl Fn(&Log) -> Act, test: impl Fn(Role, Driver, Log)) {
    for role in ROLES {
        for form in FORMS {
            let log = Log::default();
            test(role, started(role, config, form(&log, &act(&log))), log);
        }
    }
}

#[test]
fn each_event_reaches_its_callback_with_its_arguments() {
    each(&timeless(), &nothing(), |role, mut driver, log| {
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
        let expected = ["open", "ping 2", "text 13", "binary 4", "pong 5", "close 1000 Normal close"];
        assert_eq!(log.take(), expected);
        receive(&mut driver, role, &[Frame::text("7")]);
        driver.receive_eof(START);
        driver.transport_failed(START, "x");
        drop(driver);
        assert_eq!(log.take(), [""; 0]);
    });
    each(&timeless(), &nothing(), |role, mut driver, log| {
        receive(&mut driver, role, &[Frame::new(3, "")]);
        let (error, text) = ("reserved opcode: 0x3", "Reserved opcode: 0x3");
        assert_eq!(log.take(), ["open", &format!("error {error}"), &format!("close 1002 {text}")]);
    });
}

#[test]
fn pings_are_answered_unless_the_listener_does_it() {
    struct Nothing;
    impl AsyncListener for Nothing {}
    for role in ROLES {
        let (closures, stateful) = (async_listener(), async_listener().with_state(1));
        let stateful = stateful.into_async_listener();
        let plain = BoxAsyncListener::from(listener().into_listener());
        let inside = Wrapper(Wrapper(plain).into_async_listener()).into_async_listener();
        for listener in [Nothing.into_async_listener(), closures.into_async_listener(), stateful, inside] {
            let mut driver = started(role, &timeless(), listener);
            receive(&mut driver, role, &[Frame::ping("1"), Frame::text("x"), Frame::pong("y"), Frame::ping("2")]);
            assert_eq!(written(&mut driver), wire(&[Frame::pong("1"), Frame::pong("2")], role));
        }
    }
    each(&timeless(), &nothing(), |role, mut driver, _| {
        receive(&mut driver, role, &[Frame::ping("1")]);
        assert_eq!(settle(&mut driver), b"");
    });
}

#[test]
fn w1_the_state_of_asynchronous_closures_is_shared_by_its_clones_and_dropped_with_the_listener() {
    for role in ROLES {
        let counter = Arc::new(Mutex::new(0));
        let listener = async_listener()
            .with_state(counter.clone())
            .on_message(async |counter, socket, _| {
                *counter.lock().unwrap() += 1;
                let count = *counter.lock().unwrap();
                socket.send(format!("{count}"))
            })
            .on_close(|counter, _, _, _| *counter.lock().unwrap() += 100);
        let mut driver = started(role, &timeless(), listener.into_async_listener());
        receive(&mut driver, role, &[Frame::text("a"), Frame::text("b")]);
        assert_eq!(written(&mut driver), wire(&[Frame::text("1"), Frame::text("2")], role));
        assert_eq!(Arc::strong_count(&counter), 2, "the future of a callback that is done holds none");
        receive(&mut driver, role, &[Frame::close(1000, "")]);
        assert_eq!(*counter.lock().unwrap(), 102);
        drop(driver);
        assert_eq!(Arc::strong_count(&counter), 1);
    }
}

/// What middleware does: counts messages, and lets none through that says "no".
struct Censor(BoxAsyncListener, Log);

impl AsyncListener for Censor {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        self.1.add(format!("before {}", line(&message)));
        polls(1).await;
        if message == "no" {
            return Ok(());
        }
        self.0.on_message(socket, message).await?;
        self.1.add("behind");
        Ok(())
    }
}

#[test]
fn w2_middleware_wraps_the_asynchronous_and_the_plain_listener_of_an_answer() {
    let answers: [fn(&Log) -> AsyncResponse; 3] = [
        |_| AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message))),
        |_| Response::websocket(listener().on_message(|socket, message| socket.send(message))).into(),
        |_| Response::text("no upgrade").into(),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let server = Server::new(move |_, log| async move { answer(&log).map_listener(|inner| Censor(inner, log)) });
        let mut driver = server.receive(&request(""));
        let head = settle(&mut driver);
        if index == 2 {
            assert_eq!((status(&head), server.log.take()), ("200".into(), vec!["asked".into()]));
            continue;
        }
        let frames = [Frame::text("yes"), Frame::text("no"), Frame::ping("p"), Frame::close(1000, "")];
        receive(&mut driver, Role::Server, &frames);
        let replies = [Frame::text("yes"), Frame::pong("p"), Frame::close(1000, "")];
        assert_eq!(settle(&mut driver), wire(&replies, Role::Server));
        assert_eq!(server.log.take(), ["asked", "before text yes", "behind", "before text no"]);
    }
}

#[test]
fn one_callback_runs_at_a_time_in_the_order_of_the_wire_however_long_each_is_pending() {
    let frames = [Frame::text("1"), Frame::ping("2"), Frame::binary("3"), Frame::pong("4"), Frame::text("5")];
    let frames = [&frames[..], &[Frame::close(1000, "")]].concat();
    let expected = ["open", "done open", "text 1", "done text 1", "ping 2", "done ping 2", "binary 3"];
    let expected = [&expected[..], &["done binary 3", "pong 4", "done pong 4", "text 5", "done text 5"]].concat();
    let expected = [&expected[..], &["close 1000 "]].concat();
    for count in 0..4 {
        // The driver does not know this log: it is the order of all that is done.
        let order = Log::default();
        let own = order.clone();
        let waits = act(move |_, line| {
            let log = own.clone();
            async move {
                log.add(&line);
                polls(count).await;
                log.add(format!("done {line}"));
                Ok(())
            }
        });
        for role in ROLES {
            let bytes = wire(&frames, peer_of(role));
            let whole: Vec<_> = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]).collect();
            for pieces in whole.into_iter().chain([bytes.chunks(1).collect()]) {
                for form in FORMS {
                    let log = Log::default();
                    let mut driver = started(role, &timeless(), form(&log, &waits));
                    for piece in &pieces {
                        driver.receive(START, &mut piece.to_vec());
                        driver.park(START, Waker::noop()).unwrap_or_default();
                    }
                    for _ in 0..=6 * count {
                        settle(&mut driver);
                    }
                    let mut order = order.take();
                    order.push(log.take().pop().unwrap());
                    assert_eq!(order, expected, "{count}, {pieces:?}");
                }
            }
        }
    }
}

#[test]
fn a_callback_is_polled_no_more_when_it_is_done() {
    each(
        &timeless(),
        &act(|_, _| async {
            polls(1).await;
            Ok(())
        }),
        |role, mut driver, log| {
            receive(&mut driver, role, &[Frame::text("1"), Frame::text("2")]);
            assert_eq!(log.take(), ["open"]);
            assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
            assert_eq!(log.take(), ["text 1"]);
            assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
            assert_eq!(log.take(), ["text 2"]);
            assert_eq!(driver.park(START, Waker::noop()), Err(Busy));
            for _ in 0..5 {
                assert_eq!(driver.park(START, Waker::noop()), Ok(None));
            }
            assert_eq!((driver.step(START), log.take()), (Step::Read, vec![]));
        },
    );
}

#[test]
fn a_callback_that_waits_wakes_the_waker_of_the_last_park_once() {
    let gate = Gate::default();
    let waits = gate.clone();
    let waits = act(move |_, line| {
        let gate = waits.clone();
        async move {
            if line == "text go" {
                gate.pass().await;
            }
            Ok(())
        }
    });
    let log = Log::default();
    let mut driver = started(Role::Server, &timeless(), closures(&log, &waits));
    receive(&mut driver, Role::Server, &[Frame::text("go"), Frame::text("on")]);
    let ((before, old), (wakes, waker)) = (waker(), waker());
    for waker in [&old, &waker, &waker] {
        assert_eq!(driver.park(START, waker), Ok(None));
    }
    gate.open();
    assert_eq!((before.count(), wakes.count()), (0, 1));
    assert_eq!(log.take(), ["open", "text go"]);
    assert_eq!(driver.park(START, &waker), Err(Busy));
    assert_eq!(log.take(), ["text on"]);
}

// While a callback is pending.

/// Callbacks of this line send it, and wait at the gate.
fn waits_at(gate: &Gate, at: &'static str) -> Act {
    let gate = gate.clone();
    act(move |socket, line| {
        let gate = gate.clone();
        async move {
            if line == at {
                socket.send("waits")?;
                gate.pass().await;
                socket.send("goes on")?;
            }
            Ok(())
        }
    })
}

#[test]
fn output_is_written_and_nothing_is_read_while_a_callback_is_pending() {
    for at in ["open", "text go", "ping go", "pong go"] {
        let gate = Gate::default();
        each(&timeless(), &waits_at(&gate, at), |role, mut driver, log| {
            receive(&mut driver, role, &[Frame::text("go"), Frame::ping("go"), Frame::pong("go")]);
            assert_eq!(driver.step(START), Step::Wait);
            assert_eq!(settle(&mut driver), Frame::text("waits").sent_by(role));
            // Somebody else sends.
            driver.socket().unwrap().send("else").unwrap();
            assert_eq!(settle(&mut driver), Frame::text("else").sent_by(role));
            assert_eq!((driver.step(START), log.take().pop().unwrap()), (Step::Wait, at.to_string()));
            gate.open();
            assert_eq!(settle(&mut driver), Frame::text("goes on").sent_by(role));
            assert_eq!(driver.step(START), Step::Read);
            gate.shut();
        });
    }
}

fn keepalive() -> Config {
    Config::default().keepalive_interval(secs(20)).pong_timeout(secs(10)).close_timeout(secs(5))
}

/// For each role: a driver with a callback that is pending since the start, and its gate.
fn each_held(config: &Config, test: impl Fn(Role, Driver, Log, Gate)) {
    for role in ROLES {
        let (log, gate) = (Log::default(), Gate::default());
        let (waits, dropped) = (gate.clone(), log.clone());
        let waits = act(move |_, line| {
            let (gate, log) = (waits.clone(), dropped.clone());
            async move {
                if line == "open" {
                    let guard = Guard(log);
                    gate.pass().await;
                    std::mem::forget(guard);
                }
                Ok(())
            }
        });
        let mut driver = started(role, config, closures(&log, &waits));
        settle(&mut driver);
        assert_eq!(log.take(), ["open"]);
        test(role, driver, log, gate);
    }
}

const KEEPALIVE: &str = "Keepalive Ping Timeout";

#[test]
fn a_peer_that_is_not_read_is_pinged_and_not_failed() {
    each_held(&keepalive().idle_timeout(secs(15)), |role, mut driver, log, gate| {
        for round in 1..10 {
            let now = secs(round * 20);
            assert_eq!(driver.park(at(now), Waker::noop()), Ok(Some(at(now))));
            driver.handle_timeout(at(now - ms(1)));
            assert!(driver.take_output().is_none());
            driver.handle_timeout(at(now));
            assert_eq!(written_at(&mut driver, at(now)), Frame::ping("").sent_by(role));
        }
        assert_eq!(log.take(), [""; 0]);
        // Everything starts anew: also the idle timeout.
        gate.open();
        assert_eq!(driver.park(at(secs(190)), Waker::noop()), Err(Busy));
        assert_eq!(driver.poll_timeout(), Some(at(secs(200))));
        driver.handle_timeout(at(secs(200)));
        assert_eq!(written_at(&mut driver, at(secs(200))), Frame::ping("").sent_by(role));
        assert_eq!(driver.poll_timeout(), Some(at(secs(205))));
        driver.handle_timeout(at(secs(205)));
        assert_eq!(log.take(), ["error connection idle timeout", "close 1001 Connection Idle Timeout"]);
    });
}

#[test]
fn a_peer_that_is_read_again_has_all_its_time() {
    each_held(&keepalive(), |role, mut driver, log, gate| {
        driver.handle_timeout(at(secs(20)));
        written_at(&mut driver, at(secs(20)));
        gate.open();
        assert_eq!(driver.park(at(secs(39)), Waker::noop()), Err(Busy));
        assert_eq!(driver.poll_timeout(), Some(at(secs(40))), "nothing was written since 20 s");
        driver.handle_timeout(at(secs(40)));
        assert_eq!(written_at(&mut driver, at(secs(41))), Frame::ping("").sent_by(role));
        assert_eq!(driver.poll_timeout(), Some(at(secs(51))));
        driver.handle_timeout(at(secs(51)));
        assert_eq!(log.take(), ["error keepalive ping timeout".into(), format!("close 1011 {KEEPALIVE}")]);
    });
}

#[test]
fn a_peer_that_takes_no_output_is_failed_after_the_interval_and_the_pong_timeout() {
    for pings in 0..3 {
        // The pong timeout may be longer than the interval, or shorter.
        for pong_timeout in [secs(5), secs(10), secs(30)] {
            each_held(&keepalive().pong_timeout(pong_timeout), |role, mut driver, log, _| {
                for round in 1..=pings {
                    driver.handle_timeout(at(secs(round * 20)));
                    assert_eq!(written_at(&mut driver, at(secs(round * 20))), Frame::ping("").sent_by(role));
                }
                let now = secs(pings * 20 + 15);
                driver.socket().unwrap().send("not taken").unwrap();
                let _taken = driver.take_output().unwrap();
                driver.wrote(at(now), 1);
                assert_eq!(driver.poll_timeout(), Some(at(now + secs(20))));
                driver.handle_timeout(at(now + secs(20)));
                let deadline = now + secs(20) + pong_timeout;
                assert_eq!(driver.poll_timeout(), Some(at(deadline)));
                driver.handle_timeout(at(deadline - ms(1)));
                assert_eq!(log.take(), [""; 0]);
                driver.handle_timeout(at(deadline));
                let expected = ["dropped", "error keepalive ping timeout", &format!("close 1011 {KEEPALIVE}")];
                assert_eq!(log.take(), expected, "{pings} {pong_timeout:?}");
            });
        }
    }
}

#[test]
fn a_peer_that_has_just_been_sent_something_has_time_to_take_it() {
    each_held(&keepalive().pong_timeout(secs(5)), |_, mut driver, log, _| {
        driver.handle_timeout(at(secs(20)));
        written_at(&mut driver, at(secs(20)));
        driver.socket().unwrap().send("is it taken?").unwrap();
        driver.handle_timeout(at(secs(39)));
        assert_eq!((driver.poll_timeout(), log.take()), (Some(at(secs(40))), vec![]));
    });
}

#[test]
fn a_peer_that_is_not_read_is_pinged_however_small_the_queue_is() {
    each_held(&keepalive().max_queued(0), |role, mut driver, log, _| {
        for now in [secs(20), secs(40), secs(60), secs(1000)] {
            driver.handle_timeout(at(now));
            assert_eq!(written_at(&mut driver, at(now)), Frame::ping("").sent_by(role));
        }
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn a_peer_that_takes_a_little_output_now_and_then_is_not_failed() {
    each_held(&keepalive(), |_, mut driver, log, _| {
        driver.socket().unwrap().send(vec![0; 20_000]).unwrap();
        let _taken = driver.take_output().unwrap();
        for round in 1..100 {
            let now = secs(round * 25);
            driver.handle_timeout(at(now));
            driver.wrote(at(now), 100);
        }
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn whoever_closes_and_then_waits_for_longer_than_the_close_timeout_gives_the_rest_up() {
    // Whether the peer has taken the close frame or not.
    for (written, deadline) in [(true, secs(7)), (false, secs(6))] {
        each_held(&keepalive(), |role, mut driver, log, _| {
            driver.socket().unwrap().close().unwrap();
            driver.handle_timeout(at(secs(1)));
            if written {
                assert_eq!(written_at(&mut driver, at(secs(2))), Frame::close(1000, "Normal Closure").sent_by(role));
            }
            assert_eq!(driver.poll_timeout(), Some(at(deadline)));
            driver.handle_timeout(at(deadline - ms(1)));
            assert_eq!(log.take(), [""; 0]);
            driver.handle_timeout(at(deadline));
            let log = log.take();
            assert!(log.len() == 3 && log[0] == "dropped" && log[2] == "close 1006 ", "{log:?}");
        });
    }
}

#[test]
fn the_close_timeout_starts_anew_when_the_peer_is_read_again() {
    each_held(&keepalive(), |_, mut driver, log, gate| {
        driver.socket().unwrap().close().unwrap();
        driver.handle_timeout(at(secs(1)));
        written_at(&mut driver, at(secs(2)));
        gate.open();
        assert_eq!(driver.park(at(secs(6)), Waker::noop()), Err(Busy));
        assert_eq!((driver.step(at(secs(6))), driver.poll_timeout()), (Step::Read, Some(at(secs(11)))));
        driver.handle_timeout(at(secs(11)));
        let log = log.take();
        assert!(log.len() == 2 && log[0].starts_with("error ") && log[1] == "close 1006 ", "{log:?}");
    });
}

// Sends that are awaited.

#[test]
fn a_callback_may_await_its_own_sends_also_large_ones() {
    for length in [0, 5, 20_000, 300_000] {
        let sends = act(move |socket, line| async move {
            if line == "text go" {
                for byte in 0..3 {
                    socket.send_and_wait(vec![byte; length]).await?;
                    assert_eq!(socket.buffered(), 0);
                }
                socket.writable().await?;
            }
            Ok(())
        });
        each(&timeless(), &sends, |role, mut driver, log| {
            receive(&mut driver, role, &[Frame::text("go"), Frame::text("on")]);
            assert_eq!(log.take(), ["open", "text go"]);
            let frames: Vec<_> = (0..3).map(|byte| Frame::binary(vec![byte; length])).collect();
            assert!(settle(&mut driver) == wire(&frames, role), "{length}");
            assert_eq!((log.take(), driver.step(START)), (vec!["text on".into()], Step::Read));
        });
    }
}

#[test]
fn a_callback_that_awaits_its_send_is_woken_when_the_last_byte_was_taken() {
    let sends = act(|socket, line| async move {
        if line == "text go" {
            socket.send_and_wait("12345").await?;
        }
        Ok(())
    });
    each(&timeless(), &sends, |role, mut driver, log| {
        receive(&mut driver, role, &[Frame::text("go"), Frame::text("on")]);
        let (wakes, waker) = waker();
        assert_eq!(driver.park(START, &waker), Err(Busy), "there is output");
        let output = driver.take_output().unwrap();
        driver.wrote(START, output.len() - 1);
        assert_eq!((driver.park(START, &waker), wakes.count()), (Ok(None), 0));
        driver.wrote(START, 1);
        assert_eq!((wakes.count(), log.take().len()), (1, 2));
        assert_eq!((driver.park(START, &waker), log.take()), (Err(Busy), vec!["text on".into()]));
    });
}

// Callbacks that fail.

#[test]
fn d8_a_callback_that_fails_anywhere_closes_with_1011_and_tells_only_its_listener_why() {
    let frames = [Frame::text("x"), Frame::ping("x"), Frame::pong("x"), Frame::binary("after")];
    let fail = |panics: bool| -> Outcome {
        assert!(!panics, "the secret");
        Err("the secret".into())
    };
    // While the future is made, at its first poll, and at a later one.
    for when in 0..3 {
        for (at, line) in ["open", "text x", "ping x", "pong x"].into_iter().enumerate() {
            for panics in [false, true] {
                if when == 0 && !panics {
                    continue;
                }
                let fails: Act = Arc::new(move |_, now: String| {
                    let fails = now == line;
                    if fails && when == 0 {
                        let _ = fail(panics);
                    }
                    Box::pin(async move {
                        if when == 2 {
                            polls(2).await;
                        }
                        if fails { fail(panics) } else { Ok(()) }
                    })
                });
                each(&timeless(), &fails, |role, mut driver, log| {
                    receive(&mut driver, role, &frames);
                    let sent: Vec<_> = (0..20).flat_map(|_| settle(&mut driver)).collect();
                    let mut expected: Vec<_> = ["open", "text x", "ping x", "pong x"][..=at].to_vec();
                    let how = if panics { "panicked" } else { "failed" };
                    let error = format!("error a callback {how}: the secret");
                    expected.extend([&*error, "close 1011 Unexpected Error"]);
                    assert_eq!(log.take(), expected, "{when}");
                    assert_eq!(sent, Frame::close(1011, "Unexpected Error").sent_by(role));
                });
            }
        }
    }
}

#[test]
fn d10_a_send_that_comes_too_late_is_no_failure_of_the_callback() {
    for count in 0..3 {
        let late = act(move |socket, line| async move {
            if line == "text exit" {
                polls(count).await;
                socket.close()?;
                assert_eq!(socket.send_and_wait("x").await, Err(SendError::Closed));
                assert_eq!(socket.writable().await, Err(SendError::Closed));
                socket.send_and_wait("a second time, with a question mark").await?;
            }
            Ok(())
        });
        each(&timeless(), &late, |role, mut driver, log| {
            receive(&mut driver, role, &[Frame::text("exit"), Frame::close(1000, "")]);
            let sent: Vec<_> = (0..4).flat_map(|_| settle(&mut driver)).collect();
            assert_eq!(log.take(), ["open", "text exit", "close 1000 "]);
            assert_eq!(sent, Frame::close(1000, "Normal Closure").sent_by(role));
        });
    }
}

#[test]
fn d8_another_error_of_an_awaited_send_is_a_failure_of_the_callback() {
    let fails = act(|socket, line| async move {
        if line == "open" {
            socket.send("x")?;
            socket.send_and_wait("y".repeat(200)).await?;
        }
        Ok(())
    });
    each(&timeless().max_queued(100), &fails, |_, mut driver, log| {
        settle(&mut driver);
        let log = log.take();
        assert!(log[1].starts_with("error a callback failed: ") && log[2] == "close 1011 Unexpected Error", "{log:?}");
    });
}

#[test]
fn on_close_comes_though_on_error_panics_and_a_panic_in_it_is_reported() {
    struct Panics(Log);
    impl AsyncListener for Panics {
        fn on_error(&mut self, _: &WebSocket, _: &Error) {
            self.0.add("error");
            panic!("in on_error");
        }

        fn on_close(&mut self, _: &WebSocket, _: CloseCode, _: &str) {
            self.0.add("close");
            panic!("in on_close");
        }
    }
    let server = Server::new(|_, log| async move { AsyncResponse::websocket(Panics(log)) });
    let bytes = [request(""), Frame::new(3, "").sent_by(Role::Client)].concat();
    let mut driver = server.receive(&bytes);
    settle(&mut driver);
    assert_eq!(driver.step(START), Step::Shutdown);
    drop(driver);
    assert_eq!(server.log.take(), ["asked", "error", "close"]);
    let reports = server.reports.take();
    assert_eq!(reports.len(), 2);
    assert!(reports[0].ends_with("in on_error") && reports[1].ends_with("in on_close"), "{reports:?}");
}

// A connection that ends while a callback is pending.

/// What ends it, and the line of its error.
type End = (fn(&mut Option<Driver>), Option<&'static str>);
const ENDS: [End; 4] = [
    (
        |driver| {
            driver.as_ref().unwrap().socket().unwrap().abort();
            settle(driver.as_mut().unwrap());
        },
        None,
    ),
    (|driver| driver.as_mut().unwrap().transport_failed(START, "reset"), Some("error the transport failed: reset")),
    (
        |driver| driver.as_mut().unwrap().receive_eof(START),
        Some("error the peer ended the transport without a close frame"),
    ),
    (|driver| drop(driver.take()), Some("error the connection's driver was dropped")),
];

#[test]
fn a_callback_is_dropped_where_it_waits_when_its_connection_ends_and_then_on_close_comes_once() {
    for (end, error) in ENDS {
        for at in ["open", "text go"] {
            let waits = |log: &Log| {
                let log = log.clone();
                act(move |socket, line| {
                    let log = log.clone();
                    async move {
                        if line == at {
                            let _guard = Guard(log);
                            socket.send_and_wait("not written").await?;
                            unreachable!("it is never written");
                        }
                        Ok(())
                    }
                })
            };
            each_new(&timeless(), waits, |role, mut driver, log| {
                let socket = driver.socket().unwrap().clone();
                receive(&mut driver, role, &[Frame::text("go"), Frame::text("dropped, too")]);
                let _taken = driver.take_output().unwrap();
                assert!(driver.park(START, Waker::noop()).is_ok());
                assert_eq!(log.take().pop().unwrap(), at);
                let mut driver = Some(driver);
                end(&mut driver);
                let expected: Vec<_> = ["dropped"].into_iter().chain(error).chain(["close 1006 "]).collect();
                assert_eq!(log.take(), expected);
                assert!(!socket.is_open() && socket.closed().is_some());
                drop(driver);
                assert_eq!(log.take(), [""; 0]);
            });
        }
    }
}

#[test]
fn what_a_listener_knows_survives_a_callback_that_is_dropped() {
    struct Counts(Log, usize);
    impl AsyncListener for Counts {
        async fn on_message(&mut self, _: &WebSocket, message: OwnedMessage) -> Outcome {
            self.1 += 1;
            if message == "wait" {
                std::future::pending::<()>().await;
            }
            Ok(())
        }

        fn on_error(&mut self, _: &WebSocket, _: &Error) {
            self.1 += 10;
        }

        fn on_close(&mut self, _: &WebSocket, _: CloseCode, _: &str) {
            self.0.add(self.1.to_string());
        }
    }
    for (end, error) in ENDS {
        for role in ROLES {
            let log = Log::default();
            let mut driver = Some(started(role, &timeless(), Counts(log.clone(), 0).into_async_listener()));
            let frames = [Frame::text("1"), Frame::text("2"), Frame::text("wait"), Frame::text("4")];
            receive(driver.as_mut().unwrap(), role, &frames);
            end(&mut driver);
            assert_eq!(log.take(), [if error.is_some() { "13" } else { "3" }]);
        }
    }
}

#[test]
fn a_listener_survives_a_callback_that_panics() {
    struct Panics(Log);
    impl AsyncListener for Panics {
        async fn on_message(&mut self, _: &WebSocket, _: OwnedMessage) -> Outcome {
            polls(1).await;
            panic!("on purpose")
        }

        fn on_close(&mut self, _: &WebSocket, code: CloseCode, _: &str) {
            self.0.add(format!("close {code}"));
        }
    }
    let log = Log::default();
    let mut driver = started(Role::Server, &timeless(), Panics(log.clone()).into_async_listener());
    receive(&mut driver, Role::Server, &[Frame::text("x")]);
    settle(&mut driver);
    assert_eq!(log.take(), ["close 1011"]);
}

#[test]
fn a_callback_that_panics_when_it_is_dropped_harms_nobody() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let waits = act(|_, line| async move {
        if line == "text go" {
            let _panics = Panics;
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    for (end, error) in ENDS {
        each(&timeless(), &waits, |role, mut driver, log| {
            receive(&mut driver, role, &[Frame::text("go")]);
            end(&mut Some(driver));
            let expected: Vec<_> = ["open", "text go"].into_iter().chain(error).chain(["close 1006 "]).collect();
            assert_eq!(log.take(), expected);
        });
    }
}

#[test]
fn a_server_that_drops_its_connections_ends_those_with_pending_callbacks() {
    let server = Server::new(|_, log| async move {
        let own = log.clone();
        let waits = act(move |_, line| {
            let guard = (line == "open").then(|| Guard(own.clone()));
            async move {
                if let Some(_guard) = guard {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        });
        AsyncResponse::websocket(Logger { log, act: waits })
    });
    let mut driver = server.receive(&request(""));
    let (wakes, waker) = waker();
    settle_at(&mut driver, START, &waker);
    assert_eq!(server.log.take(), ["asked", "open"]);
    server.service.registry().close_all();
    assert_eq!(wakes.count(), 1);
    assert_eq!(settle_at(&mut driver, START, &waker), Frame::close(1001, "Server Shutdown").sent_by(Role::Server));
    assert_eq!(server.log.take(), [""; 0]);
    server.service.registry().abort_all();
    assert_eq!(wakes.count(), 2);
    settle_at(&mut driver, START, &waker);
    assert_eq!(server.log.take(), ["dropped", "close 1006 "]);
    assert_eq!(driver.step(START), Step::Done);
}

// What a callback costs.

/// How often two echoes in one read allocate.
fn allocations(listener: AnyListener) -> u64 {
    let mut driver = started(Role::Server, &timeless(), listener);
    let frames = [Frame::text("hello"), Frame::text("world")];
    let sent = wire(&frames, Role::Server);
    let mut echo = || {
        let received = measure(|| receive(&mut driver, Role::Server, &frames)).count_total;
        assert_eq!(settle(&mut driver), sent);
        received
    };
    echo();
    let count = echo();
    assert_eq!(echo(), count);
    count
}

#[test]
fn a_callback_that_is_done_at_once_allocates_nothing_beside_its_message() {
    let plain = listener().on_message(|socket, message| socket.send(message)).into_any_listener();
    let asynchronous = async_listener().on_message(async |socket, message| socket.send(message)).into_any_listener();
    assert_eq!(allocations(asynchronous), allocations(plain) + 2);
}

#[test]
fn what_a_callback_holds_that_panics_is_dropped_then() {
    for polls in 0..3 {
        let log = Log::default();
        let logged = log.clone();
        let listener = async_listener().with_state(logged).on_message(move |log: Log, _, _| {
            let guard = Guard(log);
            let mut left = polls;
            // Not an `async` block: those drop what they hold when they panic.
            poll_fn(move |cx| -> Poll<()> {
                let _ = &guard;
                assert!(left > 0, "as this test wants it");
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        });
        let mut driver = started(Role::Server, &timeless(), listener.into_any_listener());
        driver.receive(START, &mut wire(&[Frame::text("1")], Role::Client));
        for _ in 0..4 {
            settle(&mut driver);
        }
        drop(driver);
        assert_eq!(log.take(), ["dropped"], "it panics at poll {polls}");
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("of the first connection");
        }
    }
}

#[test]
fn what_a_callback_held_that_panicked_is_not_dropped_in_another_connection() {
    type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;
    fn listening(panics: bool) -> AnyListener {
        async_listener()
            .on_message(move |_, _| -> Boxed {
                let bomb = panics.then(|| Bomb);
                let mut polled = false;
                Box::pin(poll_fn(move |_| {
                    let _ = &bomb;
                    assert!(!(polled && panics), "on purpose");
                    if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
                }))
            })
            .into_any_listener()
    }
    let first = std::panic::catch_unwind(|| {
        let mut driver = started(Role::Server, &timeless(), listening(true));
        driver.receive(START, &mut wire(&[Frame::text("1")], Role::Client));
        settle(&mut driver);
    });
    assert!(first.is_ok(), "a callback's panic is its own affair");
    let mut driver = started(Role::Server, &timeless(), listening(false));
    driver.receive(START, &mut wire(&[Frame::text("1")], Role::Client));
    settle(&mut driver);
    assert!(driver.socket().unwrap().is_open(), "{:?}", driver.socket().unwrap().closed());
}

/// Panics when it is dropped, also while its thread panics: by itself that would abort the process.
struct SecondBomb(Log);

impl Drop for SecondBomb {
    fn drop(&mut self) {
        self.0.add("dropped");
        panic!("a second time");
    }
}

#[test]
fn what_a_callback_holds_may_panic_once_more_when_its_poll_has_panicked() {
    for polls in 0..3 {
        let log = Log::default();
        let listener = async_listener().with_state(log.clone()).on_message(move |log: Log, _, _| {
            let (bomb, mut left) = (SecondBomb(log), polls);
            // Not an `async` block: those drop what they hold while they panic.
            poll_fn(move |cx| -> Poll<()> {
                let _ = &bomb;
                assert!(left > 0, "as this test wants it");
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        });
        let mut driver = started(Role::Server, &timeless(), listener.into_any_listener());
        driver.receive(START, &mut wire(&[Frame::text("1")], Role::Client));
        for _ in 0..4 {
            settle(&mut driver);
        }
        assert_eq!(log.take(), ["dropped"], "it panics at poll {polls}");
        assert_eq!(driver.socket().unwrap().closed().map(|closed| closed.code.0), Some(1011));
    }
}

#[test]
fn a_callback_that_is_called_by_hand_does_nothing_before_it_is_polled() {
    let log = Log::default();
    let logged = log.clone();
    let mut listener =
        async_listener().with_state(logged).on_message(async |log: Log, _, _| log.add("ran")).into_async_listener();
    let (driver, _) = logged_driver();
    let socket = driver.socket().unwrap().clone();
    drop(listener.on_message(&socket, "1".into()));
    assert_eq!(log.take(), [""; 0]);
}

/// Middleware that survives the panics of what it wraps.
struct Catches(BoxAsyncListener, Log);

impl AsyncListener for Catches {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        let mut inner = std::pin::pin!(self.0.on_message(socket, message));
        let outcome = poll_fn(|cx| {
            let poll = std::panic::AssertUnwindSafe(|| inner.as_mut().poll(cx));
            match std::panic::catch_unwind(poll) {
                Ok(poll) => poll.map(Ok),
                Err(_) => Poll::Ready(Err(())),
            }
        });
        let outcome = outcome.await;
        outcome.unwrap_or_else(|()| {
            self.1.add("caught");
            Ok(())
        })
    }
}

#[test]
fn middleware_around_a_callbacks_future_is_around_its_first_poll() {
    let log = Log::default();
    let inner = async_listener().on_message(async |_, _| panic!("on purpose")).into_async_listener();
    let mut driver = started(Role::Server, &timeless(), Catches(inner, log.clone()).into_async_listener());
    driver.receive(START, &mut wire(&[Frame::text("1")], Role::Client));
    settle(&mut driver);
    assert_eq!((log.take(), driver.socket().unwrap().is_open()), (vec!["caught".into()], true));
}

fn logged_driver() -> (Driver, Log) {
    logged(Role::Server)
}
