//! Models of what several threads do with the connections of one server: its registry, and the answers of its handlers.
//! Loom runs each in every order in which its threads can take locks and sleep.
//!
//! A thread that sleeps for ever is a deadlock, which loom reports: so a model that comes to its end has lost no
//! wake-up.

use alloc::sync::Arc;
use core::task::{Poll, Waker};

use loom::thread;

use crate::api::{Response, WebSocket};
use crate::config::Config;
use crate::drive::Shared;
use crate::protocol::Connection;
use crate::serve::{Answer, Registration, Registry, Responder, ServerError, Stage};
use crate::sync::{block_on, wait_for};
use crate::time::Time;

/// Polls as a task does, until it is told to end.
fn run_to(stage: Stage, registration: &mut Registration) {
    wait_for(|cx| if registration.register(cx.waker()) >= stage { Poll::Ready(()) } else { Poll::Pending });
}

fn socket() -> (Arc<Shared>, WebSocket) {
    let config = Config::default().keepalive_interval(None);
    let shared = Arc::new(Shared::new(Connection::server(Arc::new(config), Time::ZERO)));
    (shared.clone(), WebSocket::from_arc(shared))
}

#[test]
fn a_task_that_goes_to_sleep_hears_of_each_stage() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let mut registration = Registration::new(registry.clone());
        let task = thread::spawn(move || {
            run_to(Stage::Closing, &mut registration);
            run_to(Stage::Dropping, &mut registration);
        });
        registry.enter(Stage::Closing);
        registry.enter(Stage::Dropping);
        task.join().unwrap();
        assert_eq!(registry.tasks(), 0);
    });
}

#[test]
fn a_task_that_moves_to_another_thread_hears_of_the_end() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let mut registration = Registration::new(registry.clone());
        // Polled here first, by a waker that nobody listens to.
        let first = registration.register(Waker::noop());
        assert_eq!(first, Stage::Running);
        let task = thread::spawn(move || run_to(Stage::Closing, &mut registration));
        registry.enter(Stage::Closing);
        task.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_the_end_hears_of_the_last_that_leaves() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let tasks = [(); 2].map(|()| {
            let registration = Registration::new(registry.clone());
            thread::spawn(move || drop(registration))
        });
        block_on(registry.wait_for_end());
        assert_eq!(registry.tasks(), 0);
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

#[test]
fn whoever_waits_for_room_hears_of_one_that_leaves_or_of_the_end() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let registration = Registration::new(registry.clone());
        let stays = Registration::new(registry.clone());
        let leaving = thread::spawn(move || drop(registration));
        let (closing, closes) = (registry.clone(), || registry.stage() >= Stage::Closing);
        let shutdown = thread::spawn(move || closing.enter(Stage::Closing));
        block_on(registry.wait_for_room(2));
        assert!(registry.tasks() == 1 || closes());
        block_on(registry.wait_for_room(1));
        assert!(closes(), "the other one has not left");
        drop(stays);
        leaving.join().unwrap();
        shutdown.join().unwrap();
    });
}

#[test]
fn a_socket_that_opens_while_all_are_closed_is_closed() {
    loom::model(|| {
        let registry = Arc::new(Registry::default());
        let (shared, socket) = socket();
        let place = registry.opens();
        let opening = {
            let (registry, socket) = (registry.clone(), socket.clone());
            thread::spawn(move || {
                registry.opened(&place, &socket);
                place
            })
        };
        registry.close_all();
        let place = opening.join().unwrap();
        assert!(!socket.is_open());
        assert_eq!(registry.connections(), 1);
        registry.ended(place);
        shared.finish();
        assert_eq!(registry.connections(), 0);
    });
}

/// Waits as a driver does for its handler.
fn wait_for_answer(answer: &Answer) -> Result<u16, ServerError> {
    wait_for(|cx| answer.poll(cx.waker())).map(|response| response.status())
}

#[test]
fn an_answer_comes_though_it_is_given_while_its_driver_goes_to_sleep() {
    loom::model(|| {
        let (responder, answer) = Responder::pair();
        let handler = thread::spawn(move || responder.respond(Response::text("at last")));
        assert!(matches!(wait_for_answer(&answer), Ok(200)));
        handler.join().unwrap();
        assert!(answer.take().is_none());
    });
}

#[test]
fn a_driver_hears_of_a_responder_that_is_dropped_whoever_polled_first() {
    loom::model(|| {
        let (responder, answer) = Responder::pair();
        assert!(answer.poll(Waker::noop()).is_pending());
        let handler = thread::spawn(move || drop(responder));
        assert!(matches!(wait_for_answer(&answer), Err(ServerError::NoAnswer)));
        handler.join().unwrap();
    });
}

#[test]
fn a_responder_knows_whether_its_answer_was_wanted() {
    loom::model(|| {
        let (responder, answer) = Responder::pair();
        let driver = thread::spawn(move || {
            let answered = answer.take().is_some();
            drop(answer);
            answered
        });
        let was_waiting = responder.is_waiting();
        responder.respond(Response::text("perhaps"));
        let answered = driver.join().unwrap();
        assert!(was_waiting || !answered);
    });
}
