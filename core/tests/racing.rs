//! A client whose host has several addresses (RFC 8305), in virtual time: when each is tried, who wins, what becomes of
//! the others, and what is said if nobody does. A timer is judged 2 ms after it has rung (see `timer`).

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::{Opening, Timer};
use bellwire_core::proto::Time;
use bellwire_core::{Config, ConnectError, Target};

/// Time that passes when everybody waits, a millisecond at a time.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Time>>);

impl Clock {
    fn now(&self) -> u128 {
        self.0.lock().unwrap().since_start().as_millis()
    }
}

struct Alarm(Clock, Time);

impl Timer for Alarm {
    fn now(&self) -> Time {
        *self.0.0.lock().unwrap()
    }

    fn set(&mut self, deadline: Time) {
        self.1 = deadline;
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.now() >= self.1 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What becomes of an attempt, so many milliseconds after it began.
#[derive(Clone, Copy)]
enum Fate {
    Connects(u128),
    Fails(u128, ErrorKind),
    /// Swallows everything.
    Hangs,
}

use Fate::{Connects, Fails, Hangs};

/// What a race has come to, and when.
struct Outcome {
    result: Result<usize, ConnectError>,
    at: u128,
    /// When each address was tried, in the order of the attempts.
    starts: Vec<(usize, u128)>,
    /// How many attempts were left undone, and dropped.
    dropped: usize,
}

/// Counts an attempt that is dropped before it is done.
struct Attempt {
    dropped: Arc<Mutex<usize>>,
    done: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        *self.dropped.lock().unwrap() += usize::from(!self.done);
    }
}

/// Connects to a host with these addresses, of which each has its fate. They are of the same family.
fn race(config: Config, fates: &[Fate]) -> Outcome {
    let clock = Clock::default();
    let addr = |index: usize| SocketAddr::from(([192, 0, 2, 1], u16::try_from(index).unwrap() + 1));
    let addrs: Vec<SocketAddr> = (0..fates.len()).map(addr).collect();
    let (starts, dropped) = (Mutex::new(Vec::new()), Arc::new(Mutex::new(0)));
    let connecting = |addr: SocketAddr| {
        let (clock, began, index) = (clock.clone(), clock.now(), usize::from(addr.port()) - 1);
        starts.lock().unwrap().push((index, began));
        let (fate, mut attempt) = (fates[index], Attempt { dropped: dropped.clone(), done: false });
        poll_fn(move |_| {
            // The whole of it, not only its flag.
            let attempt = &mut attempt;
            let passed = clock.now() - began;
            let result = match fate {
                Connects(after) if passed >= after => Ok(index),
                Fails(after, kind) if passed >= after => Err(io::Error::from(kind)),
                _ => return Poll::Pending,
            };
            attempt.done = true;
            Poll::Ready(result)
        })
    };
    let target = Target::new("ws://example.com/").unwrap().config(config);
    let mut opening = Opening::new(&target, Alarm(clock.clone(), Time::ZERO));
    let mut connected = Box::pin(opening.connect(async { Ok(addrs) }, connecting));
    let result = loop {
        match connected.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => break result,
            Poll::Pending => *clock.0.lock().unwrap() += Duration::from_millis(1),
        }
        assert!(clock.now() < 60_000, "it never ends");
    };
    drop(connected);
    let dropped = *dropped.lock().unwrap();
    Outcome { result, at: clock.now(), starts: starts.into_inner().unwrap(), dropped }
}

#[test]
fn e8_an_address_that_swallows_everything_costs_a_quarter_of_a_second() {
    let outcome = race(Config::default(), &[Hangs, Connects(30)]);
    assert_eq!((outcome.result.unwrap(), outcome.at), (1, 282));
    assert_eq!(outcome.starts, [(0, 0), (1, 252)]);
    assert_eq!(outcome.dropped, 1, "the loser is not kept");
}

#[test]
fn e8_an_address_that_is_slow_may_still_win() {
    let outcome = race(Config::default(), &[Connects(400), Hangs, Connects(1)]);
    assert_eq!((outcome.result.unwrap(), outcome.at), (0, 400));
    assert_eq!(outcome.starts, [(0, 0), (1, 252)]);
    assert_eq!(outcome.dropped, 1);
}

#[test]
fn e8_one_that_connects_at_once_has_no_rivals() {
    let outcome = race(Config::default(), &[Connects(0), Connects(0)]);
    assert_eq!((outcome.result.unwrap(), outcome.at, outcome.starts), (0, 0, vec![(0, 0)]));
}

#[test]
fn e8_one_that_fails_lets_the_next_start_at_once() {
    let outcome = race(Config::default(), &[Hangs, Fails(10, ErrorKind::ConnectionRefused), Connects(5)]);
    assert_eq!((outcome.result.unwrap(), outcome.at), (2, 267));
    assert_eq!(outcome.starts, [(0, 0), (1, 252), (2, 262)]);
}

#[test]
fn e8_what_all_have_failed_with_is_told() {
    let fates = [Fails(600, ErrorKind::NetworkUnreachable), Fails(0, ErrorKind::ConnectionRefused)];
    let outcome = race(Config::default(), &fates);
    let Err(ConnectError::Connect(error)) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(error.to_string(), "192.0.2.1:2: connection refused; 192.0.2.1:1: network unreachable");
    assert_eq!(outcome.at, 600);
}

#[test]
fn e8_the_open_timeout_ends_the_race() {
    let outcome = race(Config::default().open_timeout(Duration::from_secs(1)), &[Hangs; 9]);
    assert!(matches!(outcome.result, Err(ConnectError::Timeout(_))), "{:?}", outcome.result);
    assert_eq!((outcome.at, outcome.starts.len(), outcome.dropped), (1002, 4, 4));
}

#[test]
fn e8_a_host_without_an_address_is_an_error() {
    let outcome = race(Config::default(), &[]);
    let Err(ConnectError::Connect(error)) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn e8_a_connect_that_is_dropped_drops_its_attempts() {
    let clock = Clock::default();
    let dropped = Arc::new(Mutex::new(0));
    let connecting = |_: SocketAddr| {
        let attempt = Attempt { dropped: dropped.clone(), done: false };
        async move {
            let _attempt = attempt;
            std::future::pending::<io::Result<()>>().await
        }
    };
    let addrs = vec![SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([192, 0, 2, 2], 1))];
    let mut opening = Opening::new(&Target::new("ws://example.com/").unwrap(), Alarm(clock.clone(), Time::ZERO));
    {
        let mut connected = pin!(opening.connect(async { Ok(addrs) }, connecting));
        // Judged a moment after it is due, and the second begins.
        for _ in 0..3 {
            assert!(connected.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            *clock.0.lock().unwrap() += Duration::from_millis(252);
        }
        assert_eq!(*dropped.lock().unwrap(), 0);
    }
    assert_eq!(*dropped.lock().unwrap(), 2);
}
