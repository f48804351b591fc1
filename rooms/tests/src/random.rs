//! Choices from a seed.

use std::ops::Range;

/// Numbers that look random and follow from a seed: SplitMix64.
pub struct Random(u64);

impl Random {
    /// Creates one: the same seed, the same choices.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates one that differs from run to run.
    pub fn unseeded() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0))
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of a range.
    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.number() % (range.end - range.start) as u64) as usize
    }

    /// Returns `true` once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.within(0..times) == 0
    }

    /// Returns one of these.
    pub fn one<'t, T>(&mut self, these: &'t [T]) -> &'t T {
        &these[self.within(0..these.len())]
    }
}
