//! A connection's task as its runtime sees it: how much one poll does, and whether it asks for the next. The transport
//! and the clock are in memory.

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::{Driver, Registry, Service, Task, Timer, Transport};
use bellwire_core::listener::{AnyListener, IntoAnyListener};
use bellwire_core::proto::Time;
use bellwire_core::{AsyncResponse, Request, Response, Role, ServerError, async_listener, listener, stream_listener};

use common::*;
use logging::*;

/// A peer that takes everything, and says the same again and again.
struct Peer {
    says: Vec<u8>,
    /// How often, if not for ever.
    rounds: Option<usize>,
    /// How many bytes arrive at once.
    piece: usize,
    at: usize,
    reads: Arc<Reads>,
}

/// What was read so far.
#[derive(Default)]
struct Reads {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl Reads {
    fn take(&self) -> (usize, usize) {
        (self.count.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed))
    }
}

impl Transport for Peer {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.at == self.says.len() {
            self.at = 0;
            self.rounds = self.rounds.map(|rounds| rounds - 1);
        }
        if self.rounds == Some(0) {
            return Poll::Pending;
        }
        let count = self.piece.min(buffer.len()).min(self.says.len() - self.at);
        buffer[..count].copy_from_slice(&self.says[self.at..][..count]);
        self.at += count;
        self.reads.count.fetch_add(1, Ordering::Relaxed);
        self.reads.bytes.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Time that stands still.
struct Still;

impl Timer for Still {
    fn now(&self) -> Time {
        START
    }

    fn set(&mut self, _: Time) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

fn task(peer: Peer, listener: AnyListener) -> Task<Peer, Still> {
    Task::new(peer, started(Role::Server, &timeless(), listener), Still, &Arc::new(Registry::default()))
}

fn poll<T: Transport>(task: &mut Task<T, Still>, waker: &Waker) -> Poll<()> {
    Pin::new(task).poll(&mut Context::from_waker(waker))
}

/// Pending for so many polls, each of which asks for the next at once: `yield_now` of the runtimes.
async fn yields(mut left: usize) {
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// One poll.

#[test]
fn one_poll_reads_about_256_kib_at_most_and_asks_for_the_next() {
    let listeners: [fn() -> AnyListener; 4] = [
        || listener().into_any_listener(),
        || listener().on_message(|socket, message| socket.send(message)).into_any_listener(),
        || async_listener().into_any_listener(),
        || async_listener().on_message(async |socket, message| socket.send_and_wait(message).await).into_any_listener(),
    ];
    for listener in listeners {
        let reads = Arc::new(Reads::default());
        // So large that no poll handles too many of them.
        let says = wire(&vec![Frame::binary([1; 10_000]); 100], Role::Client);
        let peer = Peer { says, rounds: None, piece: usize::MAX, at: 0, reads: reads.clone() };
        let mut task = task(peer, listener());
        let (wakes, waker) = waker();
        for round in 1..=10 {
            assert!(poll(&mut task, &waker).is_pending());
            let (_, bytes) = reads.take();
            // The last piece begins below the bound.
            assert!((1..=256 * 1024 + 64 * 1024).contains(&bytes), "{bytes} bytes in poll {round}");
            assert!(wakes.count() >= round, "nobody polls it again");
        }
    }
}

/// A listener that writes down what it gets, and sends it back.
fn noting(kind: usize, seen: &Arc<Mutex<Vec<u8>>>) -> AnyListener {
    let seen = seen.clone();
    let note = move |bytes: &[u8]| seen.lock().unwrap().extend(bytes);
    match kind {
        0 => listener()
            .on_message(move |socket, message| {
                note(message.as_bytes());
                socket.send(message)
            })
            .into_any_listener(),
        _ => async_listener()
            .on_message(move |socket, message| {
                note(message.as_bytes());
                async move { socket.send(message) }
            })
            .into_any_listener(),
    }
}

#[test]
fn l8_one_poll_runs_64_callbacks_at_most_and_asks_for_the_next() {
    // All at once, and a frame in each read.
    for (kind, piece) in [(0, usize::MAX), (1, usize::MAX), (0, 7), (1, 7)] {
        let frames: Vec<_> = (0..200).map(|number| Frame::binary([number])).collect();
        let peer = Peer { says: wire(&frames, Role::Client), rounds: Some(1), piece, at: 0, reads: Arc::default() };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut task = task(peer, noting(kind, &seen));
        let (wakes, waker) = waker();
        let mut counts = Vec::new();
        let mut polls = 0;
        while polls == wakes.count() {
            polls += 1;
            let before = seen.lock().unwrap().len();
            assert!(poll(&mut task, &waker).is_pending());
            counts.push(seen.lock().unwrap().len() - before);
        }
        assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<u8>>(), "all, in order, and no other");
        counts.retain(|count| *count > 0);
        assert_eq!(counts, [64, 64, 64, 8], "{kind}, {piece}");
    }
}

#[test]
fn l8_what_comes_with_the_handshake_is_no_exception() {
    let frames: Vec<_> = (0..200).map(|number| Frame::binary([number])).collect();
    let request_and_frames = [request(""), wire(&frames, Role::Client)].concat();
    // Behind the request of a handler that answers at once, or later; and read by whoever did the handshake.
    for case in 0..3 {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (says, mut leftover, driver) = match case {
            0 => (request_and_frames.clone(), vec![], server(0, &seen)),
            1 => (request_and_frames.clone(), vec![], server(3, &seen)),
            _ => {
                let connection = open(Role::Server, &timeless());
                let driver = Driver::connected(connection, noting(0, &seen));
                (vec![0], wire(&frames, Role::Client), driver)
            }
        };
        let rounds = Some(usize::from(leftover.is_empty()));
        let peer = Peer { says, rounds, piece: usize::MAX, at: 0, reads: Arc::default() };
        let mut task = Task::new(peer, driver, Still, &Arc::new(Registry::default()));
        let mut counts = vec![];
        if case == 2 {
            task.start(&mut leftover);
            counts.push(seen.lock().unwrap().len());
        }
        let (wakes, waker) = waker();
        let mut polls = 0;
        // A handler that yields may ask several times for one poll.
        while polls <= wakes.count() {
            polls += 1;
            let before = seen.lock().unwrap().len();
            assert!(poll(&mut task, &waker).is_pending());
            counts.push(seen.lock().unwrap().len() - before);
        }
        assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<u8>>(), "all, in order, and no other");
        counts.retain(|count| *count > 0);
        assert_eq!(counts, [64, 64, 64, 8], "{case}");
    }
}

/// A server whose handler answers when it was polled a few times more.
fn server(polls: usize, seen: &Arc<Mutex<Vec<u8>>>) -> Driver {
    let seen = seen.clone();
    let handler = move |_: Request| {
        let note = seen.clone();
        async move {
            yields(polls).await;
            let listener = listener().on_message(move |_, message| note.lock().unwrap().extend(message.as_bytes()));
            AsyncResponse::from(Response::websocket(listener))
        }
    };
    Driver::server(Arc::new(Service::asynchronous(timeless(), handler, |_: &ServerError| {})), None, START)
}

#[test]
fn l8_what_waits_for_the_turn_of_others_is_not_lost_when_the_peer_ends() {
    for kind in [0, 1] {
        let frames: Vec<_> = (0..200).map(|number| Frame::binary([number])).collect();
        let peer = Ends(Peer {
            says: wire(&frames, Role::Client),
            rounds: Some(1),
            piece: usize::MAX,
            at: 0,
            reads: Arc::default(),
        });
        let seen = Arc::new(Mutex::new(Vec::new()));
        let driver = started(Role::Server, &timeless(), noting(kind, &seen));
        let mut task = Task::new(peer, driver, Still, &Arc::new(Registry::default()));
        let mut polls = 0;
        while Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            polls += 1;
            assert!(polls < 100);
        }
        assert_eq!(seen.lock().unwrap().len(), 200);
    }
}

/// A peer that fails when it has said everything, and takes nothing.
struct Ends(Peer);

impl Transport for Ends {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.0.poll_read(cx, buffer) {
            Poll::Pending => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            ready => ready,
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn one_poll_reads_no_more_than_256_times_however_little_arrives() {
    let reads = Arc::new(Reads::default());
    let says = wire(&[Frame::binary([1; 100])], Role::Client);
    let peer = Peer { says, rounds: Some(1000), piece: 7, at: 0, reads: reads.clone() };
    let mut task = task(peer, listener().into_any_listener());
    let (wakes, waker) = waker();
    let (mut polls, mut bytes) = (0, 0);
    while polls == wakes.count() {
        polls += 1;
        assert!(poll(&mut task, &waker).is_pending());
        let read = reads.take();
        assert!(read.0 <= 256, "{} times", read.0);
        bytes += read.1;
    }
    assert_eq!(bytes, 1000 * 106, "then it sleeps, and has read all there is");
}

// Callbacks that yield.

#[test]
fn a_callback_that_yields_lets_others_run_each_time() {
    for count in 0..4 {
        let log = Log::default();
        let (opens, messages) = (log.clone(), log.clone());
        let listener = async_listener()
            .on_open(move |_| {
                let log = opens.clone();
                async move {
                    yields(count).await;
                    log.add("open");
                }
            })
            .on_message(move |_, _| {
                let log = messages.clone();
                async move {
                    yields(count).await;
                    log.add("message");
                }
            });
        let peer = Peer {
            says: wire(&vec![Frame::text("x"); 10], Role::Client),
            rounds: Some(1),
            piece: usize::MAX,
            at: 0,
            reads: Arc::default(),
        };
        let mut task = task(peer, listener.into_any_listener());
        let (wakes, waker) = waker();
        let (mut polls, mut lines) = (0, log.take());
        // As a runtime does: others first, and then again if it was woken.
        while polls == wakes.count() {
            polls += 1;
            assert!(poll(&mut task, &waker).is_pending());
            let new = log.take();
            assert!(count == 0 || new.len() <= 1, "{new:?} in one poll");
            lines.extend(new);
        }
        let expected = [&["open"][..], &["message"; 10]].concat();
        assert_eq!(lines, expected);
        assert_eq!(polls, 1 + count * expected.len(), "one for each time, and the first");
    }
}

#[test]
fn a_callback_that_waits_for_somebody_else_lets_its_task_sleep() {
    type Gate = (bool, Option<Waker>);
    let (log, gate) = (Log::default(), Arc::new(Mutex::new(Gate::default())));
    let (own, shut) = (log.clone(), gate.clone());
    let listener = async_listener().on_message(move |_, _| {
        let (log, gate) = (own.clone(), shut.clone());
        async move {
            poll_fn(|cx| {
                let (is_open, waker) = &mut *gate.lock().unwrap();
                *waker = Some(cx.waker().clone());
                if *is_open { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            log.add("done");
        }
    });
    let says = wire(&[Frame::text("x")], Role::Client);
    let peer = Peer { says, rounds: Some(1), piece: usize::MAX, at: 0, reads: Arc::default() };
    let mut task = task(peer, listener.into_any_listener());
    let (wakes, waker) = waker();
    assert!(poll(&mut task, &waker).is_pending());
    assert_eq!((wakes.count(), log.take()), (0, vec![]));
    gate.lock().unwrap().0 = true;
    let waiting = gate.lock().unwrap().1.take();
    waiting.unwrap().wake();
    assert_eq!(wakes.count(), 1);
    assert!(poll(&mut task, &waker).is_pending());
    assert_eq!(log.take(), ["done"]);
}

// Whom to wake.

#[test]
fn a_shutdown_wakes_whoever_has_polled_a_task_last() {
    let tasks = Arc::new(Registry::default());
    let peer = Peer {
        says: wire(&[Frame::text("x")], Role::Client),
        rounds: Some(1),
        piece: usize::MAX,
        at: 0,
        reads: Arc::default(),
    };
    let driver = started(Role::Server, &timeless(), listener().into_any_listener());
    let mut task = Task::new(peer, driver, Still, &tasks);
    let ((first, a), (last, b)) = (waker(), waker());
    assert!(poll(&mut task, &a).is_pending());
    // As `select!` and others do that move a future to another task.
    assert!(poll(&mut task, &b).is_pending());
    let mut shutdown = pin!(tasks.shutdown(Duration::ZERO, Still));
    assert!(shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!((first.count(), last.count()), (0, 1));
}

/// Says nothing, and tells when it is dropped.
struct Silent(Log);

impl Transport for Silent {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

fn silent(log: &Log, listener: AnyListener) -> Task<Silent, Still> {
    let driver = started(Role::Server, &timeless(), listener);
    Task::new(Silent(log.clone()), driver, Still, &Arc::new(Registry::default()))
}

/// It has the connection as a stream, and computes: others have their turn when it says so.
#[test]
fn who_talks_and_yields_lets_others_run() {
    let polls = Arc::new(AtomicUsize::new(0));
    let listener = stream_listener({
        let polls = polls.clone();
        async move |_messages| {
            loop {
                polls.fetch_add(1, Ordering::Relaxed);
                yields(1).await;
            }
            #[allow(unreachable_code)]
            ()
        }
    });
    let mut task = silent(&Log::default(), listener.into_any_listener());
    let (wakes, waker) = waker();
    for round in 1..=10 {
        assert!(poll(&mut task, &waker).is_pending());
        assert!(wakes.count() >= round, "nobody polls it again");
        let polls = polls.load(Ordering::Relaxed);
        assert!((round..=2 * round + 1).contains(&polls), "{polls} polls in {round}");
    }
}

/// The peer learns of the end then, and the system has its socket back.
#[test]
fn a_transport_does_not_wait_for_who_goes_on_talking_without_it() {
    let log = Log::default();
    let listener = stream_listener({
        let log = log.clone();
        async move |mut messages: bellwire_core::MessageStream| {
            messages.socket().abort();
            messages.close().await;
            log.add("closed");
            std::future::pending::<()>().await;
        }
    });
    let mut task = silent(&log, listener.into_any_listener());
    let (wakes, waker) = waker();
    assert!(poll(&mut task, &waker).is_pending());
    assert_eq!((log.take(), wakes.count()), (vec!["dropped".to_string(), "closed".to_string()], 0));
}
