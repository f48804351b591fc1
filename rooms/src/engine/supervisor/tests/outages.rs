//! Connections that are lost: what is published meanwhile, what is in doubt, and when it is tried again.

use super::super::*;
use super::node::*;

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
