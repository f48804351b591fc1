//! Rooms that end, and runtimes that end under them.

use super::super::*;
use super::node::*;

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
async fn who_closes_while_the_connection_is_made_loses_nothing_that_was_accepted() {
    let broker = Memory::default();
    let node = Node::new(&broker, Rooms::builder().while_away(WhileAway::Keep));
    node.rooms.publish("a", "x").unwrap();
    node.rooms.close().await;
    assert_eq!(broker.lock().published, 1);
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

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_is_told_after_everybody_else() {
    let (broker, told) = (Memory::default(), Arc::<Mutex<Vec<&str>>>::default());
    let closing = Arc::<Mutex<Option<crate::Pending<usize>>>>::default();
    broker.stop();
    let tell = |what: &'static str| {
        let (told, closing) = (told.clone(), closing.clone());
        move || {
            // The program may end as soon as the rooms have.
            assert!(lock(&closing).as_ref().is_some_and(|closed| format!("{closed:?}").contains("is_ready: false")));
            lock(&told).push(what);
        }
    };
    let (unpublished, gap, outcome) = (tell("unpublished"), tell("gap"), tell("outcome"));
    let builder = Rooms::builder().while_away(WhileAway::Keep).history(History::last(1));
    let builder = builder.on_unpublished(move |_, _| unpublished()).on_gap(move |_, _| gap());
    let rooms = Rooms::over(builder, broker).unwrap();
    rooms.join_since("a", &Recorder::new().socket(), None).unwrap();
    rooms.publish("a", "1").unwrap();
    rooms.publish_with("a", "2", move |_| outcome());
    *lock(&closing) = Some(rooms.close());
    settle().await;
    let mut told = lock(&told).clone();
    told.sort_unstable();
    assert_eq!(told, ["gap", "outcome", "unpublished"]);
    let closed = lock(&closing).take();
    assert_eq!(closed.map(|closed| closed.wait_timeout(Duration::ZERO).unwrap()), Some(2));
}
