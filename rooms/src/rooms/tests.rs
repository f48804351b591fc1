//! Rooms in one process.

use std::sync::atomic::{AtomicUsize, Ordering};

use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{Closed, ClosedBy, Message, OwnedMessage};

use super::*;
use crate::builder::History;
use crate::error::{HistoryError, JoinError};
use crate::name::NameError;
use crate::position::Position;
use crate::presence::Change;

#[test]
fn members_get_what_is_published_in_their_rooms_and_others_do_not() {
    let rooms = Rooms::local();
    let (alice, bob, carol) = (Recorder::new(), Recorder::new(), Recorder::new());
    rooms.join("a", &alice.socket()).unwrap();
    rooms.join("a", &bob.socket()).unwrap();
    rooms.join("b", &bob.socket()).unwrap();
    rooms.join("c", &carol.socket()).unwrap();
    rooms.publish("a", "text").unwrap();
    rooms.publish_here("b", b"binary").unwrap();
    rooms.publish("nobody", "is here").unwrap();
    assert_eq!(alice.sent(), [Sent::text("text")]);
    assert_eq!(bob.sent(), [Sent::text("text"), Sent::binary(b"binary")]);
    assert_eq!(carol.sent(), []);
    assert!(rooms.leave("a", &alice.socket()));
    assert!(!rooms.leave("a", &alice.socket()));
    rooms.publish("a", "more").unwrap();
    assert_eq!((alice.sent().len(), bob.sent().len()), (1, 3));
}

#[test]
fn joining_twice_is_joining_once() {
    let (rooms, member) = (Rooms::local(), Recorder::new());
    rooms.join("a", &member.socket()).unwrap();
    rooms.join("a", &member.socket()).unwrap();
    rooms.publish("a", "once").unwrap();
    assert_eq!(member.sent(), [Sent::text("once")]);
    assert_eq!((rooms.count("a"), rooms.members("a")), (1, vec![member.socket()]));
    assert!(rooms.leave("a", &member.socket()));
    assert_eq!((rooms.count("a"), rooms.members("a")), (0, vec![]));
}

#[test]
fn who_ends_leaves_all_rooms_and_they_are_gone_with_their_last_member() {
    let (rooms, member, other) = (Rooms::local(), Recorder::new(), Recorder::new());
    ["a", "b"].iter().for_each(|room| rooms.join(room, &member.socket()).unwrap());
    rooms.join("b", &other.socket()).unwrap();
    assert_eq!(rooms.rooms().len(), 2);
    member.end_with(Closed::abnormal(ClosedBy::Peer));
    assert_eq!((rooms.count("a"), rooms.count("b"), rooms.rooms()), (0, 1, vec!["b".to_string()]));
    assert_eq!(rooms.join("a", &member.socket()), Err(JoinError::Closed));
    assert_eq!(rooms.rooms(), ["b"]);
}

#[test]
fn a_socket_leaves_all_its_rooms_at_once_and_may_join_again() {
    let left = Arc::new(Mutex::new(Vec::new()));
    let told = left.clone();
    let rooms = Rooms::builder().on_presence(move |_, change| told.lock().unwrap().extend(change.left.clone())).local();
    let (member, other) = (Recorder::new(), Recorder::new());
    rooms.join_as("a", &member.socket(), "me").unwrap();
    rooms.join("b.c", &member.socket()).unwrap();
    rooms.join("a", &other.socket()).unwrap();
    let of = |socket: &WebSocket| {
        let mut rooms = rooms.rooms_of(socket);
        rooms.sort();
        rooms
    };
    assert_eq!((of(&member.socket()), of(&other.socket())), (vec!["a".to_string(), "b.c".into()], vec!["a".into()]));
    assert_eq!((rooms.leave_all(&member.socket()), rooms.leave_all(&member.socket())), (2, 0));
    assert_eq!((of(&member.socket()).len(), rooms.rooms(), rooms.present("a").len()), (0, vec!["a".to_string()], 0));
    assert_eq!(*left.lock().unwrap(), [Arc::<str>::from("me")]);
    rooms.publish("a", "gone").unwrap();
    assert_eq!(member.sent(), []);
    // Again and again: what is to be done at its end is noted once.
    for _ in 0..3 {
        rooms.join("a", &member.socket()).unwrap();
        rooms.leave_all(&member.socket());
    }
    rooms.join("a", &member.socket()).unwrap();
    member.end_with(Closed::abnormal(ClosedBy::Peer));
    assert_eq!((rooms.count("a"), of(&member.socket()).len()), (1, 0));
}

#[test]
fn rooms_that_are_gone_are_not_kept_by_sockets_that_were_in_them() {
    let (rooms, member) = (Rooms::local(), Recorder::new());
    rooms.join("a", &member.socket()).unwrap();
    let weak = Arc::downgrade(&rooms.0.core);
    drop(rooms);
    assert!(weak.upgrade().is_none());
    member.end_with(Closed::abnormal(ClosedBy::Peer));
}

#[test]
fn a_member_that_reads_too_slowly_misses_a_message_and_nobody_else_does() {
    let (rooms, slow, other) = (Rooms::local(), Recorder::new(), Recorder::new());
    rooms.join("a", &slow.socket()).unwrap();
    rooms.join("a", &other.socket()).unwrap();
    slow.set_full(true);
    rooms.publish("a", "1").unwrap();
    slow.set_full(false);
    rooms.publish("a", "2").unwrap();
    assert_eq!(slow.sent(), [Sent::text("2")]);
    assert_eq!(other.sent(), [Sent::text("1"), Sent::text("2")]);
}

#[test]
fn names_that_cannot_be_and_messages_that_are_too_long_are_refused_with_a_reason() {
    let rooms = Rooms::builder().max_message(3).local();
    let member = Recorder::new();
    let (socket, long) = (member.socket(), "x".repeat(129));
    assert_eq!(rooms.join("", &socket), Err(JoinError::Room(NameError::Empty)));
    assert_eq!(rooms.join_since(&long, &socket, None), Err(JoinError::Room(NameError::TooLong(129))));
    assert_eq!(rooms.join_as("a", &socket, ""), Err(JoinError::Who(0)));
    assert_eq!(rooms.join_as("a", &socket, &long), Err(JoinError::Who(129)));
    assert_eq!(rooms.publish("", "x"), Err(PublishError::Room(NameError::Empty)));
    let too_long = Err(PublishError::TooLong { length: 4, limit: 3 });
    assert_eq!((rooms.publish("a", "1234"), rooms.publish_here("a", "1234")), (too_long.clone(), too_long));
    assert_eq!(rooms.history("", None).wait(), Err(HistoryError::Room(NameError::Empty)));
    assert_eq!((rooms.count(""), rooms.members("").len(), rooms.present("").len()), (0, 0, 0));
    assert!(!rooms.leave("", &socket));
    assert_eq!(rooms.rooms(), [""; 0]);
}

#[test]
fn any_name_is_a_room_of_its_own() {
    let rooms = Rooms::local();
    let names = ["a", "a.b", "a.*", ">", "a b", "a=2Eb", "ä", "\0", "A"];
    let members = names.map(|name| {
        let member = Recorder::new();
        rooms.join(name, &member.socket()).unwrap();
        member
    });
    for name in names {
        rooms.publish(name, name).unwrap();
    }
    for (member, name) in members.iter().zip(names) {
        assert_eq!(member.sent(), [Sent::text(name)]);
    }
    let mut listed = rooms.rooms();
    listed.sort();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn publish_with_says_what_became_of_the_message_once() {
    let (rooms, told) = (Rooms::builder().max_message(3).local(), Arc::new(Mutex::new(Vec::new())));
    for text in ["123", "1234"] {
        let told = told.clone();
        rooms.publish_with("a", text, move |outcome| lock(&told).push(outcome));
    }
    assert_eq!(*lock(&told), [Ok(()), Err(PublishError::TooLong { length: 4, limit: 3 })]);
}

#[test]
fn who_is_present_is_told_once_for_all_their_connections() {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let told = changes.clone();
    let rooms = Rooms::builder().on_presence(move |_, change: &Change| lock(&told).push(change.clone())).local();
    let (phone, desk, nobody) = (Recorder::new(), Recorder::new(), Recorder::new());
    rooms.join_as("a room", &phone.socket(), "alice").unwrap();
    rooms.join_as("a room", &desk.socket(), "alice").unwrap();
    rooms.join("a room", &nobody.socket()).unwrap();
    assert_eq!((rooms.count("a room"), rooms.present("a room")), (3, vec!["alice".into()]));
    phone.end_with(Closed::abnormal(ClosedBy::Peer));
    rooms.join_as("a room", &desk.socket(), "bob").unwrap();
    assert_eq!((rooms.count("a room"), rooms.present("a room")), (2, vec!["bob".into()]));
    let mut present = std::collections::BTreeSet::new();
    for change in lock(&changes).iter() {
        assert_eq!(&*change.room, "a room");
        change.left.iter().for_each(|who| assert!(present.remove(who)));
        change.joined.iter().for_each(|who| assert!(present.insert(who.clone())));
    }
    assert_eq!(present.into_iter().collect::<Vec<Arc<str>>>(), [Arc::<str>::from("bob")]);
}

#[test]
fn who_comes_and_goes_on_many_threads_is_told_in_order() {
    let present = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let told = present.clone();
    let hook = move |_: &Rooms, change: &Change| {
        let mut told = lock(&told);
        change.left.iter().for_each(|who| assert!(told.remove(&**who), "{who} left"));
        change.joined.iter().for_each(|who| assert!(told.insert(who.to_string()), "{who} joined"));
    };
    let rooms = Rooms::builder().on_presence(hook).local();
    let stays = Recorder::new();
    rooms.join_as("a", &stays.socket(), "stays").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let rooms = &rooms;
            scope.spawn(move || {
                for round in 0..200 {
                    let (phone, desk) = (Recorder::new(), Recorder::new());
                    // A name of many, and one of this thread's.
                    rooms.join_as("a", &phone.socket(), &format!("{}", round % 3)).unwrap();
                    rooms.join_as("a", &desk.socket(), &format!("of {thread}")).unwrap();
                    phone.end_with(Closed::abnormal(ClosedBy::Peer));
                    rooms.leave("a", &desk.socket());
                }
            });
        }
    });
    assert_eq!((rooms.count("a"), rooms.present("a")), (1, vec![Arc::from("stays")]));
    assert_eq!(lock(&present).iter().collect::<Vec<_>>(), ["stays"]);
    // With the last one the room is gone, and so is who was in it.
    stays.end_with(Closed::abnormal(ClosedBy::Peer));
    assert_eq!((rooms.count("a"), rooms.present("a").len(), lock(&present).len()), (0, 0, 0));
}

#[test]
fn a_hook_may_use_the_rooms_that_it_is_a_hook_of() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let welcome = move |rooms: &Rooms, change: &Change| {
        counted.fetch_add(1, Ordering::Relaxed);
        for who in &change.joined {
            rooms.publish(&change.room, format!("* {who} joined")).unwrap();
        }
    };
    let (rooms, alice, bob) = (Rooms::builder().on_presence(welcome).local(), Recorder::new(), Recorder::new());
    rooms.join_as("a", &alice.socket(), "alice").unwrap();
    rooms.join_as("a", &bob.socket(), "bob").unwrap();
    assert_eq!(alice.sent(), [Sent::text("* alice joined"), Sent::text("* bob joined")]);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn who_comes_back_catches_up_from_the_history_in_this_process() {
    let numbered = |position: Position, message: Message<'_>| {
        OwnedMessage::Text(format!("{}: {}", position.parts().1, message.as_text().unwrap_or("binary")))
    };
    let rooms = Rooms::builder().history(History::last(3)).numbered(numbered).local();
    let member = Recorder::new();
    for text in ["a", "b", "c", "d"] {
        rooms.publish("room", text).unwrap();
    }
    let second = rooms.history("room", None).wait().unwrap().messages[0].position;
    rooms.join_since("room", &member.socket(), Some(second)).unwrap();
    rooms.publish("room", b"\x01").unwrap();
    assert_eq!(member.sent(), ["3: c", "4: d", "5: binary"].map(Sent::text));
    let past = rooms.history("room", None).wait().unwrap().messages;
    assert_eq!(past.iter().map(|past| past.position.parts().1).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(past[0].message, "c");
    for (since, has_gap) in [(Position::new(second.parts().0, 1), true), (second, false)] {
        let backlog = rooms.history("room", Some(since)).wait().unwrap();
        assert_eq!((backlog.messages, backlog.has_gap), (past.clone(), has_gap));
    }
    assert_eq!(rooms.history("room", Some(Position::new(0, 1))).wait(), Err(HistoryError::Gone));
    assert_eq!(Rooms::local().history("room", None).wait(), Err(HistoryError::NotKept));
}

#[test]
fn without_a_history_joining_since_is_joining() {
    let (rooms, member) = (Rooms::local(), Recorder::new());
    rooms.publish("a", "before").unwrap();
    rooms.join_since("a", &member.socket(), None).unwrap();
    rooms.publish("a", "after").unwrap();
    assert_eq!(member.sent(), [Sent::text("after")]);
}

#[test]
fn several_publishers_with_a_history_are_seen_in_the_order_of_their_positions() {
    let numbered = |position: Position, _: Message<'_>| OwnedMessage::Text(position.parts().1.to_string());
    let rooms = Rooms::builder().history(History::last(1000)).numbered(numbered).local();
    let members = [Recorder::new(), Recorder::new()];
    members.iter().for_each(|member| rooms.join("a", &member.socket()).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| rooms.publish("a", "x").unwrap()));
        }
    });
    let expected: Vec<_> = (1..=400).map(|n| Sent::text(n.to_string())).collect();
    assert!(members.iter().all(|member| member.sent() == expected));
}

#[test]
fn rooms_in_this_process_are_always_connected_and_may_be_closed() {
    let rooms = Rooms::local();
    assert!(rooms.is_connected() && rooms.problem().is_none());
    rooms.connected().wait().unwrap();
    rooms.wait_connected(Duration::ZERO).unwrap();
    assert!(format!("{rooms:?}").contains("is_connected: true"));
    assert_eq!((rooms.ignored(), rooms.close().wait()), (0, 0));
    assert_eq!((rooms.is_connected(), rooms.connected().wait()), (false, Err(BrokerError::Closed)));
}

#[test]
fn who_catches_up_while_somebody_publishes_gets_it_once() {
    let rooms = Rooms::builder().history(History::last(4).for_at_most(Duration::from_secs(3600))).local();
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
    const ROUNDS: usize = 20_000;
    let (publisher, at) = (rooms.clone(), barrier.clone());
    let publishing = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            at.wait();
            publisher.publish(&(round % 8).to_string(), round.to_string().as_str()).unwrap();
            at.wait();
        }
    });
    let mut missed = 0;
    for round in 0..ROUNDS {
        let (member, room) = (Recorder::new(), (round % 8).to_string());
        barrier.wait();
        rooms.join_since(&room, &member.socket(), None).unwrap();
        barrier.wait();
        let expected = Sent::text(round.to_string());
        missed += usize::from(member.sent().iter().filter(|sent| **sent == expected).count() != 1);
        rooms.leave(&room, &member.socket());
    }
    publishing.join().unwrap();
    assert_eq!(missed, 0);
}

#[test]
fn what_numbers_messages_may_call_the_rooms() {
    let cell = std::sync::Arc::new(std::sync::OnceLock::<Rooms>::new());
    let inside = cell.clone();
    let rooms = Rooms::builder()
        .history(History::last(10))
        .numbered(move |_, message| {
            if let Some(rooms) = inside.get() {
                drop(rooms.history("a", None));
            }
            message.into_owned()
        })
        .local();
    cell.set(rooms.clone()).unwrap();
    let member = Recorder::new();
    rooms.join("a", &member.socket()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(rooms.publish("a", "1")).unwrap());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Ok(())));
}

#[test]
fn a_position_of_an_earlier_process_is_a_gap() {
    let (told, gaps) = std::sync::mpsc::channel();
    let rooms = Rooms::builder()
        .history(History::last(100))
        .on_gap(move |_, gap| told.send(gap.rooms.clone()).unwrap())
        .local();
    rooms.publish("a", "1").unwrap();
    let member = Recorder::new();
    rooms.join_since("a", &member.socket(), Some(Position::new(0, 500))).unwrap();
    assert_eq!(gaps.try_recv(), Ok(vec!["a".to_string()]));
}

#[test]
fn rooms_that_are_closed_take_nothing_more() {
    let rooms = Rooms::local();
    rooms.close().wait();
    assert!(rooms.publish("a", "x").is_err());
}

#[test]
fn who_joins_again_without_saying_who_stays_who_it_was() {
    let (rooms, alice) = (Rooms::builder().history(History::last(1)).local(), Recorder::new());
    rooms.join_as("a", &alice.socket(), "alice").unwrap();
    rooms.join("a", &alice.socket()).unwrap();
    rooms.join_since("a", &alice.socket(), None).unwrap();
    assert_eq!((rooms.count("a"), rooms.present("a").len()), (1, 1));
}

#[test]
fn who_comes_back_too_late_is_told_of_as_the_one_who_lacks_something() {
    let (told, gaps) = std::sync::mpsc::channel();
    let rooms =
        Rooms::builder().history(History::last(1)).on_gap(move |_, gap| told.send(gap.clone()).unwrap()).local();
    let (late, in_time, other) = (Recorder::new(), Recorder::new(), Recorder::new());
    rooms.join("a.b", &other.socket()).unwrap();
    rooms.publish("a.b", "1").unwrap();
    let first = rooms.history("a.b", None).wait().unwrap().messages[0].position;
    rooms.publish("a.b", "2").unwrap();
    rooms.join_since("a.b", &in_time.socket(), Some(first)).unwrap();
    assert!(gaps.try_recv().is_err(), "it has got all there was after that");
    rooms.publish("a.b", "3").unwrap();
    rooms.join_since("a.b", &late.socket(), Some(first)).unwrap();
    let gap = gaps.try_recv().unwrap();
    assert_eq!((gap.rooms, gap.member), (vec!["a.b".to_string()], Some(late.socket())));
    assert!(gaps.try_recv().is_err());
}
