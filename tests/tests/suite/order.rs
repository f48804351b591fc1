//! The invariant 1.13 while nothing dies: one callback at a time, in the order of the wire, and none after the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use bellwire::{BoxError, CloseCode, Error, Listener, Message, Outcome, Role, SendError, WebSocket, listener};
use bellwire_tests::{Backend, Event, Frame, Ours, PING, PONG, backends, next, quiet};

backends! {
    both {
        d1_i8_on_close_waits_for_the_callback_that_closes,
        d1_i8_on_close_waits_for_the_callback_while_another_thread_aborts,
        i8_callbacks_come_one_at_a_time_in_the_order_of_the_wire,
        d2_it_is_open_from_on_open_on_and_not_in_on_error_nor_in_on_close,
        d2_it_is_not_open_behind_the_peers_close,
        i10_nothing_comes_after_on_close_whatever_it_does,
        i13_a_wrapper_may_tell_an_error_and_the_connection_stays_open,
        t15_a_wrapper_keeps_the_choice_about_pings,
    }
}

/// Notes, in their order.
type Notes = Arc<Mutex<Vec<&'static str>>>;

fn note(notes: &Notes, text: &'static str) {
    notes.lock().unwrap().push(text);
}

fn d1_i8_on_close_waits_for_the_callback_that_closes<B: Backend>(role: Role) {
    let backend = B::start();
    let closes: [fn(&WebSocket); 2] = [|socket| socket.close().unwrap(), WebSocket::abort];
    for close in closes {
        let notes = Notes::default();
        let (inside, outside) = (notes.clone(), notes.clone());
        let listener = listener()
            .on_message(move |socket, _| {
                close(socket);
                note(&inside, if socket.is_open() { "still open" } else { "closed at once" });
                note(&inside, "return");
            })
            .on_close(move |_, _, _| note(&outside, "on_close"));
        let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        // The answer to the close is there already.
        peer.send([Frame::text("x"), Frame::close(1000, "")]);
        peer.shutdown_write();
        peer.drain();
        log.rest();
        assert_eq!(*notes.lock().unwrap(), ["closed at once", "return", "on_close"]);
    }
}

fn d1_i8_on_close_waits_for_the_callback_while_another_thread_aborts<B: Backend>(role: Role) {
    let backend = B::start();
    let notes = Notes::default();
    let (inside, outside) = (notes.clone(), notes.clone());
    let listener = listener()
        .on_message(move |socket, _| {
            let socket = socket.clone();
            thread::spawn(move || socket.abort()).join().unwrap();
            note(&inside, "return");
        })
        .on_close(move |_, _, _| note(&outside, "on_close"));
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("x")]);
    log.ends_with([Event::Open, Event::text("x"), Event::close(1006, "")]);
    assert_eq!(*notes.lock().unwrap(), ["return", "on_close"]);
}

/// Whether a callback runs: two at once, or one inside another, are told.
#[derive(Clone)]
struct Busy(Arc<AtomicBool>, Sender<&'static str>);

impl Busy {
    fn during(&self, action: impl FnOnce()) {
        if self.0.swap(true, Ordering::SeqCst) {
            self.1.send("two at once").unwrap();
        }
        action();
        thread::yield_now();
        self.0.store(false, Ordering::SeqCst);
    }
}

fn i8_callbacks_come_one_at_a_time_in_the_order_of_the_wire<B: Backend>(role: Role) {
    const COUNT: usize = 100;
    let backend = B::start();
    let (problems, problem) = mpsc::channel();
    let busy = Busy(Arc::default(), problems);
    let [message, ping, pong, close] = [(); 4].map(|()| busy.clone());
    let listener = listener()
        // What is called inside of a callback does not call back.
        .on_message(move |socket, text| message.during(|| socket.send(text).unwrap()))
        .on_ping(move |socket, data| ping.during(|| socket.pong(data).unwrap()))
        .on_pong(move |socket, _| pong.during(|| socket.ping("").unwrap()))
        .on_close(move |_, _, _| close.during(|| ()));
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener);
    drop(busy);
    let outside = thread::spawn(move || {
        for _ in 0..COUNT {
            // The queue may be full for a moment.
            let _ = socket.send("from outside");
        }
    });
    let frames = |index: usize| {
        let data = index.to_string();
        [Frame::text(&data), Frame::new(PING, &data), Frame::new(PONG, &data)]
    };
    peer.send((0..COUNT).flat_map(frames).chain([Frame::close(1000, "")]));
    while peer.read() != Frame::close(1000, "") {}
    peer.hang_up();
    outside.join().unwrap();
    let events = (0..COUNT).flat_map(|index| {
        let data = index.to_string();
        [Event::text(&data), Event::Ping(data.clone().into()), Event::Pong(data.into())]
    });
    log.ends_with([Event::Open].into_iter().chain(events).chain([Event::close(1000, "")]));
    assert!(problem.recv().is_err(), "two at once");
}

fn d2_it_is_open_from_on_open_on_and_not_in_on_error_nor_in_on_close<B: Backend>(role: Role) {
    let backend = B::start();
    let (opens, open) = mpsc::channel();
    let [in_open, in_message, in_error, in_close] = [(); 4].map(|()| opens.clone());
    drop(opens);
    let listener = listener()
        .on_open(move |socket| in_open.send(("on_open", socket.is_open())).unwrap())
        .on_message(move |socket, _| in_message.send(("on_message", socket.is_open())).unwrap())
        .on_error(move |socket, _| in_error.send(("on_error", socket.is_open())).unwrap())
        .on_close(move |socket, _, _| in_close.send(("on_close", socket.is_open())).unwrap());
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("x"), Frame::text(b"\xff")]);
    log.rest();
    let seen: Vec<_> = open.iter().collect();
    assert_eq!(seen, [("on_open", true), ("on_message", true), ("on_error", false), ("on_close", false)]);
    assert!(!socket.is_open());
}

fn d2_it_is_not_open_behind_the_peers_close<B: Backend>(role: Role) {
    let backend = B::start();
    let (opens, open) = mpsc::channel();
    let listener = listener().on_close(move |socket, _, _| {
        opens.send(socket.is_open()).unwrap();
        assert_eq!(socket.send("too late"), Err(SendError::Closed));
    });
    let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::close(1000, "")]);
    assert!(!next(&open));
}

fn i10_nothing_comes_after_on_close_whatever_it_does<B: Backend>(role: Role) {
    let backend = B::start();
    for aborts in [false, true] {
        let (outcomes, outcome) = mpsc::channel();
        let listener = listener().on_close(move |socket, _, _| {
            let outcomes = outcomes.clone();
            assert_eq!(socket.send("late"), Err(SendError::Closed));
            assert_eq!(socket.ping("late"), Err(SendError::Closed));
            assert_eq!(socket.close(), Err(SendError::Closed));
            socket.send_with("late", move |result| outcomes.send(result).unwrap());
            if aborts {
                socket.abort();
            }
        });
        let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        peer.send([Frame::close(1000, "bye"), Frame::text("late"), Frame::new(PING, "late")]);
        if aborts {
            // Without a word: the answer to the close was still to be written.
            peer.drain();
        } else {
            peer.expect([Frame::close(1000, "bye")]);
            peer.hang_up();
        }
        log.ends_with([Event::Open, Event::close(1000, "bye")]);
        assert_eq!(next(&outcome), Err(SendError::Closed));
        assert!(outcome.recv().is_err(), "no more than once");
    }
}

/// Does not let everything through, and tells why.
struct Strict<L>(L);

impl<L: Listener> Listener for Strict<L> {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.0)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        if message == "bad" {
            self.0.on_error(socket, &Error::Callback(BoxError::from("not good").into()));
            return Ok(());
        }
        self.0.on_message(socket, message)
    }
}

/// Writes down what it hears, without the checks of a log.
struct Hears(Sender<String>);

impl Listener for Hears {
    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        self.0.send(format!("{message:?}"))?;
        Ok(())
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        self.0.send(format!("{error}, open: {}", socket.is_open())).unwrap();
    }

    fn on_close(&mut self, _: &WebSocket, code: CloseCode, _: &str) {
        self.0.send(format!("{}", code.0)).unwrap();
    }
}

fn i13_a_wrapper_may_tell_an_error_and_the_connection_stays_open<B: Backend>(role: Role) {
    let backend = B::start();
    let (heard, hears) = mpsc::channel();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), Strict(Hears(heard)));
    peer.send([Frame::text("bad"), Frame::text("good"), Frame::close(1000, "")]);
    peer.expect([Frame::close(1000, "")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("bad"), Event::text("good"), Event::close(1000, "")]);
    let heard: Vec<_> = hears.iter().collect();
    assert_eq!(heard, ["a callback failed: not good, open: true", "Text(\"good\")", "1000"]);
}

fn t15_a_wrapper_keeps_the_choice_about_pings<B: Backend>(role: Role) {
    let backend = B::start();
    let end = Frame::text("end");
    let ours = |inner| {
        let listener = Strict(Strict(inner));
        Ours::raw(&backend, role, quiet(), listener).peer
    };
    // Who does not say anything about pings has them answered, once.
    let mut peer = ours(boxed(listener().on_message(|socket, message| socket.send(message))));
    peer.send([Frame::new(PING, "x"), end.clone()]);
    peer.expect([Frame::new(PONG, "x"), end.clone()]);
    // Who has taken it on answers alone, as it likes.
    let own = listener().on_message(|socket, message| socket.send(message)).on_ping(|socket, _| socket.pong("mine"));
    let mut peer = ours(boxed(own));
    peer.send([Frame::new(PING, "x"), end.clone()]);
    peer.expect([Frame::new(PONG, "mine"), end]);
}

fn boxed(listener: impl bellwire::listener::IntoListener) -> Box<dyn Listener> {
    listener.into_listener()
}
