//! What comes to whom while there is a connection.

use super::super::*;
use super::node::*;

#[tokio::test(start_paused = true)]
async fn what_is_published_comes_to_the_members_on_all_nodes_also_the_publishers() {
    let broker = Memory::default();
    let (one, two) = two(&broker, Rooms::builder).await;
    let (here, there, elsewhere) = (one.member("a"), two.member("a"), two.member("b"));
    settle().await;
    one.rooms.publish("a", "hello").unwrap();
    two.rooms.publish("a", b"\x01").unwrap();
    settle().await;
    for member in [&here, &there] {
        assert_eq!(member.take_sent(), [Sent::text("hello"), Sent::binary(b"\x01")]);
    }
    assert_eq!(texts(&elsewhere), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_joins_before_the_connection_is_there_is_subscribed_with_it() {
    let broker = Memory::default();
    let node = Node::new(&broker, Rooms::builder());
    let member = node.member("a");
    node.rooms.connected().await.unwrap();
    node.rooms.publish("a", "hello").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["hello"]);
    assert_eq!(*lock(&node.gaps), []);
}

#[tokio::test(start_paused = true)]
async fn a_room_without_members_costs_the_broker_nothing() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    let before = broker.subscribed();
    let members = [node.member("a"), node.member("a"), node.member("b")];
    settle().await;
    assert_eq!(broker.subscribed(), before + 2);
    node.rooms.leave("a", &members[0].socket());
    settle().await;
    assert_eq!(broker.subscribed(), before + 2);
    node.rooms.leave("a", &members[1].socket());
    node.rooms.leave("b", &members[2].socket());
    settle().await;
    assert_eq!(broker.subscribed(), before);
    drop(node);
    settle().await;
    assert_eq!(broker.subscribed(), 0);
}

#[tokio::test(start_paused = true)]
async fn local_members_get_a_message_at_once_and_once_if_that_was_chosen() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().local_first()).await;
    let member = node.member("a");
    node.rooms.publish("a", "hello").unwrap();
    assert_eq!(texts(&member), ["hello"]);
    settle().await;
    assert_eq!((texts(&member), broker.lock().published), (vec![], 1));
    node.lose().await;
    assert_eq!(node.rooms.publish("a", "nobody"), Err(PublishError::Unavailable));
    assert_eq!(texts(&member), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_panic_do_not_end_the_rooms() {
    let broker = Memory::default();
    let builder = Rooms::builder().numbered(|_, _| panic!("numbered")).history(History::last(0));
    let builder =
        builder.on_gap(|_, _| panic!("gap")).on_away(|_| panic!("away")).on_presence(|_, _| panic!("presence"));
    let rooms = Rooms::over(builder, broker.clone()).unwrap();
    rooms.connected().await.unwrap();
    let member = Recorder::new();
    rooms.join_as("a", &member.socket(), "alice").unwrap();
    rooms.publish_with("a", "1", |_| panic!("done"));
    settle().await;
    broker.stop();
    settle().await;
    broker.start();
    rooms.connected().await.unwrap();
    rooms.publish("a", "2").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn what_no_node_has_sent_is_counted_and_not_delivered() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    let member = node.member("a");
    settle().await;
    for bytes in [&b""[..], b"hello", b"T1234567", b"T12345678\xff", b"X12345678x"] {
        broker.send("bellwire.room.a", bytes);
    }
    broker.send("bellwire.nodes", b"T12345678x");
    assert_eq!((texts(&member), node.rooms.ignored()), (vec![], 6));
    broker.send("bellwire.room.a", b"T\0\0\0\0\0\0\0\0from a script");
    assert_eq!(texts(&member), ["from a script"]);
}

#[test]
fn a_prefix_that_could_be_more_than_one_is_refused() {
    for prefix in ["", "a.b", "*", ">", "a b", &"x".repeat(65)] {
        let refused = Rooms::over(Rooms::builder().prefix(prefix), Memory::default());
        assert!(matches!(refused, Err(BrokerError::Prefix(_))), "{prefix}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_for_this_node_needs_no_broker() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().history(History::last(100))).await;
    let member = node.member("a");
    settle().await;
    node.rooms.publish("a", "1").unwrap();
    settle().await;
    node.lose().await;
    broker.lock().refuses_rooms = true;
    broker.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.rooms.publish_here("a", "the broker is away").unwrap();
    node.rooms.close().await;
    settle().await;
    assert_eq!(texts(&member), ["1", "the broker is away"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_has_refused_is_told_also_if_nobody_asked() {
    let broker = Memory::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let unpublished = told.clone();
    let builder = Rooms::builder().while_away(WhileAway::Keep);
    let builder = builder.on_unpublished(move |room, why| lock(&unpublished).push((room.to_string(), why.clone())));
    broker.stop();
    let node = Node::new(&broker, builder);
    settle().await;
    let long = "x".repeat(1100);
    node.rooms.publish("a room", long.as_str()).unwrap();
    node.rooms.publish("a room", "short").unwrap();
    node.come_back().await;
    let too_long = PublishError::TooLong { length: 1109, limit: 1024 };
    assert_eq!(*lock(&told), [("a room".to_string(), too_long)]);
    assert_eq!(broker.lock().published, 1);
    // What the broker takes is known now.
    node.lose().await;
    assert_eq!(node.rooms.publish("a", long.as_str()), Err(PublishError::TooLong { length: 1100, limit: 1015 }));
    node.rooms.publish("a", "never").unwrap();
    assert_eq!(node.rooms.close().await, 1);
    assert_eq!(lock(&told).last(), Some(&("a".to_string(), PublishError::Unavailable)));
    assert_eq!(node.rooms.close().await, 1);
}
