//! Connections of one thread share its compressor, each in turn: what it has seen of one is nothing to the others.

use bellwire_core::config::Deflate;
use bellwire_core::{Config, Role};
use proptest::prelude::*;

use super::prepared::{output, read};
use super::{agreed, deflating, noise};
use crate::common::*;

/// Digits that get shorter by half, and by no more unless they came before.
fn digits(seed: u64) -> String {
    noise(seed, 3000).iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn connections_in_any_turn_are_understood(
        turns in prop::collection::vec((0..3usize, 0..4u64, any::<bool>()), 1..30),
        history in prop::sample::select(vec![700usize, 4096]),
    ) {
        let config = timeless().deflate(Deflate::default().history(history));
        let mut servers = [(); 3].map(|()| deflating(Role::Server, &config, agreed("")));
        let mut clients = [(); 3].map(|()| deflating(Role::Client, &config, agreed("")));
        for (turn, seed, is_prepared) in turns {
            let text = digits(seed);
            if is_prepared {
                servers[turn].send(bellwire_core::Prepared::new(&text)).unwrap();
            } else {
                servers[turn].send(&text).unwrap();
            }
            let bytes = output(&mut servers[turn]);
            prop_assert_eq!(read(&mut clients[turn], bytes), [Seen::text(&text)]);
        }
    }
}

/// A client has one connection: what it sends costs no more than with a compressor of its own, and gets as short.
#[cfg(target_has_atomic = "64")]
#[test]
fn a_connection_that_is_next_again_refers_to_all_that_it_sent() {
    let config: Config = timeless().deflate(Deflate::default());
    let [mut one, mut other] = [(); 2].map(|()| deflating(Role::Server, &config, agreed("")));
    let [first, second] = [1, 2].map(digits);
    let mut length = |text: &str| {
        one.send(text).unwrap();
        output(&mut one).len()
    };
    assert!(length(&first) > first.len() / 3 && length(&second) > second.len() / 3);
    let again = length(&first);
    assert!(again < 100, "{again}");
    other.send("another connection's message, after which the compressor knows nothing of the one before").unwrap();
    output(&mut other);
    let after_another = length(&second);
    assert!(after_another > second.len() / 3, "{after_another}");
}
