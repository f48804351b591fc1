//! What others say who do not keep to the rules, and what is not for this node.

use super::super::*;
use super::nodes::*;

#[test]
fn what_comes_in_the_own_name_is_ignored() {
    let mut presence = alone();
    hear(&mut presence, node(0), &list(1, &["bob"]));
    assert_eq!(presence.receive(H, None, node(0), b"rubbish"), Ok(()));
    assert_eq!(presence.present(ROOM), [who("ann")]);
}

#[test]
fn what_belongs_into_the_other_kind_of_channel_is_malformed() {
    let mut presence = alone();
    assert!(presence.receive(H, None, node(1), &list(1, &["bob"]).encode()).is_err());
    assert!(presence.receive(H, Some(ROOM), node(1), &Message::Bye.encode()).is_err());
    assert!(presence.receive(H, Some(ROOM), node(1), b"").is_err());
    assert_eq!(presence.peers.next(), None);
}

#[test]
fn other_rooms_too_many_nodes_and_too_many_names_are_not_remembered() {
    let mut presence = alone();
    presence.receive(H, Some("other"), node(1), &list(1, &["bob"]).encode()).unwrap();
    assert_eq!(presence.rooms.len(), 1);
    for number in 1..10 {
        hear(&mut presence, node(number), &list(1, &[&format!("of {number}")]));
    }
    assert_eq!(presence.present(ROOM), [who("ann"), who("of 1"), who("of 2"), who("of 3")]);
    hear(&mut presence, node(1), &list(5, &["a", "b", "c", "d"]));
    hear(
        &mut presence,
        node(2),
        &Message::Diff { version: 2, connections: 9, joined: vec!["x", "y", "z"], left: vec![] },
    );
    // They are counted.
    assert_eq!((presence.present(ROOM).len(), presence.count(ROOM)), (1 + 2 + 2 + 1, 1 + 4 + 9 + 1));
    // And nobody is asked, again and again, for what would not be remembered.
    presence.agenda.clear();
    hear(&mut presence, node(1), &Message::State(State { version: 5, connections: 4, digest: 1 }));
    hear(&mut presence, node(2), &Message::State(State { version: 2, connections: 9, digest: 1 }));
    assert_eq!(presence.agenda.next(), None);
}

#[test]
fn a_list_that_never_ends_is_cut() {
    let mut presence = alone();
    for part in 0..1000 {
        let names = [format!("{part}")];
        let names = names.iter().map(|name| &**name).collect();
        let (version, connections, is_last) = (1, u64::MAX, part == 999);
        hear(&mut presence, node(1), &Message::List { version, connections, part, is_last, names });
    }
    assert_eq!((presence.present(ROOM).len(), presence.count(ROOM)), (3, usize::MAX));
}

#[test]
fn a_heartbeat_is_believed_up_to_ten_times_the_own() {
    let mut presence = alone();
    for (forged, end) in [(Duration::from_secs(1_000_000), 31 * H), (Duration::ZERO, H + 3 * H / 10)] {
        let forged = Message::Beat { heartbeat: forged, round: 0 };
        presence.receive(H, None, node(1), &forged.encode()).unwrap();
        assert_eq!(presence.peers.expire(end - Duration::from_millis(1)), []);
        assert_eq!(presence.peers.expire(end), [node(1)]);
    }
}

#[test]
fn what_comes_of_a_room_that_is_being_left_is_ignored() {
    let mut presence = alone();
    presence.handle_timeout(H);
    presence.leave(H, &who(ROOM), Some(&who("ann")));
    hear(&mut presence, node(1), &list(1, &["bob"]));
    assert_eq!((presence.rooms.len(), presence.present(ROOM).len(), presence.count(ROOM)), (1, 0, 0));
}

#[test]
fn whatever_was_forged_is_put_right_by_the_node_itself() {
    let mut nodes = ann_and_bob();
    let forged = [
        list(u64::MAX, &["eve"]),
        Message::Gone,
        Message::State(State { version: u64::MAX, connections: u64::MAX, digest: 0 }),
        Message::Diff { version: 7, connections: 0, joined: vec!["eve"], left: vec!["bob"] },
        Message::Ask { state: State::default(), known: vec![(node(0), 0)] },
    ];
    for message in forged {
        hear_now(&mut nodes, Some(ROOM), &message);
        nodes.run(H + 4 * BATCH);
        assert_eq!((nodes.present(0), nodes.all[0].count(ROOM)), (vec![who("ann"), who("bob")], 2), "{message:?}");
    }
    // Under the version that the node has announced itself: the right names, and then wrong ones.
    let version = nodes.all[1].rooms[ROOM].own.state().version;
    hear_now(&mut nodes, Some(ROOM), &Message::Gone);
    let (names, is_last) = (vec!["bob"], true);
    hear_now(&mut nodes, Some(ROOM), &Message::List { version, connections: 9, part: 0, is_last, names });
    assert_eq!(nodes.all[0].count(ROOM), 10);
    nodes.run(H + 4 * BATCH);
    assert_eq!(nodes.all[0].count(ROOM), 2);
    hear_now(&mut nodes, Some(ROOM), &Message::Gone);
    hear_now(&mut nodes, Some(ROOM), &list(version, &["eve"]));
    assert_eq!(nodes.present(0), [who("ann"), who("eve")]);
    nodes.run(H + 4 * BATCH);
    assert_eq!(nodes.present(0), [who("ann"), who("bob")]);
    for message in [Message::Bye, Message::Beat { heartbeat: Duration::MAX, round: u64::MAX }] {
        hear_now(&mut nodes, None, &message);
        nodes.run(H + 4 * BATCH);
        assert_eq!(nodes.present(0), [who("ann"), who("bob")], "{message:?}");
    }
    nodes.all[1].disconnected(nodes.now);
    nodes.run(3 * H);
    assert_eq!(nodes.present(0), [who("ann")]);
}

/// The first node hears this from somebody who pretends to be the second.
fn hear_now(nodes: &mut Nodes, room: Option<&str>, message: &Message<'_>) {
    let bytes = match message {
        Message::Beat { heartbeat: Duration::MAX, .. } => {
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"[..].into()
        }
        _ => message.encode(),
    };
    nodes.all[0].receive(nodes.now, room, node(1), &bytes).unwrap();
    nodes.exchange();
}
