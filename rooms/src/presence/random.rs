//! Numbers that differ from node to node, so that not all do the same at the same moment.

use std::time::Duration;

use super::digest::mix;

/// SplitMix64: as good as needed to spread things, and no secret.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A time below this one.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.number() % nanos.max(1))
    }
}
