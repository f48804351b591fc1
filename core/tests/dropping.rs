//! A connection's task that is dropped: what it still says, and what it does not (E2). A runtime that ends drops its
//! tasks, perhaps before they had their turn. The transport and the clock are in memory.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bellwire_core::backend::{Registry, Task, Timer, Transport};
use bellwire_core::proto::Time;
use bellwire_core::{Role, WebSocket};

use common::*;
use logging::*;

/// A transport whose peer says nothing.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    written: Vec<u8>,
    flushed: usize,
    /// How much it takes, if not everything.
    room: Option<usize>,
    panics: bool,
    writes: usize,
    shut: bool,
}

impl Transport for Line {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.writes += 1;
        assert!(!state.panics, "as this test wants it");
        let count = state.room.unwrap_or(usize::MAX).min(slices[0].len());
        if count == 0 {
            return Poll::Pending;
        }
        state.room = state.room.map(|room| room - count);
        state.written.extend_from_slice(&slices[0][..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        state.flushed = state.written.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
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

/// An open connection as a task, its transport, its socket and its log.
fn open(role: Role) -> (Task<Line, Still>, Line, WebSocket, Log) {
    let (line, log) = (Line::default(), Log::default());
    let driver = started(role, &timeless(), logging(&log, |_, _| Ok(())));
    let socket = driver.socket().unwrap().clone();
    (Task::new(line.clone(), driver, Still, &Arc::new(Registry::default())), line, socket, log)
}

fn poll(task: &mut Task<Line, Still>) {
    assert!(Pin::new(task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

const ABANDONED: [&str; 3] = ["open", "error the connection's driver was dropped", "close 1006 "];

#[test]
fn e2_what_was_sent_leaves_when_the_task_is_dropped_before_its_turn() {
    for role in ROLES {
        for polls in 0..2 {
            let (mut task, line, socket, log) = open(role);
            (0..polls).for_each(|_| poll(&mut task));
            socket.send("1").unwrap();
            socket.send(vec![2; 100_000]).unwrap();
            drop(task);
            let state = line.0.lock().unwrap();
            assert_eq!(state.written, wire(&[Frame::text("1"), Frame::binary(vec![2; 100_000])], role));
            assert_eq!(state.flushed, state.written.len(), "a stream that holds back is flushed");
            assert!(state.shut, "and its sending side is closed");
            assert_eq!(log.take(), ABANDONED);
        }
    }
}

#[test]
fn e2_a_close_that_was_asked_for_leaves_too() {
    for role in ROLES {
        let (task, line, socket, _) = open(role);
        socket.send("1").unwrap();
        socket.close().unwrap();
        drop(task);
        let expected = wire(&[Frame::text("1"), Frame::close(1000, "Normal Closure")], role);
        assert_eq!(line.0.lock().unwrap().written, expected);
    }
}

#[test]
fn e2_a_task_that_is_dropped_does_not_wait_for_its_transport() {
    for role in ROLES {
        for polls in 0..2 {
            let (mut task, line, socket, log) = open(role);
            line.0.lock().unwrap().room = Some(3);
            socket.send("hello").unwrap();
            (0..polls).for_each(|_| poll(&mut task));
            drop(task);
            let state = line.0.lock().unwrap();
            assert_eq!(state.written, wire(&[Frame::text("hello")], role)[..3]);
            assert!(!state.shut, "something was cut off");
            assert_eq!(log.take(), ABANDONED);
        }
    }
}

#[test]
fn e2_nothing_leaves_after_an_abort() {
    for role in ROLES {
        let (task, line, socket, log) = open(role);
        socket.send("1").unwrap();
        socket.abort();
        drop(task);
        let state = line.0.lock().unwrap();
        assert_eq!((state.writes, state.shut), (0, false));
        assert_eq!(log.take(), ["open", "close 1006 "]);
    }
}

#[test]
fn e2_a_transport_that_panics_does_so_in_vain() {
    for role in ROLES {
        let (task, line, socket, log) = open(role);
        line.0.lock().unwrap().panics = true;
        socket.send("1").unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(task))).is_ok());
        assert_eq!(log.take(), ABANDONED);
    }
}

#[test]
fn e2_what_was_sent_behind_output_that_had_to_wait_leaves_too() {
    for role in ROLES {
        let (mut task, line, socket, _) = open(role);
        line.0.lock().unwrap().room = Some(3);
        socket.send("hello").unwrap();
        poll(&mut task);
        socket.send("world").unwrap();
        line.0.lock().unwrap().room = None;
        drop(task);
        let state = line.0.lock().unwrap();
        assert_eq!(state.written, wire(&[Frame::text("hello"), Frame::text("world")], role), "shut: {}", state.shut);
    }
}

#[test]
fn e2_what_a_completion_sends_leaves_too() {
    for role in ROLES {
        let (task, line, socket, _) = open(role);
        let again = socket.clone();
        socket.send_with("hello", move |_| assert!(again.send("world").is_ok()));
        drop(task);
        let state = line.0.lock().unwrap();
        assert_eq!(state.written, wire(&[Frame::text("hello"), Frame::text("world")], role), "shut: {}", state.shut);
    }
}
