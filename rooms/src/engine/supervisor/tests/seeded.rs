//! Members that come and go between nodes, with connections that are lost at any time: each gets every message once and in
//! order, or its node tells of a gap.

use super::super::*;
use super::node::*;

/// So many nodes, members and steps.
const NODES: u64 = 3;
const MEMBERS: u64 = 6;
const STEPS: usize = 400;
const SEEDS: u64 = 40;

/// The same numbers for the same seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A member, which remembers what it has got last wherever it is.
#[derive(Default)]
struct Member {
    node: usize,
    recorder: Option<Recorder>,
    last: u64,
    /// How many gaps there were on its node when it came there.
    gaps: usize,
}

impl Member {
    fn check(&mut self, nodes: &[Node], seed: u64) {
        for text in self.recorder.iter().flat_map(texts) {
            let position = text.parse().unwrap();
            assert!(position > self.last, "seed {seed}: {position} after {}", self.last);
            let may_miss = lock(&nodes[self.node].gaps).len() > self.gaps;
            assert!(position == self.last + 1 || may_miss, "seed {seed}: {position} after {}, and no gap", self.last);
            self.last = position;
        }
    }

    fn come_or_go(&mut self, nodes: &[Node], numbers: &mut Numbers) {
        if let Some(recorder) = self.recorder.take() {
            match numbers.below(2) {
                0 => assert!(nodes[self.node].rooms.leave("a", &recorder.socket())),
                _ => recorder.end(),
            }
            return;
        }
        self.node = numbers.below(NODES) as usize;
        self.gaps = lock(&nodes[self.node].gaps).len();
        let (recorder, since) = (Recorder::new(), (self.last > 0).then(|| Position::new(0, self.last)));
        nodes[self.node].rooms.join_since("a", &recorder.socket(), since).unwrap();
        self.recorder = Some(recorder);
    }
}

async fn run(seed: u64) {
    let (broker, mut numbers) = (Memory::default(), Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let number = |position: Position, _: bellwire_core::Message<'_>| {
        bellwire_core::OwnedMessage::Text(position.parts().1.to_string())
    };
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let builder = Rooms::builder().history(History::last(100_000)).while_away(WhileAway::Keep).numbered(number);
        nodes.push(Node::connected(&broker, builder).await);
    }
    nodes[0].rooms.publish("a", "the first").unwrap();
    settle().await;
    let mut members: Vec<_> = (0..MEMBERS).map(|_| Member::default()).collect();
    members.iter_mut().for_each(|member| member.come_or_go(&nodes, &mut numbers));
    for _ in 0..STEPS {
        match numbers.below(26) {
            0..=7 => nodes[numbers.below(NODES) as usize].rooms.publish("a", "x").unwrap(),
            8..=9 => settle().await,
            10 if broker.is_used() => broker.lose_oldest(),
            11 if broker.is_used() => broker.renumber(),
            12 => broker.stop(),
            13..=14 => broker.start(),
            15 => tokio::time::sleep(Duration::from_millis(numbers.below(400))).await,
            16 => broker.lock().is_forgetful = numbers.below(3) > 0,
            17 => broker.lock().refuses_rooms = numbers.below(3) == 0,
            18 => broker.lock().is_slow = numbers.below(2) == 0,
            19 => broker.lock().come(numbers.below(20) as usize),
            _ => {
                let member = &mut members[numbers.below(MEMBERS) as usize];
                member.check(&nodes, seed);
                member.come_or_go(&nodes, &mut numbers);
            }
        }
        if numbers.below(3) == 0 {
            tokio::task::yield_now().await;
        }
    }
    broker.start();
    (broker.lock().is_forgetful, broker.lock().refuses_rooms) = (false, false);
    broker.lock().is_slow = false;
    broker.lock().come(usize::MAX);
    tokio::time::sleep(Duration::from_secs(60)).await;
    nodes[0].rooms.publish("a", "the last").unwrap();
    settle().await;
    let newest = broker.lock().published as u64;
    for member in &mut members {
        member.check(&nodes, seed);
        assert!(member.recorder.is_none() || member.last == newest, "seed {seed}: {} of {newest}", member.last);
    }
}

#[test]
fn whoever_comes_and_goes_while_connections_are_lost_gets_each_message_once_or_a_gap_is_told() {
    for seed in 1..=SEEDS {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        clock.unwrap().block_on(run(seed));
    }
}
