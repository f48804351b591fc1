//! The limits count what a message becomes.

use bellwire_core::proto::Violation;

use super::*;

fn too_large(text: bool, length: u64, max: usize) -> [Seen; 2] {
    let (violation, kind) = if text {
        (Violation::TextTooLarge { length, max }, "Text")
    } else {
        (Violation::BinaryTooLarge { length, max }, "Binary")
    };
    [Seen::error(violation), Seen::failed(1009, &format!("{kind} message too large: {length} > {max}"))]
}

/// D18, with the smallest length that is too much: how long the message would become nobody knows.
#[test]
fn d18_a_message_that_becomes_too_long_is_refused() {
    let config = timeless().max_text(300).max_binary(200);
    for (role, text, max) in
        [(Role::Server, true, 300), (Role::Server, false, 200), (Role::Client, true, 300), (Role::Client, false, 200)]
    {
        for length in [0, 1, max - 1, max, max + 1, max + 2, 10 * max, 1_000_000] {
            let payload = vec![b'x'; length];
            let bytes = Compressor::new(6, 15, false).message(&[Part::new(&payload)]);
            let half = bytes.len() / 2;
            let first = |part: &[u8]| compressed(Frame::new(if text { 1 } else { 2 }, part));
            for frames in
                [vec![first(&bytes)], vec![first(&bytes[..half]).not_final(), Frame::continuation(&bytes[half..])]]
            {
                let run = run_in_every_way(|| deflating(role, &config, agreed("")), &wire(&frames, peer_of(role)));
                if length > max {
                    assert_eq!(run.events, too_large(text, max as u64 + 1, max), "{length}");
                } else if text {
                    assert_eq!(run.events, [Seen::Text(String::from_utf8(payload.clone()).unwrap())], "{length}");
                } else {
                    assert_eq!(run.events, [Seen::Binary(payload.clone())], "{length}");
                }
            }
        }
    }
}

/// The limit is for what a message becomes: compressed it may be longer.
#[test]
fn a_message_may_take_more_bytes_than_it_has() {
    let payload = b"Hello";
    let blocks = b"\x00\x00\x00\xff\xff".repeat(50);
    for role in ROLES {
        let message = compressed(Frame::text([&blocks[..], b"\xf2\x48\xcd\xc9\xc9\x07\x00"].concat()));
        let config = timeless().max_text(5);
        let run = run_in_every_way(|| deflating(role, &config, agreed("")), &message.sent_by(peer_of(role)));
        assert_eq!(run.events, [Seen::Text(String::from_utf8(payload.to_vec()).unwrap())]);
    }
}

/// However much of a message has come at once, the first rule that it breaks is the one that is told.
#[test]
fn the_first_fault_of_a_long_message_is_told_however_it_is_cut() {
    let noise: Vec<u8> = noise(7, 150_000).into_iter().map(|byte| byte & 0x7f).collect();
    let broken = |parts: &[&[u8]], end: &[u8]| {
        let parts: Vec<Part> = parts.iter().map(Part::new).collect();
        [&Compressor::new(1, 15, false).message(&parts)[..], end].concat()
    };
    let not_utf8 = [Seen::error(Violation::TextNotUtf8), Seen::failed(1007, "Text message not UTF-8")];
    let max = noise.len();
    let table: &[(Vec<u8>, &[Seen])] = &[
        // Not UTF-8, and then no DEFLATE.
        (broken(&[&noise[1..], b"\xff"], b"\x00\x00\xff\xff\x07"), &not_utf8),
        // Not UTF-8, and then too long.
        (broken(&[&noise, b"\xff", &noise], b""), &too_large(true, max as u64 + 1, max)),
        (broken(&[&noise[1..], b"\xff", &noise], b""), &not_utf8),
        // Too long, and then no DEFLATE.
        (broken(&[&noise, b"x"], b"\x00\x00\xff\xff\x07"), &too_large(true, max as u64 + 1, max)),
    ];
    let config = timeless().max_text(max);
    for (role, (index, (message, events))) in
        ROLES.into_iter().flat_map(|role| table.iter().enumerate().map(move |row| (role, row)))
    {
        let bytes = compressed(Frame::text(message)).sent_by(peer_of(role));
        for length in [bytes.len(), 60_000, 1000, 1] {
            let run = run(deflating(role, &config, agreed("")), bytes.chunks(length));
            assert_eq!(&run.events, events, "{index} in pieces of {length}");
        }
    }
}
