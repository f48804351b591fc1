//! Nodes that end, fall silent, or lose their connection for a while.

use super::super::*;
use super::nodes::*;

#[test]
fn a_node_that_is_silent_for_three_heartbeats_is_gone() {
    let mut nodes = ann_and_bob();
    nodes.run(H);
    // Anything counts: there were no heartbeats, but what somebody said in a room.
    nodes.lose = |_, message| matches!(message, Message::Beat { .. } | Message::State(_));
    nodes.run(2 * H);
    nodes.join(1, "cem");
    let heard = nodes.now;
    nodes.lose = |_, _| true;
    nodes.run(3 * H - BATCH);
    assert_eq!(nodes.present(0), [who("ann"), who("bob"), who("cem")]);
    drop(nodes.changes(0));
    nodes.run(LINGER);
    assert_eq!((nodes.present(0), nodes.all[0].count(ROOM)), (vec![who("ann")], 1));
    nodes.run(LINGER);
    assert_eq!(nodes.changes(0), [(vec![], vec![who("bob"), who("cem")])]);
    assert!(nodes.now < heard + 4 * H);
}

#[test]
fn a_node_with_a_slower_heartbeat_is_waited_for() {
    let mut nodes = Nodes::new(2);
    nodes.all[1] = Presence::new(node(1), 4 * H, 1);
    nodes.connect(1);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.run(40 * H);
    assert_eq!(nodes.changes(0).len(), 2);
    assert_eq!(nodes.present(0), [who("ann"), who("bob")]);
}

#[test]
fn who_says_goodbye_is_gone_at_once_and_says_nothing_more() {
    let mut nodes = ann_and_bob();
    nodes.all[1].farewell();
    nodes.exchange();
    assert_eq!((nodes.present(0), nodes.all[0].count(ROOM)), (vec![who("ann")], 1));
    nodes.published.clear();
    nodes.leave(1, "bob");
    assert_eq!(nodes.all[1].poll_timeout(), None);
    nodes.run(10 * H);
    assert!(nodes.published.iter().all(|(_, from, ..)| *from == 0));
}

#[test]
fn who_lost_the_connection_keeps_what_is_known_until_it_expires() {
    let mut nodes = ann_and_bob();
    nodes.all[0].disconnected(nodes.now);
    nodes.join(0, "cem");
    // It was heard at most one heartbeat ago.
    nodes.run(2 * H - BATCH);
    assert_eq!(nodes.present(0), [who("ann"), who("bob"), who("cem")]);
    nodes.run(H + 2 * BATCH);
    assert_eq!(nodes.present(0), [who("ann"), who("cem")]);
    assert!(nodes.published.iter().all(|(_, from, ..)| *from == 1));
    nodes.connect(0);
    nodes.run(H);
    for number in 0..2 {
        assert_eq!(nodes.present(number), [who("ann"), who("bob"), who("cem")]);
    }
}

#[test]
fn a_connection_that_comes_back_soon_tells_nobody_anything() {
    let mut nodes = ann_and_bob();
    nodes.all[0].disconnected(nodes.now);
    nodes.run(H);
    nodes.connect(0);
    nodes.run(4 * H);
    assert_eq!((nodes.changes(0), nodes.changes(1)), (vec![], vec![]));
    // Both knew all, and said no list.
    assert_eq!(nodes.published(is_list), 0);
}

#[test]
fn what_was_to_be_published_on_a_lost_connection_is_not_on_the_next() {
    let mut presence = alone();
    presence.handle_timeout(H);
    assert!(presence.has_output());
    presence.disconnected(H);
    assert_eq!((presence.has_output(), presence.poll_output()), (false, None));
}

#[test]
fn a_node_is_asked_twice_after_each_reconnect_before_it_is_dropped() {
    let mut nodes = ann_and_bob();
    nodes.lose = |from, message| from == 1 && !matches!(message, Message::Beat { .. });
    for _ in 0..3 {
        nodes.all[0].disconnected(nodes.now);
        nodes.connect(0);
        nodes.run(H / 5);
    }
    assert_eq!(nodes.published(is_ask), 3);
    nodes.run(H);
    assert_eq!(nodes.present(0), [who("ann"), who("bob")]);
    nodes.run(H + 2 * BATCH);
    assert_eq!(nodes.present(0), [who("ann")]);
}

#[test]
fn who_left_while_the_other_was_away_is_gone_two_heartbeats_after_it_comes_back() {
    let mut nodes = ann_and_bob();
    nodes.all[0].disconnected(nodes.now);
    nodes.leave(1, "bob");
    nodes.run(BATCH);
    // It has members elsewhere, so that it is still heard of.
    nodes.all[1].join(nodes.now, &who("other"), None);
    nodes.connect(0);
    nodes.run(2 * H + 10 * BATCH);
    assert_eq!(nodes.present(0), [who("ann")]);
}

#[test]
fn a_room_that_was_left_while_away_is_said_after_the_reconnect() {
    let mut nodes = ann_and_bob();
    nodes.all[1].disconnected(nodes.now);
    nodes.leave(1, "bob");
    assert!(nodes.all[1].rooms.is_empty());
    nodes.connect(1);
    assert_eq!(nodes.present(0), [who("ann")]);
    // And again, for the connection may be lost before anybody hears it.
    nodes.all[1].disconnected(nodes.now);
    nodes.published.clear();
    nodes.connect(1);
    assert_eq!(nodes.published(|message| *message == Message::Gone), 1);
    nodes.all[1].disconnected(nodes.now);
    nodes.run(4 * H);
    nodes.published.clear();
    nodes.connect(1);
    assert_eq!(nodes.published(|message| *message == Message::Gone), 0);
}

#[test]
fn a_room_that_was_left_and_joined_again_while_away_is_not_left() {
    let mut nodes = ann_and_bob();
    nodes.all[1].disconnected(nodes.now);
    nodes.leave(1, "bob");
    nodes.join(1, "bob");
    nodes.connect(1);
    nodes.run(H);
    assert_eq!(nodes.published(|message| *message == Message::Gone), 0);
    assert_eq!((nodes.present(0), nodes.changes(0)), (vec![who("ann"), who("bob")], vec![]));
}

#[test]
fn a_room_that_was_left_and_joined_again_within_a_batch_is_not_left() {
    let mut nodes = ann_and_bob();
    nodes.join(1, "cem");
    nodes.leave(1, "cem");
    nodes.leave(1, "bob");
    assert_eq!(nodes.present(1).len(), 0);
    nodes.join(1, "bob");
    nodes.run(5 * BATCH);
    assert_eq!(nodes.published(|message| *message == Message::Gone), 0);
    for number in 0..2 {
        assert_eq!(nodes.present(number), [who("ann"), who("bob")]);
    }
}

#[test]
fn a_process_that_was_stopped_does_not_take_it_for_the_silence_of_others() {
    let mut nodes = ann_and_bob();
    // The other one forgets it meanwhile.
    let mut asleep = nodes.all.remove(0);
    nodes.all.insert(0, Presence::new(node(0), H, 0));
    nodes.run(10 * H);
    assert_eq!(nodes.present(1), [who("bob")]);
    asleep.handle_timeout(nodes.now);
    nodes.all[0] = asleep;
    assert_eq!(nodes.present(0), [who("ann"), who("bob")]);
    nodes.run(H);
    for number in 0..2 {
        assert_eq!(nodes.present(number), [who("ann"), who("bob")]);
    }
    assert_eq!(nodes.changes(0), []);
    // It would have to be silent for three heartbeats now.
    nodes.all[1].disconnected(nodes.now);
    nodes.run(4 * H);
    assert_eq!(nodes.present(0), [who("ann")]);
}

#[test]
fn a_process_that_was_stopped_asks_in_all_its_rooms() {
    let mut nodes = Nodes::new(1);
    for index in 0..200 {
        nodes.all[0].join(nodes.now, &who(&format!("{index}")), None);
    }
    nodes.settle();
    nodes.now += 3 * H;
    nodes.run(H / 2);
    assert_eq!(nodes.published(is_ask), 200);
}

#[test]
fn without_any_connection_to_come_the_others_are_gone_and_rooms_that_empty_cost_nothing() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.join(1, "ann");
    nodes.settle();
    nodes.join(0, "cy");
    nodes.leave(0, "cy");
    let now = nodes.now;
    let one = &mut nodes.all[0];
    one.join(now, &who("left"), None);
    one.leave(now, &who("left"), None);
    one.end(now);
    assert_eq!((one.present(ROOM), one.count(ROOM)), (vec![who("ann")], 1));
    for number in 0..100 {
        let room = who(&number.to_string());
        one.join(now, &room, Some(&who("dee")));
        one.leave(now, &room, Some(&who("dee")));
    }
    one.join(now, &who(ROOM), Some(&who("dee")));
    one.leave(now, &who(ROOM), Some(&who("dee")));
    assert_eq!((one.rooms.len(), one.poll_timeout(), one.poll_output()), (1, None, None));
    let changes = nodes.changes(0);
    let about = |name: &str| {
        let of = |names: &Names| names.iter().filter(|it| **it == who(name)).count();
        changes.iter().fold((0, 0), |(joined, left), change| (joined + of(&change.0), left + of(&change.1)))
    };
    assert_eq!((about("ann"), about("bob"), about("cy"), about("dee")), ((0, 0), (0, 1), (1, 1), (101, 101)));
}
