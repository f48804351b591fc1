//! Messages that are encoded once, and sent to many. Names like `D16` are explained in `docs/contract.md`.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bellwire_core::backend::Shared;
use bellwire_core::config::SlowReader;
use bellwire_core::listener::Broadcast;
use bellwire_core::proto::{Connection, StreamOffset};
use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{
    Config, Error, Message, Outgoing, OwnedMessage, Prepared, Role, SendError, Socket, WebSocket, broadcast,
};
use bytes::Bytes;

use common::*;
use logging::*;

/// From this size on a payload is shared instead of copied.
const LARGE: usize = 16 * 1024;
/// From here on a prepared message is.
const SHARED: usize = 512;

/// On both sides of all lengths at which something changes.
const LENGTHS: [usize; 14] =
    [0, 1, 125, 126, 127, SHARED - 1, SHARED, LARGE - 1, LARGE, LARGE + 1, 65_535, 65_536, 65_537, 200_000];

fn letters(length: usize) -> String {
    ('a'..='z').cycle().take(length).collect()
}

fn shared(role: Role, config: &Config) -> (Arc<Shared>, WebSocket) {
    let shared = Arc::new(Shared::new(open(role, config)));
    let socket = WebSocket::from_arc(shared.clone());
    (shared, socket)
}

fn queued(shared: &Shared) -> Vec<u8> {
    shared.with(|connection| output(connection))
}

fn pieces(connection: &Connection) -> Vec<&[u8]> {
    connection.output().pieces().collect()
}

// Prepared.

#[test]
fn a_prepared_message_is_on_the_wire_what_send_makes_of_it() {
    for role in ROLES {
        for text in LENGTHS.map(letters) {
            let cases = [
                (Prepared::new(&text), Outgoing::from(&text), Frame::text(&text)),
                (Prepared::new(text.as_bytes()), Outgoing::from(text.as_bytes()), Frame::binary(&text)),
            ];
            for (prepared, message, frame) in cases {
                let mut connection = open(role, &timeless());
                let mut other = open(role, &timeless());
                assert_eq!(connection.send(&prepared), other.send(message), "{role:?} {}", text.len());
                assert!(output(&connection) == frame.sent_by(role), "{role:?} {}", text.len());
                assert!(output(&connection) == output(&other), "{role:?} {}", text.len());
            }
        }
    }
}

#[test]
fn everything_that_can_be_sent_can_be_prepared() {
    let (text, bytes) = ("text", Bytes::from_static(b"data"));
    let (owned, prepared) = (OwnedMessage::from(bytes.clone()), Prepared::new(b"data"));
    let texts = [
        Prepared::new(text),
        Prepared::new(text.to_string()),
        Prepared::new(Message::Text(text)),
        Prepared::new(OwnedMessage::from(text)),
        Prepared::new(Prepared::new(text)),
    ];
    let binaries = [
        Prepared::new(&bytes[..]),
        Prepared::new(b"data"),
        Prepared::new(bytes.to_vec()),
        Prepared::new(bytes),
        Prepared::new(&owned),
        Prepared::new(&prepared),
    ];
    for role in ROLES {
        let mut connection = open(role, &timeless());
        for prepared in texts.iter().chain(&binaries) {
            connection.send(prepared).unwrap();
        }
        let frames = [vec![Frame::text("text"); texts.len()], vec![Frame::binary("data"); binaries.len()]].concat();
        assert_eq!(output(&connection), wire(&frames, role));
    }
}

#[test]
fn a_large_frame_is_shared_by_all_who_send_it_and_a_small_one_is_copied() {
    for (length, is_shared) in [(SHARED - 1, false), (SHARED, true), (LARGE, true)] {
        let prepared = Prepared::new(letters(length));
        let again = Prepared::new(&prepared);
        let connections = [&prepared, &prepared.clone(), &again].map(|message| {
            let mut connection = open(Role::Server, &timeless());
            connection.send(message).unwrap();
            connection
        });
        let frames = connections.each_ref().map(|connection| {
            let [frame] = pieces(connection)[..] else { panic!("a frame is one piece") };
            frame.as_ptr()
        });
        assert_eq!(frames[0] == frames[1], is_shared, "{length}");
        assert_eq!(frames[0] == frames[2], is_shared, "{length}");
    }
}

#[test]
fn a_client_masks_each_with_a_key_of_its_own_and_leaves_the_message_as_it_is() {
    for length in [10, LARGE] {
        let text = letters(length);
        let prepared = Prepared::new(&text);
        let mut next = 0;
        let keys = Box::new(move |bytes: &mut [u8]| {
            next += 1;
            bytes.fill(next);
        });
        let mut client = Connection::client(timeless().into(), keys, START);
        for key in 1..=3 {
            client.send(&prepared).unwrap();
            let frame = write_all(&mut client, START);
            let (front, payload) = frame.split_at(frame.len() - length);
            assert!(front.ends_with(&[key; 4]), "{front:?}");
            assert!(payload.iter().map(|byte| byte ^ key).eq(text.bytes()));
        }
        let mut server = open(Role::Server, &timeless());
        server.send(&prepared).unwrap();
        assert!(output(&server) == Frame::text(&text).sent_by(Role::Server));
    }
}

#[test]
fn prepared_messages_keep_their_place_between_others_and_leave_in_writes_of_any_size() {
    let (small, large) = (Prepared::new("2"), Prepared::new(letters(20_000)));
    for role in ROLES {
        for size in [1, 1000, 20_004, 1_000_000] {
            let mut connection = open(role, &timeless());
            connection.send("1").unwrap();
            connection.send(&small).unwrap();
            connection.send(&large).unwrap();
            connection.ping(b"4").unwrap();
            connection.send(&large).unwrap();
            connection.send(vec![6; 20_000]).unwrap();
            connection.send(&small).unwrap();
            connection.close(1000, "").unwrap();
            let mut written = Vec::new();
            while !connection.output().is_empty() {
                let piece = connection.output().first();
                let count = piece.len().min(size);
                written.extend_from_slice(&piece[..count]);
                connection.wrote(START, count);
                assert_eq!(connection.written(), StreamOffset::new(written.len() as u64));
            }
            let expected = [
                Frame::text("1"),
                Frame::text("2"),
                Frame::text(letters(20_000)),
                Frame::ping("4"),
                Frame::text(letters(20_000)),
                Frame::binary([6; 20_000]),
                Frame::text("2"),
                Frame::close(1000, ""),
            ];
            assert!(written == wire(&expected, role), "{role:?} {size}");
        }
    }
}

#[test]
fn d16_a_prepared_message_takes_as_much_room_as_any_other() {
    for role in ROLES {
        for length in 80..100 {
            let bytes = vec![0; length];
            let accepts = |message: Outgoing<'_>| {
                let mut connection = open(role, &timeless().max_queued(100));
                connection.send([0; 1000].as_slice()).unwrap();
                connection.send(message)
            };
            assert_eq!(accepts((&Prepared::new(&bytes)).into()), accepts((&bytes).into()), "{length}");
        }
        let mut connection = open(role, &timeless().max_queued(100));
        connection.send(Prepared::new([0; 1000].as_slice())).unwrap();
        assert_eq!(connection.send(Prepared::new([0; 100].as_slice())), Err(SendError::Full));
    }
}

#[test]
fn wrappers_and_recorders_see_the_message_and_not_its_frame() {
    for length in LENGTHS {
        let text = letters(length);
        let (as_text, as_binary) = (Prepared::new(&text), Prepared::new(text.as_bytes()));
        assert_eq!(Outgoing::from(&as_text).as_bytes(), text.as_bytes());
        assert!(Outgoing::from(&as_text).is_text());
        assert!(!Outgoing::from(&as_binary).is_text());
        assert_eq!(Outgoing::from(&as_text).into_owned(), text);
        assert_eq!(Outgoing::from(&as_binary).into_owned(), text.as_bytes());
    }
}

#[test]
fn binary_messages_that_are_shared_already_are_kept_without_a_copy() {
    let bytes = Bytes::from(vec![1; 1000]);
    let kept = Outgoing::from(bytes.clone()).into_owned();
    assert_eq!(kept.as_bytes().as_ptr(), bytes.as_ptr());
    let prepared = Prepared::new(&bytes[..]);
    let [one, two] = [0; 2].map(|_| Outgoing::from(&prepared).into_owned());
    assert_eq!(one.as_bytes().as_ptr(), two.as_bytes().as_ptr());
}

// Broadcast.

fn expected(sent: usize, failed: Vec<(WebSocket, SendError)>) -> Broadcast {
    let mut outcome = Broadcast::default();
    (outcome.sent, outcome.failed) = (sent, failed);
    outcome
}

#[test]
fn a_broadcast_queues_for_each_socket_what_send_would() {
    for length in LENGTHS {
        let text = letters(length);
        let (connections, sockets): (Vec<_>, Vec<_>) =
            ROLES.repeat(2).iter().map(|&role| shared(role, &timeless())).unzip();
        for message in [&text, "and another"] {
            assert_eq!(broadcast(&sockets, message), expected(4, vec![]));
        }
        for (connection, role) in connections.iter().zip(ROLES.repeat(2)) {
            assert!(
                queued(connection) == wire(&[Frame::text(&text), Frame::text("and another")], role),
                "{role:?} {length}"
            );
        }
    }
}

#[test]
fn a_broadcast_goes_on_past_those_who_refuse_and_reports_exactly_them() {
    for role in ROLES {
        let [first, closed, full, gone, last] = [0; 5].map(|_| shared(role, &timeless().max_queued(100)));
        closed.1.close().unwrap();
        gone.0.finish();
        full.1.send([0; 50].as_slice()).unwrap();
        full.1.send([0; 50].as_slice()).unwrap();
        let before = queued(&full.0);

        let outcome = broadcast([&first.1, &closed.1, &full.1, &gone.1, &last.1], [7; 60].as_slice());
        let failed = vec![
            (closed.1.clone(), SendError::Closed),
            (full.1.clone(), SendError::Full),
            (gone.1.clone(), SendError::Closed),
        ];
        assert_eq!(outcome, expected(2, failed));
        for accepted in [&first.0, &last.0] {
            assert_eq!(queued(accepted), Frame::binary([7; 60]).sent_by(role));
        }
        assert_eq!(queued(&closed.0), Frame::close(1000, "Normal Closure").sent_by(role));
        assert_eq!(queued(&full.0), before);
        assert!(full.1.is_open());
        assert_eq!(queued(&gone.0), b"");
    }
}

#[test]
fn d16_a_broadcast_closes_slow_readers_where_that_is_set_and_reaches_the_others() {
    for role in ROLES {
        let [before, slow, after] =
            [0; 3].map(|_| shared(role, &timeless().max_queued(100).slow_reader(SlowReader::Close)));
        slow.1.send([0; 90].as_slice()).unwrap();
        let message = Prepared::new([7; 90].as_slice());
        let sockets = [&before, &slow, &after].map(|(_, socket)| socket.clone());
        let failed = vec![(slow.1.clone(), SendError::Full)];
        assert_eq!(broadcast(&sockets, &message), expected(2, failed));
        assert!(!slow.1.is_open());
        assert!(before.1.is_open() && after.1.is_open());
        let events: Vec<_> = std::iter::from_fn(|| {
            slow.0.with(|connection| connection.next_event(START, &mut &mut [][..]).map(Seen::from))
        })
        .collect();
        assert_eq!(events, [Seen::error(Error::SlowReader), Seen::failed(1013, "Too much unread output")]);
        // From now on it is one of those that are gone.
        for connection in [&before.0, &after.0] {
            let output = connection.take_output().unwrap();
            connection.wrote(START, output.len());
        }
        let failed = vec![(slow.1.clone(), SendError::Closed)];
        assert_eq!(broadcast(&sockets, &message), expected(2, failed));
    }
}

#[test]
fn any_collection_of_sockets_will_do() {
    let recorders = [0; 3].map(|_| Recorder::new());
    let sockets = || recorders.iter().map(Recorder::socket);
    let set: HashSet<_> = sockets().collect();
    let names: Vec<_> = sockets().zip(["a", "b", "c"]).collect();
    let users: BTreeMap<_, _> = (0..).zip(sockets()).collect();
    let list: Vec<_> = sockets().collect();
    let sent = [
        broadcast(&set, "all").sent,
        broadcast(names.iter().map(|(socket, _)| socket), "all").sent,
        broadcast(users.values(), "all").sent,
        broadcast(&list, "all").sent,
        broadcast(&list[..], "all").sent,
        broadcast(sockets(), "all").sent,
        broadcast(set, "all").sent,
        broadcast(list.clone(), "all").sent,
    ];
    assert_eq!(sent, [3; 8]);
    for recorder in &recorders {
        assert_eq!(recorder.take_sent(), vec![Sent::text("all"); 8]);
    }
    let but_the_first = list.iter().filter(|socket| **socket != list[0]);
    assert_eq!(broadcast(but_the_first, b"others").sent, 2);
    assert_eq!(broadcast([&list[0]; 2], "twice").sent, 2);
    assert_eq!(broadcast(Vec::<WebSocket>::new(), "nobody"), Broadcast::default());
    assert_eq!(recorders[0].sent(), [Sent::text("twice"), Sent::text("twice")]);
    assert_eq!(recorders[1].sent(), [Sent::binary("others")]);
}

/// Sends everything in capitals.
struct Shouting(WebSocket);

impl Socket for Shouting {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.0.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        match message.into_owned() {
            OwnedMessage::Text(text) => self.0.as_socket().send(text.to_uppercase().into()),
            binary => self.0.as_socket().send(binary.into()),
        }
    }
}

#[test]
fn a_broadcast_goes_through_wrappers() {
    for role in ROLES {
        let (connection, socket) = shared(role, &timeless());
        let wrapper = WebSocket::new(Shouting(socket.clone()));
        broadcast([&wrapper, &socket], "hello");
        broadcast([&wrapper, &socket], b"data");
        let (shouted, said, data) = (Frame::text("HELLO"), Frame::text("hello"), Frame::binary("data"));
        assert_eq!(queued(&connection), wire(&[shouted, said, data.clone(), data], role));
        connection.finish();
        // Who failed is the wrapper, which is equal to what it wraps.
        assert_eq!(broadcast([&wrapper], "hello").failed, [(socket, SendError::Closed)]);
    }
}

#[test]
fn a_broadcast_from_a_callback_reaches_its_own_sender_also_under_the_room_s_lock() {
    for role in ROLES {
        let room: Arc<Mutex<HashSet<WebSocket>>> = Arc::default();
        let member = || {
            let room = room.clone();
            let listener = logging(&Log::default(), move |socket, line| {
                let mut room = room.lock().unwrap();
                match line.strip_prefix("text ") {
                    Some(text) => drop(broadcast(&*room, text)),
                    None => drop(room.insert(socket.clone())),
                }
                Ok(())
            });
            started(role, &timeless(), listener)
        };
        let (mut one, mut two) = (member(), member());
        receive(&mut one, role, &[Frame::text("hi"), Frame::text("again")]);
        for driver in [&mut one, &mut two] {
            assert_eq!(written(driver), wire(&[Frame::text("hi"), Frame::text("again")], role));
        }
    }
}

#[test]
fn a_broadcast_wakes_each_who_sleeps_once() {
    let (connections, sockets): (Vec<_>, Vec<_>) = ROLES.iter().map(|&role| shared(role, &timeless())).unzip();
    let wakers = [waker(), waker()];
    for (connection, (_, waker)) in connections.iter().zip(&wakers) {
        connection.park(waker).unwrap();
    }
    broadcast(&sockets, "one");
    broadcast(&sockets, letters(LARGE));
    assert_eq!(wakers.map(|(wakes, _)| wakes.count()), [1, 1]);
}
