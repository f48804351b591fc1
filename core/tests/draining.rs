//! A server that is drained for a restart (E9): who is told when, in virtual time.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::{Driver, Registration, Registry, Service, Stage, Timer};
use bellwire_core::proto::Time;
use bellwire_core::{Config, Response, Role};

use common::*;
use logging::*;

/// A clock that a test turns on.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Duration>>);

impl Clock {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }

    fn alarm(&self) -> Alarm {
        Alarm { clock: self.clone(), deadline: Time::MAX }
    }
}

struct Alarm {
    clock: Clock,
    deadline: Time,
}

impl Timer for Alarm {
    fn now(&self) -> Time {
        at(*self.clock.0.lock().unwrap())
    }

    fn set(&mut self, deadline: Time) {
        self.deadline = deadline;
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.now() >= self.deadline { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A connection of the server, and what its peer has heard.
struct Connected {
    driver: Driver,
    log: Log,
    _registration: Registration,
}

const RESTART: &str = "Service Restart";

impl Connected {
    fn new(server: &Server) -> Self {
        let log = Log::default();
        let connection = open(Role::Server, &timeless());
        let registration = Registration::new(server.registry.clone());
        let mut driver = Driver::accepted(server.service.clone(), connection, logging(&log, |_, _| Ok(())));
        driver.start(START);
        Self { driver, log, _registration: registration }
    }

    fn is_open(&self) -> bool {
        self.driver.socket().unwrap().is_open()
    }

    /// Answers the close that it was sent.
    fn answer(mut self, code: u16, reason: &str) {
        assert_eq!(written(&mut self.driver), Frame::close(code, reason).sent_by(Role::Server));
        receive(&mut self.driver, Role::Server, &[Frame::close(code, "")]);
        assert_eq!(self.log.take(), ["open".to_string(), format!("close {code} ")]);
    }
}

struct Server {
    registry: Arc<Registry>,
    service: Arc<Service>,
    clock: Clock,
}

impl Server {
    fn new() -> Self {
        let registry = Arc::<Registry>::default();
        let service = Service::new(Config::default(), |_: &_| Response::not_found(), |_| ());
        let service = Arc::new(service.with_registry(registry.clone()));
        Self { registry, service, clock: Clock::default() }
    }

    fn clients(&self, count: usize) -> Vec<Connected> {
        (0..count).map(|_| Connected::new(self)).collect()
    }
}

/// Polls as often as the future asks for.
fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    let (wakes, waker) = waker();
    for count in 0..100 {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || wakes.count() == count {
            return polled;
        }
    }
    panic!("it never sleeps");
}

fn are_open(clients: &[Connected]) -> Vec<usize> {
    (0..clients.len()).filter(|number| clients[*number].is_open()).collect()
}

#[test]
fn e9_connections_are_told_one_after_the_other_in_random_order_and_waited_for() {
    let server = Server::new();
    let mut clients = server.clients(60);
    let mut drain = pin!(server.registry.drain(secs(60), secs(10), server.clock.alarm()));
    assert_eq!(server.registry.stage(), Stage::Closing, "it has begun");
    let mut order = Vec::new();
    for second in 0..60 {
        assert!(poll(&mut drain).is_pending());
        let before: Vec<_> = (0..60).filter(|number| !order.contains(number)).collect();
        let open = are_open(&clients);
        assert_eq!(open.len(), 59 - second);
        order.extend(before.into_iter().filter(|number| !open.contains(number)));
        server.clock.pass(ms(999));
        assert!(poll(&mut drain).is_pending());
        assert_eq!(are_open(&clients).len(), 59 - second, "not too early");
        server.clock.pass(ms(1));
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, Vec::from_iter(0..60));
    assert_ne!(order, sorted, "that order is one of 60!");
    // Two do not answer. The time that they have begins now.
    let silent = [clients.pop().unwrap(), clients.pop().unwrap()];
    clients.into_iter().for_each(|client| client.answer(1012, RESTART));
    assert!(poll(&mut drain).is_pending());
    // A deadline is put off once, until what has arrived is read.
    for _ in 0..3 {
        server.clock.pass(secs(10));
        let _ = poll(&mut drain);
    }
    assert!(server.registry.stage() >= Stage::Dropping);
    drop(silent);
    server.clock.pass(secs(2));
    assert_eq!(poll(&mut drain), Poll::Ready(2));
}

#[test]
fn e9_who_is_just_opening_is_told_by_itself_and_who_has_left_is_not() {
    let server = Server::new();
    let mut clients = server.clients(3);
    let mut drain = pin!(server.registry.drain(secs(30), secs(1), server.clock.alarm()));
    assert!(poll(&mut drain).is_pending());
    let late = Connected::new(&server);
    assert!(!late.is_open());
    late.answer(1012, RESTART);
    // One that has not been told leaves, another one comes into its place in the registry.
    let told = (0..3).find(|number| !clients[*number].is_open()).unwrap();
    clients.remove(told).answer(1012, RESTART);
    drop(clients.remove(0));
    let late = Connected::new(&server);
    for _ in 0..3 {
        server.clock.pass(secs(10));
        let _ = poll(&mut drain);
    }
    late.answer(1012, RESTART);
    clients.remove(0).answer(1012, RESTART);
    assert_eq!(poll(&mut drain), Poll::Ready(0));
}

#[test]
fn e9_a_drain_ends_when_all_have_left() {
    let server = Server::new();
    let clients = server.clients(5);
    let mut drain = pin!(server.registry.drain(Duration::MAX, secs(1), server.clock.alarm()));
    assert!(poll(&mut drain).is_pending());
    assert_eq!(are_open(&clients).len(), 4);
    drop(clients);
    assert_eq!(poll(&mut drain), Poll::Ready(0));
    let nobody = Server::new();
    assert_eq!(poll(&mut pin!(nobody.registry.drain(secs(60), secs(1), nobody.clock.alarm()))), Poll::Ready(0));
}

#[test]
fn e9_a_shutdown_meanwhile_closes_the_rest_at_once() {
    let server = Server::new();
    let clients = server.clients(4);
    let mut drain = pin!(server.registry.drain(secs(3_600), secs(1), server.clock.alarm()));
    assert!(poll(&mut drain).is_pending());
    let told = are_open(&clients);
    let mut shutdown = pin!(server.registry.shutdown(secs(10), server.clock.alarm()));
    assert!(poll(&mut shutdown).is_pending());
    for (number, client) in clients.into_iter().enumerate() {
        if told.contains(&number) {
            client.answer(1001, "Server Shutdown");
        } else {
            client.answer(1012, RESTART);
        }
    }
    assert_eq!((poll(&mut shutdown), poll(&mut drain)), (Poll::Ready(0), Poll::Ready(0)));
}

#[test]
fn e9_a_drain_that_is_dropped_leaves_the_others_to_the_next() {
    let server = Server::new();
    let clients = server.clients(10);
    let mut drain = Box::pin(server.registry.drain(secs(10), secs(1), server.clock.alarm()));
    for _ in 0..3 {
        assert!(drain.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(poll(&mut drain.as_mut()).is_pending());
        server.clock.pass(secs(1));
    }
    drop(drain);
    assert_eq!(are_open(&clients).len(), 7);
    let mut again = pin!(server.registry.drain(Duration::ZERO, secs(1), server.clock.alarm()));
    assert!(poll(&mut again).is_pending());
    assert_eq!(are_open(&clients), [0; 0], "no time is at once");
    clients.into_iter().for_each(|client| client.answer(1012, RESTART));
    assert_eq!(poll(&mut again), Poll::Ready(0));
}
