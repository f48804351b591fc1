//! What is said, and how often: no more than there is to say, in messages that the broker takes.

use super::super::*;
use super::nodes::*;

#[test]
fn a_room_without_members_costs_nothing() {
    let mut nodes = ann_and_bob();
    (0..2).for_each(|number| nodes.leave(number, ["ann", "bob"][number]));
    nodes.run(2 * BATCH);
    nodes.published.clear();
    nodes.run(10 * H);
    assert!(nodes.published.is_empty());
    for node in &nodes.all {
        assert!(node.rooms.is_empty() && node.agenda.next().is_none() && node.tells.next().is_none());
    }
    // Neither does one that nobody was told of.
    nodes.all[0].disconnected(nodes.now);
    nodes.join(0, "ann");
    nodes.leave(0, "ann");
    assert!(nodes.all[0].rooms.is_empty());
}

#[test]
fn many_askers_get_one_answer_and_answers_are_spread() {
    let mut nodes = Nodes::new(10);
    nodes.join(0, "ann");
    nodes.settle();
    (1..10).for_each(|number| nodes.join(number, &format!("{number}")));
    nodes.run(5 * BATCH);
    assert!((0..10).all(|number| nodes.present(number).len() == 10));
    let lists = |by| nodes.published.iter().filter(|(_, from, _, bytes)| *from == by && bytes[0] == 0x14).count();
    assert!(lists(0) <= 3, "{}", lists(0));
    nodes.run(2 * H);
    nodes.published.clear();
    nodes.all[0].disconnected(nodes.now);
    nodes.leave(0, "ann");
    nodes.run(4 * H);
    nodes.published.clear();
    nodes.connect(0);
    nodes.join(0, "ann");
    nodes.run(5 * BATCH);
    let answers = nodes.published.iter().filter(|(_, from, _, bytes)| *from != 0 && bytes[0] == 0x14);
    let mut times: Vec<_> = answers.map(|(at, ..)| *at).collect();
    times.dedup();
    assert_eq!(times.len(), 9);
    assert!(times[8] - times[0] > BATCH / 2);
}

#[test]
fn who_loses_the_broker_together_asks_together() {
    let mut nodes = Nodes::new(10);
    (0..10).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
    (0..10).for_each(|number| nodes.all[number].disconnected(nodes.now));
    (0..10).for_each(|number| nodes.all[number].connected(nodes.now, usize::MAX));
    (0..10).for_each(|number| nodes.all[number].handle_timeout(nodes.now));
    let planned: std::collections::BTreeSet<_> = nodes.all.iter().map(|node| node.agenda.next()).collect();
    assert_eq!(planned.len(), 10);
    nodes.run(H / 2);
    // The first asks for all. The others have planned to ask later, and need not.
    assert_eq!((nodes.published(is_ask), nodes.published(is_list)), (1, 0));
}

#[test]
fn one_heartbeat_serves_all_rooms_and_some_of_them_say_their_state() {
    let mut nodes = Nodes::new(1);
    for index in 0..200 {
        nodes.all[0].join(nodes.now, &who(&format!("{index}")), None);
    }
    nodes.settle();
    nodes.run(8 * H);
    assert_eq!(nodes.published(|message| matches!(message, Message::Beat { .. })), 8);
    let mut states: Vec<_> = nodes.published.iter().filter(|(.., bytes)| bytes[0] == 0x12).collect();
    assert_eq!(states.len(), 2 * 200);
    states.sort_by_key(|(.., room, _)| room.clone());
    assert!(states.chunks(2).all(|two| two[0].2 == two[1].2));
}

#[test]
fn in_many_rooms_nobody_is_asked_while_all_say_their_states() {
    let mut nodes = Nodes::new(2);
    for index in 0..200 {
        (0..2).for_each(|number| nodes.all[number].join(nodes.now, &who(&format!("{index}")), None));
    }
    nodes.run(5 * H);
    nodes.published.clear();
    nodes.run(20 * H);
    assert_eq!(nodes.published(is_ask), 0);
}

#[test]
fn very_many_rooms_are_asked_for_little_by_little() {
    let mut nodes = Nodes::new(1);
    for index in 0..10_000 {
        nodes.all[0].join(nodes.now, &who(&format!("{index}")), None);
    }
    nodes.run(Duration::from_secs(60));
    nodes.all[0].disconnected(nodes.now);
    nodes.published.clear();
    let start = nodes.now;
    nodes.connect(0);
    nodes.run(nodes.all[0].pace.spread(10_000) + 2 * BATCH);
    assert_eq!(nodes.published(is_ask), 10_000);
    let mut most = 0;
    for (at, ..) in &nodes.published {
        let in_a_batch = nodes.published.iter().filter(|(other, ..)| *at <= *other && *other < *at + BATCH);
        most = most.max(in_a_batch.take(1000).count());
        if *at > start + H {
            break;
        }
    }
    assert!(most <= 2 * BURST_AND_BEAT, "{most}");
}

#[test]
fn long_lists_of_many_rooms_are_said_little_by_little() {
    let mut presence = Presence::new(node(0), H, 0);
    presence.connected(H, usize::MAX);
    for index in 0..100 {
        for name in 0..1000 {
            presence.join(H, &who(&format!("{index}")), Some(&who(&format!("somebody {name:05}"))));
        }
    }
    let (mut now, mut bytes, mut most) = (H, 0, 0);
    while now < 2 * H {
        let mut said = 0;
        while presence.poll_timeout().is_some_and(|due| due <= now) {
            presence.handle_timeout(now);
            said += std::iter::from_fn(|| presence.poll_output()).map(|output| output.bytes.len()).sum::<usize>();
        }
        (bytes, most) = (bytes + said, most.max(said));
        now += BATCH;
    }
    assert!(bytes > 1_500_000 && most < pace::BURST_BYTES + 20_000, "{bytes} {most}");
}

const BURST_AND_BEAT: usize = pace::BURST + 1 + pace::ROOMS_PER_BEAT;

#[test]
fn output_that_nobody_takes_does_not_grow() {
    let mut presence = Presence::new(node(0), H, 0);
    presence.connected(H, usize::MAX);
    for index in 0..1000 {
        presence.join(H, &who(&format!("{index}")), None);
    }
    let mut now = H;
    for _ in 0..1000 {
        now = now.max(presence.poll_timeout().unwrap());
        presence.handle_timeout(now);
    }
    assert!(presence.output.len() <= 2 * BURST_AND_BEAT, "{}", presence.output.len());
}

#[test]
fn lists_and_changes_are_split_and_come_whole() {
    let limits = Limits { message: 500, ..Limits::default() };
    let mut nodes = Nodes::new(2);
    nodes.all = (0..2).map(|number| Presence::new(node(number), H, number as u64).limits(limits)).collect();
    (0..2).for_each(|number| nodes.connect(number));
    nodes.join(1, "ann");
    nodes.settle();
    (0..300).for_each(|index| nodes.join(1, &format!("somebody {index}")));
    nodes.run(BATCH);
    assert!(nodes.published(is_diff) > 9 && nodes.published(is_list) == 0);
    nodes.join(0, "bob");
    nodes.run(6 * BATCH);
    assert_eq!((nodes.present(0).len(), nodes.present(1).len()), (302, 302));
    assert!(nodes.published(is_list) > 9);
    assert!(nodes.published.iter().all(|(.., bytes)| bytes.len() <= 500));
    // Somebody else who asks has to wait until the broker has got over it.
    let parts = nodes.published(is_list) as u32 - 1;
    nodes.published.clear();
    let ask = Message::Ask { state: State::default(), known: Vec::new() }.encode();
    nodes.all[1].receive(nodes.now, Some(ROOM), node(7), &ask).unwrap();
    assert!(parts > 8);
    nodes.run((parts - 6) * BATCH);
    assert_eq!(nodes.published(is_list), 0);
    nodes.run(15 * BATCH);
    assert_eq!(nodes.published(is_list) as u32, parts);
}

#[test]
fn what_was_planned_in_a_room_is_forgotten_with_it() {
    let mut presence = alone();
    presence.join(H, &who(ROOM), Some(&who("bob")));
    assert!(presence.tells.next().is_some() && presence.agenda.next().is_some());
    // Nobody was told of it.
    ["ann", "bob"].iter().for_each(|name| presence.leave(H, &who(ROOM), Some(&who(name))));
    assert_eq!((presence.tells.next(), presence.agenda.next(), presence.rooms.len()), (None, None, 0));
    // This time somebody was, and has asked.
    presence.join(H, &who(ROOM), None);
    presence.handle_timeout(H);
    hear(&mut presence, node(1), &Message::Ask { state: State::default(), known: Vec::new() });
    presence.leave(H, &who(ROOM), None);
    presence.join(H, &who(ROOM), None);
    presence.output.clear();
    presence.handle_timeout(H + 2 * BATCH);
    let said: Vec<_> = presence.output.iter().map(|output| output.bytes[0]).collect();
    assert_eq!(said, [0x15]);
}

#[test]
fn no_message_is_longer_than_the_broker_takes() {
    let mut presence = Presence::new(node(0), H, 0);
    presence.connected(H, 200);
    for index in 0..100 {
        presence.join(H, &who(ROOM), Some(&who(&format!("somebody {index}"))));
    }
    for number in 1..50 {
        hear(&mut presence, node(number), &list(u64::MAX, &["bob"]));
    }
    presence.handle_timeout(H);
    presence.handle_timeout(2 * H);
    let longest = presence.output.iter().map(|output| output.bytes.len()).max();
    assert!(longest.is_some_and(|longest| (150..=200).contains(&longest)), "{longest:?}");
    let question = presence.output.iter().find(|output| output.bytes[0] == 0x15).unwrap();
    // Those that are not named say more than they would have to.
    assert!(matches!(Message::decode(&question.bytes), Ok(Message::Ask { known, .. }) if known.len() == 8));
}

/// A room with ten thousand members on three nodes.
fn crowded() -> Nodes {
    let mut nodes = Nodes::new(3);
    for index in 0..10_000 {
        nodes.all[index % 3].join(nodes.now, &who(ROOM), Some(&who(&format!("user-{index:07}"))));
    }
    nodes.run(2 * H);
    assert!((0..3).all(|number| nodes.present(number).len() == 10_000));
    nodes.settle();
    nodes
}

#[test]
fn in_a_crowd_a_change_costs_what_it_changes() {
    let mut nodes = crowded();
    nodes.join(0, "user-0010000");
    nodes.leave(1, "user-0000001");
    nodes.run(BATCH);
    let sizes: Vec<_> = nodes.published.iter().map(|(.., bytes)| bytes.len()).collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= 22), "{sizes:?}");
    // A heartbeat, and the state of each node in the room.
    nodes.published.clear();
    nodes.run(H);
    let sizes: Vec<_> = nodes.published.iter().map(|(.., bytes)| bytes.len()).collect();
    assert!(sizes.len() == 6 && sizes.iter().sum::<usize>() < 3 * 24, "{sizes:?}");
}

#[test]
fn a_newcomer_to_a_crowd_gets_each_list_once() {
    let mut nodes = crowded();
    nodes.all.push(Presence::new(node(3), H, 3));
    nodes.connect(3);
    nodes.join(3, "new");
    nodes.run(5 * BATCH);
    assert_eq!(nodes.present(3).len(), 10_001);
    let sizes = nodes.published.iter().filter(|(.., bytes)| bytes[0] == 0x14).map(|(.., bytes)| bytes.len());
    let (count, bytes) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
    // Thirteen bytes for each name, in two messages from each node, and the newcomer's own.
    assert!(count == 7 && (130_000..130_200).contains(&bytes), "{count} {bytes}");
}
