//! With a history a connection that was lost costs no messages, or the gap is told.

use super::super::*;
use super::node::*;

#[tokio::test(start_paused = true)]
async fn with_a_history_a_lost_connection_costs_no_messages_and_there_is_no_gap() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let member = one.member("a");
    settle().await;
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    broker.lose_oldest();
    two.rooms.publish("a", "2").unwrap();
    settle().await;
    one.rooms.connected().await.unwrap();
    two.rooms.publish("a", "3").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2", "3"]);
    assert_eq!(*lock(&one.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn with_a_history_that_was_too_short_the_gap_is_told() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(2))).await;
    let member = one.member("a");
    settle().await;
    broker.lock().keeps = Some(2);
    broker.lose_oldest();
    (1..=4).for_each(|number| two.rooms.publish("a", number.to_string()).unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["2", "3", "4"]);
    assert_eq!(lock(&one.gaps)[0].rooms, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_that_is_longer_than_messages_are_kept_the_gap_is_told() {
    let broker = Memory::default();
    let short = History::last(100).for_at_most(Duration::from_secs(60));
    let node = Node::connected(&broker, Rooms::builder().history(short)).await;
    let _member = node.member("a");
    settle().await;
    for (away, gaps) in [(20, 0), (61, 1)] {
        broker.stop();
        tokio::time::sleep(Duration::from_secs(away)).await;
        broker.start();
        node.rooms.connected().await.unwrap();
        settle().await;
        assert_eq!(lock(&node.gaps).len(), gaps, "{away} seconds");
    }
    assert_eq!(lock(&node.gaps)[0].rooms, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_begins_anew_is_a_gap_and_what_is_new_comes() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let (member, late) = (node.member("a"), Recorder::new());
    settle().await;
    for text in ["1", "2", "3"] {
        node.rooms.publish("a", text).unwrap();
        settle().await;
    }
    node.rooms.join_since("a", &late.socket(), None).unwrap();
    settle().await;
    node.lose().await;
    broker.forget();
    node.come_back().await;
    assert_eq!(lock(&node.gaps)[0].rooms, ["a"]);
    node.rooms.publish("a", "4").unwrap();
    settle().await;
    assert_eq!(
        (texts(&member), texts(&late)),
        (["1", "2", "3", "4"].map(String::from).into(), ["1", "2", "3", "4"].map(String::from).into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_history_that_begins_anew_is_a_gap_also_if_the_connection_is_lost_before_that_is_told() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let _member = node.member("a");
    settle().await;
    node.rooms.publish("a", "1").unwrap();
    settle().await;
    node.lose().await;
    broker.forget();
    broker.lock().is_deaf = true;
    broker.start();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(lock(&node.away).iter().any(|why| why.contains("did not answer")), "{:?}", lock(&node.away));
    assert_eq!(*lock(&node.gaps), []);
    broker.lock().is_deaf = false;
    node.rooms.connected().await.unwrap();
    settle().await;
    assert_eq!(lock(&node.gaps)[0].rooms, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_again_while_the_history_is_read_costs_no_messages_and_is_no_gap() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let member = one.member("a");
    settle().await;
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    broker.lock().is_forgetful = true;
    for text in ["2", "4"] {
        // The connection of the member's node is the older one.
        broker.lose_oldest();
        two.rooms.publish("a", text).unwrap();
        settle().await;
        one.rooms.connected().await.unwrap();
        // So it is with the next: two's was made before.
        broker.renumber();
        two.rooms.publish("a", text.parse::<u8>().map(|number| (number + 1).to_string()).unwrap()).unwrap();
        settle().await;
    }
    one.rooms.publish_here("a", "here").unwrap();
    assert_eq!(texts(&member), ["1", "here"]);
    broker.lock().is_forgetful = false;
    broker.lose_oldest();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["2", "3", "4", "5"]);
    two.rooms.publish("a", "6").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["6"]);
    assert_eq!(*lock(&one.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_began_anew_is_a_gap_also_if_the_connection_is_lost_once_more() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let member = one.member("a");
    settle().await;
    ["1", "2", "3"].iter().for_each(|text| two.rooms.publish("a", *text).unwrap());
    settle().await;
    broker.lose_oldest();
    two.rooms.publish("a", "4").unwrap();
    settle().await;
    broker.forget();
    broker.lock().refuses_rooms = true;
    tokio::time::sleep(Duration::from_secs(1)).await;
    broker.lock().refuses_rooms = false;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(one.rooms.is_connected());
    assert_eq!(texts(&member), ["1", "2", "3"]);
    assert_eq!(lock(&one.gaps).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_outage_while_a_history_is_read_costs_nothing() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let member = one.member("a");
    settle().await;
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    broker.lock().is_forgetful = true;
    broker.lose_oldest();
    two.rooms.publish("a", "2").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    two.rooms.publish("a", "3").unwrap();
    settle().await;
    // Both are lost, and come back.
    broker.lose_oldest();
    broker.lose_oldest();
    settle().await;
    broker.lock().is_forgetful = false;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2", "3"]);
    assert_eq!(*lock(&one.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_could_not_be_bridged_says_how_long_it_was() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let _member = node.member("a");
    settle().await;
    broker.lock().is_forgetful = true;
    node.lose().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    node.come_back().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(lock(&node.gaps)[0].away >= Duration::from_secs(30), "{:?}", lock(&node.gaps)[0]);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_begins_anew_on_a_connection_that_stays_silences_nobody() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let member = node.member("a");
    settle().await;
    ["1", "2", "3"].iter().for_each(|text| node.rooms.publish("a", *text).unwrap());
    settle().await;
    broker.forget();
    node.rooms.publish("a", "4").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_can_be_held_is_one_gap() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100_000))).await;
    let _member = one.member("a");
    settle().await;
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    broker.lock().is_forgetful = true;
    broker.lose_oldest();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        (0..2000).for_each(|_| two.rooms.publish("a", "x").unwrap());
        settle().await;
    }
    assert!(lock(&one.gaps).len() <= 1, "{} gaps", lock(&one.gaps).len());
}

#[tokio::test(start_paused = true)]
async fn a_room_that_empties_and_fills_again_is_bridged() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let first = one.member("a");
    settle().await;
    one.rooms.leave("a", &first.socket());
    let member = one.member("a");
    settle().await;
    broker.lose_oldest();
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    one.rooms.connected().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1"]);
    assert_eq!(*lock(&one.gaps), []);
}
