//! Models of what several threads do with one connection. Loom runs each in every order in which its threads can
//! take locks and sleep; where those are too many, in every order with so many preemptions.
//!
//! A thread that sleeps for ever is a deadlock, which loom reports: so a model that comes to its end has lost no
//! wake-up. The same goes for user code that is called under the lock and calls back in.

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use loom::model::Builder;
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread::{self, JoinHandle, ThreadId};

use super::*;
use crate::api::{Socket, WebSocket};
use crate::config::Config;
use crate::drive::reader::Reader;
use crate::protocol::{BoxError, CloseCode, Error, Outgoing, SendError, StreamOffset};
use crate::sync::Sleep;

const NOW: Time = Time::ZERO;
/// When the time of a close is up that was called for at that time.
const LATE: Time = Time::from_start(Duration::from_secs(1));

/// Frames as a server writes them.
const A: &[u8] = b"\x81\x01a";
const B: &[u8] = b"\x81\x01b";
const CLOSE: &[u8] = b"\x88\x02\x03\xe8";

/// The same as a client masks them, with a key of zeros.
const MASKED_A: &[u8] = b"\x81\x81\0\0\0\0a";
const MASKED_CLOSE: &[u8] = b"\x88\x80\0\0\0\0";

/// How many preemptions an order may have. Without a bound the larger models would take hours.
const ALL: Option<usize> = None;
const FEW: Option<usize> = Some(3);
/// Of two whole loops, each of which asks an atomic at every step.
const FEWEST: Option<usize> = Some(2);

fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// A server's connection without deadlines.
fn shared() -> Arc<Shared> {
    shared_with(None)
}

fn shared_with(close_timeout: Option<Duration>) -> Arc<Shared> {
    let config = Config::default().keepalive_interval(None).close_timeout(close_timeout);
    Arc::new(Shared::new(Connection::server(Arc::new(config), NOW)))
}

/// Gives a handle to another thread.
fn with_handle(shared: &Arc<Shared>, act: impl FnOnce(WebSocket) + 'static) -> JoinHandle<()> {
    let socket = WebSocket::from_arc(shared.clone());
    thread::spawn(move || act(socket))
}

fn close(socket: &WebSocket) -> Result<(), SendError> {
    socket.close_with(CloseCode::NORMAL, "")
}

/// Takes in `input`, and all that happens without any.
fn handle_events(shared: &Shared, mut input: &mut [u8]) {
    // Each time a new one: what is read here are whole frames.
    let mut reader = Reader::of(&mut Connection::server(Arc::default(), NOW));
    shared.unpark();
    while let Some(event) = reader.next_event(shared, &mut input) {
        if let Event::Text(text) = event {
            let _ = shared.during(|| shared.send(Outgoing::from(&*text)));
        }
    }
}

/// Writes all there is to be written.
fn write(shared: &Shared, wire: &mut Vec<u8>) {
    while let Some(output) = shared.take_output() {
        output.pieces().for_each(|piece| wire.extend_from_slice(piece));
        shared.wrote(NOW, output.len());
    }
}

/// Writes what there is to be written, as a task does. Returns whether it may sleep then.
fn write_and_park(shared: &Shared, wire: &mut Vec<u8>, waker: &Waker) -> bool {
    let Some(output) = shared.take_output() else { return false };
    output.pieces().for_each(|piece| wire.extend_from_slice(piece));
    shared.park_after_write(&mut Arrived::default(), NOW, output.len(), waker).is_ok()
}

/// What completions were called with.
#[derive(Clone, Default)]
struct Outcomes(Arc<std::sync::Mutex<Vec<Result<(), SendError>>>>);

impl Outcomes {
    fn done(&self) -> impl FnOnce(Result<(), SendError>) + Send + 'static {
        let outcomes = self.clone();
        move |outcome| outcomes.0.lock().unwrap().push(outcome)
    }

    fn all(&self) -> Vec<Result<(), SendError>> {
        self.0.lock().unwrap().clone()
    }
}

/// Drives as a backend with one thread does, until that is so. Returns what was written. The peer answers a close.
fn drive(shared: &Shared, until: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let sleep = Arc::new(Sleep::default());
    let waker = Waker::from(sleep.clone());
    let mut wire = Vec::new();
    loop {
        let settled = write_and_park(shared, &mut wire, &waker);
        let answer = if wire.ends_with(CLOSE) { MASKED_CLOSE } else { b"" };
        let is_idle = settled && answer.is_empty();
        if !is_idle {
            handle_events(shared, &mut answer.to_vec());
        }
        if until(&wire) {
            return wire;
        }
        if is_idle || shared.park(&waker).is_ok() {
            sleep.wait();
        }
    }
}

/// Nothing stays behind, and nothing more is taken.
fn assert_gone(shared: &Shared) {
    let late = Outcomes::default();
    shared.when_written(StreamOffset::new(u64::MAX), Box::new(late.done()));
    assert_eq!(late.all(), [Err(SendError::Closed)]);
    assert_eq!(shared.send(Outgoing::from("late")), Err(SendError::Closed));
    assert_eq!((shared.buffered(), shared.is_open()), (0, false));
    assert!(shared.take_output().is_none());
}

#[test]
fn a_driver_that_goes_to_sleep_gets_all_that_is_sent() {
    check(ALL, || {
        let shared = shared();
        let sender = with_handle(&shared, |socket| {
            socket.send("a").unwrap();
            socket.send("b").unwrap();
        });
        assert_eq!(drive(&shared, |wire| wire.len() == 6), [A, B].concat());
        sender.join().unwrap();
    });
}

#[test]
fn a_driver_that_goes_to_sleep_gets_what_two_threads_send_at_once() {
    check(ALL, || {
        let shared = shared();
        let senders = ["a", "b"].map(|text| with_handle(&shared, move |socket| socket.send(text).unwrap()));
        let wire = drive(&shared, |wire| wire.len() == 6);
        assert!(wire == [A, B].concat() || wire == [B, A].concat());
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_driver_that_goes_to_sleep_hears_of_a_close() {
    check(ALL, || {
        let shared = shared();
        let closer = with_handle(&shared, |socket| close(&socket).unwrap());
        assert_eq!(drive(&shared, |_| shared.lock().is_finished()), CLOSE);
        assert!(shared.closed().unwrap().clean);
        closer.join().unwrap();
    });
}

#[test]
fn a_driver_that_goes_to_sleep_hears_of_an_abort() {
    check(ALL, || {
        let shared = shared();
        let closer = with_handle(&shared, |socket| {
            let _ = socket.send("a");
            socket.abort();
        });
        let wire = drive(&shared, |_| shared.lock().is_lost());
        assert!(wire.is_empty() || wire == A);
        closer.join().unwrap();
    });
}

#[test]
fn a_send_that_is_refused_does_not_use_up_the_wake_up_of_the_next() {
    check(ALL, || {
        let shared = shared();
        let sender = with_handle(&shared, |socket| {
            assert_eq!(socket.ping([0; 126]), Err(SendError::ControlTooLong(126)));
            socket.send("a").unwrap();
        });
        assert_eq!(drive(&shared, |wire| !wire.is_empty()), A);
        sender.join().unwrap();
    });
}

#[test]
fn a_send_is_written_in_front_of_the_close_or_refused() {
    check(FEW, || {
        let (shared, outcomes) = (shared(), Outcomes::default());
        let done = outcomes.done();
        let sender = with_handle(&shared, |socket| socket.send_with("a", done));
        let closer = with_handle(&shared, |socket| close(&socket).unwrap());
        let wire = drive(&shared, |_| shared.lock().is_finished());
        shared.finish();
        sender.join().unwrap();
        closer.join().unwrap();
        if wire == CLOSE {
            assert_eq!(outcomes.all(), [Err(SendError::Closed)]);
        } else {
            assert_eq!((wire, outcomes.all()), ([A, CLOSE].concat(), [Ok(())].to_vec()));
        }
        assert_gone(&shared);
    });
}

#[test]
fn a_driver_that_leaves_early_tells_who_still_waits() {
    check(ALL, || {
        let (shared, outcomes) = (shared(), Outcomes::default());
        let done = outcomes.done();
        let sender = with_handle(&shared, |socket| socket.send_with("a", done));
        let closer = with_handle(&shared, |socket| {
            let _ = close(&socket);
        });
        let mut wire = Vec::new();
        write(&shared, &mut wire);
        shared.lock().transport_failed("broken");
        handle_events(&shared, &mut []);
        shared.finish();
        sender.join().unwrap();
        closer.join().unwrap();
        let expected = if wire.starts_with(A) { Ok(()) } else { Err(SendError::Closed) };
        assert_eq!(outcomes.all(), [expected]);
        assert!([&[][..], A, CLOSE, &[A, CLOSE].concat()].contains(&&wire[..]));
        assert_gone(&shared);
    });
}

#[test]
fn a_completion_is_called_once_by_who_writes_or_by_who_leaves() {
    check(ALL, || {
        let (shared, outcomes) = (shared(), Outcomes::default());
        let done = outcomes.done();
        let sender = with_handle(&shared, |socket| socket.send_with("a", done));
        let writer = thread::spawn({
            let shared = shared.clone();
            move || {
                let mut wire = Vec::new();
                write(&shared, &mut wire);
                wire
            }
        });
        shared.finish();
        sender.join().unwrap();
        let wire = writer.join().unwrap();
        match outcomes.all()[..] {
            [Ok(())] => assert_eq!(wire, A),
            // What was taken already is written behind the end.
            [Err(SendError::Closed)] => assert!(wire.is_empty() || wire == A),
            ref outcomes => panic!("{outcomes:?}"),
        }
        assert_gone(&shared);
    });
}

#[test]
fn completions_of_two_threads_are_told_by_position_and_not_by_arrival() {
    check(ALL, || {
        let (shared, outcomes) = (shared(), Outcomes::default());
        let senders = ["a", "b"].map(|text| {
            let done = outcomes.done();
            with_handle(&shared, move |socket| socket.send_with(text, done))
        });
        let taken = shared.take_output().is_some();
        if taken {
            // The first message of two, or the only one.
            shared.wrote(NOW, A.len());
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert_eq!(outcomes.all().len(), usize::from(taken));
        shared.finish();
        let told = outcomes.all();
        assert_eq!(told.len(), 2);
        assert_eq!(told.iter().filter(|outcome| outcome.is_ok()).count(), usize::from(taken));
    });
}

#[test]
fn who_waits_for_the_end_while_it_comes_is_told_once() {
    check(ALL, || {
        let (shared, told) = (shared(), Arc::new(AtomicUsize::new(0)));
        let wait = {
            let told = told.clone();
            move |socket: WebSocket| {
                let inside = socket.clone();
                // It locks the connection: who is told while it is locked would never return.
                socket.when_closed(move || {
                    assert!(!inside.is_open() && inside.closed().is_some() && inside.buffered() < 10);
                    told.fetch_add(1, Ordering::Relaxed);
                });
            }
        };
        let waiter = with_handle(&shared, wait.clone());
        wait(WebSocket::from_arc(shared.clone()));
        shared.abort();
        handle_events(&shared, &mut []);
        shared.finish();
        waiter.join().unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 2);
        // The handles that they held are gone.
        assert_eq!(Arc::strong_count(&shared), 1);
    });
}

/// What a waker holds, and a completion does, that calls back into its connection.
struct Inside {
    shared: Weak<Shared>,
    calls: Arc<AtomicUsize>,
}

impl Inside {
    fn call(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let _ = (shared.is_open(), shared.buffered(), shared.closed());
            if let Ok(position) = shared.send(Outgoing::from("inside")) {
                shared.when_written(position, Box::new(drop));
            }
            let _ = shared.close(CloseCode::NORMAL, "");
        }
        // A deadlock in a completion is caught like any of its panics: so only behind the calls.
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Inside {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.call();
        }
    }
}

#[test]
fn wakers_and_completions_may_call_the_connection_that_calls_or_drops_them() {
    check(FEW, || {
        let (shared, calls) = (shared(), Arc::new(AtomicUsize::new(0)));
        let inside = || Inside { shared: Arc::downgrade(&shared), calls: calls.clone() };
        let done = inside();
        let sender = with_handle(&shared, move |socket| socket.send_with("a", move |_| drop(done)));
        // Parking a second time drops the first waker.
        for _ in 0..2 {
            let _ = shared.park(&Waker::from(Arc::new(inside())));
        }
        write(&shared, &mut Vec::new());
        shared.finish();
        sender.join().unwrap();
        // Two wakers and a completion are dropped; how often they were woken depends.
        assert!(calls.load(Ordering::Relaxed) >= 3);
        // And dropped by now, though a handle lives on.
        assert_eq!(Arc::strong_count(&calls), 1);
    });
}

/// An error and a payload whose owners call the connection when they are dropped.
struct Calling(Arc<Shared>, Arc<AtomicUsize>);

impl Drop for Calling {
    fn drop(&mut self) {
        let _ = self.0.is_open();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}

impl fmt::Display for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("calling")
    }
}

impl core::error::Error for Calling {}

impl AsRef<[u8]> for Calling {
    fn as_ref(&self) -> &[u8] {
        &[0; 20_000]
    }
}

#[test]
fn errors_and_payloads_may_call_the_connection_that_drops_them() {
    check(ALL, || {
        let (shared, calls) = (shared(), Arc::new(AtomicUsize::new(0)));
        let calling = || Calling(shared.clone(), calls.clone());
        let payload = || bytes::Bytes::from_owner(calling());
        // Copied; queued as it is and given up; refused.
        shared.send(Outgoing::from(payload().slice(..1))).unwrap();
        shared.send(Outgoing::from(payload())).unwrap();
        shared.abort();
        shared.send(Outgoing::from(payload())).unwrap_err();
        // Too late to be told.
        shared.lock().fail(Error::Callback(Arc::new(calling())));
        shared.lock().transport_failed(Box::new(calling()) as BoxError);
        handle_events(&shared, &mut []);
        shared.finish();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
    });
}

/// Which threads have woken.
#[derive(Default)]
struct WokenBy(std::sync::Mutex<Vec<ThreadId>>);

impl Wake for WokenBy {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn during_a_callback_only_a_send_from_outside_wakes() {
    check(ALL, || {
        let (shared, woken_by) = (shared(), Arc::new(WokenBy::default()));
        shared.park(&Waker::from(woken_by.clone())).unwrap();
        let sender = with_handle(&shared, |socket| socket.send("b").unwrap());
        handle_events(&shared, &mut MASKED_A.to_vec());
        let outside = sender.thread().id();
        sender.join().unwrap();
        assert_eq!(*woken_by.0.lock().unwrap(), [outside]);
        let mut wire = Vec::new();
        write(&shared, &mut wire);
        assert!(wire == [A, B].concat() || wire == [B, A].concat());
    });
}

/// A connection on two threads, as `bellwire-blocking` has them: one handles events and sleeps in a read, the other
/// is woken, and writes what others send.
struct TwoThreads {
    state: Mutex<Line>,
    changed: Condvar,
}

#[derive(Default)]
struct Line {
    /// What the peer has sent, and what was written to it.
    input: Vec<u8>,
    wire: Vec<u8>,
    /// The peer does not answer a close.
    silent: bool,
    /// The reading side was shut down, to wake the thread that reads.
    shut: bool,
    /// That was for a close whose time is up.
    late: bool,
    woken: bool,
    ended: bool,
}

/// How a read ends.
enum Read {
    Bytes(Vec<u8>),
    Eof,
    TimedOut(Time),
}

impl TwoThreads {
    /// Drives to the end. Returns what was written.
    fn run(self: &Arc<Self>, shared: &Arc<Shared>) -> Vec<u8> {
        let writer = thread::spawn({
            let (this, shared) = (self.clone(), shared.clone());
            move || this.run_writer(&shared)
        });
        self.run_reader(shared);
        self.change(|line| line.ended = true);
        writer.join().unwrap();
        self.write(shared);
        shared.finish();
        self.lock().wire.clone()
    }

    fn run_reader(self: &Arc<Self>, shared: &Shared) {
        let waker = Waker::from(self.clone());
        let mut input = Vec::new();
        loop {
            handle_events(shared, &mut mem::take(&mut input));
            self.write(shared);
            if shared.lock().is_finished() {
                return;
            }
            let Ok(deadline) = shared.park(&waker) else { continue };
            match self.read(deadline) {
                Read::Bytes(bytes) => input = bytes,
                Read::Eof => shared.lock().receive_eof(),
                Read::TimedOut(now) => {
                    // A deadline is judged a turn after it was noticed.
                    self.write(shared);
                    shared.lock().handle_timeout(now);
                }
            }
        }
    }

    fn run_writer(&self, shared: &Shared) {
        while let Some(now) = self.next_work(shared) {
            self.write(shared);
            let late = shared.parked_close(now).is_some_and(|deadline| deadline <= now);
            if late || shared.is_awaited() {
                self.change(|line| (line.shut, line.late) = (true, line.late || late));
            }
        }
    }

    /// Waits for something to do, at the latest until a deadline: then it is that time. `None` at the end.
    fn next_work(&self, shared: &Shared) -> Option<Time> {
        let mut line = self.lock();
        loop {
            if line.ended {
                return None;
            }
            if mem::take(&mut line.woken) {
                return Some(NOW);
            }
            if !line.shut {
                if let Some(deadline) = shared.parked_close(NOW) {
                    return Some(deadline);
                }
            }
            line = self.changed.wait(line).unwrap();
        }
    }

    /// Both threads write; one at a time gets something.
    fn write(&self, shared: &Shared) {
        while let Some(output) = shared.take_output() {
            self.change(|line| {
                output.pieces().for_each(|piece| line.wire.extend_from_slice(piece));
                if !line.silent && line.wire.ends_with(CLOSE) {
                    line.input.extend_from_slice(MASKED_CLOSE);
                }
            });
            shared.wrote(NOW, output.len());
        }
    }

    fn read(&self, deadline: Option<Time>) -> Read {
        let mut line = self.lock();
        loop {
            if !line.input.is_empty() {
                return Read::Bytes(mem::take(&mut line.input));
            }
            if line.late {
                return Read::TimedOut(LATE);
            }
            if line.shut {
                return Read::Eof;
            }
            if let Some(deadline) = deadline {
                return Read::TimedOut(deadline);
            }
            line = self.changed.wait(line).unwrap();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.state.lock().unwrap()
    }
}

impl Wake for TwoThreads {
    fn wake(self: Arc<Self>) {
        self.change(|line| line.woken = true);
    }
}

/// Runs both threads, and a third one that does this. Returns what was written.
fn run_two_threads(shared: &Arc<Shared>, line: Line, act: impl FnOnce(WebSocket) + 'static) -> Vec<u8> {
    let threads = Arc::new(TwoThreads { state: Mutex::new(line), changed: Condvar::new() });
    let handle = with_handle(shared, act);
    let wire = threads.run(shared);
    handle.join().unwrap();
    assert_gone(shared);
    wire
}

#[test]
fn two_threads_write_what_is_sent_while_one_of_them_reads() {
    check(FEWEST, || {
        let shared = shared();
        let wire = run_two_threads(&shared, Line::default(), |socket| {
            socket.send("a").unwrap();
            socket.send("b").unwrap();
            close(&socket).unwrap();
        });
        assert_eq!(wire, [A, B, CLOSE].concat());
        assert!(shared.closed().unwrap().clean);
    });
}

#[test]
fn two_threads_write_what_a_callback_sends_while_others_do() {
    check(FEWEST, || {
        let (shared, outcomes) = (shared(), Outcomes::default());
        let done = outcomes.done();
        let line = Line { input: MASKED_A.to_vec(), ..Line::default() };
        let wire = run_two_threads(&shared, line, |socket| {
            socket.send_with("b", done);
            close(&socket).unwrap();
        });
        // What the peer has sent is answered unless it came too late.
        let possible = [[A, B, CLOSE].concat(), [B, A, CLOSE].concat(), [B, CLOSE].concat()];
        assert!(possible.contains(&wire), "{wire:?}");
        assert_eq!(outcomes.all(), [Ok(())]);
    });
}

#[test]
fn a_driver_that_is_awake_has_its_deadlines_for_itself() {
    check(ALL, || {
        let shared = shared_with(Some(Duration::from_secs(1)));
        shared.park(Waker::noop()).unwrap();
        let writer = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.close(CloseCode::NORMAL, "").unwrap();
                shared.parked_close(NOW)
            }
        });
        handle_events(&shared, &mut []);
        assert_eq!(shared.parked_close(NOW), None);
        assert!(writer.join().unwrap().is_none_or(|deadline| deadline == LATE));
        assert!(!shared.is_awaited());
    });
}

#[test]
fn two_threads_end_when_the_connection_is_aborted() {
    check(FEW, || {
        let shared = shared();
        let wire = run_two_threads(&shared, Line::default(), |socket| {
            let _ = socket.send("a");
            socket.abort();
        });
        assert!(wire.is_empty() || wire == A);
        assert_eq!(shared.closed().unwrap().code, CloseCode::ABNORMAL);
    });
}

#[test]
fn two_threads_end_when_the_peer_does_not_answer_a_close() {
    check(FEW, || {
        let shared = shared_with(Some(Duration::from_secs(1)));
        let line = Line { silent: true, ..Line::default() };
        let wire = run_two_threads(&shared, line, |socket| close(&socket).unwrap());
        assert_eq!(wire, CLOSE);
        assert!(!shared.closed().unwrap().clean);
    });
}

/// Events and errors: what a sender was told, the listener hears.
#[test]
fn a_connection_that_fails_while_its_peer_closes_says_why() {
    check(FEW, || {
        let config =
            Config::default().keepalive_interval(None).slow_reader(crate::config::SlowReader::Close).max_queued(8);
        let shared = Arc::new(Shared::new(Connection::server(Arc::new(config), NOW)));
        let refused = Arc::new(AtomicUsize::new(0));
        let count = refused.clone();
        let sends = with_handle(&shared, move |socket| {
            let _ = socket.send("a");
            if socket.send("0123456789") == Err(SendError::Full) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut reader = Reader::of(&mut Connection::server(Arc::default(), NOW));
        let mut bytes = MASKED_CLOSE.to_vec();
        let (mut input, mut errors) = (&mut bytes[..], 0);
        while let Some(event) = reader.next_event(&shared, &mut input) {
            errors += usize::from(matches!(event, Event::Error(_)));
        }
        sends.join().unwrap();
        assert_eq!(errors, refused.load(Ordering::SeqCst), "errors that the listener heard of");
    });
}

/// What is polled beside the callbacks, from any thread.
#[test]
fn a_driver_that_goes_to_sleep_hears_that_what_it_polls_beside_is_woken() {
    check(ALL, || {
        let shared = shared();
        let done = Arc::new(AtomicUsize::new(0));
        let waking = thread::spawn({
            let (waker, done) = (Waker::from(shared.clone()), done.clone());
            move || {
                done.store(1, Ordering::Relaxed);
                waker.wake();
            }
        });
        let sleep = Arc::new(Sleep::default());
        let waker = Waker::from(sleep.clone());
        loop {
            shared.unpark();
            if shared.take_due() && done.load(Ordering::Relaxed) == 1 {
                break;
            }
            if shared.park(&waker).is_ok() {
                sleep.wait();
            }
        }
        waking.join().unwrap();
        shared.finish();
        assert_gone(&shared);
    });
}
