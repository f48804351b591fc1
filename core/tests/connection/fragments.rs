//! Messages in fragments: those that lie in one input are joined there, others elsewhere, and nobody can tell.

use bellwire_core::Config;
use proptest::prelude::*;

use crate::common::*;

/// Characters that fragments may cut, and what belongs to no text.
const PIECES: &[&[u8]] = &[b"", b"ab", b"\xe2\x82\xac", b"\xe2", b"\x82\xac", b"\xff"];

/// A frame of few bytes, whatever rules it breaks: mostly fragments.
fn frame() -> impl Strategy<Value = Frame> {
    let opcode = prop_oneof![8 => Just(0u8), 3 => Just(1), 3 => Just(2), 2 => Just(9), 1 => Just(8), 1 => Just(3)];
    let piece = prop::sample::select(PIECES);
    let payload = prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat());
    (opcode, payload, prop::bool::weighted(0.4)).prop_map(|(opcode, payload, is_final)| {
        let frame = Frame::new(opcode, payload);
        if is_final || opcode >= 8 { frame } else { frame.not_final() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn fragments_come_to_the_same_however_they_are_cut(
        role in prop::sample::select(&ROLES),
        frames in prop::collection::vec(frame(), 1..8),
        limit in prop_oneof![Just(12usize), Just(1000)],
    ) {
        let config = timeless().max_message(limit).max_binary(limit / 2);
        run_in_every_way(|| open(role, &config), &wire(&frames, peer_of(role)));
    }
}

#[test]
fn fragments_of_one_input_are_joined_where_they_lie() {
    for role in ROLES {
        let frames = [Frame::text("€1").not_final(), Frame::continuation("€2").not_final(), Frame::continuation("€3")];
        let mut bytes = wire(&frames, peer_of(role));
        let place = bytes.as_ptr_range();
        let mut connection = open(role, &Config::default());
        let mut input = &mut bytes[..];
        let Some(bellwire_core::proto::Event::Text(text)) = connection.next_event(START, &mut input) else { panic!() };
        assert_eq!(text, "€1€2€3");
        assert!(place.contains(&text.as_ptr()) && input.is_empty());
    }
}
