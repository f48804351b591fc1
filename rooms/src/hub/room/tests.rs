//! The order of what members get.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, Weak};
use std::thread;

use bellwire_core::proto::StreamOffset;
use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{SendError, Socket};

use super::*;

fn room() -> Arc<Room> {
    Arc::new(Room::new("room".into()))
}

fn at(position: u64) -> Delivery {
    Delivery { position: Some(Position::new(0, position)), ..Delivery::new(position.to_string()) }
}

fn texts(recorder: &Recorder) -> Vec<String> {
    let text = |sent| match sent {
        Sent::Message(message) => message.as_text().map(String::from),
        _ => None,
    };
    recorder.take_sent().into_iter().filter_map(text).collect()
}

#[test]
fn several_threads_deliver_and_all_members_see_one_order() {
    let (room, members) = (room(), [Recorder::new(), Recorder::new(), Recorder::new()]);
    members.iter().for_each(|member| _ = room.add(&member.socket(), false));
    thread::scope(|scope| {
        for thread in 0..4 {
            let room = &room;
            scope.spawn(move || (0..100).for_each(|i| room.deliver(Delivery::new(format!("{thread} {i}"))).unwrap()));
        }
    });
    let seen = members.each_ref().map(texts);
    assert_eq!(seen[0].len(), 400);
    assert!(seen.iter().all(|other| *other == seen[0]));
    for thread in 0..4 {
        let own: Vec<_> = seen[0].iter().filter(|text| text.starts_with(&format!("{thread} "))).collect();
        assert_eq!(own, (0..100).map(|i| format!("{thread} {i}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
}

/// A socket whose own code runs when something is sent to it.
struct Own(Recorder, Box<dyn Fn() + Send + Sync>);

impl Socket for Own {
    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        (self.1)();
        self.0.socket().as_socket().send(message)
    }

    fn is_open(&self) -> bool {
        true
    }
}

#[test]
fn a_socket_that_delivers_while_it_is_sent_to_does_not_wait_for_itself_and_comes_after_the_others() {
    let (room, other, own, once) = (room(), Recorder::new(), Recorder::new(), AtomicBool::new(true));
    let again = Arc::downgrade(&room);
    let answer = move || {
        if once.swap(false, Ordering::Relaxed) {
            again.upgrade().unwrap().deliver(Delivery::new("second")).unwrap();
        }
    };
    room.add(&WebSocket::new(Own(own.clone(), Box::new(answer))), false);
    room.add(&other.socket(), false);
    room.deliver(Delivery::new("first")).unwrap();
    assert_eq!(texts(&other), ["first", "second"]);
    assert_eq!(texts(&own), ["first", "second"]);
}

/// A socket whose own code panics when something is sent to it for the first time.
fn panicking(recorder: &Recorder) -> WebSocket {
    let panics = AtomicBool::new(true);
    let panic = move || assert!(!panics.swap(false, Ordering::Relaxed), "a socket's own code");
    WebSocket::new(Own(recorder.clone(), Box::new(panic)))
}

#[test]
fn a_socket_whose_own_code_panics_costs_nobody_else_anything() {
    let (room, before, itself, behind) = (room(), Recorder::new(), Recorder::new(), Recorder::new());
    room.add(&before.socket(), false);
    room.add(&panicking(&itself), false);
    room.add(&behind.socket(), false);
    ["first", "second"].iter().for_each(|text| room.deliver(Delivery::new(*text)).unwrap());
    assert_eq!(
        [&before, &itself, &behind].map(texts),
        [vec!["first", "second"], vec!["second"], vec!["first", "second"]]
    );
}

#[test]
fn a_socket_whose_own_code_panics_while_it_catches_up_is_a_member_nevertheless() {
    let (room, member) = (room(), Recorder::new());
    let socket = panicking(&member);
    let number = room.add(&socket, true).unwrap();
    let missed = Arc::new(AtomicBool::new(false));
    let told = missed.clone();
    room.catch_up((socket.id(), number), None, vec![at(1), at(2)], move || told.store(true, Ordering::Relaxed));
    room.deliver(at(3)).unwrap();
    assert_eq!((texts(&member), missed.load(Ordering::Relaxed)), (vec!["2".into(), "3".into()], true));
}

#[test]
fn nobody_queues_without_bounds_behind_a_thread_that_is_sending() {
    static ROOM: OnceLock<Weak<Room>> = OnceLock::new();
    let (room, member) = (room(), Recorder::new());
    let room_of_it = ROOM.get_or_init(|| Arc::downgrade(&room));
    let flood = || {
        let room = room_of_it.upgrade().unwrap();
        while room.deliver(Delivery::new("more")).is_ok() {}
        ROOM_IS_FULL.store(true, Ordering::Relaxed);
    };
    static ROOM_IS_FULL: AtomicBool = AtomicBool::new(false);
    let once = AtomicBool::new(true);
    let flooding = move || {
        if once.swap(false, Ordering::Relaxed) {
            flood();
        }
    };
    room.add(&WebSocket::new(Own(member.clone(), Box::new(flooding))), false);
    room.deliver(Delivery::new("first")).unwrap();
    assert!(ROOM_IS_FULL.load(Ordering::Relaxed));
    assert_eq!(texts(&member).len(), 1 + MOST_QUEUED);
    assert!(room.deliver(Delivery::new("last")).is_ok());
}

#[test]
fn who_catches_up_gets_what_is_kept_then_what_is_new_and_nothing_twice() {
    let (room, old, new) = (room(), Recorder::new(), Recorder::new());
    room.add(&old.socket(), false);
    room.deliver(at(1)).unwrap();
    room.add(&new.socket(), true);
    (2..=4).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&new), [""; 0]);
    // The history is ahead of what has come: 5 is on its way.
    room.catch_up((new.socket().id(), 1), None, (1..=5).map(at).collect(), || panic!("nothing is missing"));
    assert_eq!(texts(&new), ["1", "2", "3", "4", "5"]);
    (5..=6).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&new), ["6"]);
    assert_eq!(texts(&old), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn who_waits_for_the_history_for_too_long_is_told_that_something_is_missing() {
    let (room, member, missed) = (room(), Recorder::new(), Arc::new(AtomicBool::new(false)));
    room.add(&member.socket(), true);
    (1..=5000).for_each(|position| room.deliver(at(position)).unwrap());
    let told = missed.clone();
    room.catch_up((member.socket().id(), 1), None, Vec::new(), move || told.store(true, Ordering::Relaxed));
    assert!(missed.load(Ordering::Relaxed));
    assert_eq!(texts(&member).len(), 4096);
}

#[test]
fn who_leaves_while_it_catches_up_gets_nothing() {
    let (room, member) = (room(), Recorder::new());
    room.add(&member.socket(), true);
    assert_eq!(room.members(), [member.socket()]);
    assert!(room.remove(member.socket().id()));
    room.catch_up((member.socket().id(), 1), None, vec![at(1)], || panic!("nobody asks"));
    room.deliver(at(2)).unwrap();
    assert_eq!(texts(&member), [""; 0]);
}

#[cfg(feature = "__broker")]
#[test]
fn what_was_missed_comes_before_what_is_new_and_nothing_twice() {
    let (room, member) = (room(), Recorder::new());
    room.add(&member.socket(), false);
    assert_eq!(room.bridge(), None);
    assert!(!room.starts_at(Position::new(0, 1)));
    assert_eq!(room.bridge(), Some(Position::new(0, 1)));
    (5..=6).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&member), [""; 0]);
    room.bridged((1..=5).map(at).collect());
    assert_eq!(texts(&member), ["2", "3", "4", "5", "6"]);
    assert!(!room.starts_at(Position::new(0, 9)));
    (6..=7).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&member), ["7"]);
    assert!(room.starts_at(Position::new(0, 3)));
    // What is at the place itself may come late, as what is before it.
    (2..=4).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&member), ["2", "3", "4"]);
}

#[cfg(feature = "__broker")]
#[test]
fn what_comes_late_where_this_node_has_begun_to_listen_is_not_doubled_for_who_has_got_it_elsewhere() {
    let (room, member, other) = (room(), Recorder::new(), Recorder::new());
    room.add(&other.socket(), false);
    let number = room.add(&member.socket(), true).unwrap();
    room.catch_up((member.socket().id(), number), Some(Position::new(0, 8)), Vec::new(), || {
        panic!("nothing is missing")
    });
    assert!(!room.starts_at(Position::new(0, 8)));
    (6..=9).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!((texts(&other), texts(&member)), (["6", "7", "8", "9"].map(String::from).into(), vec!["9".into()]));
}

#[test]
fn a_queue_is_bounded_by_its_bytes_and_the_first_that_is_missed_is_told_from_the_others() {
    let (room, missed) = (room(), Arc::new(Mutex::new(Vec::new())));
    let (again, told) = (Arc::downgrade(&room), missed.clone());
    let once = AtomicBool::new(true);
    let long = "x".repeat(1024 * 1024);
    let flood = move || {
        if once.swap(false, Ordering::Relaxed) {
            let room = again.upgrade().unwrap();
            told.lock().unwrap().extend((0..12).map(|_| room.deliver(Delivery::new(long.as_str()))));
        }
    };
    let member = Recorder::new();
    room.add(&WebSocket::new(Own(member.clone(), Box::new(flood))), false);
    for _ in 0..2 {
        room.deliver(Delivery::new("first")).unwrap();
    }
    let missed = missed.lock().unwrap();
    assert_eq!(missed.iter().filter(|outcome| outcome.is_ok()).count(), 8);
    assert_eq!(missed[8], Err(Full { is_first: true }));
    assert!(missed[9..].iter().all(|outcome| *outcome == Err(Full { is_first: false })));
    assert_eq!((texts(&member).len(), room.lock().bytes), (10, 0));
}

#[test]
fn a_position_that_somebody_made_up_silences_nobody() {
    let (room, member) = (room(), Recorder::new());
    let number = room.add(&member.socket(), true).unwrap();
    room.deliver(at(1_000_000)).unwrap();
    room.deliver(at(2)).unwrap();
    room.catch_up((member.socket().id(), number), None, vec![at(1)], || panic!("nothing is missing"));
    (3..5).for_each(|position| room.deliver(at(position)).unwrap());
    assert_eq!(texts(&member), ["1", "1000000", "2", "3", "4"]);
}

#[cfg(feature = "__broker")]
mod together {
    use super::*;

    type Notes = Arc<Mutex<Vec<(usize, String)>>>;

    /// Members that note who gets what when.
    fn noting(room: &Room, count: usize) -> (Vec<WebSocket>, Notes) {
        struct Noting(usize, Notes);

        impl Socket for Noting {
            fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
                let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
                self.1.lock().unwrap().push((self.0, text));
                Ok(StreamOffset::new(0))
            }

            fn is_open(&self) -> bool {
                true
            }
        }

        let notes = Arc::default();
        let sockets: Vec<_> = (0..count).map(|index| WebSocket::new(Noting(index, Arc::clone(&notes)))).collect();
        sockets.iter().for_each(|socket| _ = room.add(socket, false));
        (sockets, notes)
    }

    fn notes(notes: &Notes) -> Vec<(usize, String)> {
        std::mem::take(&mut notes.lock().unwrap())
    }

    #[test]
    fn messages_that_wait_together_are_sent_member_by_member() {
        let room = room();
        let (sockets, noted) = noting(&room, 2);
        for text in ["a", "b"] {
            assert_eq!(room.gather(Delivery::new(text)), Ok(false));
        }
        assert!(notes(&noted).is_empty());
        room.deliver(Delivery::new("c")).unwrap();
        let expected: Vec<_> =
            [0, 1].into_iter().flat_map(|to| ["a", "b", "c"].map(|text| (to, text.into()))).collect();
        assert_eq!(notes(&noted), expected);
        // It is left between its last message and the next.
        room.gather(Delivery::new("d")).unwrap();
        room.remove(sockets[1].id());
        room.run();
        assert_eq!(notes(&noted), [(0, "d".into())]);
    }

    #[test]
    fn no_more_is_sent_to_one_before_the_next_than_is_enough_at_once() {
        let room = room();
        let (_sockets, noted) = noting(&room, 2);
        for count in 1..=MOST_TOGETHER + 1 {
            assert_eq!(room.gather(Delivery::new("x")), Ok(count >= MOST_TOGETHER));
        }
        room.run();
        let together: Vec<_> =
            notes(&noted).chunk_by(|one, next| one.0 == next.0).map(|run| (run[0].0, run.len())).collect();
        assert_eq!(together, [(0, MOST_TOGETHER), (1, MOST_TOGETHER), (0, 1), (1, 1)]);
        let third = "x".repeat(MOST_BYTES_TOGETHER / 3);
        for count in 1..=4 {
            assert_eq!(room.gather(Delivery::new(third.as_str())), Ok(count == 4));
        }
        // One of any length goes alone.
        room.gather(Delivery::new("x".repeat(2 * MOST_BYTES_TOGETHER))).unwrap();
        room.run();
        let together: Vec<_> =
            notes(&noted).chunk_by(|one, next| one.0 == next.0).map(|run| (run[0].0, run.len())).collect();
        assert_eq!(together, [(0, 3), (1, 3), (0, 1), (1, 1), (0, 1), (1, 1)]);
        assert_eq!(room.lock().bytes, 0);
    }

    #[test]
    fn of_messages_that_are_sent_together_each_gets_what_it_has_not() {
        let (room, member, new) = (room(), Recorder::new(), Recorder::new());
        room.add(&member.socket(), false);
        room.add(&new.socket(), true);
        (1..=2).for_each(|position| _ = room.gather(at(position)).unwrap());
        room.run();
        room.catch_up((new.socket().id(), 1), None, (1..=4).map(at).collect(), || panic!("nothing is missing"));
        (3..=6).for_each(|position| _ = room.gather(at(position)).unwrap());
        room.run();
        assert_eq!(texts(&new), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(texts(&member), ["1", "2", "3", "4", "5", "6"]);
    }

    #[test]
    fn what_a_socket_says_to_the_first_of_several_messages_comes_after_the_last() {
        let (room, own, other, once) = (room(), Recorder::new(), Recorder::new(), AtomicBool::new(true));
        let again = Arc::downgrade(&room);
        let answer = move || {
            if once.swap(false, Ordering::Relaxed) {
                again.upgrade().unwrap().deliver(Delivery::new("answer")).unwrap();
            }
        };
        room.add(&WebSocket::new(Own(own.clone(), Box::new(answer))), false);
        room.add(&other.socket(), false);
        ["a", "b"].into_iter().for_each(|text| _ = room.gather(Delivery::new(text)).unwrap());
        room.run();
        assert_eq!(texts(&own), ["a", "b", "answer"]);
        assert_eq!(texts(&other), ["a", "b", "answer"]);
    }
}
