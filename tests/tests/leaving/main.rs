//! Clients that leave while their handler thinks, and handlers that think for too long. What is left of them in the
//! process is counted, so this is a program of its own, and its tests run one after the other.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

use std::fs::read_dir;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_io::Async;
use bellwire::backend::Service;
use bellwire::futures_io::{Acceptor, Executor, FuturesIo, Server};
use bellwire::{AsyncResponse, Config, Request, Responder, Response, ServerError};
use bellwire_tests::{
    Backend, Blocking, Flavor, Frame, Http, OnFuturesIo, OnTokio, PATIENCE, Raw, Reported, Setup, Tasks, backends,
    echo, http, next, quiet, request, tasks, upgrade_request, within,
};

backends! {
    server {
        l5_clients_that_leave_while_the_handler_thinks_are_noticed,
        l5_clients_that_leave_an_acceptor_are_noticed_by_both_kinds_of_handlers,
        l5_clients_that_leave_make_room_for_others,
        l5_a_client_that_half_closes_gets_an_answer_that_is_there_at_once,
        l6_a_handler_that_thinks_for_too_long_is_503_and_a_report,
    }
}

mod futures {
    use super::*;

    tasks! {
        server {
            l5_the_future_of_a_handler_is_dropped_when_its_client_leaves,
            l6_the_future_of_a_handler_is_dropped_when_its_time_is_up,
        }
    }
}

const LEAVERS: usize = 50;

/// What of this must not grow with each who leaves.
const SLACK: usize = 10;

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many descriptors and threads this process has.
fn held() -> [usize; 2] {
    ["/proc/self/fd", "/proc/self/task"].map(|path| read_dir(path).unwrap().count())
}

/// Waits until nothing is left of those who have left.
#[track_caller]
fn comes_back_to(before: [usize; 2]) {
    within("the end of those who left", move || {
        while held().iter().zip(before).any(|(now, before)| *now > before + SLACK) {
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Waits until nobody waits for this answer.
#[track_caller]
fn is_given_up(responder: Responder) -> Responder {
    within("the end of the waiting", move || {
        while responder.is_waiting() {
            thread::sleep(Duration::from_millis(1));
        }
        responder
    })
}

/// No deadline but that of the test.
fn patient() -> Config {
    quiet().handler_timeout(None).open_timeout(Duration::from_secs(1))
}

/// A client that has asked for a WebSocket, and has sent something besides.
fn ask(addr: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&[upgrade_request("/", &[]), Frame::text("glued").encode(true)].concat()).unwrap();
    client
}

fn page() -> Vec<u8> {
    request("GET /health HTTP/1.1", &["Host: localhost"])
}

/// A handler that answers the page, and leaves the others to the test.
fn leaving() -> (impl Fn(Request, Responder) + Send + Sync + 'static, Receiver<Responder>) {
    let (sender, responders) = mpsc::channel();
    let handler = move |request: Request, responder: Responder| match request.path() {
        "/health" => responder.respond(Response::text("well")),
        // A test that is over does not answer.
        _ => sender.send(responder).unwrap_or_default(),
    };
    (handler, responders)
}

fn l5_clients_that_leave_while_the_handler_thinks_are_noticed<B: Backend>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, responders) = leaving();
    let server = backend.serve_with(Setup::new(patient()), handler);
    drop(ask(server.addr));
    drop(is_given_up(next(&responders)));
    let before = held();
    let clients: Vec<_> = (0..LEAVERS).map(|_| ask(server.addr)).collect();
    let waiting: Vec<_> = clients.iter().map(|_| next(&responders)).collect();
    assert!(held()[0] >= before[0] + LEAVERS, "they are here");
    drop(clients);
    for responder in waiting {
        // Late is as good as never.
        is_given_up(responder).respond(Response::websocket(echo().on_open(|_| panic!("nobody is there"))));
    }
    comes_back_to(before);
    assert_eq!(server.reports.try_iter().count(), 0, "a client may leave");
    assert_eq!(server.shutdown(PATIENCE), 0);
}

fn l5_clients_that_leave_make_room_for_others<B: Backend>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, responders) = leaving();
    let setup = Setup { max_connections: Some(10), ..Setup::new(patient()) };
    let server = backend.serve_with(setup, handler);
    let clients: Vec<_> = (0..10).map(|_| ask(server.addr)).collect();
    let waiting: Vec<_> = clients.iter().map(|_| next(&responders)).collect();
    drop(clients);
    let answer = http(server.addr, &page());
    assert_eq!((answer.status, &*answer.body), (200, "well"));
    drop(waiting);
}

fn l5_a_client_that_half_closes_gets_an_answer_that_is_there_at_once<B: Backend>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, _responders) = leaving();
    let server = backend.serve_with(Setup::new(patient()), handler);
    for _ in 0..20 {
        let mut client = TcpStream::connect(server.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&page()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(Http::read(client).status, 200);
    }
}

fn l6_a_handler_that_thinks_for_too_long_is_503_and_a_report<B: Backend>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, responders) = leaving();
    let server = backend.serve_with(Setup::new(quiet().handler_timeout(Duration::from_millis(200))), handler);
    for bytes in [upgrade_request("/", &[]), request("GET / HTTP/1.1", &["Host: localhost"])] {
        let mut client = TcpStream::connect(server.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // More than is read ahead of an answer.
        client.write_all(&[bytes, vec![b'x'; 100_000]].concat()).unwrap();
        let responder = next(&responders);
        assert_eq!(Http::read(client).status, 503);
        assert!(!responder.is_waiting());
        responder.respond(Response::text("too late"));
        let report = next(&server.reports);
        assert!(report.text.contains("has not answered within 200ms"), "{}", report.text);
    }
    // Who is in time has all the time that it wants afterwards.
    let client = ask(server.addr);
    next(&responders).respond(Response::websocket(echo()));
    let mut client = Raw::open_over(client, b"");
    client.expect([Frame::text("glued")]);
    thread::sleep(Duration::from_millis(400));
    client.send([Frame::text("later")]);
    client.expect([Frame::text("later")]);
}

/// What the harness of the suite does not need: any service for a stream.
trait Accepts: Backend {
    /// Drives a stream to its end.
    fn accept(&self, service: Arc<Service>, stream: TcpStream);
}

impl Accepts for Blocking {
    fn accept(&self, service: Arc<Service>, stream: TcpStream) {
        thread::spawn(move || bellwire::blocking::Acceptor::from_service(service).accept(stream, None));
    }
}

impl<F: Flavor> Accepts for OnTokio<F> {
    fn accept(&self, service: Arc<Service>, stream: TcpStream) {
        stream.set_nonblocking(true).unwrap();
        self.handle().spawn(async move {
            let stream = ::tokio::net::TcpStream::from_std(stream).unwrap();
            bellwire::tokio::Acceptor::from_service(service).accept(stream, None).await;
        });
    }
}

impl<E: Executor + Default> Accepts for OnFuturesIo<E>
where
    Self: Backend,
{
    fn accept(&self, service: Arc<Service>, stream: TcpStream) {
        let (acceptor, stream) = (Acceptor::<FuturesIo<E>>::from_service(service), Async::new(stream).unwrap());
        E::default().spawn(acceptor.accept(stream, None));
    }
}

/// Says when it is dropped.
struct Alive(Sender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        // Nobody may care.
        let _ = self.0.send(());
    }
}

/// A handler that thinks for ever, how often it was asked, and how often its future was dropped.
fn thinking() -> (impl Fn(Request) -> Thinking + Send + Sync + 'static, Receiver<()>, Receiver<()>) {
    let (asked, asks) = mpsc::channel();
    let (dropped, drops) = mpsc::channel();
    let handler = move |_: Request| {
        // A test that is over does not answer.
        let _ = asked.send(());
        let alive = Alive(dropped.clone());
        let thinking: Thinking = Box::pin(async move {
            let _alive = alive;
            std::future::pending().await
        });
        thinking
    };
    (handler, asks, drops)
}

type Thinking = std::pin::Pin<Box<dyn Future<Output = AsyncResponse> + Send>>;

fn l5_clients_that_leave_an_acceptor_are_noticed_by_both_kinds_of_handlers<B: Accepts>() {
    let _alone = alone();
    let backend = B::start();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listening.local_addr().unwrap();
    let leave = |service: &Arc<Service>| {
        let client = ask(addr);
        backend.accept(service.clone(), listening.accept().unwrap().0);
        client
    };

    let (handler, responders) = leaving();
    let service = Arc::new(Service::with_responder(patient(), handler, |_: &ServerError| ()));
    drop(leave(&service));
    drop(is_given_up(next(&responders)));
    let before = held();
    let clients: Vec<_> = (0..LEAVERS).map(|_| leave(&service)).collect();
    let waiting: Vec<_> = clients.iter().map(|_| next(&responders)).collect();
    drop(clients);
    waiting.into_iter().for_each(|responder| drop(is_given_up(responder)));
    comes_back_to(before);

    let (handler, asks, drops) = thinking();
    let service = Arc::new(Service::asynchronous(patient(), handler, |_: &ServerError| ()));
    let clients: Vec<_> = (0..LEAVERS).map(|_| leave(&service)).collect();
    clients.iter().for_each(|_| next(&asks));
    assert_eq!(drops.try_iter().count(), 0);
    drop(clients);
    (0..LEAVERS).for_each(|_| next(&drops));
    comes_back_to(before);
}

/// Servers with asynchronous handlers.
trait ServesAsync: Tasks {
    /// Serves on a loopback port.
    fn serve_async<F: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> (SocketAddr, Receiver<Reported>);
}

fn reporting() -> (impl Fn(&ServerError) + Send + Sync + 'static, Receiver<Reported>) {
    let (reporter, reports) = mpsc::channel();
    (move |error: &ServerError| drop(reporter.send(Reported::from(error))), reports)
}

impl<F: Flavor> ServesAsync for OnTokio<F> {
    fn serve_async<H: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> H + Send + Sync + 'static,
    ) -> (SocketAddr, Receiver<Reported>) {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        listening.set_nonblocking(true).unwrap();
        let (addr, (hook, reports)) = (listening.local_addr().unwrap(), reporting());
        self.handle().spawn(async move {
            let listening = ::tokio::net::TcpListener::from_std(listening).unwrap();
            let server = bellwire::tokio::Server::from_listener(listening).config(config).on_error(hook);
            server.run_async(handler).await.unwrap();
        });
        (addr, reports)
    }
}

impl<E: Executor + Default> ServesAsync for OnFuturesIo<E>
where
    Self: Tasks,
{
    fn serve_async<H: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> H + Send + Sync + 'static,
    ) -> (SocketAddr, Receiver<Reported>) {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, (hook, reports)) = (listening.local_addr().unwrap(), reporting());
        let runtime = FuturesIo(E::default());
        let server = Server::from_listener_on(runtime, Async::new(listening).unwrap()).config(config).on_error(hook);
        E::default().spawn(async move { server.run_async(handler).await.unwrap() });
        (addr, reports)
    }
}

fn l5_the_future_of_a_handler_is_dropped_when_its_client_leaves<B: ServesAsync>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, asks, drops) = thinking();
    let (addr, reports) = backend.serve_async(patient(), handler);
    drop(ask(addr));
    next(&drops);
    next(&asks);
    let before = held();
    let clients: Vec<_> = (0..LEAVERS).map(|_| ask(addr)).collect();
    clients.iter().for_each(|_| next(&asks));
    assert_eq!(drops.try_iter().count(), 0);
    drop(clients);
    (0..LEAVERS).for_each(|_| next(&drops));
    comes_back_to(before);
    assert_eq!(reports.try_iter().count(), 0, "a client may leave");
}

fn l6_the_future_of_a_handler_is_dropped_when_its_time_is_up<B: ServesAsync>() {
    let _alone = alone();
    let backend = B::start();
    let (handler, _asks, drops) = thinking();
    let (addr, reports) = backend.serve_async(quiet().handler_timeout(Duration::from_millis(100)), handler);
    let client = ask(addr);
    assert_eq!(Http::read(client).status, 503);
    next(&drops);
    assert!(next(&reports).text.contains("has not answered within 100ms"));
}
