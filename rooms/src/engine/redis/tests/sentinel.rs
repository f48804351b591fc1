//! What is given as Sentinels. What they do is in the tests with processes.

use super::*;

fn no_broker(redis: Redis) -> String {
    let shown = format!("{redis:?}");
    let error = RedisBroker::new(redis, "app", None, PATIENCE).unwrap_err();
    assert!(matches!(error, BrokerError::Url(_)), "{error:?}");
    let shown = format!("{shown} {error}");
    assert!(!shown.contains("hidden"), "{shown}");
    shown
}

#[test]
fn a_redis_behind_sentinels_shows_them_and_no_credentials() {
    let redis = Redis::from("redis://user:hidden@My.master_1/3")
        .sentinels(["redis://:hidden@s1", "redis://user:hidden@s2:5000"]);
    assert_eq!(format!("{redis:?}"), "Redis(My.master_1, by the Sentinels redis://s1:26379, redis://s2:5000)");
    let broker = RedisBroker::new(redis, "app", None, PATIENCE).unwrap();
    assert!(!format!("{broker:?}").contains("hidden"), "{broker:?}");
}

#[test]
fn what_cannot_be_sentinels_says_what_to_write() {
    let primary = || Redis::from("redis://user:hidden@mymaster");
    assert!(no_broker(primary().sentinels([""; 0])).contains("none is given"));
    assert!(no_broker(primary().sentinels(["redis://s1", "s2:hidden"])).contains("no scheme"));
    assert!(no_broker(Redis::from("hidden").sentinels(["redis://s1"])).contains("no scheme"));
    let socket = Redis::from("unix:///run/redis.sock?pass=hidden").sentinels(["redis://s1"]);
    assert!(no_broker(socket).contains("redis://mymaster"));
}

#[test]
fn whoever_waits_for_ever_is_told_nevertheless_that_no_sentinel_is_there() {
    let (told, hear) = std::sync::mpsc::channel();
    let rooms = crate::Rooms::builder()
        .answer_timeout(Duration::MAX)
        .on_away(move |error| _ = told.send(error.clone()))
        // Nobody may listen there.
        .redis(Redis::from("redis://mymaster").sentinels(["redis://127.0.0.1:1"]))
        .unwrap();
    let error = hear.recv_timeout(PATIENCE);
    assert!(matches!(error, Ok(BrokerError::Unreachable(_))), "{error:?}");
    rooms.close().wait();
}
