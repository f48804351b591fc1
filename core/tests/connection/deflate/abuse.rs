//! What breaks the rules of RFC 7692: one close code each.

use bellwire_core::proto::Violation;

use super::*;

/// "Hello" as RFC 7692 §7.2.3.1 prints it, and a reference to an earlier "Hello" (§7.2.3.2).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

const RESERVED_BITS: (Violation, u16, &str) = (Violation::ReservedBits, 1002, "Reserved bits set");
const NOT_DEFLATE: (Violation, u16, &str) = (Violation::NotDeflate, 1007, "Compressed message not DEFLATE");
const NOT_UTF8: (Violation, u16, &str) = (Violation::TextNotUtf8, 1007, "Text message not UTF-8");

/// For either role: the peer sends these frames, these events come, and these frames are sent.
#[track_caller]
fn comes_to(parameters: &str, incoming: &[Frame], events: &[Seen], outgoing: &[Frame]) {
    for role in ROLES {
        let bytes = wire(incoming, peer_of(role));
        let run = run_in_every_way(|| deflating(role, &timeless(), agreed(parameters)), &bytes);
        assert_eq!(run.events, events, "{role:?}, {incoming:x?}");
        assert_eq!(run.output, wire(outgoing, role), "{role:?}, {incoming:x?}");
    }
}

#[track_caller]
fn reads(parameters: &str, incoming: &[Frame], events: &[Seen]) {
    comes_to(parameters, incoming, events, &[]);
}

#[track_caller]
fn fails(parameters: &str, incoming: &[Frame], before: &[Seen], (violation, code, text): (Violation, u16, &str)) {
    let events = [before, &[Seen::error(violation), Seen::failed(code, text)]].concat();
    comes_to(parameters, incoming, &events, &[Frame::close(code, text)]);
}

fn hello() -> Frame {
    compressed(Frame::text(HELLO))
}

/// RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments of
/// a data message."
#[test]
fn rsv1_belongs_to_the_first_frame_of_a_message_and_to_no_other() {
    let first = || compressed(Frame::text(&HELLO[..3])).not_final();
    fails("", &[first(), compressed(Frame::continuation(&HELLO[3..]))], &[], RESERVED_BITS);
    fails("", &[first(), compressed(Frame::continuation(&HELLO[3..4])).not_final()], &[], RESERVED_BITS);
    fails("", &[Frame::text("plain").not_final(), compressed(Frame::continuation("x"))], &[], RESERVED_BITS);
    fails("", &[compressed(Frame::continuation(HELLO))], &[], RESERVED_BITS);
    for opcode in [8, 9, 10] {
        fails("", &[compressed(Frame::new(opcode, ""))], &[], RESERVED_BITS);
        fails("", &[first(), compressed(Frame::new(opcode, b"\x03\xe8"))], &[], RESERVED_BITS);
    }
}

#[test]
fn rsv1_without_negotiation_is_a_reserved_bit() {
    let events = [Seen::error(Violation::ReservedBits), Seen::failed(1002, "Reserved bits set")];
    let config = timeless().deflate(Deflate::default());
    both_roles(&config, &[hello()], &events, &[Frame::close(1002, "Reserved bits set")]);
}

#[test]
fn rsv2_and_rsv3_are_not_negotiated() {
    for bits in [1, 2, 3, 5, 6, 7] {
        fails("", &[Frame::text(HELLO).reserved_bits(bits)], &[], RESERVED_BITS);
        fails("", &[hello(), Frame::binary("").reserved_bits(bits)], &[Seen::text("Hello")], RESERVED_BITS);
    }
}

#[test]
fn a_new_message_inside_a_compressed_one_is_refused() {
    let first = compressed(Frame::text(&HELLO[..3])).not_final();
    let unfinished = (Violation::MessageUnfinished, 1002, "New message inside a fragmented one");
    fails("", &[first.clone(), Frame::text("x")], &[], unfinished);
    fails("", &[first.clone(), Frame::binary("").not_final()], &[], unfinished);
    fails("", &[first, hello()], &[], RESERVED_BITS);
}

#[test]
fn what_is_compressed_is_read_together_with_what_is_not() {
    reads("", &[hello(), compressed(Frame::binary(HELLO_AGAIN))], &[Seen::text("Hello"), Seen::binary("Hello")]);
    // Messages that were not compressed are not in the window.
    let frames =
        [hello(), Frame::text("plain"), Frame::ping("p"), Frame::binary(""), compressed(Frame::text(HELLO_AGAIN))];
    let events = [Seen::text("Hello"), Seen::text("plain"), Seen::ping("p"), Seen::binary(""), Seen::text("Hello")];
    comes_to("", &frames, &events, &[Frame::pong("p")]);
    // RFC 7692 §7.2.3.1: "each fragment", with control frames between them.
    let frames = [
        compressed(Frame::text("")).not_final(),
        Frame::pong("a"),
        Frame::continuation(&HELLO[..3]).not_final(),
        Frame::pong("b"),
        Frame::continuation("").not_final(),
        Frame::continuation(&HELLO[3..]).not_final(),
        Frame::continuation(""),
        Frame::text("pl").not_final(),
        Frame::pong("c"),
        Frame::continuation("ain"),
        compressed(Frame::text(HELLO_AGAIN)),
    ];
    let events = [
        Seen::pong("a"),
        Seen::pong("b"),
        Seen::text("Hello"),
        Seen::pong("c"),
        Seen::text("plain"),
        Seen::text("Hello"),
    ];
    reads("", &frames, &events);
}

/// RFC 7692 §7.2.3.6: an empty message is `00`. Others take none at all for one, too.
#[test]
fn empty_messages_leave_the_window_as_it_is() {
    for empty in [&b""[..], b"\x00", b"\x02\x00", b"\x00\x00\x00\xff\xff\x00", b"\x03\x00", b"\x03\x00\x00", b"\x01"] {
        let frames = [
            hello(),
            compressed(Frame::text(empty)),
            compressed(Frame::binary(empty)),
            compressed(Frame::text(HELLO_AGAIN)),
        ];
        reads("", &frames, &[Seen::text("Hello"), Seen::text(""), Seen::binary(""), Seen::text("Hello")]);
    }
}

/// §7.2.3.4: "A sender may use a DEFLATE block with "BFINAL" set to 1".
#[test]
fn a_last_block_is_not_the_last_of_the_connection() {
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let frames = [compressed(Frame::text([&last[..], b"\x00"].concat())), compressed(Frame::text(HELLO_AGAIN))];
    reads("", &frames, &[Seen::text("Hello"), Seen::text("Hello")]);
    // Within a message: what follows refers to what was before.
    let frames = [compressed(Frame::text([&last[..], HELLO_AGAIN].concat())), compressed(Frame::text(HELLO_AGAIN))];
    reads("", &frames, &[Seen::text("HelloHello"), Seen::text("Hello")]);
    // Several of them, and nothing but one.
    let frames = [
        compressed(Frame::text([&last[..], b"\x03\x00\x03\x00", HELLO_AGAIN].concat())),
        compressed(Frame::text(b"\x03\x00")),
    ];
    reads("", &frames, &[Seen::text("HelloHello"), Seen::text("")]);
    // And the message ends with one.
    reads(
        "",
        &[compressed(Frame::text(last)), compressed(Frame::text(HELLO_AGAIN))],
        &[Seen::text("Hello"), Seen::text("Hello")],
    );
}

/// A message that refers far back, over last blocks, to what came before it or to its own beginning.
#[test]
fn a_last_block_leaves_the_whole_window() {
    let earlier = noise(1, 40_000);
    let again = &earlier[20_000..20_300];
    let mut compressor = zlib_rs::Deflate::new(9, false, 15);
    compressor.set_dictionary(&earlier).unwrap();
    let mut reference = vec![0; 1000];
    compressor.compress(again, &mut reference, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    reference.truncate(compressor.total_out() as usize - 4);
    assert!(reference.len() < 30);
    let last = |bytes: &[u8]| Compressor::new(1, 15, false).message(&[Part { bytes: bytes.to_vec(), is_last: true }]);
    // Without the `00` of the empty block, where the next one begins.
    let part = |bytes: &[u8]| last(bytes).strip_suffix(b"\x00").unwrap().to_vec();
    let tables = [
        vec![([part(&earlier), b"\x03\x00".to_vec(), reference.clone()].concat(), [&earlier, again].concat())],
        vec![(last(&earlier), earlier.clone()), ([&b"\x03\x00\x03\x00"[..], &reference].concat(), again.to_vec())],
        vec![
            (last(&earlier[..30_000]), earlier[..30_000].to_vec()),
            ([part(&earlier[30_000..]), reference.clone()].concat(), [&earlier[30_000..], again].concat()),
        ],
    ];
    for (role, table) in ROLES.into_iter().flat_map(|role| tables.iter().map(move |table| (role, table))) {
        let frames: Vec<_> = table.iter().map(|(message, _)| compressed(Frame::binary(message))).collect();
        let seen: Vec<_> = table.iter().map(|(_, payload)| Seen::binary(payload)).collect();
        let bytes = wire(&frames, peer_of(role));
        for length in [bytes.len(), 7001, 1] {
            assert_eq!(run(deflating(role, &timeless(), agreed("")), bytes.chunks(length)).events, seen);
        }
    }
}

#[test]
fn what_is_no_deflate_fails() {
    // A block of type 3 (RFC 1951 §3.2.3: "reserved (error)"); a stored block whose length and its complement differ; a
    // Huffman code that says too much; a length or distance code that does not exist.
    for corrupt in [
        &b"\x06"[..],
        b"\x07\x00",
        b"\x00\x01\x00\x00\x00x",
        b"\xfd\xff\xff\xff\xff\xff",
        b"\x1b\x03",
        b"\x02\x7e\xff\xff\xff",
    ] {
        fails("", &[compressed(Frame::binary(corrupt))], &[], NOT_DEFLATE);
        fails("", &[hello(), compressed(Frame::text([HELLO, corrupt].concat()))], &[Seen::text("Hello")], NOT_DEFLATE);
        let [first, second] = [&HELLO[..4], &[&HELLO[4..], corrupt].concat()];
        fails("", &[compressed(Frame::binary(first)).not_final(), Frame::continuation(second)], &[], NOT_DEFLATE);
    }
}

/// What others would notice at the next message, which would begin in the middle of a block.
#[test]
fn a_message_that_ends_within_a_block_fails() {
    let dynamic = Compressor::new(9, 15, false).message(&[Part::new("abcdefghijklmnopqrstuvwxyz".repeat(40))]);
    let mut truncated: Vec<&[u8]> = (1..=5).map(|length| &HELLO[..length]).collect();
    // Stored blocks of which a part is missing, the header as well; and a block with BFINAL.
    truncated.extend([
        &b"\x00\x05\x00\xfa\xffHell"[..],
        b"\x00\xff",
        b"\x00\x05\x00",
        b"\x01\x05\x00\xfa\xff",
        b"\xf3\x48\xcd",
    ]);
    truncated.extend((5..dynamic.len() - 3).map(|length| &dynamic[..length]));
    for bytes in truncated {
        fails("", &[compressed(Frame::binary(bytes))], &[], NOT_DEFLATE);
        let frames = [hello(), compressed(Frame::binary("")).not_final(), Frame::continuation(bytes)];
        fails("", &frames, &[Seen::text("Hello")], NOT_DEFLATE);
    }
    // With all of it there is nothing wrong.
    reads("", &[compressed(Frame::text(&dynamic))], &[Seen::text(&"abcdefghijklmnopqrstuvwxyz".repeat(40))]);
}

/// Each costs as much as the whole window: an honest peer sends one in a message.
#[test]
fn a_message_has_so_many_last_blocks_and_no_more() {
    let message =
        |before: &[u8], count| compressed(Frame::binary([before, &b"\x03\x00".repeat(count), HELLO].concat()));
    let empty = b"\x00\x00\x00\xff\xff".repeat(13);
    for (before, most) in [(&b""[..], 16), (&empty, 17)] {
        reads("", &[message(before, most), message(before, most)], &[Seen::binary("Hello"), Seen::binary("Hello")]);
        fails("", &[message(before, most), message(before, most + 1)], &[Seen::binary("Hello")], NOT_DEFLATE);
        fails("", &[message(before, 5000)], &[], NOT_DEFLATE);
    }
}

#[test]
fn a_distance_into_what_was_never_sent_compressed_fails() {
    fails("", &[compressed(Frame::binary(HELLO_AGAIN))], &[], NOT_DEFLATE);
    fails("", &[Frame::text("Hello"), compressed(Frame::binary(HELLO_AGAIN))], &[Seen::text("Hello")], NOT_DEFLATE);
    // Nor may a message without context takeover refer to another.
    let parameters = "; server_no_context_takeover; client_no_context_takeover";
    fails(parameters, &[hello(), compressed(Frame::text(HELLO_AGAIN))], &[Seen::text("Hello")], NOT_DEFLATE);
    // Not even after a last block in the message before.
    let last = compressed(Frame::text(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"));
    fails(parameters, &[last, compressed(Frame::text(HELLO_AGAIN))], &[Seen::text("Hello")], NOT_DEFLATE);
}

/// The window of the receiving side ends where the negotiated one does.
#[test]
fn a_distance_beyond_the_negotiated_window_fails_where_it_leaves_the_message() {
    for (bits, sent, is_read) in
        [(9, 500, true), (9, 600, false), (10, 600, true), (15, 32_000, true), (8, 200, true), (8, 300, false)]
    {
        let mut compressor = Compressor::new(9, 15, false);
        let [first, between, again] = [b"0123456789abcdef".to_vec(), noise(1, sent - 16), b"0123456789abcdef".to_vec()];
        let message = [first.clone(), between].concat();
        let frames = [&message, &again].map(|bytes| compressed(Frame::binary(compressor.message(&[Part::new(bytes)]))));
        let parameters = format!("; server_max_window_bits={bits}; client_max_window_bits={bits}");
        let seen = [Seen::binary(&message), Seen::binary(&again)];
        for role in ROLES {
            let run = run(deflating(role, &timeless(), agreed(&parameters)), [&wire(&frames, peer_of(role))[..]]);
            if is_read {
                assert_eq!(run.events, seen, "{bits} {sent}");
            } else {
                let error = Seen::error(NOT_DEFLATE.0);
                assert_eq!(
                    run.events,
                    [seen[0].clone(), error, Seen::failed(NOT_DEFLATE.1, NOT_DEFLATE.2)],
                    "{bits} {sent}"
                );
            }
        }
    }
}

#[test]
fn text_is_utf8_after_it_is_inflated() {
    let deflated = |bytes: &[u8]| Compressor::new(6, 15, false).message(&[Part::new(bytes)]);
    for bytes in [&b"\xff"[..], b"Hello\xc3", b"\xed\xa0\x80", b"a\xe2\x82", b"\x80"] {
        fails("", &[compressed(Frame::text(deflated(bytes)))], &[], NOT_UTF8);
        let frames = [
            hello(),
            compressed(Frame::text(&deflated(bytes)[..2])).not_final(),
            Frame::continuation(&deflated(bytes)[2..]),
        ];
        fails("", &frames, &[Seen::text("Hello")], NOT_UTF8);
        reads("", &[compressed(Frame::binary(deflated(bytes)))], &[Seen::binary(bytes)]);
    }
    // Compressed it may be anything: characters are cut where the codec likes.
    let text = "größer als €, und 🦀".repeat(3);
    let bytes = deflated(text.as_bytes());
    let mut frames: Vec<_> = bytes.iter().map(|byte| Frame::continuation([*byte]).not_final()).collect();
    frames.insert(0, compressed(Frame::text("")).not_final());
    frames.push(Frame::continuation(""));
    reads("", &frames, &[Seen::text(&text)]);
}
