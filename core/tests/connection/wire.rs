//! Tables of (bytes in, events, bytes out), for both roles.

use bellwire_core::proto::Violation;
use bellwire_core::{ClosedBy, Config, Error, Role};

use crate::common::*;

/// These frames make either role fail with this violation, which is told to the peer.
#[track_caller]
fn fails(incoming: &[Frame], violation: Violation, code: u16, text: &str) {
    fails_with(&timeless(), incoming, &[], violation, code, text);
}

#[track_caller]
fn fails_with(config: &Config, incoming: &[Frame], before: &[Seen], violation: Violation, code: u16, text: &str) {
    let mut events = before.to_vec();
    events.extend([Seen::error(violation), Seen::failed(code, text)]);
    both_roles(config, incoming, &events, &[Frame::close(code, text)]);
}

// RFC 6455 §5.7, its bytes as printed there: nothing here goes through the helpers that make frames.

/// (what a role receives, as printed)
fn received(role: Role, bytes: &[u8]) -> Run {
    run_in_every_way(|| open(role, &timeless()), bytes)
}

#[test]
fn rfc6455_5_7_a_single_frame_unmasked_text_message() {
    let bytes = b"\x81\x05\x48\x65\x6c\x6c\x6f";
    assert_eq!(received(Role::Client, bytes).events, [Seen::text("Hello")]);
    let mut server = open(Role::Server, &timeless());
    server.send("Hello").unwrap();
    assert_eq!(output(&server), bytes);
}

#[test]
fn rfc6455_5_7_a_single_frame_masked_text_message() {
    let bytes = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(received(Role::Server, bytes).events, [Seen::text("Hello")]);
    let mut client = open(Role::Client, &timeless());
    client.send("Hello").unwrap();
    assert_eq!(output(&client), bytes);
}

#[test]
fn rfc6455_5_7_a_fragmented_unmasked_text_message() {
    let bytes = b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f";
    assert_eq!(received(Role::Client, bytes).events, [Seen::text("Hello")]);
}

#[test]
fn rfc6455_5_7_an_unmasked_ping_and_its_masked_pong() {
    let (ping, pong) = (b"\x89\x05\x48\x65\x6c\x6c\x6f", b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    let client = received(Role::Client, ping);
    assert_eq!((client.events, &client.output[..]), (vec![Seen::ping("Hello")], &pong[..]));
    let mut server = open(Role::Server, &timeless());
    server.ping(b"Hello").unwrap();
    assert_eq!(output(&server), ping);
    assert_eq!(received(Role::Server, pong), Run { events: vec![Seen::pong("Hello")], output: vec![] });
}

#[test]
fn rfc6455_5_7_256_bytes_and_64_kib_of_binary_in_a_single_unmasked_frame() {
    let headers: [(&[u8], usize); 2] =
        [(b"\x82\x7e\x01\x00", 256), (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65_536)];
    for (header, length) in headers {
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let bytes = [header, &payload].concat();
        assert_eq!(received(Role::Client, &bytes).events, [Seen::binary(&payload)]);
        for owned in [false, true] {
            let mut server = open(Role::Server, &timeless());
            if owned { server.send(payload.clone()) } else { server.send(&payload) }.unwrap();
            assert_eq!(output(&server), bytes);
        }
    }
}

// Messages.

#[test]
fn messages_of_every_length_form_arrive_and_leave_whole() {
    for length in [0, 1, 125, 126, 127, 255, 65_535, 65_536, 70_000] {
        let text = "x".repeat(length);
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        both_roles(
            &timeless(),
            &[Frame::text(&text), Frame::binary(&bytes)],
            &[Seen::text(&text), Seen::binary(&bytes)],
            &[],
        );
        for role in ROLES {
            let mut connection = open(role, &timeless());
            connection.send(&text).unwrap();
            connection.send(bytes.clone()).unwrap();
            assert_eq!(output(&connection), wire(&[Frame::text(&text), Frame::binary(&bytes)], role), "{length}");
        }
    }
}

#[test]
fn fragments_are_joined_and_control_frames_between_them_come_first() {
    both_roles(
        &timeless(),
        &[
            Frame::text("One ").not_final(),
            Frame::ping("1"),
            Frame::continuation("").not_final(),
            Frame::pong("2"),
            Frame::continuation("message"),
            Frame::binary([1]).not_final(),
            Frame::ping(""),
            Frame::continuation([2]).not_final(),
            Frame::continuation([3]),
        ],
        &[Seen::ping("1"), Seen::pong("2"), Seen::text("One message"), Seen::ping(""), Seen::binary([1, 2, 3])],
        &[Frame::pong("1"), Frame::pong("")],
    );
}

#[test]
fn empty_fragments_make_an_empty_message() {
    for (first, seen) in [(Frame::text(""), Seen::text("")), (Frame::binary(""), Seen::binary(""))] {
        let frames = [first.not_final(), Frame::continuation("").not_final(), Frame::continuation("")];
        both_roles(&timeless(), &frames, &[seen], &[]);
    }
}

#[test]
fn a_character_may_be_cut_by_fragments_and_by_control_frames() {
    let text = "κόσμε €😀";
    let mut frames = vec![];
    for (i, byte) in text.bytes().enumerate() {
        let frame = if i == 0 { Frame::text([byte]) } else { Frame::continuation([byte]) };
        frames.extend([frame.not_final(), Frame::pong("")]);
    }
    frames.push(Frame::continuation(""));
    let mut events = vec![Seen::pong(""); text.len()];
    events.push(Seen::text(text));
    both_roles(&timeless(), &frames, &events, &[]);
}

#[test]
fn each_ping_is_answered_with_its_own_data() {
    let longest = [b'p'; 125];
    both_roles(
        &timeless(),
        &[Frame::ping(""), Frame::ping("a"), Frame::ping(longest), Frame::pong(""), Frame::pong(longest)],
        &[Seen::ping(""), Seen::ping("a"), Seen::ping(longest), Seen::pong(""), Seen::pong(longest)],
        &[Frame::pong(""), Frame::pong("a"), Frame::pong(longest)],
    );
}

#[test]
fn pings_are_left_to_the_owner_who_asks_for_it() {
    for role in ROLES {
        let make = || {
            let mut connection = open(role, &timeless());
            connection.set_auto_pong(false);
            connection
        };
        let run = run_in_every_way(make, &Frame::ping("x").sent_by(peer_of(role)));
        assert_eq!(run, Run { events: vec![Seen::ping("x")], output: vec![] });
    }
}

// Closing frames.

#[test]
fn a_close_is_echoed_with_its_code_and_reason() {
    let longest = "r".repeat(123);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        for reason in ["", "Normal close", "à bientôt", &longest] {
            let close = [Frame::close(code, reason)];
            both_roles(&timeless(), &close, &[Seen::clean(code, reason, ClosedBy::Peer)], &close);
        }
    }
}

#[test]
fn d3_an_empty_close_is_echoed_empty_and_reported_as_1005() {
    let empty = [Frame::close_with("")];
    both_roles(&timeless(), &empty, &[Seen::clean(1005, "", ClosedBy::Peer)], &empty);
}

#[test]
fn close_codes_that_must_not_be_sent_are_answered_with_1002() {
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let violation = Violation::CloseCode(code.into());
        fails(&[Frame::close(code, "why")], violation, 1002, &format!("Invalid close code: {code}"));
    }
}

#[test]
fn a_close_payload_of_one_byte_is_answered_with_1002() {
    fails(&[Frame::close_with([3])], Violation::CloseTooShort, 1002, "Close frame with a body of one byte");
}

#[test]
fn a_close_reason_that_is_not_utf8_is_answered_with_1007() {
    for reason in [&b"\xff"[..], b"ok\xc0\xaf", b"\xe2\x82"] {
        let payload = [b"\x03\xe8", reason].concat();
        fails(&[Frame::close_with(payload)], Violation::CloseReasonUtf8, 1007, "Close reason not UTF-8");
    }
}

#[test]
fn nothing_behind_a_close_frame_is_looked_at() {
    both_roles(
        &timeless(),
        &[Frame::close(1000, ""), Frame::text("late"), Frame::new(3, "rubbish"), Frame::close(1001, "")],
        &[Seen::clean(1000, "", ClosedBy::Peer)],
        &[Frame::close(1000, "")],
    );
}

#[test]
fn a_close_inside_a_fragmented_message_ends_the_connection_and_drops_the_message() {
    both_roles(
        &timeless(),
        &[Frame::text("begun").not_final(), Frame::close(1001, "bye")],
        &[Seen::clean(1001, "bye", ClosedBy::Peer)],
        &[Frame::close(1001, "bye")],
    );
}

// Violations, each variant, for both roles. What comes before is delivered, what comes after is dropped.

#[test]
fn reserved_bits_are_answered_with_1002() {
    for bits in 1..=7 {
        for frame in [Frame::text("x"), Frame::binary(""), Frame::ping("x"), Frame::close(1000, "")] {
            fails(&[frame.reserved_bits(bits)], Violation::ReservedBits, 1002, "Reserved bits set");
        }
    }
}

#[test]
fn reserved_opcodes_are_answered_with_1002() {
    for opcode in (3..=7).chain(11..=15) {
        let text = format!("Reserved opcode: {opcode:#x}");
        for frame in [Frame::new(opcode, "x"), Frame::new(opcode, "").not_final()] {
            fails(&[frame], Violation::ReservedOpcode(opcode), 1002, &text);
        }
    }
}

#[test]
fn server_closes_with_1002_on_an_unmasked_frame() {
    for frame in [Frame::text("Hello"), Frame::binary(""), Frame::ping(""), Frame::close(1000, "")] {
        let run = received(Role::Server, &frame.sent_by(Role::Server));
        let text = "Client frame not masked";
        assert_eq!(run.events, [Seen::error(Violation::NotMasked), Seen::failed(1002, text)]);
        assert_eq!(run.output, Frame::close(1002, text).sent_by(Role::Server));
    }
}

#[test]
fn client_closes_with_1002_on_a_masked_frame() {
    for frame in [Frame::text("Hello"), Frame::binary(""), Frame::ping(""), Frame::close(1000, "")] {
        let run = received(Role::Client, &frame.sent_by(Role::Client));
        let text = "Server frame masked";
        assert_eq!(run.events, [Seen::error(Violation::Masked), Seen::failed(1002, text)]);
        assert_eq!(run.output, Frame::close(1002, text).sent_by(Role::Client));
    }
}

#[test]
fn lengths_that_are_not_minimal_are_answered_with_1002() {
    for frame in [
        Frame::binary("").claiming_16(0),
        Frame::text("x").claiming_16(125),
        Frame::binary("x").claiming_64(1),
        Frame::text("x").claiming_64(125),
        Frame::text("x").claiming_64(0xffff),
    ] {
        fails(&[frame], Violation::LengthNotMinimal, 1002, "Payload length not minimally encoded");
    }
}

#[test]
fn lengths_with_the_top_bit_are_answered_with_1002() {
    for length in [1 << 63, (1 << 63) | 1, u64::MAX] {
        let frame = Frame::binary("x").claiming_64(length);
        fails(&[frame], Violation::LengthTooLarge, 1002, "Payload length above 2^63-1");
    }
}

#[test]
fn fragmented_control_frames_are_answered_with_1002() {
    for opcode in [8, 9, 10] {
        let frame = Frame::new(opcode, "").not_final();
        fails(&[frame], Violation::ControlFragmented, 1002, "Control frame fragmented");
    }
}

#[test]
fn long_control_frames_are_answered_with_1002() {
    for opcode in [8, 9, 10] {
        for frame in [Frame::new(opcode, [b'x'; 126]), Frame::new(opcode, "").claiming_64(65_536)] {
            fails(&[frame], Violation::ControlTooLong, 1002, "Control frame longer than 125 bytes");
        }
    }
}

#[test]
fn a_continuation_of_nothing_is_answered_with_1002() {
    let text = "Continuation without a message to continue";
    for frame in [Frame::continuation("x"), Frame::continuation("").not_final()] {
        fails(std::slice::from_ref(&frame), Violation::NothingToContinue, 1002, text);
        // A whole message is not continued either.
        let after = [Frame::text("whole"), frame];
        fails_with(&timeless(), &after, &[Seen::text("whole")], Violation::NothingToContinue, 1002, text);
    }
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_answered_with_1002() {
    for second in [Frame::text("b"), Frame::binary("b"), Frame::text("").not_final()] {
        let frames = [Frame::text("a").not_final(), Frame::ping("p"), second];
        for role in ROLES {
            let run = run_in_every_way(|| open(role, &timeless()), &wire(&frames, peer_of(role)));
            let text = "New message inside a fragmented one";
            assert_eq!(
                run.events,
                [Seen::ping("p"), Seen::error(Violation::MessageUnfinished), Seen::failed(1002, text)]
            );
            assert_eq!(run.output, wire(&[Frame::pong("p"), Frame::close(1002, text)], role));
        }
    }
}

#[test]
fn what_comes_behind_a_violation_is_dropped() {
    both_roles(
        &timeless(),
        &[Frame::text("before"), Frame::new(3, "x"), Frame::text("after"), Frame::close(1000, "")],
        &[Seen::text("before"), Seen::error(Violation::ReservedOpcode(3)), Seen::failed(1002, "Reserved opcode: 0x3")],
        &[Frame::close(1002, "Reserved opcode: 0x3")],
    );
}

// Text.

#[test]
fn text_that_is_not_utf8_is_answered_with_1007() {
    let texts: [&[u8]; 8] = [
        b"ok\xffno",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xf8\x88\x80\x80\x80",
    ];
    for bytes in texts {
        let violation = Violation::TextNotUtf8;
        fails(&[Frame::text(bytes)], violation, 1007, "Text message not UTF-8");
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            let frames = [Frame::text(left).not_final(), Frame::continuation(right)];
            fails(&frames, violation, 1007, "Text message not UTF-8");
        }
        // Binary messages carry anything.
        both_roles(&timeless(), &[Frame::binary(bytes)], &[Seen::binary(bytes)], &[]);
    }
}

#[test]
fn text_fails_in_the_middle_of_a_frame_at_the_first_impossible_byte() {
    // (bytes that may still become text, the byte that ends that hope)
    let table: [(&[u8], u8); 7] = [
        (b"ok", 0xff),
        (b"", 0x80),
        (b"\xf4", 0x90),
        (b"\xed", 0xa0),
        (b"\xe0", 0x9f),
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4", 0x90),
        (b"\xe2\x82", b'x'),
    ];
    for role in ROLES {
        for (possible, impossible) in table {
            let payload = [possible, &[impossible], &[b'x'; 50]].concat();
            // As one frame, and as the second fragment of a message.
            for before in [&[][..], &[Frame::text("ok ").not_final()]] {
                let frame = if before.is_empty() { Frame::text(&payload) } else { Frame::continuation(&payload) };
                let bytes = [wire(before, peer_of(role)), frame.sent_by(peer_of(role))].concat();
                let end = bytes.len() - 51;
                for cut in 0..=end {
                    let mut connection = open(role, &timeless());
                    assert_eq!(feed(&mut connection, START, &bytes[..cut]), []);
                    assert_eq!(feed(&mut connection, START, &bytes[cut..end]), [], "possible: {possible:x?}");
                    let seen = feed(&mut connection, START, &bytes[end..=end]);
                    assert_eq!(
                        seen,
                        [Seen::error(Violation::TextNotUtf8), Seen::failed(1007, "Text message not UTF-8")],
                        "{role:?} {possible:x?} {impossible:x}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_text_message_that_ends_within_a_character_fails_at_its_end_only() {
    for role in ROLES {
        let mut connection = open(role, &timeless());
        let begun = Frame::text(b"\xe2\x82").not_final().sent_by(peer_of(role));
        assert_eq!(feed(&mut connection, START, &begun), []);
        let end = Frame::continuation("").sent_by(peer_of(role));
        assert_eq!(feed(&mut connection, START, &end)[0], Seen::error(Violation::TextNotUtf8));
    }
}

// Limits.

fn limits() -> Config {
    timeless().max_text(100).max_binary(50)
}

#[test]
fn j10_j11_d18_messages_above_the_limit_are_answered_with_1009_and_ring_s_text() {
    let config = timeless().max_message(5);
    let (length, max) = (6, 5);
    let violation = Violation::TextTooLarge { length, max };
    fails_with(&config, &[Frame::text("123456")], &[], violation, 1009, "Text message too large: 6 > 5");
    let violation = Violation::BinaryTooLarge { length, max };
    fails_with(&config, &[Frame::binary("123456")], &[], violation, 1009, "Binary message too large: 6 > 5");
}

#[test]
fn the_limits_are_exact_and_separate() {
    let (text, binary) = ("x".repeat(100), [0; 50]);
    both_roles(
        &limits(),
        &[Frame::text(&text), Frame::binary(binary)],
        &[Seen::text(&text), Seen::binary(binary)],
        &[],
    );
    let (length, max) = (101, 100);
    let violation = Violation::TextTooLarge { length, max };
    fails_with(&limits(), &[Frame::text([b'x'; 101])], &[], violation, 1009, "Text message too large: 101 > 100");
    let (length, max) = (51, 50);
    let violation = Violation::BinaryTooLarge { length, max };
    fails_with(&limits(), &[Frame::binary([0; 51])], &[], violation, 1009, "Binary message too large: 51 > 50");
}

#[test]
fn the_limit_counts_bytes_over_all_fragments_and_no_control_payloads() {
    // 33 times three bytes and one: 100.
    let fragment = Frame::continuation("€").not_final();
    let mut frames = vec![Frame::text("€").not_final()];
    let mut events = vec![];
    for _ in 0..32 {
        frames.extend([Frame::pong([b'p'; 125]), fragment.clone()]);
        events.push(Seen::pong([b'p'; 125]));
    }
    let mut whole = frames.clone();
    whole.push(Frame::continuation("x"));
    let mut seen = events.clone();
    seen.push(Seen::Text("€".repeat(33) + "x"));
    both_roles(&limits(), &whole, &seen, &[]);

    frames.push(Frame::continuation("xy"));
    let violation = Violation::TextTooLarge { length: 101, max: 100 };
    fails_with(&limits(), &frames, &events, violation, 1009, "Text message too large: 101 > 100");
}

#[test]
fn a_limit_starts_anew_with_each_message() {
    let frames = [Frame::text([b'x'; 100]), Frame::text([b'x'; 60]).not_final(), Frame::continuation([b'x'; 40])];
    let text = "x".repeat(100);
    both_roles(&limits(), &frames, &[Seen::text(&text), Seen::text(&text)], &[]);
}

#[test]
fn d18_a_limit_is_judged_at_the_header_before_any_payload() {
    for role in ROLES {
        for claim in [8 << 20, (1 << 63) - 1] {
            let header = Frame::binary("").claiming_64(claim).sent_by(peer_of(role));
            let run = run_in_every_way(|| open(role, &Config::default()), &header);
            let text = format!("Binary message too large: {claim} > 1048576");
            let violation = Violation::BinaryTooLarge { length: claim, max: 1 << 20 };
            assert_eq!(run.events, [Seen::error(violation), Seen::failed(1009, &text)]);
        }
    }
}

#[test]
fn a_limit_of_zero_takes_empty_messages_only() {
    let config = timeless().max_message(0);
    both_roles(&config, &[Frame::text(""), Frame::binary("")], &[Seen::text(""), Seen::binary("")], &[]);
    let violation = Violation::TextTooLarge { length: 1, max: 0 };
    fails_with(&config, &[Frame::text("x")], &[], violation, 1009, "Text message too large: 1 > 0");
}

// Memory: see also tests/memory.rs.

#[test]
fn a_message_that_lies_whole_in_the_input_is_lent_out_where_it_lies() {
    for role in ROLES {
        for opcode in [1, 2, 9, 10] {
            let mut connection = open(role, &timeless());
            let mut bytes = Frame::new(opcode, "payload").sent_by(peer_of(role));
            let end = bytes.as_ptr_range().end;
            let event = connection.next_event(START, &mut &mut bytes[..]).unwrap();
            let lent = match event {
                bellwire_core::proto::Event::Text(std::borrow::Cow::Borrowed(text)) => text.as_bytes(),
                bellwire_core::proto::Event::Binary(std::borrow::Cow::Borrowed(data))
                | bellwire_core::proto::Event::Ping(std::borrow::Cow::Borrowed(data))
                | bellwire_core::proto::Event::Pong(std::borrow::Cow::Borrowed(data)) => data,
                other => panic!("not lent: {other:?}"),
            };
            assert_eq!((lent, lent.as_ptr_range().end), (&b"payload"[..], end));
        }
    }
}

#[test]
fn sending_is_possible_while_a_lent_message_is_looked_at() {
    let mut connection = open(Role::Server, &timeless());
    let mut bytes = Frame::text("echo me").sent_by(Role::Client);
    let mut input = &mut bytes[..];
    let Some(bellwire_core::proto::Event::Text(text)) = connection.next_event(START, &mut input) else {
        panic!("no text")
    };
    connection.send(&*text).unwrap();
    assert_eq!(output(&connection), Frame::text("echo me").sent_by(Role::Server));
}

#[test]
fn every_violation_has_the_code_that_the_rfc_gives_it() {
    let close_code = |violation: Violation| Error::from(violation).close_code().unwrap().0;
    assert_eq!(close_code(Violation::NotMasked), 1002);
    assert_eq!(close_code(Violation::TextNotUtf8), 1007);
    assert_eq!(close_code(Violation::CloseReasonUtf8), 1007);
    assert_eq!(close_code(Violation::TextTooLarge { length: 2, max: 1 }), 1009);
    assert_eq!(close_code(Violation::BinaryTooLarge { length: 2, max: 1 }), 1009);
}
