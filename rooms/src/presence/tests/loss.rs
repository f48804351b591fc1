//! What was lost, or is not whole, on a connection that stayed: it is noticed, and asked for.

use super::super::*;
use super::nodes::*;

#[test]
fn what_was_missed_is_asked_for() {
    let mut nodes = ann_twice();
    nodes.lose = |_, message| is_diff(message);
    nodes.join(0, "bob");
    nodes.run(BATCH);
    assert_eq!(nodes.present(1), [who("ann")]);
    nodes.lose = |_, _| false;
    nodes.join(0, "cem");
    nodes.run(4 * BATCH);
    assert_eq!(nodes.present(1), [who("ann"), who("bob"), who("cem")]);
    assert_eq!((nodes.published(is_ask), nodes.published(is_list)), (1, 1));
}

#[test]
fn what_was_missed_last_is_noticed_in_a_heartbeat() {
    let mut nodes = ann_twice();
    nodes.lose = |_, message| is_diff(message);
    nodes.join(0, "bob");
    nodes.lose = |_, _| false;
    nodes.run(H + 4 * BATCH);
    assert_eq!(nodes.present(1), [who("ann"), who("bob")]);
}

#[test]
fn names_and_connections_are_known_together() {
    let mut nodes = Nodes::new(2);
    nodes.lose = |_, message| is_list(message);
    (0..2).for_each(|number| nodes.join(number, ["ann", "bob"][number]));
    // There is somebody: it is not known yet who.
    nodes.run(2 * H);
    assert_eq!((nodes.present(0), nodes.all[0].count(ROOM)), (vec![who("ann")], 1));
    nodes.lose = |_, _| false;
    nodes.run(H + 4 * BATCH);
    assert_eq!((nodes.present(0), nodes.all[0].count(ROOM)), (vec![who("ann"), who("bob")], 2));
    // The same where names have been known before.
    nodes.lose = |_, message| is_diff(message) || is_list(message);
    nodes.join(1, "cem");
    nodes.run(2 * H);
    assert_eq!((nodes.present(0).len(), nodes.all[0].count(ROOM)), (2, 2));
}

#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut nodes = ann_twice();
    nodes.lose = |_, message| is_diff(message) || is_ask(message);
    nodes.join(0, "bob");
    nodes.run(H + 4 * BATCH);
    nodes.lose = |_, message| matches!(message, Message::State(_));
    nodes.run(H + 4 * BATCH);
    assert_eq!(nodes.present(1), [who("ann"), who("bob")]);
}

#[test]
fn that_somebody_left_is_noticed_also_if_nobody_heard_it() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.all[1].join(nodes.now, &who("other"), None);
    nodes.settle();
    nodes.lose = |_, message| *message == Message::Gone;
    nodes.leave(1, "bob");
    nodes.run(8 * H);
    assert_eq!(nodes.present(0), [who("ann")]);
    // Who is still there is not asked for it.
    nodes.join(1, "bob");
    nodes.settle();
    nodes.run(20 * H);
    assert_eq!(nodes.published(is_ask), 0);
}

#[test]
fn another_life_of_a_room_is_not_taken_for_the_one_before() {
    let mut nodes = ann_and_bob();
    // Nobody hears that it left, and who came next.
    nodes.lose = |_, message| *message == Message::Gone || is_list(message);
    nodes.leave(1, "bob");
    nodes.run(2 * BATCH);
    nodes.join(1, "cem");
    nodes.run(BATCH);
    nodes.lose = |_, _| false;
    nodes.run(5 * BATCH);
    assert_eq!(nodes.present(0), [who("ann"), who("cem")]);
}

#[test]
fn a_list_of_which_a_part_is_missing_is_asked_for_again() {
    let limits = Limits { message: 100, ..Limits::default() };
    for lost in 0..3 {
        let mut nodes = Nodes::new(2);
        nodes.all = (0..2).map(|number| Presence::new(node(number), H, number as u64).limits(limits)).collect();
        (0..2).for_each(|number| nodes.connect(number));
        (0..3).for_each(|index| nodes.join(1, &format!("{index} who has a long name, so as to be alone")));
        nodes.settle();
        let losses: [fn(usize, &Message<'_>) -> bool; 3] = [
            |_, message| matches!(message, Message::List { part: 0, .. } | Message::State(_)),
            |_, message| matches!(message, Message::List { part: 1, .. } | Message::State(_)),
            |_, message| matches!(message, Message::List { part: 2, .. } | Message::State(_)),
        ];
        nodes.lose = losses[lost];
        nodes.join(0, "ann");
        nodes.run(5 * BATCH);
        assert_ne!(nodes.present(0).len(), 4);
        nodes.lose = |_, message| matches!(message, Message::State(_));
        nodes.run(H + 6 * BATCH);
        assert_eq!(nodes.present(0).len(), 4, "{lost}");
    }
}

#[test]
fn what_is_said_of_the_own_state_is_what_was_announced() {
    for is_asking in [true, false] {
        let mut nodes = ann_twice();
        nodes.join(1, "bob");
        // This one is not announced before a batch is over, but for what is said now.
        let now = nodes.now;
        nodes.all[1].join(now, &who(ROOM), Some(&who("cem")));
        if is_asking {
            nodes.all[1].plan(now, &who(ROOM), Task::Ask);
        } else {
            nodes.all[1].tick = Some(now);
        }
        nodes.run(2 * BATCH);
        assert_eq!((nodes.published(is_diff), nodes.published(is_list)), (2, 0));
        assert_eq!(nodes.published(is_ask), usize::from(is_asking));
    }
}

#[test]
fn what_the_brokers_client_has_dropped_is_asked_for() {
    let mut nodes = ann_twice();
    nodes.lose = |_, message| is_diff(message);
    nodes.join(0, "bob");
    nodes.lose = |_, _| false;
    nodes.all[1].missed(nodes.now, "other");
    nodes.all[1].missed(nodes.now, ROOM);
    nodes.run(4 * BATCH);
    assert_eq!((nodes.present(1), nodes.published(is_ask)), (vec![who("ann"), who("bob")], 1));
}

#[test]
fn a_question_of_somebody_who_knows_more_does_not_replace_the_own() {
    for knows_more in [true, false] {
        let mut presence = alone();
        presence.handle_timeout(H);
        presence.output.clear();
        hear(&mut presence, node(1), &list(5, &["bob"]));
        let state = State { version: 5, connections: 1, digest: digest::of("bob") };
        let known = if knows_more { vec![(node(2), 7)] } else { vec![] };
        hear(&mut presence, node(1), &Message::Ask { state, known });
        presence.handle_timeout(H + 2 * BATCH);
        let said: Vec<_> = presence.output.iter().map(|output| output.bytes[0]).collect();
        assert_eq!(said.contains(&0x15), knows_more, "{said:?}");
    }
}

#[test]
fn a_list_of_which_no_more_comes_is_asked_for_after_a_heartbeat() {
    let mut presence = alone();
    presence.agenda.clear();
    let names = vec!["bob"];
    hear(&mut presence, node(1), &Message::List { version: 1, connections: 2, part: 0, is_last: false, names });
    presence.handle_timeout(2 * H);
    presence.handle_timeout(2 * H + 2 * BATCH);
    assert!(presence.output.iter().any(|output| output.bytes[0] == 0x15));
}

#[test]
fn parts_of_different_lists_are_not_put_together() {
    let mut presence = alone();
    let part = |version, part| {
        let is_last = part == 1;
        Message::List { version, connections: 2, part, is_last, names: vec![["a", "b"][usize::from(is_last)]] }
    };
    for message in [part(1, 0), part(2, 1)] {
        hear(&mut presence, node(1), &message);
    }
    assert_eq!(presence.present(ROOM), [who("ann")]);
    for message in [part(1, 1), part(1, 0), part(2, 0), part(2, 1)] {
        hear(&mut presence, node(1), &message);
    }
    assert_eq!(presence.present(ROOM), [who("a"), who("ann"), who("b")]);
}
