//! In which order, and at which pace, the connections of a server are closed that restarts.
//!
//! Clients connect again as soon as they have heard of it. If all heard of it at once, the server that takes over would
//! have to greet all of them at once; if they heard of it in the order in which they have come, those of one place that
//! were cut off together would come together again. Sans-IO: time and randomness come from outside.

use alloc::vec::Vec;
use core::time::Duration;

use crate::entropy::Entropy;
use crate::time::Time;

/// Those who are left to be told, each at its time.
pub(super) struct Drain<T> {
    /// The last one is next.
    left: Vec<T>,
    count: usize,
    start: Time,
    over: Duration,
}

impl<T> Drain<T> {
    /// Begins: the first one is due now, and the last one a little before `over` has passed.
    pub(super) fn new(mut all: Vec<T>, now: Time, over: Duration, entropy: &mut dyn Entropy) -> Self {
        entropy.renew();
        shuffle(&mut all, entropy);
        Self { count: all.len(), left: all, start: now, over }
    }

    /// Returns when the next one is due; `None` if all were told.
    pub(super) fn due(&self) -> Option<Time> {
        if self.left.is_empty() {
            return None;
        }
        let told = (self.count - self.left.len()) as u128;
        let nanos = self.over.as_nanos().saturating_mul(told) / self.count as u128;
        Some(self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Takes out the next one, if it is due.
    pub(super) fn next_due(&mut self, now: Time) -> Option<T> {
        if self.due()? <= now { self.left.pop() } else { None }
    }
}

/// Puts them into an order that is any of all with the same likelihood (Fisher and Yates).
fn shuffle<T>(all: &mut [T], entropy: &mut dyn Entropy) {
    for last in (1..all.len()).rev() {
        all.swap(last, below(last + 1, entropy));
    }
}

/// Draws a number below this one.
fn below(end: usize, entropy: &mut dyn Entropy) -> usize {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    // Random 64 bits are a fraction of 2^64.
    ((u128::from(u64::from_le_bytes(bytes)) * end as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;

    const START: Time = Time::from_start(Duration::from_secs(1_000));

    /// Numbers that look random, and are the same in each run (SplitMix64).
    fn seeded(mut seed: u64) -> impl FnMut(&mut [u8]) + Send {
        move |bytes: &mut [u8]| {
            for chunk in bytes.chunks_mut(8) {
                seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = seed;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
            }
        }
    }

    fn drain(count: usize, over: Duration, seed: u64) -> Drain<usize> {
        Drain::new((0..count).collect(), START, over, &mut seeded(seed))
    }

    /// Those who are due by then.
    fn told(drain: &mut Drain<usize>, now: Time) -> Vec<usize> {
        core::iter::from_fn(|| drain.next_due(now)).collect()
    }

    #[test]
    fn each_is_told_once_at_even_intervals() {
        let over = Duration::from_secs(8);
        let mut drain = drain(4, over, 1);
        let mut all = Vec::new();
        for number in 0..4 {
            let due = START + Duration::from_secs(2 * number);
            assert_eq!(drain.due(), Some(due));
            if number > 0 {
                assert_eq!(told(&mut drain, START + Duration::from_millis(2_000 * number - 1)), [0; 0]);
            }
            let now = told(&mut drain, due);
            assert_eq!(now.len(), 1, "{number}");
            all.extend(now);
        }
        assert_eq!((drain.due(), drain.next_due(Time::MAX)), (None, None));
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn a_million_leave_at_an_even_pace() {
        let mut drain = drain(1_000_000, Duration::from_secs(60), 2);
        for second in 0..60 {
            let count = told(&mut drain, START + Duration::from_secs(second)).len();
            let expected = if second == 0 { 1..=1 } else { 16_666..=16_667 };
            assert!(expected.contains(&count), "{count} in second {second}");
        }
        assert_eq!(told(&mut drain, START + Duration::from_secs(60)).len(), 16_666);
    }

    #[test]
    fn who_comes_late_tells_all_that_are_due_and_no_others() {
        let mut drain = drain(10, Duration::from_secs(10), 3);
        assert_eq!(told(&mut drain, START + Duration::from_millis(4_500)).len(), 5);
        assert_eq!(drain.due(), Some(START + Duration::from_secs(5)));
        assert_eq!(told(&mut drain, Time::MAX).len(), 5);
    }

    #[test]
    fn no_time_is_at_once_and_no_end_is_no_overflow() {
        assert_eq!(told(&mut drain(3, Duration::ZERO, 4), START).len(), 3);
        assert_eq!(drain(0, Duration::from_secs(1), 5).due(), None);
        let mut endless = drain(3, Duration::MAX, 6);
        assert_eq!(told(&mut endless, START + Duration::from_secs(1_000_000_000)).len(), 1);
        assert_eq!(endless.due(), Some(Time::MAX), "never");
    }

    #[test]
    fn every_order_is_as_likely_as_any_other() {
        let mut orders = BTreeMap::new();
        for seed in 0..24_000 {
            *orders.entry(told(&mut drain(4, Duration::ZERO, seed), START)).or_insert(0) += 1;
        }
        assert_eq!(orders.len(), 24);
        // A thousand each: five standard deviations are 155.
        assert!(orders.values().all(|count| (845..=1_155).contains(count)), "{orders:?}");
    }

    #[test]
    fn one_source_gives_one_order() {
        let order = |seed| told(&mut drain(100, Duration::ZERO, seed), START);
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }
}
