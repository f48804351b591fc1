//! What compression costs in memory. A binary of its own: its allocator counts.

#![cfg(feature = "deflate")]

use allocation_counter::{AllocationInfo, measure};
use bellwire_core::config::Deflate;
use bellwire_core::proto::{Connection, Event, SocketContext, Time};
use bellwire_core::{Compression, Config, Role};
use flate2::{Compress, FlushCompress};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const START: Time = Time::ZERO;
const MIB: usize = 1 << 20;

/// A compressed message in one frame, or its first fragment; and what may follow.
const COMPRESSED: u8 = 0xc2;
const COMPRESSED_FIRST: u8 = 0x42;
const CONTINUATION: u8 = 0x00;
const LAST_CONTINUATION: u8 = 0x80;

fn connection(role: Role, config: Config) -> Connection {
    match role {
        Role::Server => Connection::server(config.into(), START),
        Role::Client => Connection::client(config.into(), Box::new(|bytes: &mut [u8]| bytes.fill(0)), START),
    }
}

fn deflating(role: Role, offer: &str, deflate: Deflate) -> Connection {
    let mut connection = connection(role, Config::default().deflate(deflate));
    let offer = format!("permessage-deflate; client_max_window_bits{offer}");
    connection.set_context(SocketContext::new().compression(Compression::accept([offer.as_bytes()], &deflate)));
    connection
}

/// As `role` receives it; its mask key, if any, is zero, and changes nothing.
fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = if role == Role::Server { 0x80 } else { 0 };
    let mut frame = match payload.len() {
        length @ 0..126 => vec![first, mask | length as u8],
        length @ 126..0x1_0000 => [&[first, mask | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[first, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    if role == Role::Server {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

/// How many events come of these bytes, read in pieces as from a socket.
fn feed(connection: &mut Connection, bytes: &mut [u8]) -> usize {
    let events = bytes
        .chunks_mut(64 * 1024)
        .map(|mut piece| std::iter::from_fn(|| connection.next_event(START, &mut piece).map(drop)).count());
    events.sum()
}

/// Sends a message, and has it written.
fn send(connection: &mut Connection, message: &[u8]) {
    connection.send(message).unwrap();
    let count = connection.output().len();
    connection.wrote(START, count);
}

/// Raw DEFLATE with a flush at its end, which RFC 7692 has removed.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(2 * payload.len() + 256);
    Compress::new(flate2::Compression::best(), false).compress_vec(payload, &mut output, FlushCompress::Sync).unwrap();
    output.truncate(output.len() - 4);
    output
}

fn json(number: usize) -> Vec<u8> {
    format!(r#"{{"id":{number},"user":"someone","text":"{}"}}"#, "a message of some words ".repeat(10)).into_bytes()
}

/// What a connection holds after so many messages each way. The thread's codecs are there before.
fn held_after(role: Role, messages: usize, offer: &str, deflate: Deflate, make: impl Fn(usize) -> Vec<u8>) -> i64 {
    let held = || {
        let mut connection = deflating(role, offer, deflate);
        let mut incoming: Vec<_> =
            (0..messages).map(|number| frame(role, COMPRESSED, &deflated(&make(number)))).collect();
        let outgoing: Vec<_> = (0..messages).map(&make).collect();
        measure(|| {
            for (bytes, message) in incoming.iter_mut().zip(&outgoing) {
                // In pieces, as if it came slowly.
                let events: usize = bytes.chunks_mut(100).map(|piece| feed(&mut connection, piece)).sum();
                assert_eq!(events, 1);
                send(&mut connection, message);
            }
        })
        .bytes_current
    };
    held();
    held()
}

#[test]
fn a_connection_holds_nothing_before_its_first_compressed_message() {
    for role in ROLES {
        assert_eq!(held_after(role, 0, "", Deflate::default(), json), 0);
        let mut negotiated = deflating(role, "", Deflate::default());
        let info = measure(|| {
            for first in [0x82, 0x89, 0x02, 0x80] {
                assert_eq!(
                    feed(&mut negotiated, &mut frame(role, first, b"not compressed")),
                    usize::from(first != 0x02)
                );
                send(&mut negotiated, b"too short to be compressed");
            }
        });
        assert_eq!(info.bytes_current, 0, "{info:?}");
    }
}

#[test]
fn what_is_negotiated_costs_a_few_bytes() {
    let deflate = Deflate::default();
    for role in ROLES {
        let open = |context: SocketContext| {
            measure(|| {
                let mut connection = connection(role, Config::default().deflate(deflate));
                connection.set_context(context);
                std::mem::forget(connection);
            })
            .bytes_current
        };
        let compression = Compression::accept([&b"permessage-deflate"[..]], &deflate);
        let more = open(SocketContext::new().compression(compression)) - open(SocketContext::new());
        assert!(more <= 80, "{more}");
    }
}

#[test]
fn a_connection_without_context_takeover_holds_nothing_between_messages() {
    for role in ROLES {
        let deflate = Deflate::default().no_context_takeover();
        assert_eq!(held_after(role, 3, "", deflate, json), 0);
        let offer = "; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(held_after(role, 3, offer, Deflate::default(), |_| vec![b'x'; 100_000]), 0);
    }
}

#[test]
fn a_connection_with_context_takeover_holds_what_it_remembers() {
    for role in ROLES {
        let once = held_after(role, 1, "", Deflate::default(), json);
        // Both messages, and where they are kept.
        assert!((2 * json(1).len() as i64..2 * json(1).len() as i64 + 512).contains(&once), "{role:?} {once}");
        let large = |_| vec![b'x'; 100_000];
        let (history, server_window, client_window) = (4096, 32 * 1024, 4096);
        let (sent, received) = match role {
            Role::Server => (history, client_window),
            Role::Client => (history, server_window),
        };
        let most = held_after(role, 5, "", Deflate::default(), large);
        assert!((sent + received..sent + received + 512).contains(&most), "{role:?} {most}");
        // Whatever is set, no more than what was negotiated.
        let small = Deflate::default().history(1 << 20).server_max_window_bits(9).client_max_window_bits(10);
        let most = held_after(role, 5, "", small, large);
        assert!((512 + 1024..512 + 1024 + 512).contains(&most), "{role:?} {most}");
        // Nor is it more after many small ones.
        let most = held_after(role, 500, "", Deflate::default().server_max_window_bits(12), json);
        assert!((8192..8192 + 512).contains(&most), "{role:?} {most}");
    }
}

/// 1 GiB of zeros: 64 MiB of them again and again, in one message.
fn bomb(times: usize) -> Vec<u8> {
    let part = [&deflated(&vec![0; 64 * MIB])[..], b"\x00\x00\xff\xff"].concat();
    [&part.repeat(times)[..], b"\x00"].concat()
}

#[test]
fn a_bomb_costs_the_limit_and_no_more() {
    for role in ROLES {
        for (times, limit) in [(1, MIB), (1, 1000), (16, MIB)] {
            let bomb = bomb(times);
            assert!(bomb.len() < 70_000 * times);
            let explode = |mut bytes: Vec<u8>| {
                let config = Config::default().max_message(limit).deflate(Deflate::default());
                let mut connection = connection(role, config);
                let agreed = Compression::accept([&b"permessage-deflate"[..]], &Deflate::default());
                connection.set_context(SocketContext::new().compression(agreed));
                let info = measure(|| {
                    for mut piece in bytes.chunks_mut(64 * 1024) {
                        while let Some(event) = connection.next_event(START, &mut piece) {
                            if let Event::Closed(closed) = event {
                                assert_eq!(closed.reason, format!("Binary message too large: {} > {limit}", limit + 1));
                            }
                        }
                    }
                });
                assert!(!connection.is_open());
                info
            };
            let fragments: Vec<u8> =
                bomb.iter().flat_map(|byte| frame(role, CONTINUATION, &[*byte])).take(1_000_000).collect();
            let fragments = [frame(role, COMPRESSED_FIRST, b""), fragments].concat();
            for bytes in [frame(role, COMPRESSED, &bomb), fragments] {
                explode(bytes.clone());
                let info = explode(bytes);
                // What grows has twice its size while it grows. 48 KiB are kept until they are inflated.
                let most = 3 * limit as u64 + 160 * 1024;
                assert!(info.bytes_max < most && info.bytes_total < 3 * most, "{times} {limit} {info:?}");
                assert!(info.count_total < 80, "{info:?}");
            }
        }
    }
}

/// What these bytes cost, after such a message has filled the window.
fn cost(role: Role, bytes: &[u8], events: usize) -> AllocationInfo {
    let full: Vec<u8> = (0..40_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let once = || {
        let mut connection = deflating(role, "=15", Deflate::default().client_max_window_bits(15));
        assert_eq!(feed(&mut connection, &mut frame(role, COMPRESSED, &deflated(&full))), 1);
        let mut bytes = bytes.to_vec();
        measure(|| assert_eq!(feed(&mut connection, &mut bytes), events))
    };
    once();
    once()
}

/// A message is as large as it is, unless it is so large that it came in steps.
#[test]
fn what_a_small_message_has_become_takes_its_own_length() {
    for role in ROLES {
        let mut connection = deflating(role, "", Deflate::default().no_context_takeover());
        for first in [0xc1, COMPRESSED] {
            for length in [1, 100, 1000, 15_000] {
                let payload = vec![b'x'; length];
                let mut bytes = frame(role, first, &deflated(&payload));
                let mut kept = None;
                let info = measure(|| {
                    kept = match connection.next_event(START, &mut &mut bytes[..]) {
                        Some(Event::Text(text)) => Some(text.into_owned().into_bytes()),
                        Some(Event::Binary(bytes)) => Some(bytes.into_owned()),
                        _ => None,
                    };
                });
                assert_eq!(kept, Some(payload));
                // The first one finds no codec.
                assert!(info.bytes_current == length as i64 || length == 1, "{first:x} {length} {info:?}");
            }
        }
    }
}

/// Blocks and fragments that say nothing cost nothing, however many there are.
#[test]
fn floods_of_what_is_empty_allocate_nothing_for_each() {
    for role in ROLES {
        for (block, end, events) in [
            (&b"\x00\x00\x00\xff\xff"[..], &b"\x00"[..], 1),
            // With BFINAL: refused soon.
            (b"\x03\x00", b"\x00", 2),
            (b"\x01\x00\x00\xff\xff", b"\x00", 2),
            // A block with fixed codes, and one that ends at the next byte.
            (b"\x02\x00\x00\x00\xff\xff", b"\x00", 1),
        ] {
            let message = |count| [&block.repeat(count)[..], end].concat();
            let in_one_frame = |count| frame(role, COMPRESSED, &message(count));
            let byte_by_byte = |count| {
                let fragments = message(count).iter().flat_map(|byte| frame(role, CONTINUATION, &[*byte])).collect();
                [frame(role, COMPRESSED_FIRST, b""), fragments, frame(role, LAST_CONTINUATION, b"")].concat()
            };
            for bytes in [&in_one_frame as &dyn Fn(usize) -> Vec<u8>, &byte_by_byte] {
                let (few, many) = (cost(role, &bytes(5_000), events), cost(role, &bytes(20_000), events));
                assert!(many.count_total <= few.count_total + 8, "{block:x?}: {few:?}, {many:?}");
                assert!(many.bytes_max < 256 * 1024, "{block:x?}: {many:?}");
            }
        }
    }
}

#[test]
fn floods_of_empty_messages_cost_the_same_for_each() {
    for role in ROLES {
        for message in
            [frame(role, COMPRESSED, b""), frame(role, COMPRESSED, b"\x00"), frame(role, COMPRESSED, b"\x03\x00")]
        {
            let (few, many) = (cost(role, &message.repeat(1000), 1000), cost(role, &message.repeat(4000), 4000));
            assert_eq!(many.count_total, 4 * few.count_total);
            assert!(many.bytes_total <= 4000 * 16 && many.bytes_max < 1024, "{many:?}");
        }
    }
}

/// A message of many last blocks, each of which makes it longer by a byte, is not moved for each.
#[test]
fn last_blocks_that_say_little_cost_their_message() {
    let long = [&deflated(&vec![0; 491_400])[..], b"\x00\x00\xff\xff"].concat();
    let block = [&b"\x00\x00\x00\xff\xff".repeat(13)[..], b"\x4b\x04\x00"].concat();
    for role in ROLES {
        let info = cost(role, &frame(role, COMPRESSED, &[&long[..], &block.repeat(900)].concat()), 1);
        assert!(info.count_total < 80, "{info:?}");
    }
}

/// Fragments of one byte of a message that has something to say cost what it becomes.
#[test]
fn fragments_of_one_byte_cost_their_message() {
    let payload: Vec<u8> = (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
    for role in ROLES {
        let fragments = deflated(&payload).iter().flat_map(|byte| frame(role, CONTINUATION, &[*byte])).collect();
        let bytes = [frame(role, COMPRESSED_FIRST, b""), fragments, frame(role, LAST_CONTINUATION, b"")].concat();
        let info = cost(role, &bytes, 1);
        assert!(info.bytes_max <= 3 * payload.len() as u64 && info.count_total < 80, "{info:?}");
    }
}
