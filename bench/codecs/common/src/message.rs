//! What is decoded and encoded.

use bellwire_bench_messages::{ascii, multilingual};
use bytes::Bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub kind: Kind,
    pub bytes: Bytes,
    pub text: String,
    /// How many come at once.
    pub batch: usize,
}

impl Message {
    /// The messages, each with its name and how many come at once.
    pub const ALL: [&str; 4] = ["16 B binary", "125 B text", "1 KiB multilingual", "64 KiB binary"];

    pub fn named(name: &str) -> Option<Self> {
        let (kind, payload, batch) = match name {
            "16 B binary" => (Kind::Binary, ascii(16), 64),
            "125 B text" => (Kind::Text, ascii(125), 64),
            "1 KiB multilingual" => (Kind::Text, multilingual(1024), 64),
            "64 KiB binary" => (Kind::Binary, ascii(64 * 1024), 4),
            _ => return None,
        };
        Some(Self { kind, bytes: payload.clone().into(), text: payload, batch })
    }
}
