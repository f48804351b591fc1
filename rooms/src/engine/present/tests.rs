//! Who is present on several nodes, over a broker in memory and in virtual time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_core::{Closed, ClosedBy};

use crate::core::lock;
use crate::engine::testing::Memory;
use crate::rooms::Rooms;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Within this everybody knows of a change, and of who was there before.
const SOON: Duration = Duration::from_millis(700);
/// Until somebody is told to have left.
const LINGER: Duration = Duration::from_secs(1);

/// Rooms over a broker, and who is present by what their hook was told.
struct Node {
    rooms: Rooms,
    told: Arc<Mutex<BTreeSet<String>>>,
}

impl Node {
    async fn new(broker: &Memory) -> Self {
        let told = Arc::<Mutex<BTreeSet<String>>>::default();
        let tells = told.clone();
        let builder = Rooms::builder().heartbeat(HEARTBEAT).on_presence(move |_, change| {
            assert_eq!(&*change.room, "a room");
            let mut told = lock(&tells);
            change.left.iter().for_each(|who| assert!(told.remove(&**who), "{who} left"));
            change.joined.iter().for_each(|who| assert!(told.insert(who.to_string()), "{who} joined"));
        });
        let rooms = Rooms::over(builder, broker.clone()).unwrap();
        rooms.connected().await.unwrap();
        Self { rooms, told }
    }

    fn join(&self, who: &str) -> Recorder {
        let member = Recorder::new();
        self.rooms.join_as("a room", &member.socket(), who).unwrap();
        member
    }

    /// Who is present, how many connections there are, and who was told to be present.
    fn present(&self) -> (Vec<String>, usize, Vec<String>) {
        let present = self.rooms.present("a room").iter().map(ToString::to_string).collect();
        (present, self.rooms.count("a room"), lock(&self.told).iter().cloned().collect())
    }
}

fn all(names: &[&str], count: usize) -> (Vec<String>, usize, Vec<String>) {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    (names.clone(), count, names)
}

async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn all_nodes_know_soon_who_is_there_and_who_has_left() {
    let broker = Memory::default();
    let nodes = [Node::new(&broker).await, Node::new(&broker).await, Node::new(&broker).await];
    let ann = nodes[0].join("ann");
    wait(SOON).await;
    let (bob, _ann) = (nodes[1].join("bob"), nodes[2].join("ann"));
    let nobody = Recorder::new();
    nodes[1].rooms.join("a room", &nobody.socket()).unwrap();
    wait(SOON).await;
    for node in &nodes {
        assert_eq!(node.present(), all(&["ann", "bob"], 4));
    }
    ann.end_with(Closed::abnormal(ClosedBy::Peer));
    nodes[1].rooms.leave("a room", &bob.socket());
    wait(SOON + LINGER).await;
    assert_eq!(nodes[0].present(), all(&[], 0));
    for node in &nodes[1..] {
        assert_eq!(node.present(), all(&["ann"], 2));
    }
    assert_eq!(nodes.each_ref().map(|node| node.rooms.ignored()), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_node_that_is_closed_are_gone_at_once() {
    let broker = Memory::default();
    let nodes = [Node::new(&broker).await, Node::new(&broker).await];
    let _members = [nodes[0].join("ann"), nodes[1].join("bob")];
    wait(SOON).await;
    nodes[1].rooms.close().await;
    assert_eq!((nodes[0].rooms.present("a room"), nodes[0].rooms.count("a room")), (vec!["ann".into()], 1));
    wait(LINGER).await;
    wait(SOON).await;
    assert_eq!(nodes[0].present(), all(&["ann"], 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_broker_others_are_gone_after_three_heartbeats_and_back_when_it_is_back() {
    let broker = Memory::default();
    let nodes = [Node::new(&broker).await, Node::new(&broker).await];
    let _members = [nodes[0].join("ann"), nodes[1].join("bob")];
    wait(SOON).await;
    broker.stop();
    let _cem = nodes[0].join("cem");
    wait(HEARTBEAT).await;
    assert_eq!(nodes[0].present(), all(&["ann", "bob", "cem"], 3));
    wait(3 * HEARTBEAT).await;
    assert_eq!(nodes[0].present(), all(&["ann", "cem"], 2));
    assert_eq!(nodes[1].present(), all(&["bob"], 1));
    broker.start();
    for node in &nodes {
        node.rooms.connected().await.unwrap();
    }
    wait(HEARTBEAT).await;
    for node in &nodes {
        assert_eq!(node.present(), all(&["ann", "bob", "cem"], 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_told_to_nobody() {
    let broker = Memory::default();
    let nodes = [Node::new(&broker).await, Node::new(&broker).await];
    let _members = [nodes[0].join("ann"), nodes[1].join("bob")];
    wait(SOON).await;
    broker.stop();
    wait(HEARTBEAT).await;
    broker.start();
    for node in &nodes {
        let told = node.told.clone();
        node.rooms.connected().await.unwrap();
        // Nothing is told from here on: who is told to have left, or joined, is not there.
        *lock(&told) = BTreeSet::new();
    }
    wait(4 * HEARTBEAT).await;
    for node in &nodes {
        assert_eq!(node.present(), (vec!["ann".into(), "bob".into()], 2, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_ask_who_is_present() {
    let broker = Memory::default();
    let seen = Arc::<Mutex<Vec<usize>>>::default();
    let sees = seen.clone();
    let builder =
        Rooms::builder().on_presence(move |rooms, change| lock(&sees).push(rooms.present(&change.room).len()));
    let rooms = Rooms::over(builder, broker.clone()).unwrap();
    rooms.connected().await.unwrap();
    let (member, other) = (Recorder::new(), Node::new(&broker).await);
    rooms.join_as("a room", &member.socket(), "ann").unwrap();
    let _bob = other.join("bob");
    wait(SOON).await;
    assert_eq!(*lock(&seen), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_no_node_says_about_who_is_present_is_counted_and_ignored() {
    let broker = Memory::default();
    let node = Node::new(&broker).await;
    let _ann = node.join("ann");
    wait(SOON).await;
    for bytes in [&b"P12345678"[..], b"P12345678\x10", b"P12345678\x14\x01\x01\x00\x01\x03bob\xff"] {
        broker.send("bellwire.room.a=20room", bytes);
        broker.send("bellwire.nodes", bytes);
    }
    wait(SOON).await;
    assert_eq!((node.present(), node.rooms.ignored()), (all(&["ann"], 1), 6));
}
