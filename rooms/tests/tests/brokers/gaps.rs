//! What is told of what is not kept any more: all of it, and nothing else as far as a broker can know.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_rooms::{Builder, History, Position, Rooms};
use bellwire_rooms_tests::{Broker, Kind, look_for, wait_until};

use crate::history::{numbered, position};
use crate::site::{On, PREFIX, Site, on_each_engine, publish_patiently, texts, wait_for_messages};

/// As long as messages are kept where they are to become too old.
const SHORT: Duration = Duration::from_secs(1);

/// How many are kept where there are to be too many.
const FEW: usize = 10;

/// A node, and what it was told.
struct Node {
    site: Site,
    gaps: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn new(on: On, history: History) -> Self {
        let gaps = Arc::<Mutex<Vec<String>>>::default();
        let set_up = |builder: Builder| {
            let gaps = gaps.clone();
            let builder = builder.history(history).numbered(numbered);
            builder.on_gap(move |_, gap| gaps.lock().unwrap().extend(gap.rooms.iter().cloned()))
        };
        let site = match on {
            On::Local => Site::with(on, 1, set_up),
            On::Broker(kind) => Site::around(Broker::with_history(kind), 1, || set_up(Rooms::builder().prefix(PREFIX))),
        };
        Self { site, gaps }
    }

    fn rooms(&self) -> &Rooms {
        &self.site.nodes[0]
    }

    /// Publishes so many messages in a room, and returns where they are.
    fn publish(&self, room: &str, count: usize) -> Vec<Position> {
        let member = Recorder::new();
        self.rooms().join(room, &member.socket()).unwrap();
        self.site.settle(&[room]);
        (0..count).for_each(|number| publish_patiently(self.rooms(), room, &number.to_string()));
        let positions = wait_for_messages(&member, count).iter().map(|text| position(text)).collect();
        self.rooms().leave(room, &member.socket());
        positions
    }

    /// Waits until all that was published in a room is too old.
    fn forget(&self, room: &str) {
        wait_until("messages that are too old", || {
            self.rooms().history(room, None).wait().unwrap().messages.is_empty()
        });
    }

    /// Returns how many messages somebody gets who comes back, and whether a gap is told.
    fn come_back(&self, room: &str, since: Position) -> (usize, bool) {
        // It is of no history, so that this is told after the other.
        const NOWHERE: Position = Position::new(1 << 60, 1 << 60);
        let (member, last) = (Recorder::new(), Recorder::new());
        self.rooms().join_since(room, &member.socket(), Some(since)).unwrap();
        let before = wait_for_kept(self.rooms(), room, &member);
        self.rooms().join_since("last", &last.socket(), Some(NOWHERE)).unwrap();
        wait_until("a gap", || self.gaps.lock().unwrap().iter().any(|told| told == "last"));
        self.rooms().leave(room, &member.socket());
        self.rooms().leave("last", &last.socket());
        let told = std::mem::take(&mut *self.gaps.lock().unwrap());
        (before, told.iter().any(|told| told == room))
    }
}

/// Waits until somebody has caught up, and returns with how many messages.
fn wait_for_kept(rooms: &Rooms, room: &str, member: &Recorder) -> usize {
    const LAST: &str = "that is all";
    rooms.publish_here(room, LAST).unwrap();
    wait_until("what is kept", || texts(member).iter().any(|text| text == LAST));
    texts(member).len() - 1
}

mod everywhere {
    use super::*;

    on_each_engine! {
        what_is_dropped_by_age_is_told
        what_is_dropped_by_count_is_told_and_as_much_as_is_kept_is_no_gap
    }

    fn what_is_dropped_by_age_is_told(on: On) {
        let node = Node::new(on, History::last(100).for_at_most(SHORT));
        let positions = node.publish("a", 2);
        node.forget("a");
        assert_eq!(node.come_back("a", positions[0]), (0, true));
        node.publish("a", 1);
        assert!(node.come_back("a", positions[0]).1);
    }

    fn what_is_dropped_by_count_is_told_and_as_much_as_is_kept_is_no_gap(on: On) {
        let node = Node::new(on, History::last(FEW));
        let mut positions = node.publish("a", FEW + 1);
        assert_eq!(node.come_back("a", positions[0]), (FEW, false));
        assert_eq!(node.come_back("a", positions[FEW]), (0, false));
        // Redis may keep some more.
        positions.extend(node.publish("a", 500));
        assert_eq!(node.come_back("a", positions[500]), (FEW, false));
        let (got, told) = node.come_back("a", positions[0]);
        assert!((FEW..500).contains(&got) && told, "{got} messages, {told}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn while_the_stream_is_there_redis_knows_that_nothing_came() {
    let node = Node::new(On::Broker(Kind::Redis), History::last(100).for_at_most(SHORT));
    let broker = node.site.broker.as_ref().unwrap();
    let positions = look_for(|| {
        let positions = node.publish("a", 2);
        // It does not expire any more, unless that came first.
        (broker.redis(&["PERSIST", "{test}.keep.a"]) == ["1"]).then_some(positions)
    });
    let positions = positions.expect("a stream that stays");
    node.forget("a");
    assert_eq!(node.come_back("a", positions[1]), (0, false));
    assert_eq!(node.come_back("a", positions[0]), (0, true));
}
