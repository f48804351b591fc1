//! Who comes and who goes: who is told of it, and when.

use super::super::*;
use super::nodes::*;

#[test]
fn without_a_broker_all_is_told_at_once_and_nothing_is_published() {
    let mut presence = Presence::local();
    let (room, ann, bob) = (who(ROOM), who("ann"), who("bob"));
    let told = |presence: &mut Presence| {
        assert_eq!((presence.poll_timeout(), presence.poll_output()), (None, None));
        presence.poll_change().map(|change| (change.joined, change.left))
    };
    presence.join(H, &room, Some(&ann));
    assert_eq!(told(&mut presence), Some((vec![ann.clone()], vec![])));
    presence.join(H, &room, Some(&bob));
    assert_eq!(told(&mut presence), Some((vec![bob.clone()], vec![])));
    // The same once more, and somebody without a name.
    presence.join(H, &room, Some(&bob));
    presence.join(H, &room, None);
    assert_eq!(told(&mut presence), None);
    assert_eq!((presence.present(ROOM), presence.count(ROOM)), (vec![ann.clone(), bob.clone()], 4));
    presence.leave(H, &room, Some(&bob));
    presence.leave(H, &room, None);
    assert_eq!(told(&mut presence), None);
    presence.leave(H, &room, Some(&bob));
    assert_eq!(told(&mut presence), Some((vec![], vec![bob])));
    presence.leave(H, &room, Some(&ann));
    assert_eq!(told(&mut presence), Some((vec![], vec![ann])));
    assert_eq!((presence.present(ROOM).len(), presence.count(ROOM), presence.rooms.len()), (0, 0, 0));
}

#[test]
fn who_is_not_there_cannot_leave() {
    let mut presence = Presence::local();
    let room = who(ROOM);
    presence.leave(H, &room, None);
    presence.join(H, &room, Some(&who("ann")));
    presence.leave(H, &room, None);
    presence.leave(H, &room, Some(&who("bob")));
    assert_eq!(presence.count(ROOM), 1);
}

#[test]
fn who_joins_is_known_everywhere_and_the_newcomer_knows_all() {
    let mut nodes = Nodes::new(3);
    nodes.join(0, "ann");
    nodes.run(BATCH);
    nodes.join(1, "bob");
    assert_eq!(nodes.changes(0), [(vec![who("ann")], vec![]), (vec![who("bob")], vec![])]);
    nodes.run(5 * BATCH);
    assert_eq!(nodes.present(1), [who("ann"), who("bob")]);
    assert_eq!(nodes.changes(1), [(vec![who("bob")], vec![]), (vec![who("ann")], vec![])]);
    // Who is not in the room does not care.
    assert_eq!((nodes.present(2).len(), nodes.all[2].rooms.len()), (0, 0));
}

#[test]
fn many_changes_are_announced_and_told_together() {
    let mut nodes = ann_twice();
    for index in 0..50 {
        nodes.join(0, &format!("{index:02}"));
        nodes.run(Duration::from_millis(3));
    }
    nodes.run(BATCH);
    assert_eq!(nodes.published(is_diff), 3);
    for number in 0..2 {
        let told = nodes.changes(number);
        assert!(told.len() <= 4, "{told:?}");
        assert_eq!(told.iter().map(|(joined, _)| joined.len()).sum::<usize>(), 50);
    }
}

#[test]
fn who_left_and_came_back_within_a_batch_is_not_announced() {
    let mut nodes = ann_twice();
    nodes.join(0, "bob");
    nodes.published.clear();
    nodes.leave(0, "bob");
    nodes.join(0, "bob");
    nodes.join(0, "cem");
    nodes.leave(0, "cem");
    nodes.run(BATCH);
    assert_eq!(nodes.published(is_diff), 0);
    assert_eq!(nodes.present(1), [who("ann"), who("bob")]);
}

#[test]
fn who_moves_to_another_node_is_not_told_in_whatever_order() {
    for leaves_first in [true, false] {
        let mut nodes = Nodes::new(3);
        (0..3).for_each(|number| nodes.join(number, "ann"));
        nodes.join(0, "bob");
        nodes.settle();
        if leaves_first {
            nodes.leave(0, "bob");
            nodes.run(LINGER - BATCH);
            nodes.join(1, "bob");
        } else {
            nodes.join(1, "bob");
            nodes.run(LINGER - BATCH);
            nodes.leave(0, "bob");
        }
        nodes.run(2 * LINGER);
        for number in 0..3 {
            assert_eq!(nodes.present(number), [who("ann"), who("bob")]);
            assert_eq!(nodes.changes(number), []);
        }
    }
}

#[test]
fn who_leaves_is_told_after_lingering() {
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.join(0, "bob");
    nodes.settle();
    nodes.leave(0, "bob");
    nodes.run(LINGER - BATCH);
    for number in 0..2 {
        assert_eq!(nodes.present(number), [who("ann")]);
        assert_eq!(nodes.changes(number), []);
    }
    nodes.run(2 * BATCH);
    for number in 0..2 {
        assert_eq!(nodes.changes(number), [(vec![], vec![who("bob")])]);
    }
}

#[test]
fn connections_without_a_name_are_counted_everywhere() {
    let mut nodes = Nodes::new(2);
    for number in [0, 1, 1] {
        nodes.all[number].join(nodes.now, &who(ROOM), None);
    }
    nodes.run(5 * BATCH);
    assert_eq!((nodes.all[0].count(ROOM), nodes.all[1].count(ROOM)), (3, 3));
    nodes.all[1].leave(nodes.now, &who(ROOM), None);
    nodes.run(2 * BATCH);
    assert_eq!((nodes.all[0].count(ROOM), nodes.all[1].count(ROOM)), (2, 2));
    assert_eq!((nodes.changes(0), nodes.changes(1)), (vec![], vec![]));
}
