//! What the fuzz targets do, here so that tests run it, too, over the corpus and random bytes.
//!
//! Whatever breaks its promise panics.

use bellwire_core::Outgoing;

use crate::presence::anything;
use crate::wire::{self, Packet};

/// Who is in which room: the data says what is done, what comes from other nodes, and how time passes.
pub fn presence(data: &[u8]) {
    anything::anything(data);
}

/// What comes from a broker: it is what a node would send, to the byte, or malformed.
pub fn packet(bytes: &[u8]) {
    let Ok((node, packet)) = wire::decode(bytes) else { return };
    let sent = match packet {
        Packet::Message(message) => wire::message(node, &Outgoing::from(message)),
        Packet::Presence(payload) => {
            anything::said(payload);
            wire::presence(node, payload)
        }
    };
    assert_eq!(sent, bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Runs a target over its corpus, and returns the names of the seeds.
    fn run_corpus(target: &str, body: fn(&[u8])) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let run = |path: &Path| {
            let data = fs::read(path).unwrap();
            assert!(std::panic::catch_unwind(|| body(&data)).is_ok(), "{target} fails for {}", path.display());
            path.file_name().unwrap().to_string_lossy().into_owned()
        };
        seeds.map(|seed| run(&seed.unwrap().path())).collect()
    }

    #[test]
    fn presence_of_the_corpus_holds() {
        assert!(!run_corpus("presence", presence).is_empty());
    }

    #[test]
    fn packets_of_the_corpus_hold() {
        let names = run_corpus("packet", packet);
        for kind in [
            "text",
            "binary",
            "presence_beat",
            "presence_bye",
            "presence_state",
            "presence_diff",
            "presence_list",
            "presence_ask",
            "presence_gone",
            "malformed",
        ] {
            assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn random_packets_hold(kind in "[BPTX]", rest in vec(any::<u8>(), 0..60)) {
            packet(&[kind.as_bytes(), &rest].concat());
        }
    }
}
