//! Single situations, in virtual time. [`simulation`](super::simulation) has all of them together.

use super::message::State;
use super::*;

const H: Duration = Duration::from_secs(5);
const BATCH: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_secs(1);
const ROOM: &str = "room";

fn node(number: usize) -> NodeId {
    NodeId::from_bytes((number as u64 + 1).to_be_bytes())
}

fn who(name: &str) -> Arc<str> {
    name.into()
}

/// Those who have joined, or left.
type Names = Vec<Arc<str>>;

/// Nodes at a broker that takes no time. What is published is kept, too.
struct Nodes {
    now: Duration,
    all: Vec<Presence>,
    /// What was published, when, and by which node.
    published: Vec<(Duration, usize, Option<Arc<str>>, Bytes)>,
    /// What nobody gets.
    lose: fn(usize, &Message<'_>) -> bool,
}

impl Nodes {
    fn new(count: usize) -> Self {
        let all = (0..count).map(|number| Presence::new(node(number), H, number as u64)).collect();
        let mut nodes = Self { now: Duration::from_secs(100), all, published: Vec::new(), lose: |_, _| false };
        (0..count).for_each(|number| nodes.connect(number));
        nodes
    }

    fn connect(&mut self, number: usize) {
        self.all[number].connected(self.now, usize::MAX);
        self.exchange();
    }

    fn join(&mut self, number: usize, name: &str) {
        self.all[number].join(self.now, &who(ROOM), Some(&who(name)));
        self.run(Duration::ZERO);
    }

    fn leave(&mut self, number: usize, name: &str) {
        self.all[number].leave(self.now, &who(ROOM), Some(&who(name)));
        self.run(Duration::ZERO);
    }

    /// Delivers what is published to all who are connected, as long as there is something.
    fn exchange(&mut self) {
        while let Some((from, Output { room, bytes })) =
            self.all.iter_mut().enumerate().find_map(|(number, node)| Some((number, node.poll_output()?)))
        {
            self.published.push((self.now, from, room.clone(), bytes.clone()));
            if (self.lose)(from, &Message::decode(&bytes).unwrap()) {
                continue;
            }
            for to in (0..self.all.len()).filter(|to| *to != from) {
                if self.all[to].link == Link::Up {
                    self.all[to].receive(self.now, room.as_deref(), node(from), &bytes).unwrap();
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeout = |node: &Presence| node.poll_timeout();
            let next = self.all.iter().enumerate().filter_map(|(number, node)| Some((timeout(node)?, number))).min();
            let Some((at, number)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.all[number].handle_timeout(self.now);
            self.exchange();
        }
        self.now = end;
    }

    fn changes(&mut self, number: usize) -> Vec<(Names, Names)> {
        std::iter::from_fn(|| self.all[number].poll_change()).map(|change| (change.joined, change.left)).collect()
    }

    fn present(&self, number: usize) -> Vec<Arc<str>> {
        self.all[number].present(ROOM)
    }

    /// Forgets what was published before, and who was told what.
    fn settle(&mut self) {
        self.run(2 * H);
        self.published.clear();
        (0..self.all.len()).for_each(|number| drop(self.changes(number)));
    }

    fn published(&self, is_wanted: impl Fn(&Message<'_>) -> bool) -> usize {
        let messages = self.published.iter().filter(|(.., bytes)| is_wanted(&Message::decode(bytes).unwrap()));
        messages.count()
    }
}

fn is_list(message: &Message<'_>) -> bool {
    matches!(message, Message::List { .. })
}

fn is_diff(message: &Message<'_>) -> bool {
    matches!(message, Message::Diff { .. })
}

fn is_ask(message: &Message<'_>) -> bool {
    matches!(message, Message::Ask { .. })
}

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
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
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

#[test]
fn what_was_missed_is_asked_for() {
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
    nodes.lose = |_, message| is_diff(message) || is_ask(message);
    nodes.join(0, "bob");
    nodes.run(H + 4 * BATCH);
    nodes.lose = |_, message| matches!(message, Message::State(_));
    nodes.run(H + 4 * BATCH);
    assert_eq!(nodes.present(1), [who("ann"), who("bob")]);
}

#[test]
fn a_node_that_is_silent_for_three_heartbeats_is_gone() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
fn a_room_that_was_left_while_away_is_said_after_the_reconnect() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
fn a_room_without_members_costs_nothing() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
fn a_process_that_was_stopped_does_not_take_it_for_the_silence_of_others() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
fn another_life_of_a_room_is_not_taken_for_the_one_before() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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

/// A node in a room, and bytes that somebody publishes there.
fn hear(presence: &mut Presence, from: NodeId, message: &Message<'_>) {
    presence.receive(H, Some(ROOM), from, &message.encode()).unwrap();
}

fn alone() -> Presence {
    let mut presence = Presence::new(node(0), H, 0).limits(Limits { nodes: 3, names: 2, ..Limits::default() });
    presence.connected(H, usize::MAX);
    presence.join(H, &who(ROOM), Some(&who("ann")));
    presence
}

fn list<'a>(version: u64, names: &[&'a str]) -> Message<'a> {
    Message::List { version, connections: names.len() as u64, part: 0, is_last: true, names: names.to_vec() }
}

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
fn what_comes_of_a_room_that_is_being_left_is_ignored() {
    let mut presence = alone();
    presence.handle_timeout(H);
    presence.leave(H, &who(ROOM), Some(&who("ann")));
    hear(&mut presence, node(1), &list(1, &["bob"]));
    assert_eq!((presence.rooms.len(), presence.present(ROOM).len(), presence.count(ROOM)), (1, 0, 0));
}

#[test]
fn what_is_said_of_the_own_state_is_what_was_announced() {
    for is_asking in [true, false] {
        let mut nodes = Nodes::new(2);
        (0..2).for_each(|number| nodes.join(number, "ann"));
        nodes.settle();
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

#[test]
fn what_the_brokers_client_has_dropped_is_asked_for() {
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, "ann"));
    nodes.settle();
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

#[test]
fn whatever_was_forged_is_put_right_by_the_node_itself() {
    let mut nodes = Nodes::new(2);
    nodes.join(0, "ann");
    nodes.join(1, "bob");
    nodes.settle();
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
