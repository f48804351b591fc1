//! Connections that are lost and made again, with a broker in memory and virtual time.

use std::sync::Mutex;

use bellwire_core::testing::{Recorder, Sent};

use super::*;
use crate::builder::{Builder, History, WhileAway};
use crate::core::lock;
use crate::engine::testing::Memory;
use crate::gap::Gap;
use crate::rooms::Rooms;

/// Rooms over a broker in memory, and what their hooks were told.
struct Node {
    rooms: Rooms,
    broker: Memory,
    gaps: Arc<Mutex<Vec<Gap>>>,
    away: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn new(broker: &Memory, builder: Builder) -> Self {
        let (gaps, away) = (Arc::<Mutex<Vec<Gap>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (told_gaps, told_away) = (gaps.clone(), away.clone());
        let builder = builder
            .on_gap(move |_, gap| lock(&told_gaps).push(gap.clone()))
            .on_away(move |why| lock(&told_away).push(why.to_string()));
        let rooms = Rooms::over(builder, broker.clone()).unwrap();
        Self { rooms, broker: broker.clone(), gaps, away }
    }

    async fn connected(broker: &Memory, builder: Builder) -> Self {
        let node = Self::new(broker, builder);
        node.rooms.connected().await.unwrap();
        node
    }

    fn member(&self, room: &str) -> Recorder {
        let member = Recorder::new();
        self.rooms.join(room, &member.socket()).unwrap();
        member
    }

    /// Loses the connection, and returns when that was noticed.
    async fn lose(&self) {
        self.broker.stop();
        settle().await;
        assert!(!self.rooms.is_connected());
    }

    async fn come_back(&self) {
        self.broker.start();
        self.rooms.connected().await.unwrap();
        settle().await;
    }
}

/// Everything that can happen at this time happens.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn texts(recorder: &Recorder) -> Vec<String> {
    let text = |sent| match sent {
        Sent::Message(message) => message.as_text().map(String::from),
        _ => None,
    };
    recorder.take_sent().into_iter().filter_map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_published_comes_to_the_members_on_all_nodes_also_the_publishers() {
    let broker = Memory::default();
    let (one, two) =
        (Node::connected(&broker, Rooms::builder()).await, Node::connected(&broker, Rooms::builder()).await);
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
async fn each_connection_is_told_before_the_gap_that_it_ends_and_may_be_used() {
    let (broker, told) = (Memory::default(), Arc::<Mutex<Vec<&str>>>::default());
    let (connected, gap) = (told.clone(), told.clone());
    let builder = Rooms::builder().on_gap(move |_, _| lock(&gap).push("gap")).on_connected(move |rooms| {
        assert!(rooms.is_connected());
        rooms.publish("a", "here again").unwrap();
        lock(&connected).push("connected");
    });
    let rooms = Rooms::over(builder, broker.clone()).unwrap();
    let member = Recorder::new();
    rooms.join("a", &member.socket()).unwrap();
    rooms.connected().await.unwrap();
    settle().await;
    broker.stop();
    settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*lock(&told), ["connected"]);
    broker.start();
    rooms.connected().await.unwrap();
    settle().await;
    assert_eq!(*lock(&told), ["connected", "connected", "gap"]);
    assert_eq!(texts(&member), ["here again", "here again"]);
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
async fn without_a_broker_messages_are_refused_and_nobody_waits() {
    let broker = Memory::default();
    broker.stop();
    let node = Node::new(&broker, Rooms::builder());
    let member = node.member("a");
    settle().await;
    assert_eq!(node.rooms.publish("a", "lost"), Err(PublishError::Unavailable));
    assert_eq!(lock(&node.away).len(), 1);
    node.come_back().await;
    node.rooms.publish("a", "hello").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["hello"]);
    assert_eq!(lock(&node.gaps).iter().map(|gap| gap.rooms.clone()).collect::<Vec<_>>(), [["a"]]);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_while_the_broker_is_away_is_published_in_order_when_it_is_back() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder().while_away(WhileAway::Keep).queue(2, 1000)).await;
    let member = node.member("a");
    node.lose().await;
    node.rooms.publish("a", "1").unwrap();
    node.rooms.publish("a", "2").unwrap();
    assert_eq!(node.rooms.publish("a", "3"), Err(PublishError::Full));
    node.come_back().await;
    assert_eq!(texts(&member), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn each_gap_is_told_once_with_the_rooms_that_it_concerns() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    let _members = [node.member("a b"), node.member("c")];
    for round in 1..=2 {
        node.lose().await;
        node.come_back().await;
        let gaps = lock(&node.gaps);
        assert_eq!(gaps.len(), round);
        let mut rooms = gaps[round - 1].rooms.clone();
        rooms.sort();
        assert_eq!((rooms, gaps[round - 1].in_doubt), (vec!["a b".to_string(), "c".to_string()], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_says_nothing_counts_as_lost_and_what_was_on_its_way_is_in_doubt() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    broker.lock().is_silent = true;
    for text in ["1", "2"] {
        let told = outcomes.clone();
        node.rooms.publish_with("a", text, move |outcome| lock(&told).push(outcome));
        settle().await;
    }
    node.rooms.connected().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(*lock(&outcomes), []);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    assert_eq!(*lock(&outcomes), [Err(PublishError::Lost)]);
    assert!(lock(&node.away)[0].contains("did not answer within 5s"));
    broker.lock().is_silent = false;
    node.rooms.connected().await.unwrap();
    settle().await;
    // What was not handed over yet is, and what was is not repeated.
    assert_eq!(*lock(&outcomes), [Err(PublishError::Lost), Ok(())]);
    assert_eq!(lock(&node.gaps).iter().map(|gap| gap.in_doubt).collect::<Vec<_>>(), [1]);
    assert_eq!(broker.lock().published, 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_fell_silent_while_nothing_was_published_is_found_out() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    broker.lock().is_silent = true;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(lock(&node.away)[0].contains("did not answer"));
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
async fn with_a_history_a_lost_connection_costs_no_messages_and_there_is_no_gap() {
    let broker = Memory::default();
    let builder = || Rooms::builder().history(History::last(100));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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
    let builder = || Rooms::builder().history(History::last(2));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
    let member = one.member("a");
    settle().await;
    broker.lose_oldest();
    two.rooms.publish("a", "1").unwrap();
    two.rooms.publish("a", "2").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(texts(&member), ["1", "2"]);
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
    let builder = || Rooms::builder().history(History::last(100));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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
    let past = node.rooms.history("room", Some("0-3".parse().unwrap())).await.unwrap();
    assert_eq!(past.iter().map(|past| past.position.to_string()).collect::<Vec<_>>(), ["0-4", "0-5"]);
    assert_eq!(past[0].message, "d");
}

#[tokio::test(start_paused = true)]
async fn closing_publishes_what_waits_and_takes_nothing_more() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    node.rooms.publish("a", "last words").unwrap();
    let closed = node.rooms.close();
    assert_eq!(node.rooms.publish("a", "too late"), Err(PublishError::Unavailable));
    closed.await;
    assert_eq!(broker.lock().published, 1);
    assert_eq!(broker.subscribed(), 0);
    assert!(matches!(node.rooms.connected().await, Err(BrokerError::Closed)));
    assert_eq!(*lock(&node.away), [""; 0]);
    node.rooms.close().await;
}

#[tokio::test(start_paused = true)]
async fn closing_without_a_broker_ends_at_once_and_says_what_was_not_published() {
    let broker = Memory::default();
    broker.stop();
    let node = Node::new(&broker, Rooms::builder().while_away(WhileAway::Keep));
    settle().await;
    let outcome = Arc::new(Mutex::new(None));
    let told = outcome.clone();
    node.rooms.publish_with("a", "never", move |it| *lock(&told) = Some(it));
    node.rooms.close().await;
    assert_eq!(*lock(&outcome), Some(Err(PublishError::Unavailable)));
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
async fn an_outage_costs_no_memory_for_rooms_that_come_and_go_nor_for_those_who_wait() {
    let broker = Memory::default();
    broker.stop();
    let node = Node::new(&broker, Rooms::builder().history(History::last(1)));
    settle().await;
    let socket = Recorder::new();
    for room in 0..20_000 {
        let room = room.to_string();
        node.rooms.join_since(&room, &socket.socket(), None).unwrap();
        node.rooms.leave(&room, &socket.socket());
        drop(node.rooms.connected());
    }
    assert_eq!(node.rooms.core().link().waiting(), (0, 10_000, 1));
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let broker = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Node::connected(&broker, Rooms::builder()));
    drop(runtime);
    assert_eq!(node.rooms.publish("a", "x"), Err(PublishError::Unavailable));
    assert!(matches!(node.rooms.connected().wait(), Err(BrokerError::Closed)));
    assert_eq!(node.rooms.problem(), Some(BrokerError::Closed));
    node.rooms.close().wait();
}

#[test]
fn outside_of_a_runtime_it_has_a_thread_of_its_own() {
    let broker = Memory::default();
    let node = Node::new(&broker, Rooms::builder());
    node.rooms.wait_connected(Duration::from_secs(30)).unwrap();
    let member = node.member("a");
    let (told, heard) = std::sync::mpsc::channel();
    node.rooms.publish_with("a", "hello", move |outcome| told.send(outcome).unwrap());
    assert_eq!(heard.recv_timeout(Duration::from_secs(30)), Ok(Ok(())));
    assert_eq!(texts(&member), ["hello"]);
    node.rooms.close().wait();
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
async fn a_process_that_was_stopped_does_not_take_it_for_the_silence_of_the_broker() {
    let (answers, answer) = tokio::sync::oneshot::channel::<()>();
    let answer = async { answer.await.map_err(|_| BrokerError::Closed) };
    let waiting = tokio::spawn(within(Duration::from_secs(5), answer));
    settle().await;
    // The clock has gone on while nothing else did. The answer is there, and is looked at after the clock.
    tokio::time::advance(Duration::from_secs(60)).await;
    settle().await;
    answers.send(()).unwrap();
    assert!(matches!(waiting.await, Ok(Ok(()))));
    // Who is there waits as long as was said.
    let started = tokio::time::Instant::now();
    let never = within(Duration::from_secs(5), std::future::pending::<Result<(), _>>()).await;
    assert!(matches!(never, Err(BrokerError::TimedOut(after)) if after == Duration::from_secs(5)));
    assert_eq!(started.elapsed().as_secs(), 5);
}
mod outages;
