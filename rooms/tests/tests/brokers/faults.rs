//! Brokers that are away, lost, slow, paused, full, or something else; and ways to them that are cut.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_rooms::{BrokerError, Builder, PublishError, Rooms, WhileAway};
use bellwire_rooms_tests::{Broker, Kind, PATIENCE, Relay, Way, wait_until};

use crate::site::{PREFIX, ROOMS, on_each_broker, publish_patiently, settle, texts, wait_for_messages};
use crate::watched::{ANSWER, Watched};

on_each_broker! {
    a_broker_that_is_away_at_the_start_is_found_later
    what_was_kept_before_the_first_connection_is_handed_over
    a_broker_that_was_lost_is_found_again_with_one_gap_each_time
    rooms_that_came_and_went_during_an_outage_are_right_after_it
    publications_during_an_outage_are_refused_at_once
    publications_during_an_outage_are_kept_up_to_the_bound
    what_was_on_its_way_is_in_doubt_and_not_sent_again
    a_slow_broker_is_waited_for
    a_broker_that_does_not_answer_is_lost
    a_broker_that_is_paused_for_a_moment_costs_nothing
    a_broker_that_is_paused_for_long_is_lost_and_found_again
    a_node_behind_a_black_hole_is_alone_until_it_is_opened
    a_node_that_reads_too_slowly_is_cut_off_and_comes_back
    a_broker_that_turns_to_rubbish_is_lost_and_found_again
    rubbish_from_the_start_is_no_broker
    a_web_server_is_no_broker
    a_server_that_says_nothing_is_no_broker
    wrong_credentials_are_a_typed_error_without_secrets
    right_credentials_are_right
    a_broker_that_takes_no_more_connections_is_tried_until_it_does
}

fn member(node: &Watched, room: &str) -> Recorder {
    let member = Recorder::new();
    node.rooms.join(room, &member.socket()).unwrap();
    member
}

/// Waits until the broker knows of these rooms, and the nodes know that.
#[track_caller]
fn settled(broker: &Broker, nodes: &[&Watched], rooms: &[&str]) {
    settle(broker, &nodes.iter().map(|node| &node.rooms).collect::<Vec<_>>(), rooms);
    for node in nodes {
        let (told, confirmed) = mpsc::channel();
        node.rooms
            .publish_with("nobody", "comes after what was subscribed", move |outcome| told.send(outcome).unwrap());
        assert_eq!(confirmed.recv_timeout(PATIENCE), Ok(Ok(())));
    }
}

fn a_broker_that_is_away_at_the_start_is_found_later(kind: Kind) {
    let mut broker = Broker::start(kind);
    broker.stop();
    let node = Watched::new(kind, &broker.url(), |builder| builder);
    let member = member(&node, "a");
    node.wait_for_error(|error| matches!(error, BrokerError::Unreachable(_)));
    assert!(!node.rooms.is_connected());
    assert_eq!(node.rooms.publish("a", "early"), Err(PublishError::Unavailable));
    broker.restart();
    node.wait_connected();
    settled(&broker, &[&node], &["a"]);
    node.rooms.publish("a", "now").unwrap();
    wait_for_messages(&member, 1);
    assert_eq!(texts(&member), ["now"]);
}

fn what_was_kept_before_the_first_connection_is_handed_over(kind: Kind) {
    let mut broker = Broker::start(kind);
    broker.stop();
    let node = Watched::new(kind, &broker.url(), |builder| builder.while_away(WhileAway::Keep));
    let member = member(&node, "a");
    (0..50).for_each(|number| node.publish("a", number));
    assert_eq!(node.outcomes(), []);
    broker.restart();
    let outcomes = node.wait_for_outcomes(50);
    assert_eq!(outcomes, (0..50).map(|number| (number, Ok(()))).collect::<Vec<_>>());
    let expected: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(wait_for_messages(&member, 50), expected);
}

fn a_broker_that_was_lost_is_found_again_with_one_gap_each_time(kind: Kind) {
    let mut broker = Broker::start(kind);
    let nodes = [0, 1].map(|_| Watched::at(&broker, |builder| builder));
    let (near, far) = (member(&nodes[0], "a"), member(&nodes[1], "a"));
    let other = member(&nodes[0], "b");
    for round in 1..=3 {
        settled(&broker, &[&nodes[0], &nodes[1]], &["a", "b"]);
        nodes[0].publish("a", round);
        assert_eq!(nodes[0].wait_for_outcomes(round)[round - 1], (round, Ok(())));
        wait_for_messages(&near, 2 * round - 1);
        wait_for_messages(&far, 2 * round - 1);
        if round % 2 == 0 {
            broker.stop();
        } else {
            broker.kill();
        }
        nodes.iter().for_each(Watched::wait_away);
        broker.restart();
        nodes.iter().for_each(|node| node.wait_for_gaps(round));
        // Whoever was told of a gap misses nothing from then on.
        nodes[1].rooms.publish("a", "after").unwrap();
        wait_for_messages(&near, 2 * round);
        wait_for_messages(&far, 2 * round);
    }
    for (node, rooms) in nodes.iter().zip([&["a", "b"][..], &["a"]]) {
        let gaps = node.gaps();
        assert_eq!(gaps.len(), 3, "{gaps:?}");
        for gap in gaps {
            let mut found = gap.rooms.clone();
            found.sort();
            assert_eq!((&*found, gap.in_doubt), (&*rooms.iter().map(|room| room.to_string()).collect::<Vec<_>>(), 0));
        }
    }
    assert_eq!(texts(&near), ["1", "after", "2", "after", "3", "after"]);
    assert_eq!(texts(&far), texts(&near));
    assert_eq!(texts(&other), [""; 0]);
}

fn rooms_that_came_and_went_during_an_outage_are_right_after_it(kind: Kind) {
    let mut broker = Broker::start(kind);
    let node = Watched::at(&broker, |builder| builder);
    let (stays, leaves) = (member(&node, "stays"), member(&node, "leaves"));
    settled(&broker, &[&node], &["stays", "leaves"]);
    broker.kill();
    node.wait_away();
    assert!(node.rooms.leave("leaves", &leaves.socket()));
    let comes = member(&node, "comes");
    let short = member(&node, "short");
    short.end();
    broker.restart();
    node.wait_connected();
    settled(&broker, &[&node], &["stays", "comes", "leaves", "short"]);
    for room in ["leaves", "short", "stays", "comes"] {
        node.rooms.publish(room, room).unwrap();
    }
    assert_eq!(wait_for_messages(&comes, 1), ["comes"]);
    assert_eq!(wait_for_messages(&stays, 1), ["stays"]);
    assert_eq!(texts(&leaves), [""; 0]);
}

fn publications_during_an_outage_are_refused_at_once(kind: Kind) {
    let mut broker = Broker::start(kind);
    let node = Watched::at(&broker, |builder| builder);
    let member = member(&node, "a");
    settled(&broker, &[&node], &["a"]);
    broker.kill();
    node.wait_away();
    for number in 0..3 {
        assert_eq!(node.rooms.publish("a", "lost"), Err(PublishError::Unavailable));
        node.publish("a", number);
        assert_eq!(node.outcomes().last(), Some(&(number, Err(PublishError::Unavailable))));
    }
    broker.restart();
    node.wait_for_gaps(1);
    node.rooms.publish("a", "after").unwrap();
    assert_eq!(wait_for_messages(&member, 1), ["after"]);
}

fn publications_during_an_outage_are_kept_up_to_the_bound(kind: Kind) {
    const BOUND: usize = 10;
    let mut broker = Broker::start(kind);
    let node = Watched::at(&broker, |builder| builder.while_away(WhileAway::Keep).queue(BOUND, 1 << 20));
    let member = member(&node, "a");
    settled(&broker, &[&node], &["a"]);
    broker.kill();
    node.wait_away();
    (0..BOUND).for_each(|number| node.publish("a", number));
    assert_eq!(node.outcomes(), []);
    assert_eq!(node.rooms.publish("a", "too much"), Err(PublishError::Full));
    broker.restart();
    node.wait_for_outcomes(BOUND);
    wait_for_messages(&member, BOUND);
    node.publish("a", BOUND);
    let expected: Vec<_> = (0..=BOUND).map(|number| number.to_string()).collect();
    assert_eq!(wait_for_messages(&member, BOUND + 1), expected);
    assert_eq!(node.wait_for_outcomes(BOUND + 1), (0..=BOUND).map(|number| (number, Ok(()))).collect::<Vec<_>>());
    assert_eq!(node.gaps().len(), 1);
}

fn what_was_on_its_way_is_in_doubt_and_not_sent_again(kind: Kind) {
    for policy in [WhileAway::Refuse, WhileAway::Keep] {
        let broker = Broker::start(kind);
        let relay = Relay::to(broker.port());
        let patient = Duration::from_secs(60);
        let node = Watched::through(&relay, &broker, |builder| builder.while_away(policy).answer_timeout(patient));
        let far = Watched::at(&broker, |builder| builder);
        let (near_member, far_member) = (member(&node, "a"), member(&far, "a"));
        settled(&broker, &[&node, &far], &["a"]);
        // The broker gets it and says so, and nobody hears that.
        relay.set(Way::Slow);
        node.publish("a", 1);
        assert_eq!(wait_for_messages(&far_member, 1), ["1"]);
        assert_eq!(node.outcomes(), []);
        relay.set(Way::Cut);
        assert_eq!(node.wait_for_outcomes(1), [(1, Err(PublishError::Lost))]);
        relay.set(Way::Open);
        node.wait_for_gaps(1);
        assert_eq!(node.gaps()[0].in_doubt, 1);
        node.publish("a", 2);
        assert_eq!(wait_for_messages(&far_member, 2), ["1", "2"]);
        assert_eq!(wait_for_messages(&near_member, 1), ["2"]);
        assert_eq!(node.wait_for_outcomes(2)[1], (2, Ok(())));
    }
}

fn a_slow_broker_is_waited_for(kind: Kind) {
    const BOUND: usize = 100;
    let broker = Broker::start(kind);
    let relay = Relay::to(broker.port());
    let patient = Duration::from_secs(60);
    let node = Watched::through(&relay, &broker, |builder| builder.answer_timeout(patient).queue(BOUND, 1 << 30));
    let far = Watched::at(&broker, |builder| builder);
    let (near_member, far_member) = (member(&node, "a"), member(&far, "a"));
    settled(&broker, &[&node, &far], &["a"]);
    relay.set(Way::Held);
    let long = "x".repeat(10_000);
    let mut accepted = 0;
    let refused = loop {
        match node.rooms.publish("a", &*long) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted <= 100_000, "what waits for a broker has a bound");
    };
    assert_eq!(refused, PublishError::Full);
    // Others do not wait for this node.
    far.rooms.publish("a", "quick").unwrap();
    wait_for_messages(&far_member, 1);
    relay.set(Way::Open);
    wait_for_messages(&near_member, accepted + 1);
    wait_for_messages(&far_member, accepted + 1);
    node.rooms.publish("a", "last").unwrap();
    assert_eq!(wait_for_messages(&near_member, accepted + 2).last().unwrap(), "last");
    assert!(accepted >= BOUND);
    assert_eq!((node.gaps(), node.away().len()), (Vec::new(), 0));
}

fn a_broker_that_does_not_answer_is_lost(kind: Kind) {
    let broker = Broker::start(kind);
    let relay = Relay::to(broker.port());
    let node = Watched::through(&relay, &broker, |builder| builder.answer_timeout(ANSWER));
    let member = member(&node, "a");
    settled(&broker, &[&node], &["a"]);
    for (round, way) in [Way::Slow, Way::Held, Way::BlackHole].into_iter().enumerate() {
        relay.set(way);
        node.publish("a", 2 * round);
        node.wait_away();
        // What is tried meanwhile ends as well.
        let before = node.away().len();
        wait_until("an attempt that times out", || node.away().len() > before);
        assert!(node.away()[before..].iter().all(is_silent), "{:?}", node.away());
        relay.set(Way::Open);
        node.wait_for_gaps(round + 1);
        node.publish("a", 2 * round + 1);
        // The first was on its way, or has waited meanwhile for something else that was.
        let outcomes = node.wait_for_outcomes(2 * round + 2).split_off(2 * round);
        assert!(matches!(outcomes[..], [(_, Err(PublishError::Lost) | Ok(())), (_, Ok(()))]), "{way:?}: {outcomes:?}");
        let last = (2 * round + 1).to_string();
        wait_until("the second", || texts(&member).last() == Some(&last));
    }
    assert_eq!(node.gaps().len(), 3);
    let numbers: Vec<_> = texts(&member).iter().map(|text| text.parse::<usize>().unwrap()).collect();
    assert!(numbers.is_sorted_by(|first, second| first < second), "{numbers:?}");
}

/// A client of NATS expects a greeting.
fn is_silent(error: &BrokerError) -> bool {
    matches!(error, BrokerError::TimedOut(_)) || matches!(error, BrokerError::Unreachable(why) if why.contains("greet"))
}

fn a_broker_that_is_paused_for_a_moment_costs_nothing(kind: Kind) {
    let broker = Broker::start(kind);
    let nodes = [0, 1].map(|_| Watched::at(&broker, |builder| builder.answer_timeout(Duration::from_secs(60))));
    let members = [member(&nodes[0], "a"), member(&nodes[1], "a")];
    settled(&broker, &[&nodes[0], &nodes[1]], &["a"]);
    broker.pause();
    (0..100).for_each(|number| nodes[0].publish("a", number));
    assert_eq!(nodes[0].outcomes(), []);
    broker.resume();
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    for member in &members {
        assert_eq!(wait_for_messages(member, 100), expected);
    }
    nodes[0].wait_for_outcomes(100);
    assert!(nodes.iter().all(|node| node.gaps().is_empty() && node.away().is_empty()));
}

fn a_broker_that_is_paused_for_long_is_lost_and_found_again(kind: Kind) {
    let broker = Broker::start(kind);
    let set_up = |builder: Builder| builder.answer_timeout(ANSWER).heartbeat(Duration::from_millis(200));
    let nodes = [0, 1].map(|_| Watched::at(&broker, set_up));
    let members = [member(&nodes[0], "a"), member(&nodes[1], "a")];
    settled(&broker, &[&nodes[0], &nodes[1]], &["a"]);
    broker.pause();
    // Nobody has to publish for that.
    nodes.iter().for_each(Watched::wait_away);
    assert_eq!(nodes[0].rooms.publish("a", "refused"), Err(PublishError::Unavailable));
    assert!(nodes.iter().all(|node| matches!(node.away()[0], BrokerError::TimedOut(_))), "{:?}", nodes[0].away());
    broker.resume();
    nodes.iter().for_each(|node| node.wait_for_gaps(1));
    nodes[1].rooms.publish("a", "after").unwrap();
    for member in &members {
        assert_eq!(wait_for_messages(member, 1), ["after"]);
    }
    // Of the connections that were given up nothing is left.
    settled(&broker, &[&nodes[0], &nodes[1]], &["a"]);
    assert!(nodes.iter().all(|node| node.gaps().len() == 1));
}

fn a_node_behind_a_black_hole_is_alone_until_it_is_opened(kind: Kind) {
    let broker = Broker::start(kind);
    let relays = [0, 1].map(|_| Relay::to(broker.port()));
    let set_up = |builder: Builder| builder.answer_timeout(ANSWER).heartbeat(Duration::from_millis(200));
    let nodes = [0, 1].map(|index| Watched::through(&relays[index], &broker, set_up));
    let members = [member(&nodes[0], "a"), member(&nodes[1], "a")];
    settled(&broker, &[&nodes[0], &nodes[1]], &["a"]);
    wait_until("two members", || nodes.iter().all(|node| node.rooms.count("a") == 2));
    relays[1].set(Way::BlackHole);
    nodes[1].wait_away();
    assert_eq!(nodes[1].rooms.publish("a", "refused"), Err(PublishError::Unavailable));
    nodes[0].rooms.publish("a", "without you").unwrap();
    assert_eq!(wait_for_messages(&members[0], 1), ["without you"]);
    wait_until("the other node counts as gone", || nodes[0].rooms.count("a") == 1);
    // A second one: nobody has the broker.
    relays[0].set(Way::BlackHole);
    nodes[0].wait_away();
    relays.iter().for_each(|relay| relay.set(Way::Open));
    nodes.iter().for_each(|node| node.wait_for_gaps(1));
    nodes[1].rooms.publish("a", "together").unwrap();
    assert_eq!(wait_for_messages(&members[0], 2), ["without you", "together"]);
    assert_eq!(wait_for_messages(&members[1], 1), ["together"]);
    wait_until("two members again", || nodes.iter().all(|node| node.rooms.count("a") == 2));
    assert!(nodes.iter().all(|node| node.gaps().len() == 1));
}

fn a_node_that_reads_too_slowly_is_cut_off_and_comes_back(kind: Kind) {
    let broker = match kind {
        Kind::Nats => Broker::with(kind, &["max_pending: 1048576", "write_deadline: \"300ms\""]),
        Kind::Redis => Broker::with(kind, &["client-output-buffer-limit pubsub 1mb 1mb 1"]),
    };
    let relay = Relay::to(broker.port());
    let slow = Watched::through(&relay, &broker, |builder| builder.answer_timeout(Duration::from_secs(60)));
    let quick = Watched::at(&broker, |builder| builder);
    let (slow_member, quick_member) = (member(&slow, "a"), member(&quick, "a"));
    settled(&broker, &[&slow, &quick], &["a"]);
    relay.set(Way::Slow);
    // More than all buffers on the way hold.
    let long = "x".repeat(60_000);
    for number in 0..300 {
        publish_patiently(&quick.rooms, "a", &format!("{number} {long}"));
    }
    wait_for_messages(&quick_member, 300);
    wait_until("the broker gives the slow node up", || broker.channels(ROOMS).into_values().eq([1]));
    relay.set(Way::Open);
    slow.wait_for_gaps(1);
    quick.rooms.publish("a", "after").unwrap();
    wait_until("all that was on the way", || texts(&slow_member).last().is_some_and(|text| text == "after"));
    let got = texts(&slow_member);
    let (numbered, _) = got.split_at(got.len() - 1);
    assert!(numbered.iter().enumerate().all(|(number, text)| text.starts_with(&format!("{number} "))));
    assert!(numbered.len() < 300);
    assert_eq!((quick.gaps(), quick.away().len()), (Vec::new(), 0));
}

fn a_broker_that_turns_to_rubbish_is_lost_and_found_again(kind: Kind) {
    let broker = Broker::start(kind);
    let relay = Relay::to(broker.port());
    let node = Watched::through(&relay, &broker, |builder| builder.answer_timeout(ANSWER));
    let member = member(&node, "a");
    settled(&broker, &[&node], &["a"]);
    relay.set(Way::Rubbish);
    node.publish("a", 1);
    node.wait_away();
    relay.set(Way::Open);
    node.wait_for_gaps(1);
    node.publish("a", 2);
    assert!(matches!(node.wait_for_outcomes(2)[..], [(1, Err(PublishError::Lost) | Ok(())), (2, Ok(()))]));
    wait_until("the second", || texts(&member).last().is_some_and(|text| text == "2"));
}

fn rubbish_from_the_start_is_no_broker(kind: Kind) {
    let broker = Broker::start(kind);
    let relay = Relay::to(broker.port());
    relay.set(Way::Rubbish);
    let node = Watched::new(kind, &broker.url_at(relay.port()), |builder| builder.answer_timeout(ANSWER));
    node.wait_for_error(is_no_broker);
    assert_eq!(node.rooms.publish("a", "x"), Err(PublishError::Unavailable));
    relay.set(Way::Open);
    node.wait_connected();
}

fn is_no_broker(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Protocol(_))
}

fn a_web_server_is_no_broker(kind: Kind) {
    let port = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
    });
    let url = format!("{}://alice:s3cr3t-w0rd@127.0.0.1:{port}", kind.scheme());
    let node = Watched::new(kind, &url, |builder| builder.answer_timeout(ANSWER));
    // A web server says nothing before it was asked, as a client of NATS does.
    let error = node.wait_for_error(|error| is_no_broker(error) || (kind == Kind::Nats && is_silent(error)));
    assert_no_secret(&format!("{error} {error:?} {:?}", node.rooms));
}

fn a_server_that_says_nothing_is_no_broker(kind: Kind) {
    let port = serve(|mut stream| while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {});
    let url = format!("{}://127.0.0.1:{port}", kind.scheme());
    let node = Watched::new(kind, &url, |builder| builder.answer_timeout(ANSWER));
    node.wait_for_error(is_silent);
}

/// A server on a port of its own, until the tests end.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    port
}

const PASSWORD: &str = "s3cr3t-w0rd";

#[track_caller]
fn assert_no_secret(printed: &str) {
    assert!(!printed.contains("s3cr3t") && !printed.contains("w0rd"), "{printed}");
}

fn wrong_credentials_are_a_typed_error_without_secrets(kind: Kind) {
    let broker = Broker::secured(kind, "another");
    let port = broker.port();
    let scheme = kind.scheme();
    for credentials in [format!("alice:{PASSWORD}@"), format!("{PASSWORD}:{PASSWORD}@"), String::new()] {
        let url = format!("{scheme}://{credentials}127.0.0.1:{port}");
        let node = Watched::new(kind, &url, |builder| builder);
        let error = node.wait_for_error(|error| matches!(error, BrokerError::Credentials(_)));
        assert_no_secret(&format!("{error} {error:?} {:?} {:?}", node.rooms, node.away()));
        assert!(!node.rooms.is_connected());
        assert_eq!(node.rooms.publish("a", "x"), Err(PublishError::Unavailable));
    }
}

fn right_credentials_are_right(kind: Kind) {
    for password in ["another", "with%40sign%2Fand%3Acolon"] {
        let plain = password.replace("%40", "@").replace("%2F", "/").replace("%3A", ":");
        let broker = Broker::secured(kind, &plain);
        let url = format!("{}://alice:{password}@127.0.0.1:{}", kind.scheme(), broker.port());
        let node = Watched::new(kind, &url, |builder| builder);
        node.wait_connected();
        let member = member(&node, "a");
        settled(&broker, &[&node], &["a"]);
        node.rooms.publish("a", "x").unwrap();
        wait_for_messages(&member, 1);
        assert!(node.away().is_empty());
    }
}

#[test]
fn what_is_no_url_of_a_broker_is_said_at_once() {
    for url in
        ["", "http://127.0.0.1:1", "amqp://alice:s3cr3t-w0rd@127.0.0.1", "://s3cr3t-w0rd@", "redis//x", "nats:/x"]
    {
        for kind in Kind::ALL {
            let builder = Rooms::builder().prefix(PREFIX);
            let rooms = if kind == Kind::Nats { builder.nats(url) } else { builder.redis(url) };
            let error = rooms.expect_err(url);
            assert!(matches!(error, BrokerError::Url(_)), "{kind:?}: {url:?}: {error:?}");
            assert_no_secret(&format!("{error} {error:?}"));
        }
    }
    assert!(matches!(Rooms::nats("redis://127.0.0.1:1").unwrap_err(), BrokerError::Url(_)));
    assert!(matches!(Rooms::redis("nats://127.0.0.1:1").unwrap_err(), BrokerError::Url(_)));
}

fn a_broker_that_takes_no_more_connections_is_tried_until_it_does(kind: Kind) {
    const MOST: usize = 4;
    let limit = if kind == Kind::Nats { "max_connections: 4" } else { "maxclients 4" };
    let broker = Broker::with(kind, &[limit]);
    let mut others = Vec::new();
    wait_until("all connections are taken", || {
        others.extend(taken(kind, broker.port()));
        others.len() == MOST
    });
    let node = Watched::new(kind, &broker.url(), |builder| builder);
    wait_until("some refusals", || node.away().len() >= 2);
    assert!(!node.rooms.is_connected());
    assert_eq!(node.rooms.publish("a", "x"), Err(PublishError::Unavailable));
    drop(others);
    node.wait_connected();
}

/// Takes a connection of a broker, by a client that says no more than it must.
fn taken(kind: Kind, port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (hello, welcome) = match kind {
        Kind::Nats => ("CONNECT {\"verbose\":false}\r\nPING\r\n", "PONG"),
        Kind::Redis => ("PING\r\n", "PONG"),
    };
    stream.write_all(hello.as_bytes()).ok()?;
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains(welcome) {
        let length = stream.read(&mut buffer).ok().filter(|&length| length > 0)?;
        answer += &String::from_utf8_lossy(&buffer[..length]);
        if answer.contains("-ERR") {
            return None;
        }
    }
    Some(stream)
}
