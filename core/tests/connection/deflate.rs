//! permessage-deflate (RFC 7692): what one connection compresses another one reads, as does another codec, and the other
//! way round, with whatever was negotiated.

mod abuse;
mod limits;
mod peer;
mod prepared;
mod turns;

use bellwire_core::backend::Driver;
use bellwire_core::config::Deflate;
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::{Connection, SocketContext};
use bellwire_core::{Compression, Config, Outgoing, Prepared, Role, listener};
use proptest::prelude::*;
use proptest::sample::Index;

use self::peer::*;
use crate::common::*;

/// A connection of which this was negotiated.
fn deflating(role: Role, config: &Config, agreed: Compression) -> Connection {
    let mut connection = open(role, config);
    connection.set_context(SocketContext::new().compression(agreed));
    connection
}

/// What a server agrees to that has no wishes.
fn agreed(parameters: &str) -> Compression {
    let wishless = Deflate::default().client_max_window_bits(15);
    Compression::accept([format!("permessage-deflate{parameters}").as_bytes()], &wishless).unwrap()
}

fn compressed(frame: Frame) -> Frame {
    frame.reserved_bits(RSV1)
}

/// What the messages of this side are compressed with: (window bits, no context takeover).
fn window(sender: Role, agreed: Compression) -> (u8, bool) {
    match sender {
        Role::Server => (agreed.server_max_window_bits(), agreed.server_no_context_takeover()),
        Role::Client => (agreed.client_max_window_bits(), agreed.client_no_context_takeover()),
    }
}

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

const WORDS: &[&str] = &["\"name\":", "\"value\":", "true,", "12345,", "{}", "größer ", "€", "🦀 und ", " "];

/// Text that repeats itself, and what came before.
fn words(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..most).prop_map(|words| words.concat())
}

fn small_message() -> impl Strategy<Value = Seen> {
    prop_oneof![
        4 => words(12).prop_map(Seen::Text),
        1 => words(12).prop_map(Seen::binary),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Seen::Binary),
        1 => Just(Seen::text("")),
    ]
}

fn any_message() -> impl Strategy<Value = Seen> {
    prop_oneof![
        6 => small_message(),
        2 => words(2_000).prop_map(Seen::Text),
        1 => (words(20), 1..3_000usize).prop_map(|(text, times)| Seen::Text(text.repeat(times))),
        1 => (any::<u64>(), prop_oneof![0..300usize, 0..70_000usize]).prop_map(|(seed, length)| Seen::Binary(noise(seed, length))),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![6 => Just(Form::Plain), 2 => Just(Form::Prepared), 1 => Just(Form::Uncompressed)]
}

/// What one side wishes of the other, and how it compresses.
fn settings() -> impl Strategy<Value = Deflate> {
    let work =
        (0..=9u8, 1..=9u8, prop_oneof![Just(0), Just(64)], prop_oneof![Just(0), Just(700), Just(4096), Just(99_999)]);
    let wishes = (any::<bool>(), any::<bool>(), 8..=15u8, 8..=15u8, prop::bool::weighted(0.3));
    (work, wishes).prop_map(
        |((level, mem_level, threshold, history), (server, client, server_bits, client_bits, own))| {
            Deflate::default()
                .level(level)
                .mem_level(mem_level)
                .threshold(threshold)
                .history(history)
                .own_compressor(own)
                .server_no_context_takeover(server)
                .client_no_context_takeover(client)
                .server_max_window_bits(server_bits)
                .client_max_window_bits(client_bits)
        },
    )
}

fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn opcode_and_payload(message: &Seen) -> (u8, &[u8]) {
    match message {
        Seen::Text(text) => (1, text.as_bytes()),
        Seen::Binary(bytes) => (2, bytes),
        other => panic!("{other:?} is no message"),
    }
}

fn send(connection: &mut Connection, message: &Seen) -> Vec<u8> {
    send_as(connection, message, Form::Plain)
}

/// How a message is given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Prepared,
    Uncompressed,
}

fn send_as(connection: &mut Connection, message: &Seen, form: Form) -> Vec<u8> {
    let outgoing = match message {
        Seen::Text(text) => Outgoing::from(text),
        Seen::Binary(bytes) => Outgoing::from(bytes.clone()),
        other => panic!("{other:?} is no message"),
    };
    match form {
        Form::Plain => connection.send(outgoing),
        Form::Prepared => connection.send(Prepared::new(outgoing)),
        Form::Uncompressed => connection.send(outgoing.uncompressed()),
    }
    .unwrap();
    write_all(connection, START)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Two connections with any settings, of which each wishes what it likes of the other; and another codec listens.
    #[test]
    fn messages_arrive_as_they_were_sent_whatever_was_negotiated(
        server in settings(),
        client in settings(),
        messages in prop::collection::vec(
            (prop::sample::select(&ROLES), any_message(), form(), prop::collection::vec(any::<Index>(), 0..4)),
            1..24,
        ),
    ) {
        let agreed = Compression::accept([Compression::offer(&client).as_bytes()], &server).unwrap();
        prop_assert_eq!(Compression::accepted([agreed.to_string().as_bytes()], &client), Some(agreed));
        let config = |role| if role == Role::Server { server } else { client };
        let mut ends = ROLES.map(|role| deflating(role, &timeless().deflate(config(role)), agreed));
        let mut listeners = ROLES.map(|role| Inflater::new(window(role, agreed).1));
        for (role, message, form, cuts) in messages {
            let (from, to) = if role == ROLES[0] { (0, 1) } else { (1, 0) };
            let bytes = send_as(&mut ends[from], &message, form);
            let (opcode, payload) = opcode_and_payload(&message);
            let Ok([frame]) = <[Sent; 1]>::try_from(frames(&bytes, role)) else { panic!("a message is one frame") };
            prop_assert!(frame.fin && frame.opcode == opcode);
            if frame.reserved == RSV1 {
                prop_assert!(frame.payload.len() < payload.len() || config(role).threshold == 0);
                prop_assert!(payload.len() >= config(role).threshold && form != Form::Uncompressed);
                prop_assert_eq!(&listeners[from].message(&frame.payload), payload);
            } else {
                prop_assert!(frame.reserved == 0 && (config(role).threshold > 0 || form == Form::Uncompressed));
                prop_assert_eq!(&frame.payload, payload);
            }
            let seen: Vec<_> = cut(&bytes, &cuts).iter().flat_map(|piece| feed(&mut ends[to], START, piece)).collect();
            prop_assert_eq!(seen, [message]);
        }
    }
}

/// What a peer sends.
#[derive(Debug, Clone)]
enum Item {
    Plain(Seen),
    /// A message of several blocks, in so many fragments, each before a ping or none.
    Compressed {
        text: bool,
        parts: Vec<Part>,
        cuts: Vec<(Index, bool)>,
    },
}

fn item(piece: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Item> {
    let part =
        (piece, prop::bool::weighted(0.2)).prop_map(|(text, is_last)| Part { bytes: text.into_bytes(), is_last });
    prop_oneof![
        1 => small_message().prop_map(Item::Plain),
        3 => (any::<bool>(), prop::collection::vec(part, 0..4), prop::collection::vec(any::<(Index, bool)>(), 0..4))
            .prop_map(|(text, parts, cuts)| Item::Compressed { text, parts, cuts }),
    ]
}

/// Parameters that a client may offer.
fn parameters() -> impl Strategy<Value = Compression> {
    let bits = || prop_oneof![Just(15u8), 8..=15u8];
    (bits(), bits(), any::<bool>(), any::<bool>()).prop_map(|(server, client, server_alone, client_alone)| {
        let mut offer = format!("; server_max_window_bits={server}; client_max_window_bits={client}");
        offer += if server_alone { "; server_no_context_takeover" } else { "" };
        offer += if client_alone { "; client_no_context_takeover" } else { "" };
        agreed(&offer)
    })
}

/// The frames of what another codec compresses, and what is to be seen of them.
fn conversation(items: &[Item], level: u32, (bits, no_context_takeover): (u8, bool)) -> (Vec<Frame>, Vec<Seen>) {
    let mut compressor = Compressor::new(level, bits, no_context_takeover);
    let (mut frames, mut seen) = (vec![], vec![]);
    for item in items {
        match item {
            Item::Plain(message) => {
                let (opcode, payload) = opcode_and_payload(message);
                frames.push(Frame::new(opcode, payload));
                seen.push(message.clone());
            }
            Item::Compressed { text, parts, cuts } => {
                let payload: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
                let message = compressor.message(parts);
                let places: Vec<Index> = cuts.iter().map(|(place, _)| *place).collect();
                let pieces = cut(&message, &places);
                for (index, piece) in pieces.iter().enumerate() {
                    let opcode = [0, if *text { 1 } else { 2 }][usize::from(index == 0)];
                    let frame = Frame::new(opcode, piece);
                    let frame = if index == 0 { compressed(frame) } else { frame };
                    frames.push(if index + 1 < pieces.len() { frame.not_final() } else { frame });
                    if cuts.get(index).is_some_and(|(_, has_ping)| *has_ping) {
                        frames.push(Frame::ping([index as u8]));
                        seen.push(Seen::ping([index as u8]));
                    }
                }
                seen.push(if *text { Seen::Text(String::from_utf8(payload).unwrap()) } else { Seen::Binary(payload) });
            }
        }
    }
    (frames, seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_another_codec_compresses_is_read_however_it_is_cut(
        role in prop::sample::select(&ROLES),
        agreed in parameters(),
        level in 0..=9u32,
        items in prop::collection::vec(item(words(6)), 1..8),
    ) {
        let (frames, seen) = conversation(&items, level, window(peer_of(role), agreed));
        let run = run_in_every_way(|| deflating(role, &timeless(), agreed), &wire(&frames, peer_of(role)));
        prop_assert_eq!(run.events, seen);
    }

    #[test]
    fn and_so_are_large_messages(
        role in prop::sample::select(&ROLES),
        agreed in parameters(),
        level in 0..=9u32,
        items in prop::collection::vec(item(words(8_000)), 1..6),
        length in 1..70_000usize,
    ) {
        let (frames, seen) = conversation(&items, level, window(peer_of(role), agreed));
        let bytes = wire(&frames, peer_of(role));
        let whole = run(deflating(role, &timeless(), agreed), [&bytes[..]]);
        prop_assert_eq!(&whole.events, &seen);
        prop_assert_eq!(&run(deflating(role, &timeless(), agreed), bytes.chunks(length)), &whole);
        prop_assert_eq!(&run(deflating(role, &timeless(), agreed), bytes.chunks(1)), &whole);
    }

    /// Whatever bytes come as compressed messages: the same becomes of them however they are cut.
    #[test]
    fn any_bytes_come_to_the_same_however_they_are_cut(
        role in prop::sample::select(&ROLES),
        agreed in parameters(),
        frames in prop::collection::vec(
            (prop::sample::select(&[0u8, 0, 1, 2, 9]), prop::bool::weighted(0.7), any::<bool>(), junk()),
            1..8,
        ),
        limit in prop_oneof![Just(20usize), Just(100_000)],
    ) {
        let frames: Vec<Frame> = frames
            .into_iter()
            .map(|(opcode, has_rsv1, is_final, payload)| {
                let frame = Frame::new(opcode, payload);
                let frame = if has_rsv1 && (opcode == 1 || opcode == 2) { compressed(frame) } else { frame };
                if is_final || opcode == 9 { frame } else { frame.not_final() }
            })
            .collect();
        let config = timeless().max_message(limit).max_binary(limit / 2);
        run_in_every_way(|| deflating(role, &config, agreed), &wire(&frames, peer_of(role)));
    }
}

/// Bytes that are DEFLATE, or nearly.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        4 => words(6).prop_map(|text| Compressor::new(6, 15, true).message(&[Part::new(text)])),
        2 => prop::sample::select(vec![&b"\xf2\x00\x11\x00\x00"[..], b"\x03\x00", b"\x00", b"\x00\x00\x00\xff\xff", b"\xc3\xbf\x00"])
            .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let change = prop::option::weighted(0.3, (any::<Index>(), any::<u8>()));
    (whole, change).prop_map(|(mut bytes, change)| {
        if let Some((place, byte)) = change.filter(|_| !bytes.is_empty()) {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

#[test]
fn a_connection_says_what_was_negotiated_and_compresses_accordingly() {
    let text = "a message that repeats itself, a message that repeats itself".repeat(2);
    for role in ROLES {
        let agreed = agreed("; server_no_context_takeover; client_no_context_takeover");
        // Without settings it may, and does not.
        for (config, reserved) in [(timeless(), 0), (timeless().deflate(Deflate::default()), RSV1)] {
            let mut connection = deflating(role, &config, agreed);
            connection.send(&text).unwrap();
            let sent = frames(&output(&connection), role);
            assert_eq!((sent.len(), sent[0].reserved), (1, reserved));
        }
        // With settings and nothing negotiated it may not.
        let mut connection = open(role, &timeless().deflate(Deflate::default()));
        connection.send(&text).unwrap();
        assert_eq!(frames(&output(&connection), role)[0].payload, text.as_bytes());
    }
}

#[test]
fn another_context_does_not_change_what_was_negotiated() {
    let mut connection = deflating(Role::Server, &timeless().deflate(Deflate::default()), agreed(""));
    connection.set_context(SocketContext::new().path("/other"));
    let driver = Driver::connected(connection, listener().into_any_listener());
    let socket = driver.socket().unwrap();
    assert_eq!((socket.path(), socket.compression()), (Some("/other"), Some(agreed(""))));
}

/// RFC 7692 §7.2.3.6: "a single byte 0x00".
#[test]
fn an_empty_message_is_one_byte_whatever_was_before() {
    for (role, own) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let config = timeless().deflate(Deflate::default().threshold(0).own_compressor(own));
        let mut connection = deflating(role, &config, agreed(""));
        let mut inflater = Inflater::new(false);
        for text in ["", "", "not empty", "", "", "not empty", ""] {
            let sent = frames(&send(&mut connection, &Seen::text(text)), role);
            assert_eq!(sent[0].reserved, RSV1);
            assert_eq!(sent[0].payload == b"\x00", text.is_empty(), "{sent:?}");
            assert_eq!(inflater.message(&sent[0].payload), text.as_bytes());
        }
    }
}

#[test]
fn what_is_sent_as_it_is_leaves_the_window_as_it_is() {
    let text = "a message of some words, and some words more".repeat(4);
    for (role, own) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let config = timeless().deflate(Deflate::default().own_compressor(own));
        let mut ends = [role, peer_of(role)].map(|role| deflating(role, &config, agreed("")));
        for (message, reserved) in [
            (Seen::text(&text), RSV1),
            (Seen::Binary(noise(1, 300)), 0),
            (Seen::text(&text), RSV1),
            (Seen::text("short"), 0),
            (Seen::text(&text), RSV1),
        ] {
            let bytes = send(&mut ends[0], &message);
            assert_eq!(frames(&bytes, role)[0].reserved, reserved);
            assert_eq!(feed(&mut ends[1], START, &bytes), [message]);
        }
    }
}

#[test]
fn a_message_that_the_queue_has_no_room_for_is_not_remembered() {
    let config = timeless().deflate(Deflate::default().threshold(0)).max_queued(1000);
    for (role, own) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let config = config.clone().deflate(Deflate::default().threshold(0).own_compressor(own));
        let mut connection = deflating(role, &config, agreed(""));
        let mut inflater = Inflater::new(false);
        let random = noise(1, 900);
        connection.send(&random[..]).unwrap();
        // The first one does not count.
        connection.send(&noise(2, 600)[..]).unwrap();
        connection.send(&noise(3, 600)[..]).unwrap_err();
        let first = frames(&write_all(&mut connection, START), role);
        assert_eq!(inflater.message(&first[0].payload), random);
        assert_eq!(inflater.message(&first[1].payload), noise(2, 600));
        // It may refer to the first one and not to the third.
        connection.send(&random[..700]).unwrap();
        let next = frames(&write_all(&mut connection, START), role);
        assert!(next[0].payload.len() < 100, "{}", next[0].payload.len());
        assert_eq!(inflater.message(&next[0].payload), &random[..700]);
    }
}
