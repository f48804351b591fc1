//! What subscribers of `tracing` and recorders of `metrics` see, with a broker in memory and virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use bellwire_core::testing::Recorder;
use metrics::Unit;

use self::collector::Collector;
use self::recorder::Recording;
use crate::builder::{Builder, WhileAway};
use crate::engine::testing::Memory;
use crate::error::PublishError;
use crate::rooms::Rooms;

#[allow(dead_code, reason = "the core's tests use more of it")]
#[path = "../../../core/tests/seeing/collector.rs"]
mod collector;
#[allow(dead_code, reason = "the core's tests use more of it")]
#[path = "../../../core/tests/seeing/recorder.rs"]
mod recorder;

/// What must never be seen, wherever it stands.
const SECRET: &str = "s3cr3t";

/// Runs this in virtual time, and returns what was seen of it.
fn watch(act: impl AsyncFnOnce(&Recording)) -> (Collector, Recording) {
    let clock = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (collector, (recording, ())) =
        Collector::watch(|_| Recording::of(|recording| clock().block_on(act(recording))));
    (collector, recording)
}

/// Everything that can happen at this time happens.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn over(broker: &Memory, builder: Builder) -> Rooms {
    Rooms::over(builder, broker.clone()).unwrap()
}

#[test]
fn rooms_and_members_are_counted_while_they_are_there() {
    let (_, recording) = watch(async |recording| {
        let stands = || (recording.value("bellwire_rooms_open{}"), recording.value("bellwire_rooms_members{}"));
        let rooms = Rooms::local();
        let (a, b) = (Recorder::new(), Recorder::new());
        rooms.join("one", &a.socket()).unwrap();
        rooms.join("one", &a.socket()).unwrap();
        rooms.join_as("one", &a.socket(), "a").unwrap();
        assert_eq!(stands(), (1.0, 1.0));
        rooms.join("two", &a.socket()).unwrap();
        rooms.join("two", &b.socket()).unwrap();
        assert_eq!(stands(), (2.0, 3.0));
        rooms.leave("two", &a.socket());
        rooms.leave("two", &a.socket());
        assert_eq!(stands(), (2.0, 2.0));
        a.end();
        assert_eq!(stands(), (1.0, 1.0));
        // What is there at the end of the rooms has ended with them.
        drop(rooms);
        assert_eq!(stands(), (0.0, 0.0));
    });
    assert!(recording.values("bellwire_rooms_away{}").is_empty(), "they have no broker");
}

#[test]
fn what_is_published_and_what_is_not_is_counted() {
    let (_, recording) = watch(async |_| {
        let (broker, builder) = (Memory::default(), || Rooms::builder().max_message(2000));
        let (one, two) = (over(&broker, builder()), over(&broker, builder()));
        let member = Recorder::new();
        one.join("a", &member.socket()).unwrap();
        assert_eq!(two.publish("a", "early"), Err(PublishError::Unavailable));
        one.connected().await.unwrap();
        two.connected().await.unwrap();
        settle().await;
        two.publish("a", "hello").unwrap();
        two.publish_with("a", "hello", |_| {});
        two.publish("", "no room").unwrap_err();
        two.publish("a", vec![0; 2001]).unwrap_err();
        settle().await;
    });
    assert_eq!(recording.value("bellwire_rooms_published_total{}"), 2.0);
    assert_eq!(recording.value("bellwire_rooms_received_total{}"), 2.0);
    let refused = |kind| recording.value(&format!("bellwire_rooms_publish_refused_total{{kind={kind}}}"));
    assert_eq!(["unavailable", "room", "too_long", "full"].map(refused), [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn a_broker_that_is_away_is_seen_until_it_is_back() {
    let (collector, recording) = watch(async |recording| {
        let away = || recording.value("bellwire_rooms_away{}");
        let broker = Memory::default();
        let rooms = over(&broker, Rooms::builder());
        assert_eq!(away(), 1.0);
        rooms.connected().await.unwrap();
        assert_eq!(away(), 0.0);
        let member = Recorder::new();
        rooms.join(SECRET, &member.socket()).unwrap();
        settle().await;
        broker.stop();
        settle().await;
        assert_eq!(away(), 1.0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(away(), 1.0);
        broker.start();
        rooms.connected().await.unwrap();
        settle().await;
        assert_eq!(away(), 0.0);
        // The end that was asked for is no loss.
        rooms.close().await;
        settle().await;
        assert_eq!(away(), 0.0);
    });
    let failures = |kind| recording.value(&format!("bellwire_rooms_broker_failures_total{{kind={kind}}}"));
    assert_eq!((failures("lost"), failures("unreachable") >= 2.0, failures("closed")), (1.0, true, 0.0));
    assert_eq!(recording.value("bellwire_rooms_gaps_total{}"), 1.0);

    let texts = collector.texts("bellwire::rooms");
    let [first, lost, .., back, gap] = &texts[..] else { panic!("{texts:?}") };
    assert_eq!(first, "INFO connected to the broker");
    assert!(lost.starts_with(r#"WARN no connection to the broker kind="lost" detail=the connection "#), "{lost}");
    assert!(texts[2].starts_with(r#"WARN no connection to the broker kind="unreachable" detail="#), "{}", texts[2]);
    let repeated = texts.iter().filter(|text| text.starts_with("DEBUG still no connection to the broker kind="));
    assert_eq!(repeated.count(), texts.len() - 5, "{texts:?}");
    assert!(back.starts_with("INFO connected to the broker away="), "{back}");
    assert!(gap.starts_with("WARN members may have missed messages rooms=1 away="), "{gap}");
    assert!(gap.ends_with(" in_doubt=0"), "{gap}");
    assert!(!collector.everything().contains(SECRET));
}

#[test]
fn when_its_runtime_has_ended_the_broker_is_away_for_good() {
    let broker = Memory::default();
    let _ = Recording::of(|recording| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rooms = runtime.block_on(async {
            let rooms = over(&broker, Rooms::builder());
            rooms.connected().await.unwrap();
            rooms
        });
        assert_eq!(recording.value("bellwire_rooms_away{}"), 0.0);
        drop(runtime);
        assert_eq!(recording.value("bellwire_rooms_away{}"), 1.0);
        drop(rooms);
        assert_eq!(recording.value("bellwire_rooms_away{}"), 0.0);
    });
}

#[test]
fn messages_that_were_accepted_and_come_to_nothing_are_told_together() {
    let (collector, recording) = watch(async |recording| {
        let broker = Memory::default();
        broker.stop();
        let rooms = over(&broker, Rooms::builder().while_away(WhileAway::Keep));
        settle().await;
        rooms.publish("a", SECRET).unwrap();
        rooms.publish("a", SECRET).unwrap();
        rooms.publish_with("a", SECRET, |_| {});
        assert_eq!((rooms.close().await, recording.value("bellwire_rooms_away{}")), (3, 0.0));
    });
    assert_eq!(recording.value("bellwire_rooms_unpublished_total{kind=unavailable}"), 3.0);
    let told: Vec<_> =
        collector.texts("bellwire::rooms").into_iter().filter(|text| text.contains("not published")).collect();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.starts_with(r#"WARN messages not published kind="unavailable" detail="#), "{told}");
    assert!(told.ends_with(" count=3"), "{told}");
    assert!(!collector.everything().contains(SECRET));
}

#[test]
fn what_a_thread_that_nobody_watches_has_done_first_is_seen_on_others() {
    let act = || tracing::info!(target: "first elsewhere", "done");
    let (collector, ()) = Collector::watch(|_| {
        std::thread::spawn(act).join().unwrap();
        act();
    });
    assert_eq!(collector.texts("first elsewhere"), ["INFO done"]);
}

#[test]
fn a_member_that_comes_back_too_late_is_no_warning() {
    let (collector, _) = watch(async |_| {
        let rooms = Rooms::builder().history(crate::builder::History::last(1)).local();
        rooms.publish("a", "one").unwrap();
        let since = rooms.history("a", None).await.unwrap().messages[0].position;
        rooms.publish("a", "two").unwrap();
        rooms.publish("a", "three").unwrap();
        rooms.join_since("a", &Recorder::new().socket(), Some(since)).unwrap();
    });
    let texts = collector.texts("bellwire::rooms");
    assert_eq!(texts, ["INFO members may have missed messages rooms=1 away=0.0 in_doubt=0"]);
}

#[test]
fn what_is_recorded_is_described() {
    let (recording, ()) = Recording::of(|_| super::describe_metrics());
    let described: BTreeMap<_, _> = recording.described();
    let counts =
        |(kind, unit): &(String, Option<Unit>)| ["counter", "gauge"].contains(&&**kind) && *unit == Some(Unit::Count);
    assert!(described.len() == 10 && described.values().all(counts), "{described:?}");
}
