//! What a peer may put on the wire, and what it may not: fragments, lengths, UTF-8, close codes, limits.

use bellwire::{Role, listener};
use bellwire_tests::{
    BINARY, Backend, CLOSE, CONTINUATION, Event, Frame, Ours, PING, PONG, TEXT, backends, echo, quiet,
};

backends! {
    both {
        t6_i9_fragments_are_joined_and_control_frames_between_them_come_first,
        t6_a_close_between_fragments_drops_the_message,
        t9_close_codes_that_may_be_sent_are_echoed,
        t9_close_codes_that_must_not_be_sent_end_in_1002,
        t10_text_that_is_not_utf8_ends_in_1007_where_it_fails,
        t10_a_character_may_be_cut_by_fragments,
        t10_a_close_reason_that_is_not_utf8_ends_in_1007,
        t17_lengths_with_the_top_bit_and_lengths_not_minimal_end_in_1002,
        t18_d18_the_limit_is_exact_over_fragments_and_spares_control_frames,
        t21_a_message_of_64_kib_has_a_length_of_64_bits,
    }
}

fn t6_i9_fragments_are_joined_and_control_frames_between_them_come_first<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    peer.send([
        Frame::unfinished(TEXT, "one "),
        Frame::new(PING, "ping"),
        Frame::unfinished(CONTINUATION, ""),
        Frame::new(PONG, "pong"),
        Frame::unfinished(CONTINUATION, "mess"),
        Frame::new(CONTINUATION, "age"),
        Frame::unfinished(BINARY, [0]),
        Frame::new(CONTINUATION, [1]),
        Frame::close(1000, ""),
    ]);
    peer.expect([
        Frame::new(PONG, "ping"),
        Frame::text("one message"),
        Frame::new(BINARY, [0, 1]),
        Frame::close(1000, ""),
    ]);
    peer.hang_up();
    log.ends_with([
        Event::Open,
        Event::Ping(b"ping".into()),
        Event::Pong(b"pong".into()),
        Event::text("one message"),
        Event::Binary(vec![0, 1]),
        Event::close(1000, ""),
    ]);
}

fn t6_a_close_between_fragments_drops_the_message<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    peer.send([Frame::unfinished(TEXT, "half"), Frame::close(1000, "no more")]);
    peer.expect([Frame::close(1000, "no more")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(1000, "no more")]);
}

fn t9_close_codes_that_may_be_sent_are_echoed<B: Backend>(role: Role) {
    let backend = B::start();
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener());
        peer.send([Frame::close(code, "because")]);
        peer.expect([Frame::close(code, "because")]);
        peer.hang_up();
        log.ends_with([Event::Open, Event::close(code, "because")]);
    }
}

/// Checks that these bytes fail a connection, which sends this code and ends.
#[track_caller]
fn fails<B: Backend>(backend: &B, role: Role, bytes: &[u8], code: u16) {
    let Ours { log, mut peer, .. } = Ours::raw(backend, role, quiet(), listener());
    peer.write(bytes);
    let close = peer.read();
    assert_eq!((close.opcode, close.payload.get(..2)), (CLOSE, Some(&code.to_be_bytes()[..])), "{bytes:x?}");
    peer.expect_end();
    let text = std::str::from_utf8(&close.payload[2..]).unwrap();
    let error = text[..1].to_ascii_lowercase() + &text[1..];
    log.ends_with([Event::Open, Event::error(error), Event::close(code, text)]);
}

fn t9_close_codes_that_must_not_be_sent_end_in_1002<B: Backend>(role: Role) {
    let backend = B::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        fails(&backend, role, &Frame::close(code, "").encode(role == Role::Server), 1002);
    }
    // Half a code.
    fails(&backend, role, &Frame::new(CLOSE, [3]).encode(role == Role::Server), 1002);
}

fn t10_text_that_is_not_utf8_ends_in_1007_where_it_fails<B: Backend>(role: Role) {
    let backend = B::start();
    let masked = role == Role::Server;
    fails(&backend, role, &Frame::text(b"good until \xff").encode(masked), 1007);
    // A surrogate over two fragments; what would follow never comes.
    let mut bytes = Frame::unfinished(TEXT, b"\xed").encode(masked);
    bytes.extend(Frame::unfinished(CONTINUATION, b"\xa0").encode(masked));
    fails(&backend, role, &bytes, 1007);
    // It ends within a character.
    fails(&backend, role, &Frame::text(b"Gr\xc3").encode(masked), 1007);
}

fn t10_a_character_may_be_cut_by_fragments<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    let mut frames: Vec<_> = "€𝄞".bytes().map(|byte| Frame::unfinished(CONTINUATION, [byte])).collect();
    frames[0].opcode = TEXT;
    frames.push(Frame::new(CONTINUATION, ""));
    peer.send(frames);
    peer.expect([Frame::text("€𝄞")]);
    log.expect([Event::Open, Event::text("€𝄞")]);
}

fn t10_a_close_reason_that_is_not_utf8_ends_in_1007<B: Backend>(role: Role) {
    let backend = B::start();
    fails(&backend, role, &Frame::new(CLOSE, b"\x03\xe8\xff").encode(role == Role::Server), 1007);
}

fn t17_lengths_with_the_top_bit_and_lengths_not_minimal_end_in_1002<B: Backend>(role: Role) {
    let backend = B::start();
    let mask_bit = if role == Role::Server { 0x80 } else { 0 };
    for (form, length) in [
        (127, &[0x80, 0, 0, 0, 0, 0, 0, 1][..]),
        (127, &[0xff; 8]),
        (127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        (127, &[0; 8]),
        (126, &[0, 125]),
        (126, &[0, 0]),
    ] {
        let mut bytes = vec![0x80 | BINARY, mask_bit | form];
        bytes.extend_from_slice(length);
        bytes.extend_from_slice(&[0; 4]);
        fails(&backend, role, &bytes, 1002);
    }
}

fn t18_d18_the_limit_is_exact_over_fragments_and_spares_control_frames<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet().max_message(100), listener());
    let (sixty, forty) = ("x".repeat(60), "x".repeat(40));
    let ping = Frame::new(PING, [b'p'; 125]);
    peer.send([Frame::unfinished(TEXT, &sixty), ping.clone(), Frame::new(CONTINUATION, &forty)]);
    peer.send([Frame::unfinished(BINARY, &sixty), ping, Frame::unfinished(CONTINUATION, &forty)]);
    peer.send([Frame::new(CONTINUATION, "y")]);
    let pong = Frame::new(PONG, [b'p'; 125]);
    let (error, text) = ("binary message too large: 101 > 100", "Binary message too large: 101 > 100");
    peer.expect([pong.clone(), pong, Frame::close(1009, text)]);
    peer.expect_end();
    let ping = Event::Ping(vec![b'p'; 125]);
    log.ends_with([
        Event::Open,
        ping.clone(),
        Event::text("x".repeat(100)),
        ping,
        Event::error(error),
        Event::close(1009, text),
    ]);
}

fn t21_a_message_of_64_kib_has_a_length_of_64_bits<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    // The peer checks that each length has its shortest form.
    for size in [65_535, 65_536] {
        peer.send([Frame::new(BINARY, vec![7; size])]);
        peer.expect([Frame::new(BINARY, vec![7; size])]);
    }
}
