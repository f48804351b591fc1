//! How long to wait before the next try to connect.

use std::time::Duration;

use bellwire_core::proto::{Entropy, SystemEntropy};

/// Nothing is doubled otherwise, and a broker that is not there is tried without a pause.
const LEAST: Duration = Duration::from_millis(1);

/// How long to wait before the next try: twice as long each time, and a random half of that is left out.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(LEAST);
        Self { min, max, next: min.min(max) }
    }

    pub(super) fn connected(&mut self) {
        self.next = self.min.min(self.max);
    }

    /// Returns how long to wait after a try that has failed.
    pub(super) fn failed(&mut self) -> Duration {
        let mut random = [0; 4];
        SystemEntropy.fill(&mut random);
        self.after(u32::from_ne_bytes(random))
    }

    fn after(&mut self, random: u32) -> Duration {
        let half = self.next / 2;
        let delay = half + half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.next = (self.next * 2).max(LEAST).min(self.max);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_starts_anew_after_a_connection() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let delays: Vec<_> = (0..5).map(|_| backoff.after(u32::MAX)).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5].map(|seconds| seconds * SECOND));
        backoff.connected();
        assert_eq!(backoff.after(u32::MAX), SECOND);
    }

    #[test]
    fn who_does_not_want_to_wait_at_first_waits_longer_and_longer_nevertheless() {
        let mut backoff = Backoff::new(Duration::ZERO, 5 * SECOND);
        let delays: Vec<_> = (0..20).map(|_| backoff.after(u32::MAX)).collect();
        assert_eq!(delays[..4], [0, 1, 2, 4].map(Duration::from_millis));
        assert_eq!(delays[19], 5 * SECOND);
        let mut least = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert_eq!([(); 3].map(|()| least.after(u32::MAX)), [0, 1, 1].map(Duration::from_millis));
    }

    #[test]
    fn up_to_a_half_is_left_out_at_random() {
        let mut backoff = Backoff::new(SECOND, SECOND);
        assert_eq!(backoff.after(0), SECOND / 2);
        assert!((SECOND / 2..=SECOND).contains(&backoff.failed()));
    }
}
