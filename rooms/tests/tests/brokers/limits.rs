//! Brokers that take less than they are given: shorter messages, less memory.

use bellwire_core::testing::Recorder;
use bellwire_rooms::{History, PublishError};
use bellwire_rooms_tests::{Broker, Kind};

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
