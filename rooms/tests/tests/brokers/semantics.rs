//! What rooms promise, on one node without a broker and on several over each: one suite.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{Outgoing, Prepared, SendError, Socket, WebSocket, proto::StreamOffset};
use bellwire_rooms::{JoinError, NameError, PublishError, Rooms};
use bellwire_rooms_tests::wait_until;

use crate::site::{On, Site, on_each_engine, publish_patiently, texts, wait_for_messages};

on_each_engine! {
    a_message_reaches_the_members_of_its_room_on_every_node_and_nobody_else
    a_member_gets_its_own_messages_as_all_others
    who_has_left_gets_no_more
    who_joins_twice_is_one_member
    a_socket_that_ends_leaves_all_its_rooms
    a_socket_that_has_ended_cannot_join
    all_members_see_the_messages_of_many_publishers_in_order
    a_slow_member_delays_nobody
    odd_names_are_names_of_rooms_as_others
    names_are_bounded
    messages_are_bounded
    a_message_is_encoded_once_for_all_members_of_a_node
    local_members_are_served_at_once_if_they_come_first
    what_is_published_here_stays_here
    outcomes_come_once_and_in_order
    members_are_counted_and_named_over_all_nodes
    a_member_may_publish_join_and_leave_while_it_is_sent_to
    rooms_that_are_closed_have_handed_over_what_was_published
    many_rooms_come_and_go
}

fn a_message_reaches_the_members_of_its_room_on_every_node_and_nobody_else(on: On) {
    let site = Site::new(on, 3);
    let members: Vec<_> = (0..3).flat_map(|node| [site.member(node, "a"), site.member(node, "a")]).collect();
    let others: Vec<_> = (0..3).map(|node| site.member(node, "b")).collect();
    site.settle(&["a", "b"]);
    site.nodes[0].publish("a", "text").unwrap();
    site.nodes[0].publish("a", &b"\xFFbinary"[..]).unwrap();
    site.nodes[0].publish("a", "").unwrap();
    site.nodes[0].publish("b", "other").unwrap();
    for member in &members {
        wait_for_messages(member, 3);
    }
    for other in &others {
        wait_for_messages(other, 1);
        assert_eq!(other.sent(), [Sent::text("other")]);
    }
    for member in &members {
        assert_eq!(member.sent(), [Sent::text("text"), Sent::binary(b"\xFFbinary"), Sent::text("")]);
    }
}

fn a_member_gets_its_own_messages_as_all_others(on: On) {
    let site = Site::new(on, 2);
    let members = [site.member(0, "a"), site.member(1, "a")];
    site.settle(&["a"]);
    for round in 0..10 {
        site.nodes[round % 2].publish("a", round.to_string()).unwrap();
        for member in &members {
            wait_for_messages(member, round + 1);
        }
    }
    let expected: Vec<_> = (0..10).map(|round| round.to_string()).collect();
    assert_eq!(texts(&members[0]), expected);
    assert_eq!(texts(&members[1]), expected);
}

fn who_has_left_gets_no_more(on: On) {
    let site = Site::new(on, 2);
    let (leaver, stayer) = (site.member(0, "a"), site.member(0, "a"));
    let far = site.member(1, "a");
    site.settle(&["a"]);
    site.nodes[1].publish("a", "before").unwrap();
    wait_for_messages(&leaver, 1);
    assert!(site.nodes[0].leave("a", &leaver.socket()));
    assert!(!site.nodes[0].leave("a", &leaver.socket()));
    assert!(!site.nodes[0].leave("unknown", &leaver.socket()));
    site.nodes[1].publish("a", "after").unwrap();
    wait_for_messages(&stayer, 2);
    assert_eq!(texts(&leaver), ["before"]);
    let members = site.nodes[0].members("a");
    assert!(members.contains(&stayer.socket()) && !members.contains(&leaver.socket()));
    assert!(site.nodes[0].leave("a", &stayer.socket()));
    assert!(site.nodes[1].leave("a", &far.socket()));
    site.settle(&["a"]);
    assert_eq!(site.nodes[0].members("a"), []);
    // It comes back to a room that had gone.
    site.nodes[0].join("a", &leaver.socket()).unwrap();
    site.settle(&["a"]);
    site.nodes[1].publish("a", "again").unwrap();
    wait_for_messages(&leaver, 2);
    assert_eq!(texts(&leaver), ["before", "again"]);
    assert_eq!(texts(&stayer), ["before", "after"]);
}

fn who_joins_twice_is_one_member(on: On) {
    let site = Site::new(on, 2);
    let member = site.member(0, "a");
    site.nodes[0].join("a", &member.socket()).unwrap();
    site.settle(&["a"]);
    site.nodes[1].publish("a", "1").unwrap();
    site.nodes[1].publish("a", "2").unwrap();
    wait_for_messages(&member, 2);
    assert_eq!(texts(&member), ["1", "2"]);
    assert_eq!(site.nodes[0].members("a").len(), 1);
    assert!(site.nodes[0].leave("a", &member.socket()));
    assert_eq!(site.nodes[0].members("a"), []);
    site.settle(&["a"]);
}

fn a_socket_that_ends_leaves_all_its_rooms(on: On) {
    let site = Site::new(on, 2);
    let member = site.member(0, "a");
    for room in ["b", "c"] {
        site.nodes[0].join(room, &member.socket()).unwrap();
    }
    let stayer = site.member(0, "b");
    site.settle(&["a", "b", "c"]);
    member.end();
    wait_until("an end that is noticed", || site.nodes[0].members("a").is_empty());
    assert_eq!(site.nodes[0].members("b"), [stayer.socket()]);
    assert_eq!(site.nodes[0].members("c"), []);
    site.settle(&["a", "b", "c"]);
    site.nodes[1].publish("b", "after").unwrap();
    wait_for_messages(&stayer, 1);
    assert_eq!(member.sent(), []);
}

fn a_socket_that_has_ended_cannot_join(on: On) {
    let site = Site::new(on, 1);
    let (ended, closed) = (Recorder::new(), Recorder::new());
    ended.end();
    closed.socket().close().unwrap();
    for member in [ended, closed] {
        assert_eq!(site.nodes[0].join("a", &member.socket()), Err(JoinError::Closed));
    }
    assert_eq!(site.nodes[0].members("a"), []);
    site.settle(&["a"]);
}

fn all_members_see_the_messages_of_many_publishers_in_order(on: On) {
    const EACH: usize = 200;
    let site = Site::new(on, 3);
    let members: Vec<_> = (0..3).flat_map(|node| [site.member(node, "a"), site.member(node, "a")]).collect();
    site.settle(&["a"]);
    thread::scope(|scope| {
        for (name, rooms) in site.nodes.iter().enumerate() {
            scope.spawn(move || {
                for number in 0..EACH {
                    publish_patiently(rooms, "a", &format!("{name} {number}"));
                }
            });
        }
    });
    let all: Vec<_> = members.iter().map(|member| wait_for_messages(member, 3 * EACH)).collect();
    for texts in &all {
        assert_eq!(texts.len(), 3 * EACH);
        for name in 0..3 {
            let of_one: Vec<_> = texts.iter().filter(|text| text.starts_with(&format!("{name} "))).collect();
            assert!(of_one.iter().enumerate().all(|(number, text)| **text == format!("{name} {number}")), "{of_one:?}");
        }
    }
    for pair in all.chunks(2) {
        assert_eq!(pair[0], pair[1], "one order on a node");
    }
    if site.has_one_order() {
        assert!(all.iter().all(|texts| *texts == all[0]), "one order on all nodes");
    }
}

fn a_slow_member_delays_nobody(on: On) {
    let site = Site::new(on, 2);
    let (slow, quick) = (site.member(0, "a"), site.member(0, "a"));
    let far = site.member(1, "a");
    site.settle(&["a"]);
    slow.set_full(true);
    for number in 0..100 {
        publish_patiently(&site.nodes[1], "a", &number.to_string());
    }
    wait_for_messages(&quick, 100);
    wait_for_messages(&far, 100);
    assert_eq!(slow.sent(), []);
    // What becomes of it is for the connection's own policy, not for the room.
    assert!(site.nodes[0].members("a").contains(&slow.socket()));
    slow.set_full(false);
    site.nodes[1].publish("a", "again").unwrap();
    wait_for_messages(&slow, 1);
    assert_eq!(texts(&slow), ["again"]);
}

/// What a broker, its protocol or a URL could take for something else.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "*",
        ">",
        ".",
        "..",
        "a.*",
        "a.>",
        "a",
        "a.b",
        "b.",
        ".b",
        " ",
        "a b",
        "%",
        "%2E",
        "=",
        "=2E",
        "\n",
        "\r\n",
        "\0",
        "a\r\nPUB test.room.b 1\r\nx\r\n",
        "a\nSUB test.room.> 1",
        "$SYS",
        "_INBOX",
        "?",
        "[ab]",
        "a*",
        "\\",
        "\"",
        "{a}",
        "ä",
        "A",
        "\u{1F600}",
        "room.a",
        "test.room.a",
        "/",
        "-",
        "_",
        "~",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(128));
    names.push(".".repeat(128));
    names
}

fn odd_names_are_names_of_rooms_as_others(on: On) {
    let site = Site::new(on, 2);
    let names = odd_names();
    let members: Vec<_> = names.iter().map(|name| (site.member(0, name), site.member(1, name))).collect();
    site.settle(&names);
    for name in &names {
        site.nodes[0].publish(name, format!("for {name}")).unwrap();
    }
    // Behind all others: by then all would have come that should not.
    for name in &names {
        site.nodes[0].publish(name, "end").unwrap();
    }
    for (near, far) in &members {
        wait_for_messages(near, 2);
        wait_for_messages(far, 2);
    }
    for (name, (near, far)) in names.iter().zip(&members) {
        assert_eq!(texts(near), [format!("for {name}"), "end".to_owned()], "{name:?}");
        assert_eq!(texts(far), texts(near));
    }
}

fn names_are_bounded(on: On) {
    let site = Site::new(on, 1);
    let (rooms, member) = (&site.nodes[0], Recorder::new());
    for (name, error) in [(String::new(), NameError::Empty), ("x".repeat(129), NameError::TooLong(129))] {
        assert_eq!(rooms.join(&name, &member.socket()), Err(JoinError::Room(error)));
        assert_eq!(rooms.publish(&name, "x"), Err(PublishError::Room(error)));
        assert!(!rooms.leave(&name, &member.socket()));
        assert_eq!(rooms.count(&name), 0);
        assert_eq!(rooms.members(&name), []);
    }
    let long = "x".repeat(128);
    rooms.join(&long, &member.socket()).unwrap();
    site.settle(&[&long]);
    rooms.publish(&long, "fits").unwrap();
    wait_for_messages(&member, 1);
}

fn messages_are_bounded(on: On) {
    const LIMIT: usize = 1000;
    let site = Site::with(on, 2, |builder| builder.max_message(LIMIT));
    let member = site.member(1, "a");
    site.settle(&["a"]);
    let too_long = "x".repeat(LIMIT + 1);
    let error = PublishError::TooLong { length: LIMIT + 1, limit: LIMIT };
    assert_eq!(site.nodes[0].publish("a", &*too_long), Err(error.clone()));
    let (outcome, outcomes) = kept();
    site.nodes[0].publish_with("a", &*too_long, outcome(0));
    assert_eq!(*outcomes.lock().unwrap(), [(0, Err(error))]);
    site.nodes[0].publish("a", &too_long[1..]).unwrap();
    wait_for_messages(&member, 1);
    assert_eq!(texts(&member), [&too_long[1..]]);
}

/// Keeps outcomes, with a number for each.
type Outcomes = Arc<Mutex<Vec<(usize, Result<(), PublishError>)>>>;

type Done = Box<dyn FnOnce(Result<(), PublishError>) + Send>;

fn kept() -> (impl Fn(usize) -> Done, Outcomes) {
    let outcomes = Outcomes::default();
    let of_closure = outcomes.clone();
    let keep = move |number| {
        let outcomes = of_closure.clone();
        Box::new(move |outcome| outcomes.lock().unwrap().push((number, outcome))) as Done
    };
    (keep, outcomes)
}

/// Where its messages are in memory.
struct Places {
    inner: WebSocket,
    seen: Arc<Mutex<Vec<(usize, bool)>>>,
}

impl Socket for Places {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.inner.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let place = message.as_bytes().as_ptr() as usize;
        // What is encoded is shared here. Anything else is encoded, elsewhere.
        let prepared = Prepared::new(message);
        let is_prepared = Outgoing::from(&prepared).as_bytes().as_ptr() as usize == place;
        self.seen.lock().unwrap().push((place, is_prepared));
        self.inner.as_socket().send((&prepared).into())
    }
}

fn a_message_is_encoded_once_for_all_members_of_a_node(on: On) {
    let site = Site::new(on, 2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..5 {
        let socket = WebSocket::new(Places { inner: Recorder::new().socket(), seen: seen.clone() });
        site.nodes[0].join("a", &socket).unwrap();
    }
    let last = site.member(0, "a");
    site.settle(&["a"]);
    for text in ["short", &"long".repeat(10_000)] {
        for from in &site.nodes {
            last.take_sent();
            seen.lock().unwrap().clear();
            from.publish("a", text).unwrap();
            wait_for_messages(&last, 1);
            wait_until("all", || seen.lock().unwrap().len() == 5);
            let seen = seen.lock().unwrap();
            assert!(seen.iter().all(|&place| place == (seen[0].0, true)), "{seen:?}");
        }
    }
}

fn local_members_are_served_at_once_if_they_come_first(on: On) {
    let site = Site::with(on, 2, |builder| builder.local_first());
    let (near, far) = (site.member(0, "a"), site.member(1, "a"));
    site.settle(&["a"]);
    for number in 0..100 {
        site.nodes[0].publish("a", number.to_string()).unwrap();
        assert_eq!(texts(&near).len(), number + 1, "before `publish` returns");
    }
    wait_for_messages(&far, 100);
    // What comes back to the node comes before this.
    site.nodes[1].publish("a", "far").unwrap();
    wait_for_messages(&near, 101);
    let numbers: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(texts(&near)[..100], numbers);
    assert_eq!(texts(&near)[100..], ["far"]);
    assert_eq!(texts(&far)[..100], numbers);
}

fn what_is_published_here_stays_here(on: On) {
    let site = Site::new(on, 2);
    let (near, far) = (site.member(0, "a"), site.member(1, "a"));
    site.settle(&["a"]);
    site.nodes[0].publish_here("a", "here").unwrap();
    wait_for_messages(&near, 1);
    site.nodes[0].publish("a", "everywhere").unwrap();
    wait_for_messages(&near, 2);
    assert_eq!(texts(&near), ["here", "everywhere"]);
    wait_for_messages(&far, 1);
    if on != On::Local {
        assert_eq!(texts(&far), ["everywhere"]);
    }
}

fn outcomes_come_once_and_in_order(on: On) {
    let site = Site::new(on, 2);
    let member = site.member(1, "a");
    site.settle(&["a"]);
    let (outcome, outcomes) = kept();
    for number in 0..100 {
        site.nodes[0].publish_with("a", number.to_string(), outcome(number));
    }
    wait_until("all outcomes", || outcomes.lock().unwrap().len() == 100);
    wait_for_messages(&member, 100);
    let expected: Vec<_> = (0..100).map(|number| (number, Ok(()))).collect();
    assert_eq!(*outcomes.lock().unwrap(), expected);
}

fn members_are_counted_and_named_over_all_nodes(on: On) {
    let site = Site::new(on, 3);
    let people: Vec<_> = (0..6).map(|_| Recorder::new()).collect();
    for (number, person) in people.iter().enumerate() {
        site.nodes[number % 3].join_as("a", &person.socket(), &format!("person {}", number / 2)).unwrap();
    }
    let nameless = site.member(2, "a");
    let counts = |expected| site.nodes.iter().all(|rooms| rooms.count("a") == expected);
    let present = |expected: &[&str]| {
        let names = |rooms: &Rooms| rooms.present("a").iter().map(|who| who.to_string()).collect::<BTreeSet<_>>();
        site.nodes.iter().all(|rooms| names(rooms).iter().eq(expected))
    };
    wait_until("seven members", || counts(7));
    wait_until("three people", || present(&["person 0", "person 1", "person 2"]));
    // The last one of this name.
    people[4].end();
    assert!(site.nodes[5 % 3].leave("a", &people[5].socket()));
    wait_until("five members", || counts(5));
    wait_until("two people", || present(&["person 0", "person 1"]));
    // One of two.
    people[3].end();
    wait_until("four members", || counts(4));
    wait_until("two people", || present(&["person 0", "person 1"]));
    nameless.end();
    people[..3].iter().for_each(Recorder::end);
    wait_until("nobody", || counts(0) && present(&[]));
    site.settle(&["a"]);
}

/// Does something with its room whenever it is sent to.
struct Busy {
    inner: WebSocket,
    rooms: Rooms,
}

impl Socket for Busy {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.inner.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        if text == "go" {
            self.rooms.publish("a", "answer").unwrap();
            self.rooms.join("b", &self.inner).unwrap();
            assert_eq!(self.rooms.members("a").len(), 2);
            assert!(self.rooms.leave("a", &self.inner));
        }
        self.inner.as_socket().send(message)
    }
}

fn a_member_may_publish_join_and_leave_while_it_is_sent_to(on: On) {
    let site = Site::new(on, 2);
    let (busy, other) = (Recorder::new(), site.member(0, "a"));
    let rooms = site.nodes[0].clone();
    rooms.join("a", &WebSocket::new(Busy { inner: busy.socket(), rooms: rooms.clone() })).unwrap();
    site.settle(&["a"]);
    site.nodes[1].publish("a", "go").unwrap();
    wait_for_messages(&other, 2);
    assert_eq!(texts(&other), ["go", "answer"]);
    assert_eq!(rooms.members("b"), [busy.socket()]);
    assert_eq!(rooms.members("a"), [other.socket()]);
    assert_eq!(texts(&busy), ["go"]);
}

fn rooms_that_are_closed_have_handed_over_what_was_published(on: On) {
    let site = Site::new(on, 2);
    let member = site.member(1, "a");
    site.settle(&["a"]);
    let (outcome, outcomes) = kept();
    for number in 0..100 {
        site.nodes[0].publish_with("a", number.to_string(), outcome(number));
    }
    site.nodes[0].close().wait();
    assert_eq!(outcomes.lock().unwrap().len(), 100);
    assert!(outcomes.lock().unwrap().iter().all(|(_, outcome)| outcome.is_ok()));
    wait_for_messages(&member, 100);
    if on != On::Local {
        assert_eq!(site.nodes[0].publish("a", "late"), Err(PublishError::Unavailable));
    }
}

fn many_rooms_come_and_go(on: On) {
    let site = Site::new(on, 2);
    let members: Vec<_> = (0..2).map(|_| Recorder::new()).collect();
    let names: Vec<_> = (0..200).map(|number| format!("room {number}")).collect();
    for round in 0..3 {
        for (number, name) in names.iter().enumerate() {
            for (rooms, member) in site.nodes.iter().zip(&members) {
                rooms.join(name, &member.socket()).unwrap();
                // Some are gone before the broker has heard of them.
                if number % 3 == round {
                    assert!(rooms.leave(name, &member.socket()));
                }
            }
        }
        site.settle(&names);
        for number in (0..200).filter(|number| number % 3 != round) {
            publish_patiently(&site.nodes[0], &names[number], &number.to_string());
        }
        let expected: Vec<_> = (0..200).filter(|number| number % 3 != round).map(|number| number.to_string()).collect();
        for member in &members {
            let mut got = wait_for_messages(member, expected.len());
            got.sort_by_key(|text| text.parse::<usize>().unwrap());
            assert_eq!(got, expected);
            member.take_sent();
        }
        for name in &names {
            for (rooms, member) in site.nodes.iter().zip(&members) {
                rooms.leave(name, &member.socket());
            }
        }
        site.settle(&names);
    }
}
