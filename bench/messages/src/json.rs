//! JSON as services send it: the keys are always the same, and the values change.

use std::fmt::Write as _;

/// Returns a list of records as JSON, of so many bytes exactly (12 at least). Another `seed` is another message.
///
/// A record has about 270 bytes.
pub fn json(length: usize, seed: u64) -> String {
    let mut random = Random(seed);
    let mut text = String::from("[");
    loop {
        let record = record(&mut random);
        if text.len() + record.len() + REFERENCE.len() + END.len() + 1 > length {
            break;
        }
        text += &record;
        text.push(',');
    }
    text += REFERENCE;
    let missing = length.checked_sub(text.len() + END.len()).expect("a length that has room for a reference");
    text.extend((0..missing).map(|_| char::from(b"0123456789abcdef"[random.below(16) as usize])));
    text + END
}

const REFERENCE: &str = "{\"ref\":\"";
const END: &str = "\"}]";
const NAMES: &[&str] = &["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory"];
const STATES: &[&str] = &["open", "filled", "partial", "cancelled"];

fn record(random: &mut Random) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{{\"id\":{},\"type\":\"order_update\",\"user\":\"{}\",\"symbol\":\"{}{}-EUR\",\"side\":\"{}\",\"price\":{}.{:02},\
         \"quantity\":{},\"filled\":{},\"account\":{},\"fee\":0.{:04},\"state\":\"{}\",\
         \"created_at\":\"2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\
         \"token\":\"{:016x}\",\"is_maker\":{}}}",
        random.below(10_000_000),
        random.choice(NAMES),
        random.letter(),
        random.letter(),
        random.choice(&["buy", "sell"]),
        random.below(5_000),
        random.below(100),
        random.below(1_000),
        random.below(1_000),
        random.below(1_000_000),
        random.below(10_000),
        random.choice(STATES),
        random.below(30) + 1,
        random.below(24),
        random.below(60),
        random.below(60),
        random.below(1_000),
        random.next(),
        random.choice(&["true", "false"]),
    );
    text
}

/// SplitMix64: the same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn choice<'c>(&mut self, of: &[&'c str]) -> &'c str {
        of[self.below(of.len() as u64) as usize]
    }

    fn letter(&mut self) -> char {
        char::from(b'A' + self.below(26) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_of_their_length_alike_and_not_the_same() {
        for length in [12, 300, 1024, 16 * 1024] {
            let messages: Vec<_> = (0..100).map(|seed| json(length, seed)).collect();
            assert!(messages.iter().all(|message| message.len() == length && message.is_ascii()));
            assert!(length == 12 || messages.windows(2).all(|pair| pair[0] != pair[1]));
            assert_eq!(messages[7], json(length, 7));
        }
        for seed in 0..100 {
            let message = json(1024, seed);
            assert!((3..=4).contains(&message.matches("\"created_at\":\"2026-11-").count()), "{message}");
            assert_eq!(message.matches('{').count(), message.matches('}').count());
        }
    }
}
