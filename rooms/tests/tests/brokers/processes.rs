//! Three nodes that are processes, and what becomes of the others when one is killed, is stopped, or goes.

use bellwire_rooms_tests::{Broker, Kind, Node, wait_until};

use crate::site::on_each_broker;

pub(crate) const NODE: &str = env!("CARGO_BIN_EXE_rooms-node");

/// What names at the broker begin with.
pub(crate) const ROOMS: &str = "bellwire.room.";

on_each_broker! {
    nodes_are_one
    a_node_that_is_killed_is_gone_in_time_and_nobody_else_is_hurt
    a_node_that_is_stopped_delays_nobody_and_comes_back
    a_node_that_closes_says_so
    who_comes_and_goes_is_told_in_differences
    no_output_has_the_password
}

/// So long until a node that says nothing counts as gone, in milliseconds.
const EXPIRY: &str = "heartbeat=100";
/// It never does within a test.
const NO_EXPIRY: &str = "heartbeat=100000";

fn start(broker: &Broker, options: &[&str]) -> [Node; 3] {
    [0, 1, 2].map(|_| {
        let mut node = Node::start(NODE, &broker.url(), options);
        wait_until("a connection", || node.ask("connected", "connected") == "true");
        node
    })
}

/// Waits until so many nodes have a room.
#[track_caller]
fn wait_for_nodes(broker: &Broker, room: &str, count: usize) {
    let name = format!("{ROOMS}{room}");
    wait_until("subscriptions", || broker.channels(&name).get(&name).copied().unwrap_or(0) == count);
}

#[track_caller]
fn wait_for_count(node: &mut Node, room: &str, count: usize) {
    wait_until("a count", || node.ask(format!("count {room}"), &format!("count {room}")) == count.to_string());
}

fn nodes_are_one(kind: Kind) {
    let broker = Broker::start(kind);
    let mut nodes = start(&broker, &[]);
    for (number, node) in nodes.iter_mut().enumerate() {
        node.ask(format!("join m{number} a"), &format!("joined m{number} a"));
    }
    wait_for_nodes(&broker, "a", 3);
    for number in 0..3 {
        assert_eq!(nodes[number].ask(format!("publish {number} a from {number}"), &format!("outcome {number}")), "ok");
        // Each after the one before has come to all.
        for (member, node) in nodes.iter().enumerate() {
            node.wait_for(&format!("got m{member} from {number}"));
        }
    }
    for (member, node) in nodes.iter().enumerate() {
        assert_eq!(node.all(&format!("got m{member}")), ["from 0", "from 1", "from 2"]);
        assert_eq!(node.all("away"), [""; 0]);
    }
}

fn a_node_that_is_killed_is_gone_in_time_and_nobody_else_is_hurt(kind: Kind) {
    let broker = Broker::start(kind);
    let mut nodes = start(&broker, &[EXPIRY]);
    for (number, node) in nodes.iter_mut().enumerate() {
        node.ask(format!("join-as m{number} a who{number}"), &format!("joined m{number} a"));
    }
    wait_for_nodes(&broker, "a", 3);
    for node in &mut nodes {
        wait_for_count(node, "a", 3);
    }
    nodes[2].process().kill();
    // The broker has heard it from the system.
    wait_for_nodes(&broker, "a", 2);
    assert_eq!(nodes[0].ask("publish 1 a still", "outcome 1"), "ok");
    nodes[0].wait_for("got m0 still");
    nodes[1].wait_for("got m1 still");
    for node in &mut nodes[..2] {
        wait_for_count(node, "a", 2);
        let mut present: Vec<_> = node.ask("present a", "present a").split(',').map(str::to_owned).collect();
        present.sort();
        assert_eq!(present, ["who0", "who1"]);
        assert_eq!(node.all("gap"), [""; 0]);
    }
    // One in its place.
    let mut node = Node::start(NODE, &broker.url(), &[EXPIRY]);
    node.ask("join m3 a", "joined m3 a");
    wait_for_nodes(&broker, "a", 3);
    wait_for_count(&mut node, "a", 3);
    wait_for_count(&mut nodes[0], "a", 3);
    assert_eq!(node.ask("publish 2 a hello", "outcome 2"), "ok");
    nodes[0].wait_for("got m0 hello");
    node.wait_for("got m3 hello");
}

fn a_node_that_is_stopped_delays_nobody_and_comes_back(kind: Kind) {
    let broker = Broker::start(kind);
    let mut nodes = start(&broker, &[EXPIRY]);
    for (number, node) in nodes.iter_mut().enumerate() {
        node.ask(format!("join m{number} a"), &format!("joined m{number} a"));
    }
    wait_for_nodes(&broker, "a", 3);
    for node in &mut nodes {
        wait_for_count(node, "a", 3);
    }
    nodes[2].process().pause();
    for number in 0..100 {
        assert_eq!(nodes[0].ask(format!("publish {number} a text {number}"), &format!("outcome {number}")), "ok");
    }
    nodes[0].wait_for("got m0 text 99");
    nodes[1].wait_for("got m1 text 99");
    wait_for_count(&mut nodes[0], "a", 2);
    nodes[2].process().resume();
    // The broker has kept it for a node that is only slow.
    nodes[2].wait_for("got m2 text 99");
    let texts: Vec<_> = (0..100).map(|number| format!("text {number}")).collect();
    assert_eq!(nodes[2].all("got m2"), texts);
    for node in &mut nodes {
        wait_for_count(node, "a", 3);
    }
}

fn a_node_that_closes_says_so(kind: Kind) {
    let broker = Broker::start(kind);
    let mut nodes = start(&broker, &[NO_EXPIRY]);
    for (number, node) in nodes.iter_mut().enumerate() {
        node.ask(format!("join m{number} a"), &format!("joined m{number} a"));
    }
    wait_for_nodes(&broker, "a", 3);
    for node in &mut nodes {
        wait_for_count(node, "a", 3);
    }
    nodes[2].tell("publish 1 a last words");
    nodes[2].tell("close");
    nodes[2].wait_for("closed");
    assert_eq!(nodes[2].all("outcome 1"), ["ok"]);
    assert!(nodes[2].process().wait().success());
    nodes[0].wait_for("got m0 last words");
    for node in &mut nodes[..2] {
        wait_for_count(node, "a", 2);
    }
    wait_for_nodes(&broker, "a", 2);
}

fn who_comes_and_goes_is_told_in_differences(kind: Kind) {
    let broker = Broker::start(kind);
    let mut nodes = start(&broker, &[EXPIRY, "presence"]);
    nodes[0].ask("join-as m0 a ann", "joined m0 a");
    nodes[0].wait_for("presence a +ann -");
    nodes[1].ask("join-as m1 a bob", "joined m1 a");
    nodes[0].wait_for("presence a +bob -");
    nodes[2].ask("join-as m2 a cid", "joined m2 a");
    nodes[0].wait_for("presence a +cid -");
    nodes[1].tell("leave m1 a");
    nodes[0].wait_for("presence a + -bob");
    nodes[2].process().kill();
    nodes[0].wait_for("presence a + -cid");
    assert_eq!(nodes[0].all("presence a"), ["+ann -", "+bob -", "+cid -", "+ -bob", "+ -cid"]);
    assert_eq!(nodes[0].ask("present a", "present a"), "ann");
}

fn no_output_has_the_password(kind: Kind) {
    const PASSWORD: &str = "s3cr3t-w0rd";
    let mut broker = Broker::secured(kind, PASSWORD);
    let mut node = Node::start(NODE, &broker.url(), &["answer=300"]);
    wait_until("a connection", || node.ask("connected", "connected") == "true");
    node.ask("join m a", "joined m a");
    broker.kill();
    node.wait_for("away");
    node.ask("publish 1 a x", "outcome 1");
    broker.restart();
    node.wait_for("gap");
    let before = node.all("away").len();
    broker.pause();
    node.tell("publish 2 a x");
    wait_until("a broker that does not answer", || node.all("away").len() > before);
    broker.resume();
    node.wait_for("outcome 2");
    drop(broker);
    // Where another password is wanted, and where none is.
    let wrong = Broker::secured(kind, "another");
    let open = Broker::start(kind);
    let credentials = format!("alice:{PASSWORD}@127.0.0.1");
    let mut others = [
        (format!("{}://{credentials}:{}", kind.scheme(), wrong.port()), "away"),
        (format!("{}://{credentials}:{}", kind.scheme(), open.port()), ""),
        (format!("{}://{credentials}:port", kind.scheme()), "unusable"),
        (format!("nats:/{credentials}"), "unusable"),
        (format!("redis/{credentials}"), "unusable"),
    ]
    .map(|(url, expected)| {
        let mut other = Node::start(NODE, &url, &[]);
        if expected.is_empty() {
            wait_until("an answer", || other.ask("connected", "connected") == "true" || !other.all("away").is_empty());
        } else {
            other.wait_for(expected);
        }
        other
    });
    for node in others.iter_mut().chain([&mut node]) {
        let output = node.process().lines().join("\n");
        assert!(!output.contains("s3cr3t") && !output.contains("w0rd"), "{output}");
    }
}
