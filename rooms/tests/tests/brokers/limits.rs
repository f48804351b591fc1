//! Brokers that take less than they are given: shorter messages, less memory.

use std::sync::mpsc;
use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_rooms::{History, PublishError, WhileAway};
use bellwire_rooms_tests::{Broker, Kind, PATIENCE};

use crate::site::{settle, wait_for_messages};
use crate::watched::Watched;

#[test]
#[ignore = "needs nats-server"]
fn a_message_above_the_limit_of_nats_is_too_long_and_costs_no_connection() {
    const LIMIT: usize = 2000;
    let broker = Broker::with(Kind::Nats, &["max_payload: 2000"]);
    let node = Watched::at(&broker, |builder| builder);
    let member = Recorder::new();
    node.rooms.join("a", &member.socket()).unwrap();
    settle(&broker, &[&node.rooms], &["a"]);
    let refused = node.rooms.publish("a", "x".repeat(LIMIT));
    let Err(PublishError::TooLong { length: LIMIT, limit }) = refused else { panic!("{refused:?}") };
    assert!((LIMIT - 100..LIMIT).contains(&limit));
    node.rooms.publish("a", "x".repeat(limit)).unwrap();
    assert_eq!(wait_for_messages(&member, 1), ["x".repeat(limit)]);
    assert!(node.gaps().is_empty() && node.away().is_empty());
}

#[test]
#[ignore = "needs redis-server"]
fn messages_that_redis_has_no_memory_for_are_refused_and_cost_no_connection() {
    let broker = Broker::start(Kind::Redis);
    let node = Watched::at(&broker, |builder| builder.history(History::last(100)));
    let member = Recorder::new();
    node.rooms.join("a", &member.socket()).unwrap();
    settle(&broker, &[&node.rooms], &["a"]);
    node.publish("a", 0);
    wait_for_messages(&member, 1);
    broker.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    node.publish("a", 1);
    let outcomes = node.wait_for_outcomes(2);
    assert!(matches!(&outcomes[1], (1, Err(PublishError::Refused(reason))) if reason.contains("OOM")), "{outcomes:?}");
    broker.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    node.publish("a", 2);
    assert_eq!(node.wait_for_outcomes(3)[2], (2, Ok(())));
    assert_eq!(wait_for_messages(&member, 2), ["0", "2"]);
    assert!(node.gaps().is_empty() && node.away().is_empty());
}

#[test]
#[ignore = "needs nats-server and redis-server"]
fn the_greatest_settings_are_settings() {
    for kind in Kind::ALL {
        let broker = Broker::with_history(kind);
        let node = Watched::at(&broker, |builder| {
            builder
                .history(History::last(usize::MAX).for_at_most(Duration::MAX))
                .heartbeat(Duration::MAX)
                .answer_timeout(Duration::MAX)
                .backoff(Duration::MAX, Duration::MAX)
                .queue(usize::MAX, usize::MAX)
                .max_message(usize::MAX)
        });
        node.publish("a", 0);
        assert_eq!(node.wait_for_outcomes(1), [(0, Ok(()))], "{kind:?}");
        let member = Recorder::new();
        node.rooms.join_since("a", &member.socket(), None).unwrap();
        assert_eq!(wait_for_messages(&member, 1), ["0"], "{kind:?}");
        assert!(node.gaps().is_empty() && node.away().is_empty(), "{kind:?}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_message_that_waited_and_is_above_the_limit_of_redis_is_too_long_and_costs_no_connection() {
    const LIMIT: usize = 1 << 20;
    let mut broker = Broker::with(Kind::Redis, &["proto-max-bulk-len 1mb"]);
    broker.stop();
    let node = Watched::new(broker.kind(), &broker.url(), |builder| {
        builder.while_away(WhileAway::Keep).max_message(2 * LIMIT)
    });
    let (told, hear) = mpsc::channel();
    for length in [1, LIMIT, 2] {
        let told = told.clone();
        node.rooms.publish_with("a", vec![0; length], move |outcome| told.send((length, outcome)).unwrap());
    }
    broker.restart();
    let outcomes: Vec<_> = (0..3).map(|_| hear.recv_timeout(PATIENCE).unwrap()).collect();
    let too_long = PublishError::TooLong { length: LIMIT + 9, limit: LIMIT };
    assert_eq!(outcomes, [(1, Ok(())), (LIMIT, Err(too_long)), (2, Ok(()))]);
}
