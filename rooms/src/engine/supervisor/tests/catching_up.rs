//! Who comes back gets what it has missed, once, whatever happens meanwhile.

use super::super::*;
use super::node::*;

#[tokio::test(start_paused = true)]
async fn who_comes_back_catches_up_without_a_gap_and_without_a_double() {
    let broker = Memory::default();
    let numbered = |position, message: bellwire_core::Message<'_>| {
        bellwire_core::OwnedMessage::Text(format!("{position} {}", message.as_text().unwrap_or_default()))
    };
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100)).numbered(numbered)).await;
    ["a", "b", "c"].iter().for_each(|text| node.rooms.publish("room", *text).unwrap());
    settle().await;
    let member = Recorder::new();
    node.rooms.join_since("room", &member.socket(), Some("0-1".parse().unwrap())).unwrap();
    node.rooms.publish("room", "d").unwrap();
    settle().await;
    node.rooms.publish("room", "e").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["0-2 b", "0-3 c", "0-4 d", "0-5 e"]);
    let past = node.rooms.history("room", Some("0-3".parse().unwrap())).await.unwrap().messages;
    assert_eq!(past.iter().map(|past| past.position.to_string()).collect::<Vec<_>>(), ["0-4", "0-5"]);
    assert_eq!(past[0].message, "d");
}

#[tokio::test(start_paused = true)]
async fn who_catches_up_when_the_connection_is_lost_is_a_member_nevertheless() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    settle().await;
    let member = Recorder::new();
    broker.lock().refuses_rooms = true;
    node.rooms.join_since("a", &member.socket(), None).unwrap();
    settle().await;
    broker.lock().refuses_rooms = false;
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.rooms.connected().await.unwrap();
    node.rooms.publish("a", "hello").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_joins_again_gets_what_it_asked_for_then() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let _other = node.member("a");
    settle().await;
    ["1", "2", "3"].iter().for_each(|text| node.rooms.publish("a", *text).unwrap());
    settle().await;
    let member = Recorder::new();
    node.rooms.join_since("a", &member.socket(), None).unwrap();
    node.rooms.leave("a", &member.socket());
    node.rooms.join_since("a", &member.socket(), Some("0-2".parse().unwrap())).unwrap();
    settle().await;
    assert_eq!(texts(&member), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_somebody_left_is_not_for_who_joins_again() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let _other = node.member("a");
    settle().await;
    node.rooms.publish("a", "1").unwrap();
    settle().await;
    let member = Recorder::new();
    let room = node.rooms.core().hub.room("a").unwrap();
    node.rooms.join_since("a", &member.socket(), None).unwrap();
    // What the broker has answered to that is still on its way.
    let early = node.rooms.core().deliveries(broker.kept());
    node.rooms.leave("a", &member.socket());
    node.rooms.publish("a", "2").unwrap();
    settle().await;
    node.rooms.join_since("a", &member.socket(), None).unwrap();
    room.catch_up((member.socket().id(), 1), None, early, || {});
    node.rooms.publish("a", "3").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn histories_that_are_read_slowly_hold_up_nothing_else() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    settle().await;
    broker.lock().is_forgetful = true;
    let members: Vec<_> = (0..200).map(|_| Recorder::new()).collect();
    for member in &members {
        node.rooms.join_since("a", &member.socket(), None).unwrap();
    }
    settle().await;
    let outcome = Arc::new(Mutex::new(None));
    let told = outcome.clone();
    node.rooms.publish_with("b", "x", move |it| *lock(&told) = Some(it));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(*lock(&outcome), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_wants_more_than_is_kept_by_age_is_told_of_the_gap() {
    let (told, gaps) = std::sync::mpsc::channel();
    let history = History::last(100).for_at_most(Duration::from_secs(60));
    let rooms = Rooms::builder().history(history).on_gap(move |_, gap| told.send(gap.rooms.clone()).unwrap()).local();
    ["1", "2", "3"].iter().for_each(|text| rooms.publish("a", *text).unwrap());
    let first = rooms.history("a", None).await.unwrap().messages[0].position;
    tokio::time::sleep(Duration::from_secs(61)).await;
    rooms.publish("a", "4").unwrap();
    let member = Recorder::new();
    rooms.join_since("a", &member.socket(), Some(first)).unwrap();
    assert_eq!(texts(&member), ["4"]);
    assert_eq!(gaps.try_recv(), Ok(vec!["a".to_string()]));
}

#[tokio::test(start_paused = true)]
async fn no_more_histories_wait_than_may_also_while_there_is_a_connection() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(1))).await;
    settle().await;
    broker.lock().is_forgetful = true;
    let socket = Recorder::new();
    for round in 0..3 {
        for room in 0..9_000 {
            let room = format!("{round} {room}");
            node.rooms.join_since(&room, &socket.socket(), None).unwrap();
            node.rooms.leave(&room, &socket.socket());
        }
        settle().await;
    }
    // Those that are being read, and those that wait; the others were told that they miss something.
    assert_eq!(node.rooms.core().link().waiting().1, 10_000);
    let gaps = lock(&node.gaps).len();
    assert!((16_000..17_000).contains(&gaps), "{gaps}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_got_on_another_node_is_not_doubled_here_where_it_comes_late() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let _other = node.member("a");
    settle().await;
    node.rooms.publish("a", "1").unwrap();
    settle().await;
    let member = Recorder::new();
    let room = node.rooms.core().hub.room("a").unwrap();
    let late = |text: &str, count| Delivery::at(Some(Position::new(0, count)), text);
    node.rooms.join_since("a", &member.socket(), Some("0-2".parse().unwrap())).unwrap();
    // The broker has sent it to the other node, which was faster.
    let bytes = node.rooms.core().encode(&"2".into());
    broker.lock().keep("bellwire.room.a", bytes);
    room.deliver(late("2", 2)).unwrap();
    settle().await;
    node.rooms.publish("a", "3").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["3"]);
    // It may be later still.
    node.rooms.leave("a", &member.socket());
    node.rooms.join_since("a", &member.socket(), Some("0-3".parse().unwrap())).unwrap();
    settle().await;
    room.deliver(late("once more", 3)).unwrap();
    assert_eq!((texts(&member), lock(&node.gaps).len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_to_catch_up_misses_something_and_that_is_told() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    ["1", "2", "3"].iter().for_each(|text| node.rooms.publish("a", *text).unwrap());
    settle().await;
    let member = Recorder::new();
    member.set_full(true);
    node.rooms.join_since("a", &member.socket(), None).unwrap();
    settle().await;
    assert_eq!(lock(&node.gaps).iter().map(|gap| gap.rooms.clone()).collect::<Vec<_>>(), [["a"]]);
}

#[tokio::test(start_paused = true)]
async fn who_catches_up_in_a_room_that_does_when_the_connection_is_lost_gets_nothing_twice_and_misses_nothing() {
    let broker = Memory::default();
    let (one, two) = two(&broker, || Rooms::builder().history(History::last(100))).await;
    let stayer = one.member("a");
    settle().await;
    two.rooms.publish("a", "1").unwrap();
    settle().await;
    broker.lose_oldest();
    ["2", "3"].iter().for_each(|text| two.rooms.publish("a", *text).unwrap());
    settle().await;
    broker.lock().is_forgetful = true;
    one.rooms.connected().await.unwrap();
    // It has got them on the other node.
    let member = Recorder::new();
    one.rooms.join_since("a", &member.socket(), Some("0-3".parse().unwrap())).unwrap();
    settle().await;
    broker.renumber();
    broker.lose_oldest();
    two.rooms.publish("a", "4").unwrap();
    broker.lock().is_forgetful = false;
    tokio::time::sleep(Duration::from_secs(1)).await;
    one.rooms.connected().await.unwrap();
    settle().await;
    assert_eq!((texts(&stayer), texts(&member)), (["1", "2", "3", "4"].map(String::from).into(), vec!["4".into()]));
    assert_eq!(*lock(&one.gaps), []);
}
