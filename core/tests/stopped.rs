//! A process that was stopped, suspended or starved finds its timers fired before its runtime has looked what has arrived
//! meanwhile. No deadline that waits for the peer may be judged before that was read. Time and the transport are virtual.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bellwire_core::backend::{Driver, Opening, Registry, Service, Task, Timer, Transport};
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::Time;
use bellwire_core::{Config, ConnectError, Response, Role, ServerError, Target, async_listener, listener};

use common::*;
use logging::*;

/// A runtime and its system.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Time,
    /// What has arrived, and nobody knows yet.
    arrived: Vec<u8>,
    /// What the runtime has been told of.
    readable: Vec<u8>,
    written: Vec<u8>,
    /// The system takes no bytes.
    is_full: bool,
    /// The process is stopped while it reads, until then; meanwhile this arrives.
    stops: Option<(Time, Vec<u8>)>,
    /// The same, in the read that comes after the next write.
    stop_after_write: Option<(Time, Vec<u8>)>,
}

/// The timer of a task.
struct Clock(World, Time);

impl World {
    fn timer(&self) -> Clock {
        Clock(self.clone(), START)
    }

    /// The process does not run until then; meanwhile this arrives.
    fn stop(&self, until: Time, arrives: &[u8]) {
        let mut state = self.0.lock().unwrap();
        state.now = until;
        state.arrived.extend(arrives);
    }

    /// The runtime asks the system what there is, a moment later.
    fn turn(&self, later: Time) {
        let mut state = self.0.lock().unwrap();
        state.now += later.since_start();
        let arrived = std::mem::take(&mut state.arrived);
        state.readable.extend(arrived);
    }

    fn written(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().written)
    }
}

impl Timer for Clock {
    fn now(&self) -> Time {
        self.0.0.lock().unwrap().now
    }

    fn set(&mut self, deadline: Time) {
        self.1 = deadline;
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.now() >= self.1 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Transport for World {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        if state.readable.is_empty() {
            if let Some((until, arrives)) = state.stops.take() {
                state.now = until;
                state.arrived.extend(arrives);
            }
            return Poll::Pending;
        }
        let count = state.readable.len().min(buffer.len());
        buffer[..count].copy_from_slice(&state.readable[..count]);
        state.readable.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.0.lock().unwrap();
        if state.is_full {
            return Poll::Pending;
        }
        state.written.extend(&bytes);
        state.stops = state.stop_after_write.take();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll(task: &mut Task<World, Clock>) -> Poll<()> {
    Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
}

fn task(world: &World, driver: Driver) -> Task<World, Clock> {
    Task::new(world.clone(), driver, world.timer(), &Arc::new(Registry::default()))
}

/// A connection that waits for its peer, what the peer says in time, and how the connection ends if it says nothing.
struct Case {
    config: Config,
    closes: bool,
    answer: Frame,
    silence: &'static str,
}

fn cases() -> [Case; 3] {
    let quiet = Config::default().keepalive_interval(None);
    let pinging = quiet.clone().keepalive_interval(ms(500)).pong_timeout(ms(500));
    [
        Case { config: pinging, closes: false, answer: Frame::pong(""), silence: "close 1011" },
        Case {
            config: quiet.clone().idle_timeout(ms(600)),
            closes: false,
            answer: Frame::text("x"),
            silence: "close 1001",
        },
        Case {
            config: quiet.close_timeout(ms(600)),
            closes: true,
            answer: Frame::close(1000, "bye"),
            silence: "close 1006",
        },
    ]
}

/// The task of a connection that waits for its peer, at 550 ms.
fn waiting(role: Role, case: &Case) -> (World, Task<World, Clock>, Log) {
    let (world, log) = (World::default(), Log::default());
    let listener = logging(&log, |_, _| Ok(()));
    let driver = started(role, &case.config, listener.into_any_listener());
    let socket = driver.socket().unwrap().clone();
    let mut task = task(&world, driver);
    assert!(poll(&mut task).is_pending());
    if case.closes {
        socket.close().unwrap();
    }
    for now in [0, 500, 502, 550] {
        world.stop(Time::from_start(ms(now)), b"");
        assert!(poll(&mut task).is_pending());
    }
    assert_eq!(world.written().is_empty(), case.config.idle_timeout.is_some(), "a ping or a close");
    assert_eq!(log.take(), ["open"]);
    (world, task, log)
}

#[test]
fn l7_what_arrived_while_the_process_was_stopped_is_read_before_a_deadline_is_judged() {
    for role in ROLES {
        for case in cases() {
            let (world, mut task, log) = waiting(role, &case);
            world.stop(Time::from_start(secs(60)), &case.answer.sent_by(peer_of(role)));
            // The timer has fired, and there is nothing to be read yet.
            let _ = poll(&mut task);
            world.turn(Time::from_start(ms(1)));
            let _ = poll(&mut task);
            let seen = log.take();
            assert_eq!(seen.len(), 1, "{role:?}, {seen:?}");
            assert!(!seen[0].starts_with("error") && !seen[0].starts_with(case.silence), "{role:?}, {seen:?}");
        }
    }
}

#[test]
fn l7_a_peer_that_was_silent_is_judged_a_moment_after_its_deadline() {
    for role in ROLES {
        for case in cases() {
            for late in [ms(1100), secs(60)] {
                let (world, mut task, log) = waiting(role, &case);
                world.stop(Time::from_start(late), b"");
                let _ = poll(&mut task);
                world.turn(Time::from_start(ms(1)));
                let _ = poll(&mut task);
                assert_eq!(log.take(), Vec::<String>::new(), "not yet");
                world.turn(Time::from_start(ms(1)));
                let _ = poll(&mut task);
                let seen = log.take();
                assert!(seen.last().is_some_and(|last| last.starts_with(case.silence)), "{role:?}, {seen:?}");
            }
        }
    }
}

#[test]
fn l7_a_request_that_came_while_the_process_was_stopped_is_answered() {
    for (arrives, status) in [(request(""), "200"), (vec![], "408")] {
        let world = World::default();
        let service = Service::new(Config::default(), |_| Response::text("here"), |_: &ServerError| ());
        let mut task = task(&world, Driver::server(Arc::new(service), None, START));
        assert!(poll(&mut task).is_pending());
        world.stop(Time::from_start(secs(60)), &arrives);
        let _ = poll(&mut task);
        assert_eq!(data(&world.written()), "");
        for _ in 0..2 {
            world.turn(Time::from_start(ms(1)));
            let _ = poll(&mut task);
        }
        let written = data(&world.written());
        assert!(written.starts_with(&format!("HTTP/1.1 {status} ")), "{written}");
    }
}

#[test]
fn l7_an_answer_that_came_while_the_client_was_stopped_is_read() {
    const REFUSAL: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    for arrives in [REFUSAL, b""] {
        let world = World::default();
        let target = Target::new("ws://localhost/").unwrap();
        let opening = Opening::new(&target, world.timer());
        let mut opening = pin!(opening.finish(world.clone(), listener().into_any_listener()));
        let mut poll = || opening.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        world.stop(Time::from_start(secs(60)), arrives);
        assert!(poll().is_pending());
        world.turn(Time::from_start(ms(1)));
        let mut result = poll();
        if result.is_pending() {
            world.turn(Time::from_start(ms(1)));
            result = poll();
        }
        match result {
            Poll::Ready(Err(ConnectError::Handshake(_))) => assert!(!arrives.is_empty()),
            Poll::Ready(Err(ConnectError::Timeout(_))) => assert!(arrives.is_empty()),
            result => panic!("{}", result.is_pending()),
        }
    }
}

/// Reads are never pending.
#[test]
fn l7_a_flood_puts_a_deadline_off_only_for_a_moment() {
    for role in ROLES {
        let [_, _, case] = cases();
        let (world, mut task, log) = waiting(role, &case);
        let flood = Frame::text([b'x'; 1000]).sent_by(peer_of(role)).repeat(600);
        for (now, over) in [(601, false), (650, false), (702, true)] {
            world.stop(Time::from_start(ms(now)), &flood);
            world.turn(Time::from_start(ms(0)));
            let _ = poll(&mut task);
            let seen = log.take();
            assert_eq!(seen.iter().any(|line| line.starts_with("close 1006")), over, "{role:?}, {now}, {seen:?}");
        }
    }
}

/// The deadline was set in the very turn in which the process was stopped.
#[test]
fn l7_what_arrived_while_the_process_was_stopped_between_a_write_and_the_sleep_is_read() {
    for role in ROLES {
        let [case, _, _] = cases();
        let (world, log) = (World::default(), Log::default());
        let driver = started(role, &case.config, logging(&log, |_, _| Ok(())).into_any_listener());
        let mut task = task(&world, driver);
        for now in [0, 500] {
            world.stop(Time::from_start(ms(now)), b"");
            assert!(poll(&mut task).is_pending());
        }
        assert!(world.written().is_empty());
        world.stop(Time::from_start(ms(501)), b"");
        assert!(poll(&mut task).is_pending());
        world.stop(Time::from_start(ms(502)), b"");
        // The first read of this poll is before the ping is due, the second after it was written.
        let _ = (log.take(), world.0.lock().unwrap().stops = None);
        {
            let mut state = world.0.lock().unwrap();
            state.stop_after_write = Some((Time::from_start(secs(60)), case.answer.sent_by(peer_of(role))));
        }
        let _ = poll(&mut task);
        assert!(!world.written().is_empty(), "the ping");
        world.turn(Time::from_start(ms(1)));
        let _ = poll(&mut task);
        let seen = log.take();
        assert_eq!(seen.len(), 1, "{role:?}, {seen:?}");
        assert!(seen[0].starts_with("pong"), "{role:?}, {seen:?}");
    }
}

/// What begins with a judgement, the wait for a pong above all, has its time from then on, however late that is.
#[test]
fn l7_a_ping_that_is_due_while_the_process_is_stopped_has_all_its_time() {
    for role in ROLES {
        let [case, _, _] = cases();
        let (world, log) = (World::default(), Log::default());
        let driver = started(role, &case.config, logging(&log, |_, _| Ok(())).into_any_listener());
        let mut task = task(&world, driver);
        world.0.lock().unwrap().is_full = true;
        // It is noticed that a ping is due, and judged a minute later.
        for now in [ms(0), ms(500), secs(60), secs(60) + ms(10), secs(60) + ms(499)] {
            world.stop(Time::from_start(now), b"");
            assert!(poll(&mut task).is_pending());
            assert_eq!(log.take(), if now.is_zero() { vec!["open"] } else { vec![] }, "{role:?}, {now:?}");
        }
        for now in [500, 502] {
            world.stop(Time::from_start(secs(60) + ms(now)), b"");
            let _ = poll(&mut task);
        }
        let seen = log.take();
        assert!(seen.last().is_some_and(|last| last.starts_with(case.silence)), "{role:?}, {seen:?}");
    }
}

#[test]
fn l7_a_refusal_that_is_due_while_the_process_is_stopped_has_all_its_time() {
    let world = World::default();
    let service = Service::new(Config::default(), |_| Response::text("here"), |_: &ServerError| ());
    let mut task = task(&world, Driver::server(Arc::new(service), None, START));
    world.0.lock().unwrap().is_full = true;
    for now in [secs(0), secs(15), secs(60), secs(61), secs(62)] {
        world.stop(Time::from_start(now), b"");
        assert!(poll(&mut task).is_pending(), "{now:?}");
    }
    world.0.lock().unwrap().is_full = false;
    let _ = poll(&mut task);
    let written = data(&world.written());
    assert!(written.starts_with("HTTP/1.1 408 "), "{written}");
}

/// The time of a message is not taken for that of the close which its callback calls for.
#[test]
fn l7_what_a_callback_begins_that_was_stopped_has_all_its_time() {
    for role in ROLES {
        let [_, _, case] = cases();
        let (world, log) = (World::default(), Log::default());
        let (ended, stopped) = (log.clone(), world.clone());
        let listener = listener()
            .on_message(move |socket, _| {
                stopped.stop(Time::from_start(secs(60)), b"");
                socket.close()
            })
            .on_close(move |_, code, _| ended.add(code.0.to_string()));
        let mut task = task(&world, started(role, &case.config, listener.into_any_listener()));
        world.stop(START, &Frame::text("x").sent_by(peer_of(role)));
        world.turn(START);
        assert!(poll(&mut task).is_pending());
        assert_eq!(world.written(), Frame::close(1000, "Normal Closure").sent_by(role));
        for (now, lines) in [(599, vec![]), (601, vec![]), (603, vec!["1006"])] {
            world.stop(Time::from_start(secs(60) + ms(now)), b"");
            let _ = poll(&mut task);
            assert_eq!(log.take(), lines, "{role:?}, {now}");
        }
    }
}

/// The time of a message is not taken for that at which its callback is done, from which on the peer's time counts.
#[test]
fn l7_a_peer_has_all_its_time_from_when_a_callback_is_done_that_was_stopped() {
    for (role, answers) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let [_, case, _] = cases();
        let (world, log) = (World::default(), Log::default());
        let (ended, stopped) = (log.clone(), world.clone());
        let listener = async_listener()
            .on_message(move |socket, message| {
                let (stopped, socket) = (stopped.clone(), socket.clone());
                async move {
                    if answers {
                        socket.send(message)?;
                    }
                    stopped.stop(Time::from_start(secs(60)), b"");
                    let mut is_pending = true;
                    poll_fn(|_| if std::mem::take(&mut is_pending) { Poll::Pending } else { Poll::Ready(()) }).await;
                    Ok::<_, bellwire_core::SendError>(())
                }
            })
            .on_close(move |_, code, _| ended.add(code.0.to_string()));
        let mut task = task(&world, started(role, &case.config, listener.into_any_listener()));
        world.stop(START, &Frame::text("x").sent_by(peer_of(role)));
        world.turn(START);
        assert!(poll(&mut task).is_pending());
        assert_eq!(world.written().is_empty(), !answers);
        for (now, lines) in [(10, vec![]), (20, vec![]), (599, vec![]), (601, vec![]), (604, vec!["1001"])] {
            world.stop(Time::from_start(secs(60) + ms(now)), b"");
            let _ = poll(&mut task);
            assert_eq!(log.take(), lines, "{role:?}, {answers}, {now}");
        }
    }
}

/// Nor for that at which the peer begins to be given what is left.
#[test]
fn l7_what_is_left_when_a_callback_fails_that_was_stopped_has_all_its_time() {
    for role in ROLES {
        let [_, _, case] = cases();
        let world = World::default();
        let stopped = world.clone();
        let listener = listener().on_message(move |_, _| {
            stopped.stop(Time::from_start(secs(60)), b"");
            Err::<(), _>("no")
        });
        let mut task = task(&world, started(role, &case.config, listener.into_any_listener()));
        world.0.lock().unwrap().is_full = true;
        world.stop(START, &Frame::text("x").sent_by(peer_of(role)));
        world.turn(START);
        assert!(poll(&mut task).is_pending());
        for now in [10, 20, 599] {
            world.stop(Time::from_start(secs(60) + ms(now)), b"");
            assert!(poll(&mut task).is_pending(), "{role:?}, {now}");
        }
        world.0.lock().unwrap().is_full = false;
        let _ = poll(&mut task);
        assert_eq!(world.written(), Frame::close(1011, "Unexpected Error").sent_by(role));
    }
}
