//! A connection that is shared with its handles: who is told what was written, and who is woken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use bellwire_core::backend::{Busy, Driver, Shared};
use bellwire_core::listener::IntoListener;
use bellwire_core::proto::{Connection, Output, Time};
use bellwire_core::{Config, Role, SendError, Socket, WebSocket, listener};

use crate::common::*;

fn flat(output: &Output) -> Vec<u8> {
    output.pieces().flatten().copied().collect()
}

// Who waits for what is written: `send_with`.

type Results = Arc<Mutex<Vec<(&'static str, Result<(), SendError>)>>>;

fn shared(config: &Config) -> (Arc<Shared>, WebSocket) {
    let shared = Arc::new(Shared::new(open(Role::Server, config)));
    let socket = WebSocket::from_arc(shared.clone());
    (shared, socket)
}

fn note(results: &Results, name: &'static str) -> impl FnOnce(Result<(), SendError>) + Send + use<> {
    let results = results.clone();
    move |result| results.lock().unwrap().push((name, result))
}

fn taken(results: &Results) -> Vec<(&'static str, Result<(), SendError>)> {
    std::mem::take(&mut results.lock().unwrap())
}

#[test]
fn a_completion_comes_once_and_not_before_its_last_byte_was_written() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    socket.send_with("123", note(&results, "one"));
    socket.send_with("456", note(&results, "two"));
    socket.send_with(vec![0; 20_000], note(&results, "large"));
    let output = shared.take_output().unwrap();
    shared.wrote(START, 4);
    assert_eq!(taken(&results), []);
    shared.wrote(START, 1);
    assert_eq!(taken(&results), [("one", Ok(()))]);
    shared.wrote(START, 6);
    assert_eq!(taken(&results), [("two", Ok(()))]);
    shared.wrote(START, output.len() - 12);
    assert_eq!(taken(&results), []);
    shared.wrote(START, 1);
    assert_eq!(taken(&results), [("large", Ok(()))]);
    shared.finish();
    assert_eq!(taken(&results), [], "once");
}

#[test]
fn one_write_completes_all_that_it_wrote_in_order() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    for name in ["one", "two", "three"] {
        socket.send_with(name, note(&results, name));
    }
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    assert_eq!(taken(&results), [("one", Ok(())), ("two", Ok(())), ("three", Ok(()))]);
}

#[test]
fn a_send_that_is_refused_completes_at_once_with_the_reason() {
    let (shared, socket) = shared(&timeless().max_queued(100));
    let results = Results::default();
    socket.send([0; 90].as_slice()).unwrap();
    socket.send_with([0; 90].as_slice(), note(&results, "full"));
    assert_eq!(taken(&results), [("full", Err(SendError::Full))]);
    socket.close().unwrap();
    socket.send_with("x", note(&results, "closed"));
    assert_eq!(taken(&results), [("closed", Err(SendError::Closed))]);
    drop(shared);
}

#[test]
fn who_waits_when_the_connection_ends_is_told_once_that_it_was_in_vain() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    socket.send_with("written", note(&results, "written"));
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    socket.send_with("lost", note(&results, "lost"));
    socket.send_with("lost", note(&results, "lost, too"));
    shared.with(Connection::receive_eof);
    shared.finish();
    let expected = [("written", Ok(())), ("lost", Err(SendError::Closed)), ("lost, too", Err(SendError::Closed))];
    assert_eq!(taken(&results), expected);
    shared.wrote(START, 100);
    shared.finish();
    assert_eq!(taken(&results), []);
}

#[test]
fn a_dropped_driver_tells_who_waits() {
    let driver = Driver::connected(open(Role::Server, &timeless()), listener().into_listener());
    let results = Results::default();
    driver.socket().unwrap().send_with("x", note(&results, "x"));
    drop(driver);
    assert_eq!(taken(&results), [("x", Err(SendError::Closed))]);
}

#[test]
fn waiting_for_what_is_written_or_gone_already_ends_at_once() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let position = shared.send("x".into()).unwrap();
    let lost = shared.send("y".into()).unwrap();
    shared.take_output().unwrap();
    shared.wrote(START, position.bytes() as usize);
    socket.as_socket().when_written(position, Box::new(note(&results, "x")));
    assert_eq!(taken(&results), [("x", Ok(()))]);
    shared.finish();
    socket.as_socket().when_written(lost, Box::new(note(&results, "y")));
    socket.as_socket().when_written(position, Box::new(note(&results, "x")));
    assert_eq!(taken(&results), [("y", Err(SendError::Closed)), ("x", Ok(()))]);
}

#[test]
fn completions_come_in_the_order_of_the_bytes_whatever_order_they_were_asked_for_in() {
    let (shared, _) = shared(&timeless());
    let results = Results::default();
    let [one, two, three] = ["1", "2", "3"].map(|text| shared.send(text.into()).unwrap());
    shared.when_written(three, Box::new(note(&results, "three")));
    shared.when_written(one, Box::new(note(&results, "one")));
    shared.when_written(two, Box::new(note(&results, "two")));
    shared.take_output().unwrap();
    shared.wrote(START, 6);
    assert_eq!(taken(&results), [("one", Ok(())), ("two", Ok(()))]);
    shared.wrote(START, 3);
    assert_eq!(taken(&results), [("three", Ok(()))]);
}

#[test]
fn j8_a_completion_may_send_the_next_message() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let (again, second) = (socket.clone(), note(&results, "second"));
    socket.send_with("Hello", move |result| {
        assert_eq!(result, Ok(()));
        assert_eq!(again.buffered(), 0);
        again.send_with("World", second);
    });
    let hello = shared.take_output().unwrap();
    shared.wrote(START, hello.len());
    let world = shared.take_output().unwrap();
    assert_eq!(flat(&hello), Frame::text("Hello").sent_by(Role::Server));
    assert_eq!(flat(&world), Frame::text("World").sent_by(Role::Server));
    assert_eq!(taken(&results), []);
    shared.wrote(START, world.len());
    assert_eq!(taken(&results), [("second", Ok(()))]);
}

#[test]
fn a_completion_that_came_in_vain_may_use_the_socket() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let (again, in_vain) = (socket.clone(), note(&results, "again"));
    socket.send_with("x", move |_| again.send_with("y", in_vain));
    shared.finish();
    assert_eq!(taken(&results), [("again", Err(SendError::Closed))]);
    assert!(!socket.is_open());
}

#[test]
fn a_completion_that_panics_harms_nobody() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    socket.send_with("one", |_| panic!("on purpose"));
    socket.send_with("two", note(&results, "two"));
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    assert_eq!(taken(&results), [("two", Ok(()))]);
    socket.send_with("three", |_| panic!("on purpose"));
    socket.send_with("four", note(&results, "four"));
    shared.finish();
    assert_eq!(taken(&results), [("four", Err(SendError::Closed))]);
}

// Waking.

#[test]
fn a_driver_that_parks_gets_the_deadline() {
    let (_, waker) = waker();
    let mut driver = Driver::connected(open(Role::Server, &Config::default()), listener().into_listener());
    driver.start(START);
    assert_eq!(driver.park(START, &waker), Ok(Some(at(secs(20)))));
    let mut driver = Driver::connected(open(Role::Server, &timeless()), listener().into_listener());
    driver.start(START);
    assert_eq!(driver.park(START, &waker), Ok(None));
}

#[test]
fn a_driver_that_may_not_sleep_has_run_the_callbacks_that_waited() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let counts = listener().on_close(move |_, _, _| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut driver = Driver::connected(open(Role::Server, &timeless()), counts.into_listener());
    driver.start(START);
    let (_, waker) = waker();
    driver.socket().unwrap().abort();
    assert_eq!(driver.park(START, &waker), Err(Busy));
    assert_eq!(closed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_parked_driver_is_woken_once_by_whatever_gives_it_something_to_do() {
    let actions: [fn(&WebSocket); 6] = [
        |socket| socket.send("x").unwrap(),
        |socket| socket.ping(b"").unwrap(),
        |socket| socket.pong(b"").unwrap(),
        |socket| socket.as_socket().answer_ping(b""),
        |socket| socket.close().unwrap(),
        WebSocket::abort,
    ];
    for action in actions {
        let (shared, socket) = shared(&timeless());
        let (wakes, waker) = waker();
        assert!(shared.park(&waker).is_ok());
        assert_eq!(wakes.count(), 0);
        action(&socket);
        assert_eq!(wakes.count(), 1);
        // It is awake now, until it parks again.
        let _ = socket.send("x");
        let _ = socket.ping(b"");
        assert_eq!(wakes.count(), 1);
        assert_eq!(shared.park(&waker), Err(Busy));
    }
}

#[test]
fn a_driver_with_output_or_events_may_not_sleep() {
    let (shared, socket) = shared(&timeless());
    let (wakes, waker) = waker();
    socket.send("x").unwrap();
    assert_eq!(shared.park(&waker), Err(Busy), "output");
    let output = shared.take_output().unwrap();
    assert!(shared.park(&waker).is_ok(), "somebody writes it");
    socket.send("y").unwrap();
    assert_eq!(wakes.count(), 1);
    assert!(shared.park(&waker).is_ok(), "somebody still writes, and goes on with this");
    shared.wrote(START, output.len());
    assert_eq!(shared.park(&waker), Err(Busy), "more output");
    socket.abort();
    assert_eq!(shared.park(&waker), Err(Busy), "an event");
    assert!(shared.with(|connection| connection.next_event(START, &mut Default::default())).is_some());
    assert!(shared.park(&waker).is_ok());
}

#[test]
fn only_the_newest_waker_is_called() {
    let (shared, socket) = shared(&timeless());
    let (old, old_waker) = waker();
    let (new, new_waker) = waker();
    assert!(shared.park(&old_waker).is_ok());
    assert!(shared.park(&new_waker).is_ok());
    socket.send("x").unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_waker_may_use_the_connection() {
    struct Takes(Mutex<Option<Arc<Shared>>>, AtomicUsize);
    impl Wake for Takes {
        fn wake(self: Arc<Self>) {
            let output = self.0.lock().unwrap().as_ref().unwrap().take_output().unwrap();
            self.1.store(output.len(), Ordering::Relaxed);
        }
    }
    let (shared, socket) = shared(&timeless());
    let takes = Arc::new(Takes(Mutex::new(Some(shared.clone())), AtomicUsize::new(0)));
    assert!(shared.park(&takes.clone().into()).is_ok());
    socket.send("123").unwrap();
    assert_eq!(takes.1.load(Ordering::Relaxed), 5);
    takes.0.lock().unwrap().take();
}

/// What a callback sends is written when the callbacks are done: there is nobody to wake.
#[test]
fn sends_from_inside_a_callback_wake_nobody_and_leave_together() {
    let echo = listener().on_message(|socket, message| socket.send(message));
    let mut driver = Driver::connected(open(Role::Server, &timeless()), echo.into_listener());
    driver.start(START);
    let (wakes, waker) = waker();
    for _ in 0..3 {
        assert!(driver.park(START, &waker).is_ok());
        // The transport has woken it: there are bytes.
        let mut bytes = wire(&[Frame::text("one"), Frame::text("two")], Role::Client);
        driver.receive(START, &mut bytes);
        assert_eq!(wakes.count(), 0);
        let output = driver.take_output().unwrap();
        assert_eq!(flat(&output), wire(&[Frame::text("one"), Frame::text("two")], Role::Server));
        driver.wrote(START, output.len());
    }
    assert!(driver.park(START, &waker).is_ok());
    driver.socket().unwrap().send("from outside").unwrap();
    assert_eq!(wakes.count(), 1);
}

/// A driver that is parked with this waker, and runs `act` when a message comes.
fn parked(waker: &Waker, act: impl FnMut(&WebSocket) + Send + 'static) -> Driver {
    let mut act = act;
    let acts = listener().on_message(move |socket, _| act(socket));
    let mut driver = Driver::connected(open(Role::Server, &timeless()), acts.into_listener());
    driver.start(START);
    assert!(driver.park(START, waker).is_ok());
    driver
}

#[test]
fn a_send_from_another_connection_s_callback_wakes_its_driver() {
    let ((_, idle), (wakes, waker)) = (waker(), waker());
    let mut receiver = parked(&waker, |_| ());
    let to = receiver.socket().unwrap().clone();
    let mut sender = parked(&idle, move |_| {
        to.send("one").unwrap();
        to.send("two").unwrap();
    });
    sender.receive(START, &mut Frame::text("go").sent_by(Role::Client));
    assert_eq!(wakes.count(), 1);
    let output = receiver.take_output().unwrap();
    assert_eq!(flat(&output), wire(&[Frame::text("one"), Frame::text("two")], Role::Server));
}

/// A callback that takes long must not keep back what others send meanwhile, where somebody else can write it.
#[test]
fn a_send_from_another_thread_while_a_callback_runs_wakes() {
    let (wakes, waker) = waker();
    let mut driver = parked(&waker, |socket| {
        std::thread::scope(|scope| drop(scope.spawn(|| socket.send("from elsewhere").unwrap()).join()));
    });
    driver.receive(START, &mut Frame::text("go").sent_by(Role::Client));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn several_threads_may_send_and_no_message_is_mixed_with_another() {
    let (shared, socket) = shared(&timeless().max_queued(usize::MAX));
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let socket = socket.clone();
            scope.spawn(move || {
                for i in 0..200usize {
                    socket.send(vec![thread; i * 100]).unwrap();
                }
            });
        }
    });
    let output = flat(&shared.take_output().unwrap());
    let mut client = open(Role::Client, &timeless());
    let seen = feed(&mut client, Time::ZERO, &output);
    assert_eq!(seen.len(), 800);
    let mut next = [0; 4];
    for message in seen {
        let Seen::Binary(bytes) = message else { panic!("{message:?}") };
        if let Some(&thread) = bytes.first() {
            assert!(bytes.iter().all(|&byte| byte == thread));
            next[usize::from(thread)] += 100;
            assert_eq!(bytes.len(), next[usize::from(thread)], "each thread's messages in order");
        }
    }
    assert_eq!(next, [19_900; 4]);
}

/// `is_awaited` and `parked_close` are for a driver that sleeps. This one is in the midst of a callback.
#[test]
fn a_driver_that_goes_on_after_a_pending_callback_is_awake() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (seen, may_go_on) = (Arc::<OnceLock<bool>>::default(), Arc::<AtomicBool>::default());
    let shared = Arc::<OnceLock<Arc<bellwire_core::backend::Shared>>>::default();
    let (noted, goes_on, known) = (seen.clone(), may_go_on.clone(), shared.clone());
    let listener = bellwire_core::async_listener().on_message(move |socket, message| {
        let (noted, goes_on, known) = (noted.clone(), goes_on.clone(), known.clone());
        let is_first = message.as_bytes() == b"1";
        async move {
            if is_first {
                std::future::poll_fn(|_| match goes_on.load(Ordering::SeqCst) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                })
                .await;
            } else {
                socket.abort();
                let _ = noted.set(known.get().unwrap().is_awaited());
            }
        }
    });
    let mut driver = crate::logging::started(
        Role::Server,
        &timeless(),
        bellwire_core::listener::IntoAnyListener::into_any_listener(listener),
    );
    assert!(shared.set(driver.shared().unwrap().clone()).is_ok());
    driver.receive(START, &mut wire(&[Frame::text("1"), Frame::text("2")], Role::Client));
    let waker = std::task::Waker::noop();
    assert!(driver.poll_pending(START, waker).is_ok() && driver.settle(waker).is_ok());
    may_go_on.store(true, Ordering::SeqCst);
    assert!(driver.poll_pending(START, waker).is_err());
    assert_eq!(seen.get(), Some(&false), "the second callback has run");
}
