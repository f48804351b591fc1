//! What is kept, and that it makes up for what was missed.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{Message, OwnedMessage};
use bellwire_rooms::{Builder, History, Past, Position, Rooms};
use bellwire_rooms_tests::{Broker, Kind, Relay, Way, look_for, wait_until};

use crate::site::{
    On, PREFIX, Site, on_each_broker, on_each_engine, publish_patiently, settle, texts, wait_for_messages,
};
use crate::watched::Watched;

mod everywhere {
    use super::*;

    on_each_engine! {
        who_comes_back_catches_up_without_a_gap_or_a_double
        what_is_kept_can_be_read
        all_members_see_all_messages_in_the_order_of_the_history
        who_comes_back_to_less_than_was_missed_is_told
    }

    fn site(on: On, nodes: usize) -> Site {
        site_with(on, nodes, set_up)
    }

    fn site_with(on: On, nodes: usize, set_up: impl Fn(Builder) -> Builder) -> Site {
        match on {
            On::Local => Site::with(on, nodes, set_up),
            On::Broker(kind) => {
                let builder = || set_up(Rooms::builder().prefix(PREFIX));
                Site::around(Broker::with_history(kind), nodes, builder)
            }
        }
    }

    fn who_comes_back_catches_up_without_a_gap_or_a_double(on: On) {
        let site = site(on, 2);
        let stayer = site.member(0, "a");
        site.settle(&["a"]);
        let member = site.member(1, "a");
        site.settle(&["a"]);
        let mut got = Vec::new();
        for round in 0..5 {
            for number in 0..20 {
                publish_patiently(&site.nodes[0], "a", &format!("{round}.{number}"));
                // It is away for some of them, and comes back in the middle.
                if number == 5 {
                    wait_for(&member, &format!("{round}.5"));
                    assert!(site.nodes[1].leave("a", &member.socket()));
                    got.extend(member.take_sent().iter().map(text));
                }
                if number == 12 {
                    let last = got.last().map(|text: &String| position(text));
                    site.nodes[1].join_since("a", &member.socket(), last).unwrap();
                }
            }
            wait_for(&member, &format!("{round}.19"));
            wait_for(&stayer, &format!("{round}.19"));
        }
        got.extend(member.take_sent().iter().map(text));
        assert_eq!(got, texts(&stayer));
        assert_eq!(got.len(), 100);
        assert!(got.is_sorted_by_key(|text| position(text)));
    }

    fn all_members_see_all_messages_in_the_order_of_the_history(on: On) {
        // Enough for a server of NATS to mix some of them up.
        const EACH: usize = 1500;
        let kept = |builder: Builder| builder.history(History::last(4 * EACH)).numbered(numbered);
        let site = site_with(on, 3, kept);
        let members: Vec<_> = (0..3).map(|node| site.member(node, "a")).collect();
        site.settle(&["a"]);
        thread::scope(|scope| {
            for (name, rooms) in site.nodes.iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..EACH {
                        publish_patiently(rooms, "a", &format!("{name}.{number}"));
                    }
                });
            }
        });
        let past = |rooms: &Rooms| rooms.history("a", None).wait().unwrap().messages;
        wait_until("all are kept", || past(&site.nodes[0]).len() == 3 * EACH);
        let numbered = |past: Past| format!("{} {}", past.position, past.message.as_text().unwrap());
        let expected: Vec<_> = past(&site.nodes[0]).into_iter().map(numbered).collect();
        for member in &members {
            let got = wait_for_messages(member, 3 * EACH);
            assert_eq!(got.len(), expected.len());
            for (number, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(got, expected, "{number} came before");
            }
        }
    }

    fn who_comes_back_to_less_than_was_missed_is_told(on: On) {
        const KEPT: usize = 10;
        let gaps = Arc::new(Mutex::new(Vec::new()));
        let set_up = |builder: Builder| {
            let gaps = gaps.clone();
            let builder = builder.history(History::last(KEPT)).numbered(numbered);
            builder.on_gap(move |_, gap| gaps.lock().unwrap().push(gap.rooms.clone()))
        };
        let site = site_with(on, 1, set_up);
        let (rooms, stayer, late) = (&site.nodes[0], site.member(0, "a"), Recorder::new());
        site.settle(&["a"]);
        // A broker may keep some more.
        (0..500).for_each(|number| publish_patiently(rooms, "a", &number.to_string()));
        let all = wait_for_messages(&stayer, 500);
        rooms.join_since("a", &late.socket(), Some(position(&all[496]))).unwrap();
        wait_for(&late, "499");
        assert_eq!(texts(&late), all[497..]);
        assert_eq!(*gaps.lock().unwrap(), [[""; 0]; 0]);
        assert!(rooms.leave("a", &late.socket()));
        rooms.join_since("a", &late.socket(), Some(position(&all[0]))).unwrap();
        wait_until("a gap", || *gaps.lock().unwrap() == [["a"]]);
        assert!(texts(&late).len() < 500);
    }

    fn what_is_kept_can_be_read(on: On) {
        let site = site(on, 2);
        let past = |node: &Rooms, since| node.history("a", since).wait().unwrap().messages;
        assert_eq!(past(&site.nodes[0], None), []);
        let member = site.member(0, "a");
        site.settle(&["a"]);
        for number in 0..20 {
            site.nodes[0].publish("a", number.to_string()).unwrap();
            site.nodes[0].publish("b", "other").unwrap();
        }
        wait_for_messages(&member, 20);
        let positions: Vec<_> = texts(&member).iter().map(|text| position(text)).collect();
        for node in &site.nodes {
            let all = past(node, None);
            let found: Vec<_> = all.iter().map(|past| (past.position, past.message.as_text().unwrap())).collect();
            assert_eq!(found.len(), 20);
            for (number, (position, text)) in found.into_iter().enumerate() {
                assert_eq!((position, text), (positions[number], &*number.to_string()));
            }
            assert_eq!(past(node, Some(positions[14])), all[15..]);
            assert_eq!(past(node, Some(positions[19])), []);
        }
    }
}

mod faults {
    use super::*;

    on_each_broker! {
        a_cut_is_bridged_without_a_gap_or_a_double
        a_broker_that_comes_back_has_what_it_had
        what_is_not_kept_any_more_is_a_gap
    }

    fn a_cut_is_bridged_without_a_gap_or_a_double(kind: Kind) {
        let broker = Broker::with_history(kind);
        let relay = Relay::to(broker.port());
        let (cut, far) = (Watched::through(&relay, &broker, set_up), Watched::at(&broker, set_up));
        let members = [&cut, &far].map(joined);
        settle(&broker, &[&cut.rooms, &far.rooms], &["a"]);
        for round in 0..5 {
            for number in 0..30 {
                match number {
                    10 => {
                        // All before it is there, so that the gap is known.
                        wait_for(&members[0], &format!("{round}.9"));
                        relay.set(Way::Cut);
                        cut.wait_away();
                    }
                    20 => relay.set(Way::Open),
                    _ => (),
                }
                publish_patiently(&far.rooms, "a", &format!("{round}.{number}"));
            }
            for member in &members {
                wait_for(member, &format!("{round}.29"));
            }
            cut.wait_connected();
        }
        assert_eq!(texts(&members[0]), texts(&members[1]));
        assert_eq!(texts(&members[0]).len(), 150);
        assert_eq!(cut.gaps(), []);
    }

    fn a_broker_that_comes_back_has_what_it_had(kind: Kind) {
        let mut broker = Broker::with_history(kind);
        let nodes = [0, 1].map(|_| Watched::at(&broker, set_up));
        let members = [joined(&nodes[0]), joined(&nodes[1])];
        settle(&broker, &[&nodes[0].rooms, &nodes[1].rooms], &["a"]);
        for round in 0..3 {
            for number in 0..10 {
                publish_until_ok(&nodes[0], 10 * round + number);
            }
            // Some may not have come to the members.
            broker.kill();
            nodes.iter().for_each(Watched::wait_away);
            broker.restart();
            nodes.iter().for_each(Watched::wait_connected);
        }
        publish_until_ok(&nodes[1], 30);
        for member in &members {
            wait_for(member, "30");
        }
        let numbers = |member| texts(member).iter().map(|text| text.split_once(' ').unwrap().1.to_owned()).collect();
        let (first, second): (Vec<_>, Vec<_>) = (numbers(&members[0]), numbers(&members[1]));
        assert_eq!(first, (0..=30).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(first, second);
        assert!(nodes.iter().all(|node| node.gaps().is_empty()), "{:?}", nodes[0].gaps());
    }

    fn what_is_not_kept_any_more_is_a_gap(kind: Kind) {
        const KEPT: usize = 10;
        let broker = Broker::with_history(kind);
        let relay = Relay::to(broker.port());
        let short = |builder: Builder| builder.history(History::last(KEPT)).numbered(numbered);
        let (cut, far) = (Watched::through(&relay, &broker, short), Watched::at(&broker, short));
        let members = [joined(&cut), joined(&far)];
        settle(&broker, &[&cut.rooms, &far.rooms], &["a"]);
        publish_until_ok(&far, 0);
        wait_for(&members[0], "0");
        relay.set(Way::Cut);
        cut.wait_away();
        // A broker may keep some more.
        (1..=500).for_each(|number| far.publish("a", number));
        far.wait_for_outcomes(501);
        relay.set(Way::Open);
        cut.wait_for_gaps(1);
        assert_eq!(cut.gaps()[0].rooms, ["a"]);
        publish_until_ok(&far, 501);
        for member in &members {
            wait_for(member, "501");
        }
        let got = texts(&members[0]);
        assert!(got.is_sorted_by(|first, second| position(first) < position(second)), "{got:?}");
        assert!((2..502).contains(&got.len()), "{got:?}");
        assert_eq!((texts(&members[1]).len(), far.gaps(), cut.gaps().len()), (502, Vec::new(), 1));
    }

    fn joined(node: &Watched) -> Recorder {
        let member = Recorder::new();
        node.rooms.join("a", &member.socket()).unwrap();
        member
    }

    fn publish_until_ok(node: &Watched, number: usize) {
        let before = node.outcomes().len();
        node.publish("a", number);
        assert_eq!(node.wait_for_outcomes(before + 1)[before], (number, Ok(())));
    }
}

/// Members see where each message is.
fn set_up(builder: Builder) -> Builder {
    builder.history(History::last(1000).for_at_most(Duration::from_secs(600))).numbered(numbered)
}

pub(crate) fn numbered(position: Position, message: Message<'_>) -> OwnedMessage {
    OwnedMessage::Text(format!("{position} {}", message.as_text().unwrap()))
}

pub(crate) fn position(text: &str) -> Position {
    text.split_once(' ').unwrap().0.parse().unwrap()
}

fn text(sent: &Sent) -> String {
    match sent {
        Sent::Message(OwnedMessage::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Waits until a member has got this as its last.
#[track_caller]
fn wait_for(member: &Recorder, text: &str) {
    let is_last = || texts(member).last().is_some_and(|last| last.split_once(' ').unwrap().1 == text).then_some(());
    look_for(is_last).unwrap_or_else(|| panic!("{text}; there were: {:?}", texts(member)));
}
