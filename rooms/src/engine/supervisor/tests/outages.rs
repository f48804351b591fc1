//! What must not happen when connections are lost at a bad time.

use super::*;

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

#[test]
fn a_runtime_that_ends_before_it_has_begun_leaves_nobody_waiting() {
    let broker = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rooms = runtime.block_on(async { Rooms::over(Rooms::builder(), broker).unwrap() });
    drop(runtime);
    assert!(rooms.close().wait_timeout(Duration::from_secs(5)).is_ok());
}

#[test]
fn a_runtime_that_ends_leaves_nobody_in_doubt() {
    let broker = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = Arc::new(Mutex::new(None));
    let node = runtime.block_on(async {
        let node = Node::connected(&broker, Rooms::builder()).await;
        settle().await;
        broker.lock().is_silent = true;
        let told = outcome.clone();
        node.rooms.publish_with("a", "x", move |it| *lock(&told) = Some(it));
        settle().await;
        node
    });
    drop(runtime);
    assert_eq!(*lock(&outcome), Some(Err(PublishError::Lost)));
    drop(node);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_began_anew_is_a_gap_also_if_the_connection_is_lost_once_more() {
    let broker = Memory::default();
    let builder = || Rooms::builder().history(History::last(100));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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
async fn a_second_outage_while_a_history_is_read_costs_nothing() {
    let broker = Memory::default();
    let builder = || Rooms::builder().history(History::last(100));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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
async fn durations_without_end_are_no_panic() {
    let rooms = Rooms::builder().history(History::last(100).for_at_most(Duration::MAX)).local();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let published = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rooms.publish("a", "1").unwrap();
        rooms.publish("a", "2").unwrap();
    }));
    assert!(published.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_without_end_is_no_panic() {
    let node = Node::connected(&Memory::default(), Rooms::builder().heartbeat(Duration::MAX)).await;
    let member = node.member("a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.rooms.publish("a", "1").unwrap();
    settle().await;
    assert_eq!(texts(&member), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_backoff_without_end_is_no_panic() {
    let broker = Memory::default();
    broker.stop();
    let node = Node::new(&broker, Rooms::builder().backoff(Duration::MAX, Duration::MAX));
    settle().await;
    // The supervisor has not ended.
    assert!(node.rooms.connected().wait_timeout(Duration::from_millis(1)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_ends_each_connection_is_left_alone_for_longer_each_time() {
    let broker = Memory::default();
    broker.lock().ends_at_once = true;
    let _node = Node::new(&broker, Rooms::builder());
    tokio::time::sleep(Duration::from_secs(60)).await;
    // With the default back-off, of 100 ms to 10 s.
    assert!(broker.connections() < 50, "{} connections in a minute", broker.connections());
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

#[test]
fn no_heartbeat_at_all_does_not_spin() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let node = Node::connected(&Memory::default(), Rooms::builder().heartbeat(Duration::ZERO)).await;
            let member = node.member("a");
            node.rooms.publish("a", "1").unwrap();
            settle().await;
            tell.send(texts(&member)).unwrap();
        });
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(vec!["1".to_string()]));
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
async fn who_wants_more_than_is_kept_by_age_is_told_of_the_gap() {
    let (told, gaps) = std::sync::mpsc::channel();
    let history = History::last(100).for_at_most(Duration::from_secs(60));
    let rooms = Rooms::builder().history(history).on_gap(move |_, gap| told.send(gap.rooms.clone()).unwrap()).local();
    ["1", "2", "3"].iter().for_each(|text| rooms.publish("a", *text).unwrap());
    let first = rooms.history("a", None).await.unwrap()[0].position;
    tokio::time::sleep(Duration::from_secs(61)).await;
    rooms.publish("a", "4").unwrap();
    let member = Recorder::new();
    rooms.join_since("a", &member.socket(), Some(first)).unwrap();
    assert_eq!(texts(&member), ["4"]);
    assert_eq!(gaps.try_recv(), Ok(vec!["a".to_string()]));
}

#[tokio::test(start_paused = true)]
async fn more_than_can_be_held_is_one_gap() {
    let broker = Memory::default();
    let builder = || Rooms::builder().history(History::last(100_000));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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
async fn who_closes_while_the_connection_is_made_loses_nothing_that_was_accepted() {
    let broker = Memory::default();
    let node = Node::new(&broker, Rooms::builder().while_away(WhileAway::Keep));
    node.rooms.publish("a", "x").unwrap();
    node.rooms.close().await;
    assert_eq!(broker.lock().published, 1);
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

#[test]
fn what_was_on_its_way_when_the_runtime_ended_is_counted() {
    let broker = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(async {
        let node = Node::connected(&broker, Rooms::builder()).await;
        settle().await;
        broker.lock().is_silent = true;
        node.rooms.publish("a", "x").unwrap();
        settle().await;
        node
    });
    drop(runtime);
    assert_eq!(node.rooms.close().wait(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_and_was_not_told_is_counted_by_close() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    broker.lock().is_silent = true;
    node.rooms.publish("a", "x").unwrap();
    settle().await;
    broker.stop();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!node.rooms.is_connected());
    assert_eq!(*lock(&node.gaps), []);
    assert_eq!(node.rooms.close().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_empties_and_fills_again_is_bridged() {
    let broker = Memory::default();
    let builder = || Rooms::builder().history(History::last(100));
    let (one, two) = (Node::connected(&broker, builder()).await, Node::connected(&broker, builder()).await);
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

#[tokio::test(start_paused = true)]
async fn rooms_that_come_and_go_after_the_end_cost_nothing() {
    let broker = Memory::default();
    let node = Node::connected(&broker, Rooms::builder()).await;
    settle().await;
    node.rooms.close().await;
    let socket = Recorder::new();
    for room in 0..100 {
        node.rooms.join(&room.to_string(), &socket.socket()).unwrap();
        node.rooms.leave(&room.to_string(), &socket.socket());
    }
    assert_eq!(node.rooms.core().link().waiting().0, 0);
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

#[test]
fn when_the_runtime_has_ended_the_members_on_this_node_are_alone() {
    let broker = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let left = Arc::new(Mutex::new(Vec::new()));
    let told = left.clone();
    let (one, _two, _members) = runtime.block_on(async {
        let builder = Rooms::builder().on_presence(move |_, change| lock(&told).extend(change.left.clone()));
        let (one, two) = (Node::connected(&broker, builder).await, Node::connected(&broker, Rooms::builder()).await);
        let members = [Recorder::new(), Recorder::new()];
        one.rooms.join_as("a", &members[0].socket(), "here").unwrap();
        two.rooms.join_as("a", &members[1].socket(), "there").unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        (one, two, members)
    });
    assert_eq!((one.rooms.count("a"), lock(&left).len()), (2, 0));
    drop(runtime);
    assert_eq!((one.rooms.count("a"), one.rooms.present("a")), (1, vec!["here".into()]));
    assert_eq!(*lock(&left), [Arc::<str>::from("there")]);
}
