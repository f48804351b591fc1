//! Bounded output, and memory that is not copied.

use bellwire_core::config::SlowReader;
use bellwire_core::proto::{Output, StreamOffset};
use bellwire_core::{Error, OwnedMessage, Role, SendError};
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
    let mut connection = open(Role::Server, &timeless());
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

#[test]
fn d16_what_nothing_read_has_caused_need_not_stop_the_reading() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        connection.send(vec![0; 500_000]).unwrap();
        assert!(!connection.wants_read());
        connection.read_on();
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
    let pings: [fn(&mut bellwire_core::proto::Connection); 3] = [
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
    let mut connection = open(Role::Server, &timeless());
    connection.send(vec![0; 500_000]).unwrap();
    assert!(!connection.wants_read());
    connection.close(1000, "").unwrap();
    assert!(connection.wants_read());
}

// D16: the cap.

#[test]
fn d16_a_message_above_the_cap_is_refused_and_nothing_of_it_is_queued() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(100));
        // Alone, and so of any size, without counting.
        connection.send([0; 1000].as_slice()).unwrap();
        let alone = connection.buffered();
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
        connection.wrote(START, alone);
        assert_eq!(connection.send([2; 60].as_slice()), Err(SendError::Full), "what counts is still there");
        write_all(&mut connection, START);
        connection.send([2; 60].as_slice()).unwrap();
    }
}

#[test]
fn d16_the_queue_never_grows_above_the_cap_by_messages_that_fit_one_by_one() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(1000));
        let accepted = (0..100).take_while(|_| connection.send([0; 90].as_slice()).is_ok()).count();
        assert!((9..=12).contains(&accepted), "{accepted}");
        assert!(connection.buffered() <= 1000 + 96, "the first does not count");
    }
}

#[test]
fn d16_an_empty_queue_takes_one_message_of_any_size_and_has_its_room_besides() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        for _ in 0..3 {
            connection.send(vec![0; 3 << 20]).unwrap();
            connection.send("a small one that came in the same read").unwrap();
            assert_eq!(connection.send(vec![0; 1 << 20]), Err(SendError::Full));
            let length = connection.buffered();
            connection.wrote(START, length - 1);
            assert_eq!(connection.send(vec![0; 3 << 20]), Err(SendError::Full), "it is not empty yet");
            write_all(&mut connection, START);
        }
    }
}

#[test]
fn control_frames_do_not_take_the_room_of_a_message() {
    for role in ROLES {
        let mut connection = open(role, &timeless().max_queued(100));
        connection.ping(&[0; 60]).unwrap();
        connection.send(vec![0; 5000]).unwrap();
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
                    let bellwire_core::proto::Event::Ping(data) = event else { panic!("{event:?}") };
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

fn pieces(connection: &bellwire_core::proto::Connection) -> Vec<&[u8]> {
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
    let message = OwnedMessage::Binary(bytes);
    connection.send(&message).unwrap();
    let pieces = pieces(&connection);
    assert_eq!(pieces.len(), 8, "a header and a payload each");
    assert_eq!(message.as_bytes().as_ptr(), pieces[7].as_ptr());
    assert_eq!([1, 3, 5, 7].map(|i| pieces[i].as_ptr()), pointers);
}

#[test]
fn a_large_payload_is_let_go_as_soon_as_it_is_written() {
    let bytes = Bytes::from(vec![1; 100_000]);
    let mut connection = open(Role::Server, &timeless());
    connection.send(bytes.clone()).unwrap();
    let length = connection.buffered();
    connection.send("more").unwrap();
    connection.wrote(START, length - 1);
    assert!(!bytes.is_unique());
    connection.wrote(START, 1);
    assert!(bytes.is_unique());
    assert_eq!(output(&connection), Frame::text("more").sent_by(Role::Server));
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
                assert_eq!(connection.written(), StreamOffset::new(written.len() as u64));
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
    assert_eq!(connection.send("123"), Ok(StreamOffset::new(5)));
    connection.ping(b"").unwrap();
    assert_eq!(connection.send(vec![0; 20_000]), Ok(StreamOffset::new(5 + 2 + 20_004)));
    assert_eq!(connection.written(), StreamOffset::new(0));
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
    assert_eq!((connection.written(), connection.buffered()), (StreamOffset::new(10), 0));
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
fn memory_that_was_lent_and_not_needed_comes_back() {
    for takes_what_it_has in [false, true] {
        let mut memory = spare();
        let capacity = memory.capacity();
        let mut connection = open(Role::Server, &timeless());
        connection.lend_output(&mut memory);
        if takes_what_it_has {
            connection.send("x").unwrap();
            write_all(&mut connection, START);
        }
        connection.lend_output(&mut memory);
        assert_eq!(connection.output().capacity(), 0, "an idle connection holds none");
        assert!(takes_what_it_has || memory.capacity() == capacity);
    }
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
