//! Bounded output, what was written and who is told, memory that is not copied, and waking a driver.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use bellwire_core::config::SlowReader;
use bellwire_core::{
    Busy, Config, Driver, Error, IntoListener, Output, OwnedMessage, Position, Role, SendError, Shared, Socket, Time,
    WebSocket, listener,
};
use bytes::Bytes;

use crate::common::*;

// D16: watermarks.

/// How long the frame of a server's message is that leaves `total` bytes behind.
fn payload(total: usize) -> Vec<u8> {
    vec![b'x'; total - 2]
}

#[test]
fn d16_reading_pauses_above_the_high_watermark_and_resumes_at_the_low_one() {
    let config = timeless().watermarks(10, 20);
    let mut connection = open(Role::Server, &config);
    connection.send(payload(20)).unwrap();
    assert!(connection.wants_read(), "at the watermark is not above it");
    connection.send(payload(2)).unwrap();
    assert!(!connection.wants_read());
    connection.wrote(START, 11);
    assert_eq!((connection.buffered(), connection.wants_read()), (11, false));
    connection.wrote(START, 1);
    assert_eq!((connection.buffered(), connection.wants_read()), (10, true));
    connection.send(payload(5)).unwrap();
    assert!(connection.wants_read(), "between the watermarks nothing changes");
}

#[test]
fn d16_by_default_the_watermarks_are_64_and_16_kib() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        connection.send(vec![0; 60 * 1024]).unwrap();
        assert!(connection.wants_read());
        connection.send(vec![0; 5 * 1024]).unwrap();
        assert!(!connection.wants_read());
        let to_low = connection.buffered() - 16 * 1024;
        connection.wrote(START, to_low - 1);
        assert!(!connection.wants_read());
        connection.wrote(START, 1);
        assert!(connection.wants_read());
    }
}

#[test]
fn what_was_taken_and_not_written_counts_as_queued() {
    let mut connection = open(Role::Server, &timeless().watermarks(10, 20));
    connection.send(payload(30)).unwrap();
    let taken = connection.take_output().unwrap();
    assert_eq!((taken.len(), connection.buffered(), connection.wants_read()), (30, 30, false));
    connection.wrote(START, 30);
    assert!(connection.wants_read());
}

#[test]
fn control_frames_count_for_the_watermark_too() {
    let pings: [fn(&mut bellwire_core::Connection); 3] = [
        |connection| connection.ping(&[0; 28]).unwrap(),
        |connection| connection.pong(&[0; 28]).unwrap(),
        |connection| connection.answer_ping(&[0; 28]),
    ];
    for ping in pings {
        let mut connection = open(Role::Server, &timeless().watermarks(10, 20));
        ping(&mut connection);
        assert!(!connection.wants_read());
    }
}

#[test]
fn a_close_resumes_reading_for_the_peer_s_answer_must_be_seen() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        connection.send(vec![0; 500_000]).unwrap();
        assert!(!connection.wants_read());
        connection.close(1000, "").unwrap();
        assert!(connection.wants_read());
    }
}

// D16: the cap.

#[test]
fn d16_a_message_above_the_cap_is_refused_and_nothing_of_it_is_queued() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(100));
        connection.send([1; 50].as_slice()).unwrap();
        let before = output(&connection);
        assert_eq!(connection.send([2; 60].as_slice()), Err(SendError::Full));
        assert_eq!(connection.send("x".repeat(60)), Err(SendError::Full));
        assert_eq!(connection.ping(&[2; 60]), Err(SendError::Full));
        assert_eq!(connection.pong(&[2; 60]), Err(SendError::Full));
        assert_eq!(output(&connection), before);
        assert!(connection.is_open());
        assert_eq!(waiting(&mut connection), []);
        connection.send([3; 20].as_slice()).unwrap();
        write_all(&mut connection, START);
        connection.send([2; 60].as_slice()).unwrap();
    }
}

#[test]
fn d16_the_queue_never_grows_above_the_cap_by_messages_that_fit_one_by_one() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(1000));
        let accepted = (0..100).take_while(|_| connection.send([0; 90].as_slice()).is_ok()).count();
        assert!((9..=11).contains(&accepted), "{accepted}");
        assert!(connection.buffered() <= 1000);
    }
}

#[test]
fn d16_an_empty_queue_takes_one_message_of_any_size() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        connection.send(vec![0; 3 << 20]).unwrap();
        assert_eq!(connection.send("x"), Err(SendError::Full));
        let length = connection.buffered();
        connection.wrote(START, length - 1);
        connection.send("x").unwrap();
        write_all(&mut connection, START);
        connection.send(vec![0; 3 << 20]).unwrap();
    }
}

#[test]
fn d16_a_close_frame_always_fits() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(0));
        connection.send([0; 50].as_slice()).unwrap();
        connection.close(1000, "bye").unwrap();
        let frames = [Frame::binary([0; 50]), Frame::close(1000, "bye")];
        assert_eq!(output(&connection), wire(&frames, role));
    }
}

#[test]
fn d16_a_setting_closes_slow_readers_with_1013() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(100).slow_reader(SlowReader::Close));
        connection.send([0; 90].as_slice()).unwrap();
        assert_eq!(connection.send([0; 90].as_slice()), Err(SendError::Full));
        assert!(!connection.is_open());
        let reason = "Too much unread output";
        assert_eq!(waiting(&mut connection), [Seen::error(Error::SlowReader), Seen::failed(1013, reason)]);
        assert_eq!(output(&connection), wire(&[Frame::binary([0; 90]), Frame::close(1013, reason)], role));
    }
}

// D16: pongs.

#[test]
fn d16_ten_pings_get_ten_pongs() {
    let numbers: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    both_roles(
        &timeless(),
        &numbers.iter().map(Frame::ping).collect::<Vec<_>>(),
        &numbers.iter().map(Seen::ping).collect::<Vec<_>>(),
        &numbers.iter().map(Frame::pong).collect::<Vec<_>>(),
    );
}

#[test]
fn d16_above_the_high_watermark_only_the_newest_ping_is_answered() {
    for role in ROLES {
        let mut connection = open(role, &timeless().watermarks(10, 20));
        connection.send([7; 30].as_slice()).unwrap();
        let message = output(&connection);
        for number in ["1", "2", "3"] {
            feed(&mut connection, START, &Frame::ping(number).sent_by(peer_of(role)));
        }
        assert_eq!(output(&connection), message, "no pong while the peer does not read");
        let pong = Frame::pong("3").sent_by(role);
        assert_eq!(write_all(&mut connection, START), [message, pong].concat());
        // Once is enough, and afterwards each has its own again.
        feed(&mut connection, START, &wire(&[Frame::ping("4"), Frame::ping("5")], peer_of(role)));
        assert_eq!(output(&connection), wire(&[Frame::pong("4"), Frame::pong("5")], role));
    }
}

#[test]
fn a_pong_that_waits_leaves_before_the_close_frame() {
    for role in ROLES {
        for by_peer in [false, true] {
            let mut connection = open(role, &timeless().watermarks(10, 20));
            connection.send([7; 30].as_slice()).unwrap();
            feed(&mut connection, START, &Frame::ping("late").sent_by(peer_of(role)));
            if by_peer {
                feed(&mut connection, START, &Frame::close(1000, "").sent_by(peer_of(role)));
            } else {
                connection.close(1000, "").unwrap();
            }
            let frames = [Frame::binary([7; 30]), Frame::pong("late"), Frame::close(1000, "")];
            assert_eq!(write_all(&mut connection, START), wire(&frames, role));
        }
    }
}

#[test]
fn a_flood_of_pings_that_reads_nothing_keeps_output_bounded() {
    for role in ROLES {
        for auto_pong in [true, false] {
            let mut connection = open(role, &timeless());
            connection.set_auto_pong(auto_pong);
            let flood = Frame::ping([b'p'; 125]).sent_by(peer_of(role)).repeat(1000);
            for _ in 0..100 {
                let mut bytes = flood.clone();
                let mut input = &mut bytes[..];
                while let Some(event) = connection.next_event(START, &mut input) {
                    let bellwire_core::Event::Ping(data) = event else { panic!("{event:?}") };
                    if !auto_pong {
                        connection.answer_ping(&data);
                    }
                }
            }
            assert!((64 * 1024..66 * 1024).contains(&connection.buffered()), "{}", connection.buffered());
            assert!(connection.output().capacity() < 256 * 1024);
            assert!(!connection.wants_read());
        }
    }
}

// Pieces.

fn pieces(connection: &bellwire_core::Connection) -> Vec<&[u8]> {
    connection.output().pieces().collect()
}

#[test]
fn small_messages_leave_in_one_piece() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        for text in ["one", "two", "three"] {
            connection.send(text).unwrap();
        }
        connection.ping(b"").unwrap();
        assert_eq!(pieces(&connection).len(), 1);
        let frames = [Frame::text("one"), Frame::text("two"), Frame::text("three"), Frame::ping("")];
        assert_eq!(connection.output().first(), wire(&frames, role));
    }
}

#[test]
fn a_server_does_not_copy_large_owned_payloads() {
    let bytes = Bytes::from(vec![1; 100_000]);
    let (vec, text) = (vec![2; 100_000], "t".repeat(100_000));
    let pointers = [bytes.as_ptr(), vec.as_ptr(), text.as_ptr(), bytes.as_ptr()];
    let mut connection = open(Role::Server, &timeless());
    connection.send(bytes.clone()).unwrap();
    connection.send(vec).unwrap();
    connection.send(text).unwrap();
    // What was received owned and is sent to many shares one payload.
    connection.send(&OwnedMessage::Binary(bytes)).unwrap();
    let pieces = pieces(&connection);
    assert_eq!(pieces.len(), 8, "a header and a payload each");
    assert_eq!([1, 3, 5, 7].map(|i| pieces[i].as_ptr()), pointers);
}

#[test]
fn a_client_masks_large_owned_payloads_in_place() {
    let vec = vec![0; 100_000];
    let pointer = vec.as_ptr();
    let mut connection = open(Role::Client, &timeless());
    connection.send(vec).unwrap();
    let pieces = pieces(&connection);
    assert_eq!((pieces[1].as_ptr(), pieces[1]), (pointer, &masked(&[0; 100_000])[..]));
}

#[test]
fn a_client_does_not_change_bytes_that_others_see() {
    let bytes = Bytes::from(vec![1; 100_000]);
    let mut connection = open(Role::Client, &timeless());
    connection.send(bytes.clone()).unwrap();
    assert_eq!(output(&connection), Frame::binary(&bytes).sent_by(Role::Client));
    assert!(bytes.iter().all(|&byte| byte == 1));
}

#[test]
fn writes_of_any_size_take_the_same_bytes_off() {
    for role in ROLES {
        let make = || {
            let mut connection = open(role, &timeless());
            connection.send("small").unwrap();
            connection.send(vec![1; 20_000]).unwrap();
            connection.ping(b"p").unwrap();
            connection.send(vec![2; 30_000]).unwrap();
            connection.close(1000, "").unwrap();
            connection
        };
        let whole = output(&make());
        for size in [1, 7, 1000, 20_001, 100_000] {
            let mut connection = make();
            let mut written = vec![];
            while !connection.output().is_empty() {
                let piece = connection.output().first();
                let count = piece.len().min(size);
                written.extend_from_slice(&piece[..count]);
                connection.wrote(START, count);
                assert_eq!(connection.written(), Position(written.len() as u64));
                assert_eq!(connection.buffered(), whole.len() - written.len());
            }
            assert!(written == whole, "{size}");
        }
    }
}

#[test]
fn an_idle_connection_holds_no_output_buffer() {
    let mut connection = open(Role::Server, &timeless());
    connection.send("x").unwrap();
    assert!(connection.output().capacity() > 0);
    write_all(&mut connection, START);
    assert_eq!(connection.output().capacity(), 0);
}

#[test]
fn positions_are_where_each_message_ends() {
    let mut connection = open(Role::Server, &timeless());
    assert_eq!(connection.send("123"), Ok(Position(5)));
    connection.ping(b"").unwrap();
    assert_eq!(connection.send(vec![0; 20_000]), Ok(Position(5 + 2 + 20_004)));
    assert_eq!(connection.written(), Position(0));
}

// Output that is taken, and memory that is lent.

fn flat(output: &Output) -> Vec<u8> {
    output.pieces().flatten().copied().collect()
}

#[test]
fn output_is_taken_by_one_writer_at_a_time() {
    let mut connection = open(Role::Server, &timeless());
    assert!(connection.take_output().is_none(), "nothing to write");
    connection.send("one").unwrap();
    let one = connection.take_output().unwrap();
    connection.send("two").unwrap();
    assert!(connection.take_output().is_none(), "somebody is writing");
    connection.wrote(START, 2);
    assert!(connection.take_output().is_none(), "and has not come to the end");
    connection.wrote(START, one.len() - 2);
    let two = connection.take_output().unwrap();
    assert_eq!(flat(&one), Frame::text("one").sent_by(Role::Server));
    assert_eq!(flat(&two), Frame::text("two").sent_by(Role::Server));
    connection.wrote(START, two.len());
    assert_eq!((connection.written(), connection.buffered()), (Position(10), 0));
}

fn spare() -> Output {
    let mut connection = open(Role::Server, &timeless());
    connection.send([0; 1000].as_slice()).unwrap();
    let mut output = connection.take_output().unwrap();
    output.clear();
    assert!(output.is_empty() && output.capacity() >= 1000);
    output
}

#[test]
fn output_is_written_to_the_memory_that_was_lent() {
    let mut memory = spare();
    let capacity = memory.capacity();
    let mut connection = open(Role::Server, &timeless());
    connection.lend_output(&mut memory);
    assert_eq!(memory.capacity(), 0);
    connection.send("hello").unwrap();
    let mut output = connection.take_output().unwrap();
    assert_eq!((output.capacity(), flat(&output)), (capacity, Frame::text("hello").sent_by(Role::Server)));
    // What comes later has memory of its own until some is lent again.
    connection.wrote(START, output.len());
    output.clear();
    connection.lend_output(&mut output);
    connection.send("again").unwrap();
    assert_eq!(connection.take_output().unwrap().capacity(), capacity);
}

#[test]
fn memory_that_is_lent_too_late_stays_where_it_is() {
    let mut memory = spare();
    let mut connection = open(Role::Server, &timeless());
    connection.send("first").unwrap();
    connection.lend_output(&mut memory);
    assert!(memory.capacity() >= 1000);
    assert_eq!(output(&connection), Frame::text("first").sent_by(Role::Server));
}

// Who waits for what is written: `send_with`.

type Results = Arc<Mutex<Vec<(&'static str, Result<(), SendError>)>>>;

fn shared(config: &Config) -> (Arc<Shared>, WebSocket) {
    let shared = Arc::new(Shared::new(open(Role::Server, config)));
    let socket = WebSocket::from_arc(shared.clone());
    (shared, socket)
}

fn note(results: &Results, name: &'static str) -> impl FnOnce(Result<(), SendError>) + Send + use<> {
    let results = results.clone();
    move |result| results.lock().unwrap().push((name, result))
}

fn taken(results: &Results) -> Vec<(&'static str, Result<(), SendError>)> {
    std::mem::take(&mut results.lock().unwrap())
}

#[test]
fn a_completion_comes_once_and_not_before_its_last_byte_was_written() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    socket.send_with("123", note(&results, "one"));
    socket.send_with("456", note(&results, "two"));
    socket.send_with(vec![0; 20_000], note(&results, "large"));
    let output = shared.take_output().unwrap();
    shared.wrote(START, 4);
    assert_eq!(taken(&results), []);
    shared.wrote(START, 1);
    assert_eq!(taken(&results), [("one", Ok(()))]);
    shared.wrote(START, 6);
    assert_eq!(taken(&results), [("two", Ok(()))]);
    shared.wrote(START, output.len() - 12);
    assert_eq!(taken(&results), []);
    shared.wrote(START, 1);
    assert_eq!(taken(&results), [("large", Ok(()))]);
    shared.finish();
    assert_eq!(taken(&results), [], "once");
}

#[test]
fn one_write_completes_all_that_it_wrote_in_order() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    for name in ["one", "two", "three"] {
        socket.send_with(name, note(&results, name));
    }
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    assert_eq!(taken(&results), [("one", Ok(())), ("two", Ok(())), ("three", Ok(()))]);
}

#[test]
fn a_send_that_is_refused_completes_at_once_with_the_reason() {
    let (shared, socket) = shared(&timeless().max_queued(100));
    let results = Results::default();
    socket.send([0; 90].as_slice()).unwrap();
    socket.send_with([0; 90].as_slice(), note(&results, "full"));
    assert_eq!(taken(&results), [("full", Err(SendError::Full))]);
    socket.close().unwrap();
    socket.send_with("x", note(&results, "closed"));
    assert_eq!(taken(&results), [("closed", Err(SendError::Closed))]);
    drop(shared);
}

#[test]
fn who_waits_when_the_connection_ends_is_told_once_that_it_was_in_vain() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    socket.send_with("written", note(&results, "written"));
    let output = shared.take_output().unwrap();
    shared.wrote(START, output.len());
    socket.send_with("lost", note(&results, "lost"));
    socket.send_with("lost", note(&results, "lost, too"));
    shared.receive_eof();
    shared.finish();
    let expected = [("written", Ok(())), ("lost", Err(SendError::Closed)), ("lost, too", Err(SendError::Closed))];
    assert_eq!(taken(&results), expected);
    shared.wrote(START, 100);
    shared.finish();
    assert_eq!(taken(&results), []);
}

#[test]
fn a_dropped_driver_tells_who_waits() {
    let driver = Driver::connected(open(Role::Server, &timeless()), listener().into_listener());
    let results = Results::default();
    driver.socket().unwrap().send_with("x", note(&results, "x"));
    drop(driver);
    assert_eq!(taken(&results), [("x", Err(SendError::Closed))]);
}

#[test]
fn waiting_for_what_is_written_or_gone_already_ends_at_once() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let position = shared.send("x".into()).unwrap();
    let lost = shared.send("y".into()).unwrap();
    shared.take_output().unwrap();
    shared.wrote(START, position.0 as usize);
    socket.as_socket().when_written(position, Box::new(note(&results, "x")));
    assert_eq!(taken(&results), [("x", Ok(()))]);
    shared.finish();
    socket.as_socket().when_written(lost, Box::new(note(&results, "y")));
    socket.as_socket().when_written(position, Box::new(note(&results, "x")));
    assert_eq!(taken(&results), [("y", Err(SendError::Closed)), ("x", Ok(()))]);
}

#[test]
fn completions_come_in_the_order_of_the_bytes_whatever_order_they_were_asked_for_in() {
    let (shared, _) = shared(&timeless());
    let results = Results::default();
    let [one, two, three] = ["1", "2", "3"].map(|text| shared.send(text.into()).unwrap());
    shared.when_written(three, Box::new(note(&results, "three")));
    shared.when_written(one, Box::new(note(&results, "one")));
    shared.when_written(two, Box::new(note(&results, "two")));
    shared.take_output().unwrap();
    shared.wrote(START, 6);
    assert_eq!(taken(&results), [("one", Ok(())), ("two", Ok(()))]);
    shared.wrote(START, 3);
    assert_eq!(taken(&results), [("three", Ok(()))]);
}

#[test]
fn j8_a_completion_may_send_the_next_message() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let (again, second) = (socket.clone(), note(&results, "second"));
    socket.send_with("Hello", move |result| {
        assert_eq!(result, Ok(()));
        assert_eq!(again.buffered(), 0);
        again.send_with("World", second);
    });
    let hello = shared.take_output().unwrap();
    shared.wrote(START, hello.len());
    let world = shared.take_output().unwrap();
    assert_eq!(flat(&hello), Frame::text("Hello").sent_by(Role::Server));
    assert_eq!(flat(&world), Frame::text("World").sent_by(Role::Server));
    assert_eq!(taken(&results), []);
    shared.wrote(START, world.len());
    assert_eq!(taken(&results), [("second", Ok(()))]);
}

#[test]
fn a_completion_that_came_in_vain_may_use_the_socket() {
    let (shared, socket) = shared(&timeless());
    let results = Results::default();
    let (again, in_vain) = (socket.clone(), note(&results, "again"));
    socket.send_with("x", move |_| again.send_with("y", in_vain));
    shared.finish();
    assert_eq!(taken(&results), [("again", Err(SendError::Closed))]);
    assert!(!socket.is_open());
}

// Waking.

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_driver_that_parks_gets_the_deadline() {
    let (shared, _) = shared(&Config::default());
    let (_, waker) = waker();
    assert_eq!(shared.park(&waker), Ok(Some(secs(20))));
    let (timeless, _) = self::shared(&self::timeless());
    assert_eq!(timeless.park(&waker), Ok(None));
}

#[test]
fn a_parked_driver_is_woken_once_by_whatever_gives_it_something_to_do() {
    let actions: [fn(&WebSocket); 6] = [
        |socket| socket.send("x").unwrap(),
        |socket| socket.ping(b"").unwrap(),
        |socket| socket.pong(b"").unwrap(),
        |socket| socket.as_socket().answer_ping(b""),
        |socket| socket.close().unwrap(),
        WebSocket::abort,
    ];
    for action in actions {
        let (shared, socket) = shared(&timeless());
        let (wakes, waker) = waker();
        assert!(shared.park(&waker).is_ok());
        assert_eq!(wakes.count(), 0);
        action(&socket);
        assert_eq!(wakes.count(), 1);
        // It is awake now, until it parks again.
        let _ = socket.send("x");
        let _ = socket.ping(b"");
        assert_eq!(wakes.count(), 1);
        assert_eq!(shared.park(&waker), Err(Busy));
    }
}

#[test]
fn a_driver_with_output_or_events_may_not_sleep() {
    let (shared, socket) = shared(&timeless());
    let (wakes, waker) = waker();
    socket.send("x").unwrap();
    assert_eq!(shared.park(&waker), Err(Busy), "output");
    let output = shared.take_output().unwrap();
    assert!(shared.park(&waker).is_ok(), "somebody writes it");
    socket.send("y").unwrap();
    assert_eq!(wakes.count(), 1);
    assert!(shared.park(&waker).is_ok(), "somebody still writes, and goes on with this");
    shared.wrote(START, output.len());
    assert_eq!(shared.park(&waker), Err(Busy), "more output");
    socket.abort();
    assert_eq!(shared.park(&waker), Err(Busy), "an event");
    assert!(shared.next_event(START, &mut Default::default()).is_some());
    assert!(shared.park(&waker).is_ok());
}

#[test]
fn only_the_newest_waker_is_called() {
    let (shared, socket) = shared(&timeless());
    let (old, old_waker) = waker();
    let (new, new_waker) = waker();
    assert!(shared.park(&old_waker).is_ok());
    assert!(shared.park(&new_waker).is_ok());
    socket.send("x").unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_waker_may_use_the_connection() {
    struct Takes(Mutex<Option<Arc<Shared>>>, AtomicUsize);
    impl Wake for Takes {
        fn wake(self: Arc<Self>) {
            let output = self.0.lock().unwrap().as_ref().unwrap().take_output().unwrap();
            self.1.store(output.len(), Ordering::Relaxed);
        }
    }
    let (shared, socket) = shared(&timeless());
    let takes = Arc::new(Takes(Mutex::new(Some(shared.clone())), AtomicUsize::new(0)));
    assert!(shared.park(&takes.clone().into()).is_ok());
    socket.send("123").unwrap();
    assert_eq!(takes.1.load(Ordering::Relaxed), 5);
    takes.0.lock().unwrap().take();
}

/// What a callback sends is written when the callbacks are done: there is nobody to wake.
#[test]
fn sends_from_inside_a_callback_wake_nobody_and_leave_together() {
    let echo = listener().on_message(|socket, message| socket.send(message));
    let mut driver = Driver::connected(open(Role::Server, &timeless()), echo.into_listener());
    driver.start(START);
    let (wakes, waker) = waker();
    for _ in 0..3 {
        assert!(driver.park(&waker).is_ok());
        // The transport has woken it: there are bytes.
        let mut bytes = wire(&[Frame::text("one"), Frame::text("two")], Role::Client);
        driver.receive(START, &mut bytes);
        assert_eq!(wakes.count(), 0);
        let output = driver.take_output().unwrap();
        assert_eq!(flat(&output), wire(&[Frame::text("one"), Frame::text("two")], Role::Server));
        driver.wrote(START, output.len());
    }
    assert!(driver.park(&waker).is_ok());
    driver.socket().unwrap().send("from outside").unwrap();
    assert_eq!(wakes.count(), 1);
}

#[test]
fn several_threads_may_send_and_no_message_is_mixed_with_another() {
    let (shared, socket) = shared(&timeless().max_queued(usize::MAX));
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let socket = socket.clone();
            scope.spawn(move || {
                for i in 0..200usize {
                    socket.send(vec![thread; i * 100]).unwrap();
                }
            });
        }
    });
    let output = flat(&shared.take_output().unwrap());
    let mut client = open(Role::Client, &timeless());
    let seen = feed(&mut client, Time::ZERO, &output);
    assert_eq!(seen.len(), 800);
    let mut next = [0; 4];
    for message in seen {
        let Seen::Binary(bytes) = message else { panic!("{message:?}") };
        if let Some(&thread) = bytes.first() {
            assert!(bytes.iter().all(|&byte| byte == thread));
            next[usize::from(thread)] += 100;
            assert_eq!(bytes.len(), next[usize::from(thread)], "each thread's messages in order");
        }
    }
    assert_eq!(next, [19_900; 4]);
}
