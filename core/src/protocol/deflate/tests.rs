use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use zlib_rs::{Inflate, InflateFlush};

use super::*;
use crate::config::{Config, Deflate};
use crate::context::Window;
use crate::protocol::Violation;
use crate::protocol::frame::Opcode;
use crate::protocol::partial::Partial;

const LIMIT: usize = 1 << 20;

fn window(bits: u8, no_context_takeover: bool) -> Window {
    Window { bits, no_context_takeover }
}

type Memory = Option<Box<Deflation>>;

fn deflated(memory: &mut Memory, payload: &[u8], window: Window, config: &Deflate) -> Option<Vec<u8>> {
    let config = Config::default().deflate(*config);
    if !compresses(payload, &config) {
        return None;
    }
    let mut compressed = None;
    let is_sent = Deflation::message(memory, payload, window, &config, |bytes| compressed = Some(bytes.to_vec()));
    assert_eq!(is_sent, compressed.is_some());
    compressed
}

/// Inflates a message that comes in parts.
fn inflated(inflation: &mut Inflation, parts: &[&[u8]], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut message = Partial::new(Opcode::Binary);
    let (last, parts) = parts.split_last().unwrap();
    for part in parts {
        inflation.part(part, &mut message, limit)?;
    }
    inflation.last_part(last, &mut message, limit)?;
    Ok(message.pieces().concat())
}

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Messages that repeat themselves and each other, some large, some random.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (prop::collection::vec(0..4u8, 1..100), 1..200usize).prop_map(|(part, times)| part.repeat(times)),
        prop::collection::vec(prop::sample::select(vec!["\"name\":", "\"value\":", "true,", "12345,", "{}"]), 0..200)
            .prop_map(|words| words.concat().into_bytes()),
        (any::<u64>(), 0..100_000usize).prop_map(|(seed, length)| noise(seed, length)),
    ]
}

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    core::iter::repeat_with(next).take(length).collect()
}

fn settings() -> impl Strategy<Value = (Deflate, Window)> {
    (0..=9u8, 1..=9u8, prop_oneof![Just(0), Just(64)], prop_oneof![Just(0), Just(700), Just(4096), Just(100_000)])
        .prop_map(|(level, mem_level, threshold, history)| {
            Deflate::default().level(level).mem_level(mem_level).threshold(threshold).history(history)
        })
        .prop_flat_map(|config| {
            (any::<bool>().prop_map(move |own| config.own_compressor(own)), 8..=15u8, any::<bool>())
        })
        .prop_map(|(config, bits, alone)| (config, window(bits, alone)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_deflated_is_inflated_with_any_settings_and_any_cut(
        (config, window) in settings(),
        messages in prop::collection::vec((message(), prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 1..12),
    ) {
        let (mut deflation, mut inflation) = (Memory::default(), Inflation::new(window));
        for (message, cuts) in messages {
            match deflated(&mut deflation, &message, window, &config) {
                Some(bytes) => {
                    prop_assert!(bytes.len() < message.len() || config.threshold == 0);
                    prop_assert_eq!(inflated(&mut inflation, &cut(&bytes, &cuts), LIMIT), Ok(message));
                }
                None => prop_assert!(config.threshold > 0),
            }
        }
    }

    /// RFC 7692 §7.1.2.1 has windows of 256 bytes, which the codec's compressor has not: its smallest has to do.
    #[test]
    fn no_message_refers_back_further_than_its_window(
        (config, window) in settings(),
        messages in prop::collection::vec(message(), 1..8),
    ) {
        let mut deflation = Memory::default();
        // Reads back from its own window, since there is never more than one byte of output.
        let mut inflater = Inflate::new(false, window.bits);
        for message in messages.iter().filter(|message| message.len() < 20_000) {
            let Some(mut bytes) = deflated(&mut deflation, message, window, &config) else { continue };
            bytes.extend(TAIL);
            if window.no_context_takeover {
                inflater = Inflate::new(false, window.bits);
            }
            let (mut input, mut output) = (&bytes[..], Vec::new());
            loop {
                let (mut byte, read, written) = ([0], inflater.total_in(), inflater.total_out());
                inflater.decompress(input, &mut byte, InflateFlush::SyncFlush).unwrap();
                input = &input[(inflater.total_in() - read) as usize..];
                if inflater.total_out() == written {
                    break;
                }
                output.push(byte[0]);
            }
            prop_assert_eq!(&output, message);
        }
    }

    #[test]
    fn any_bytes_are_inflated_or_refused_within_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        limit in 0..5000usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let parts = cut(&bytes, &cuts);
        let whole = inflated(&mut Inflation::new(window(15, false)), &[&bytes], limit);
        prop_assert_eq!(&inflated(&mut Inflation::new(window(15, false)), &parts, limit), &whole);
        if let Ok(message) = whole {
            prop_assert!(message.len() <= limit);
        }
    }
}

/// RFC 7692 §7.2.3: the examples.
#[test]
fn the_examples_of_the_rfc() {
    let mut inflation = Inflation::new(window(15, false));
    let mut read = |bytes: &[u8]| inflated(&mut inflation, &[bytes], LIMIT).unwrap();
    // §7.2.3.1: "A Message Compressed Using One Compressed DEFLATE Block".
    assert_eq!(read(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), b"Hello");
    // §7.2.3.2: "Sharing LZ77 Sliding Window".
    assert_eq!(read(b"\xf2\x00\x11\x00\x00"), b"Hello");
    // §7.2.3.3: "Using a DEFLATE Block with No Compression".
    assert_eq!(read(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), b"Hello");
    // §7.2.3.4: "Using a DEFLATE Block with "BFINAL" Set to 1".
    assert_eq!(read(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), b"Hello");
    // §7.2.3.5: "Two DEFLATE Blocks in One Message".
    assert_eq!(read(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), b"Hello");
    // After all of them the window is still whole.
    assert_eq!(read(b"\xf2\x00\x11\x00\x00"), b"Hello");
}

/// RFC 7692 §7.2.3.6: "Generating an Empty Fragment".
#[test]
fn an_empty_message_is_one_byte_and_may_have_none() {
    let config = Deflate::default().threshold(0);
    let mut deflation = Memory::default();
    let all = window(15, false);
    for before in [&b""[..], b"a message", b""] {
        deflated(&mut deflation, before, all, &config);
        assert_eq!(deflated(&mut deflation, b"", all, &config).unwrap(), b"\x00");
    }
    let mut inflation = Inflation::new(window(15, false));
    for empty in [&b""[..], b"\x00", b"\x02\x00", b"\x00\x00\x00\xff\xff\x00", b"\x03\x00", b""] {
        assert_eq!(inflated(&mut inflation, &[empty], LIMIT), Ok(vec![]), "{empty:x?}");
    }
}

#[test]
fn a_message_that_gets_no_shorter_is_sent_as_it_is_and_not_remembered() {
    let all = window(15, false);
    for config in [Deflate::default(), Deflate::default().own_compressor(true)] {
        let (mut deflation, mut inflation) = (Memory::default(), Inflation::new(window(15, false)));
        let text = b"a message of some words, and some words more".repeat(4);
        for round in 0..3 {
            assert_eq!(deflated(&mut deflation, &noise(round, 5000), all, &config), None);
            let bytes = deflated(&mut deflation, &text, all, &config).unwrap();
            assert_eq!(inflated(&mut inflation, &[&bytes], LIMIT).unwrap(), text);
        }
        assert_eq!(deflated(&mut deflation, &text[..63], all, &config), None, "below the threshold");
    }
}

#[test]
fn messages_get_shorter_by_those_before_them_unless_they_must_not() {
    let json = br#"{"id":1234,"user":"someone","text":"a message that is like all the others"}"#;
    let lengths = |window, config: Deflate| {
        let mut deflation = Memory::default();
        [(); 2].map(|()| deflated(&mut deflation, json, window, &config).unwrap().len())
    };
    let [first, second] = lengths(window(15, false), Deflate::default());
    assert!(second < first / 4, "{first} {second}");
    let [first, second] = lengths(window(15, true), Deflate::default());
    assert_eq!(first, second);
    let [first, second] = lengths(window(15, false), Deflate::default().history(0));
    assert_eq!(first, second);
}

/// A bomb of the kind that "decompresses" to a thousand times its size.
#[test]
fn a_bomb_costs_the_limit_and_no_more() {
    let zeros = vec![0; 64 << 20];
    let bomb = deflated(&mut Memory::default(), &zeros, window(15, true), &Deflate::default()).unwrap();
    assert!(bomb.len() < 80_000);
    drop(zeros);
    let limit = 100_000;
    let info = allocation_counter::measure(|| {
        let failed = inflated(&mut Inflation::new(window(15, false)), &[&bomb], limit);
        assert_eq!(failed, Err(Violation::BinaryTooLarge { length: 100_001, max: limit }));
    });
    // What grows has twice its size while it grows; an inflater and its scratch come on top.
    assert!(info.bytes_max < 4 * limit as u64, "{}", info.bytes_max);
}

#[test]
fn a_message_of_just_the_limit_passes() {
    let payload = vec![7; 50_000];
    let bytes = deflated(&mut Memory::default(), &payload, window(15, false), &Deflate::default()).unwrap();
    assert_eq!(inflated(&mut Inflation::new(window(15, false)), &[&bytes], 50_000), Ok(payload));
    let failed = inflated(&mut Inflation::new(window(15, false)), &[&bytes], 49_999);
    assert_eq!(failed, Err(Violation::BinaryTooLarge { length: 50_000, max: 49_999 }));
}

#[test]
fn little_is_held_for_a_message_of_which_little_has_come() {
    let mut message = Partial::new(Opcode::Text);
    let info = allocation_counter::measure(|| {
        let mut inflation = Inflation::new(window(15, false));
        inflation.part(b"\xf2\x48", &mut message, LIMIT).unwrap();
        core::mem::forget(inflation);
    });
    assert!(info.bytes_current < 100, "{}", info.bytes_current);
    // Nor more than what has come, or 48 KiB, whatever the parts are.
    for length in [1, 1000, 30_000, 49_000] {
        let blocks = b"\x00\x00\x00\xff\xff".repeat(10_000);
        let info = allocation_counter::measure(|| {
            let mut inflation = Inflation::new(window(15, false));
            for part in blocks[..49_151].chunks(length) {
                inflation.part(part, &mut message, LIMIT).unwrap();
            }
            core::mem::forget(inflation);
        });
        assert!((49_151..=49_152).contains(&info.bytes_current), "{length} {}", info.bytes_current);
    }
}

#[test]
fn a_distance_into_what_was_never_sent_is_refused() {
    // "Hello" by reference to an earlier one, which is none.
    let failed = inflated(&mut Inflation::new(window(15, false)), &[b"\xf2\x00\x11\x00\x00"], LIMIT);
    assert_eq!(failed, Err(Violation::NotDeflate));
    // Or which was, and is not to be referred to.
    let mut inflation = Inflation::new(window(15, true));
    assert!(inflated(&mut inflation, &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"], LIMIT).is_ok());
    assert_eq!(inflated(&mut inflation, &[b"\xf2\x00\x11\x00\x00"], LIMIT), Err(Violation::NotDeflate));
}

#[test]
fn text_is_refused_at_its_first_impossible_byte() {
    let limits = Config::default();
    let bytes = deflated(
        &mut Memory::default(),
        &[&b"x"[..]; 40_000].concat().into_iter().chain(*b"\xff").chain(vec![b'y'; 900_000]).collect::<Vec<_>>(),
        window(15, false),
        &Deflate::default(),
    );
    let mut message = Partial::new(Opcode::Text);
    let failed = Inflation::new(window(15, false)).last_part(&bytes.unwrap(), &mut message, limits.max_text);
    assert_eq!(failed, Err(Violation::TextNotUtf8));
    assert!(message.len() < 100_000, "{}", message.len());
}

#[test]
fn a_compressor_that_has_seen_much_begins_anew_and_is_still_understood() {
    let all = window(15, false);
    for config in [Deflate::default(), Deflate::default().own_compressor(true)] {
        let (mut deflation, mut inflation) = (Memory::default(), Inflation::new(all));
        let text: Vec<u8> = noise(1, 8000).into_iter().map(|byte| b'a' + byte % 16).collect();
        let lengths: Vec<usize> = (0..80)
            .map(|_| {
                let bytes = deflated(&mut deflation, &text, all, &config).unwrap();
                assert_eq!(inflated(&mut inflation, &[&bytes], LIMIT).unwrap(), text);
                bytes.len()
            })
            .collect();
        // The first one, and one after each 256 KiB.
        assert_eq!(lengths.iter().filter(|&&length| length > text.len() / 3).count(), 3, "{lengths:?}");
    }
}
