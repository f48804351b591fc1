//! The end of rooms: of their runtime, of their last handle, and by `close`.

use std::sync::mpsc;

use bellwire_core::testing::Recorder;
use bellwire_rooms::{BrokerError, History, HistoryError, PublishError, Rooms, WhileAway};
use bellwire_rooms_tests::{Broker, Kind, PATIENCE, Relay, Way, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::site::{PREFIX, ROOMS, on_each_broker, open, settle, wait_for_messages};

on_each_broker! {
    rooms_live_in_the_runtime_in_which_they_were_made
    the_end_of_the_runtime_is_the_end_of_the_rooms_and_nobody_waits_for_ever
    the_last_handle_takes_the_connection_with_it
    rooms_that_are_closed_while_the_broker_is_away_end_at_once
    what_is_closed_stays_closed
}

fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        Builder::new_current_thread().enable_all().build(),
    ]
    .map(Result::unwrap)
}

fn rooms_live_in_the_runtime_in_which_they_were_made(kind: Kind) {
    let broker = Broker::start(kind);
    for runtime in runtimes() {
        let member = Recorder::new();
        runtime.block_on(async {
            let rooms = open(Rooms::builder().prefix(PREFIX), kind, &broker.url());
            rooms.connected().await.unwrap();
            rooms.join("a", &member.socket()).unwrap();
            let (told, mut outcome) = tokio::sync::mpsc::unbounded_channel();
            rooms.publish_with("a", "hello", move |outcome| told.send(outcome).unwrap());
            assert_eq!(outcome.recv().await, Some(Ok(())));
            while member.sent().is_empty() {
                tokio::task::yield_now().await;
            }
            rooms.close().await;
        });
        wait_until("the broker has forgotten them", || broker.channels(PREFIX).is_empty());
    }
}

fn the_end_of_the_runtime_is_the_end_of_the_rooms_and_nobody_waits_for_ever(kind: Kind) {
    let broker = Broker::with_history(kind);
    let relay = Relay::to(broker.port());
    for runtime in runtimes() {
        relay.set(Way::Open);
        let entered = runtime.enter();
        let builder = Rooms::builder().prefix(PREFIX).history(History::last(10)).while_away(WhileAway::Keep);
        let rooms = open(builder, kind, &broker.url_at(relay.port()));
        drop(entered);
        runtime.block_on(rooms.connected()).unwrap();
        let member = Recorder::new();
        rooms.join("a", &member.socket()).unwrap();
        relay.set(Way::Held);
        let (told, outcomes) = mpsc::channel();
        for _ in 0..3 {
            let told = told.clone();
            rooms.publish_with("a", "in doubt", move |outcome| told.send(outcome).unwrap());
        }
        let history = rooms.history("a", None);
        let closed = rooms.close();
        drop(runtime);
        for _ in 0..3 {
            let outcome = outcomes.recv_timeout(PATIENCE).unwrap();
            assert!(matches!(outcome, Err(PublishError::Lost | PublishError::Unavailable)), "{outcome:?}");
        }
        closed.wait_timeout(PATIENCE).unwrap();
        let history = history.wait_timeout(PATIENCE).unwrap();
        assert!(matches!(history, Err(HistoryError::Unavailable)), "{history:?}");
        assert!(matches!(rooms.connected().wait_timeout(PATIENCE).unwrap(), Err(BrokerError::Closed)));
        assert_eq!(rooms.publish("a", "late"), Err(PublishError::Unavailable));
        assert!(matches!(rooms.history("a", None).wait_timeout(PATIENCE).unwrap(), Err(HistoryError::Unavailable)));
        // What needs no broker goes on.
        rooms.publish_here("a", "here").unwrap();
        wait_for_messages(&member, 1);
        assert!(rooms.leave("a", &member.socket()));
    }
}

fn the_last_handle_takes_the_connection_with_it(kind: Kind) {
    let broker = Broker::start(kind);
    let rooms = open(Rooms::builder().prefix(PREFIX), kind, &broker.url());
    let member = Recorder::new();
    rooms.join("a", &member.socket()).unwrap();
    settle(&broker, &[&rooms], &["a"]);
    rooms.connected().wait_timeout(PATIENCE).unwrap().unwrap();
    let other = rooms.clone();
    drop(rooms);
    other.publish("a", "still").unwrap();
    wait_for_messages(&member, 1);
    assert_eq!(broker.channels(ROOMS).len(), 1);
    // The socket outlives it, and ends later.
    drop(other);
    wait_until("the broker has forgotten it", || broker.channels(PREFIX).is_empty());
    member.end();
}

fn rooms_that_are_closed_while_the_broker_is_away_end_at_once(kind: Kind) {
    let mut broker = Broker::start(kind);
    broker.stop();
    let rooms = open(Rooms::builder().prefix(PREFIX).while_away(WhileAway::Keep), kind, &broker.url());
    let (told, outcome) = mpsc::channel();
    rooms.publish_with("a", "kept", move |outcome| told.send(outcome).unwrap());
    rooms.close().wait_timeout(PATIENCE).unwrap();
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok(Err(PublishError::Unavailable)));
    // Behind a black hole, too: it is not waited for longer than for an answer.
    broker.restart();
    let relay = Relay::to(broker.port());
    let rooms = open(Rooms::builder().prefix(PREFIX), kind, &broker.url_at(relay.port()));
    rooms.connected().wait_timeout(PATIENCE).unwrap().unwrap();
    relay.set(Way::BlackHole);
    rooms.close().wait_timeout(PATIENCE).unwrap();
}

fn what_is_closed_stays_closed(kind: Kind) {
    let broker = Broker::start(kind);
    let rooms = open(Rooms::builder().prefix(PREFIX), kind, &broker.url());
    rooms.connected().wait_timeout(PATIENCE).unwrap().unwrap();
    rooms.close().wait();
    rooms.close().wait();
    assert!(!rooms.is_connected());
    let member = Recorder::new();
    // Nobody is kept from it, but it comes to nothing at the broker.
    let _ = rooms.join("a", &member.socket());
    assert_eq!(rooms.publish("a", "late"), Err(PublishError::Unavailable));
    wait_until("the broker has forgotten them", || broker.channels(PREFIX).is_empty());
    assert!(matches!(rooms.connected().wait_timeout(PATIENCE).unwrap(), Err(BrokerError::Closed)));
}
