//! What is not kept any more, and who is told so.

use super::super::*;
use super::node::*;

/// A node at a broker that keeps so many messages of each room, and another.
async fn two(broker: &Memory, keeps: usize) -> (Node, Node) {
    broker.lock().keeps = Some(keeps);
    let builder = || Rooms::builder().history(History::last(keeps));
    (Node::connected(broker, builder()).await, Node::connected(broker, builder()).await)
}

fn publish(node: &Node, numbers: std::ops::RangeInclusive<usize>) {
    numbers.for_each(|number| node.rooms.publish("a", number.to_string()).unwrap());
}

/// What somebody gets who comes back, and whether a gap is told.
async fn come_back(node: &Node, since: u64) -> (Vec<String>, bool) {
    let (member, before) = (Recorder::new(), lock(&node.gaps).len());
    let since = Some(Position::new(0, since));
    let backlog = node.rooms.history("a", since).await.unwrap();
    node.rooms.join_since("a", &member.socket(), since).unwrap();
    settle().await;
    node.rooms.leave("a", &member.socket());
    let (got, told) = (texts(&member), lock(&node.gaps).len() > before);
    let read: Vec<_> = backlog.messages.iter().map(|past| past.message.as_text().unwrap()).collect();
    assert_eq!((read, backlog.has_gap), (got.iter().map(String::as_str).collect(), told));
    (got, told)
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_told_if_something_was_dropped_and_else_not() {
    let broker = Memory::default();
    let (_, node) = two(&broker, 2).await;
    publish(&node, 1..=3);
    settle().await;
    assert_eq!(come_back(&node, 1).await, (vec!["2".into(), "3".into()], false));
    assert_eq!(come_back(&node, 3).await, (vec![], false));
    publish(&node, 4..=5);
    settle().await;
    assert_eq!(come_back(&node, 1).await, (vec!["3".into(), "4".into(), "5".into()], true));
    assert_eq!(come_back(&node, 3).await, (vec!["4".into(), "5".into()], false));
    broker.age();
    assert_eq!(come_back(&node, 3).await, (vec![], true));
    publish(&node, 6..=6);
    settle().await;
    assert_eq!(come_back(&node, 3).await, (vec!["6".into()], true));
}

#[tokio::test(start_paused = true)]
async fn as_much_as_is_kept_bridges_a_gap() {
    let broker = Memory::default();
    let (one, two) = two(&broker, 2).await;
    let member = one.member("a");
    settle().await;
    publish(&two, 1..=1);
    settle().await;
    broker.lose_oldest();
    publish(&two, 2..=3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2", "3"]);
    assert_eq!(*lock(&one.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_was_silent_for_long_has_missed_nothing_in_a_short_outage() {
    let broker = Memory::default();
    let (one, two) = two(&broker, 2).await;
    let member = one.member("a");
    settle().await;
    publish(&two, 1..=2);
    two.rooms.publish("another", "x").unwrap();
    settle().await;
    // A broker does not know what room that was of which is too old.
    broker.age();
    assert_eq!(come_back(&two, 2).await, (vec![], true));
    broker.lose_oldest();
    publish(&two, 3..=3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2", "3"]);
    assert_eq!(*lock(&one.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_was_replaced_is_a_gap_also_if_its_positions_are_greater() {
    let broker = Memory::default();
    let (_, node) = two(&broker, 10).await;
    let (member, late) = (node.member("a"), Recorder::new());
    settle().await;
    publish(&node, 1..=3);
    settle().await;
    node.lose().await;
    broker.replace();
    node.come_back().await;
    publish(&node, 4..=5);
    settle().await;
    assert_eq!(texts(&member), ["1", "2", "3", "4", "5"]);
    assert_eq!(lock(&node.gaps).len(), 1);
    // Who comes back gets all that there is, of which it may have got nothing.
    node.rooms.join_since("a", &late.socket(), Some(Position::new(0, 2))).unwrap();
    settle().await;
    assert_eq!(texts(&late), ["4", "5"]);
    assert_eq!(lock(&node.gaps).len(), 2);
    let since = Some(Position::new(0, 2));
    assert_eq!(node.rooms.history("a", since).await, Err(HistoryError::Gone));
}
