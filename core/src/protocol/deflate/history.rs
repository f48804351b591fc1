//! The last bytes of what went before: what the next compressed message may refer to.

use alloc::collections::VecDeque;

#[derive(Default)]
pub(super) struct History(VecDeque<u8>);

impl History {
    /// Appends the bytes of a message, and keeps the last `most` of all.
    pub(super) fn push(&mut self, bytes: &[u8], most: usize) {
        let bytes = bytes.get(bytes.len().saturating_sub(most)..).unwrap_or_default();
        let too_many = (self.0.len() + bytes.len()).saturating_sub(most);
        self.0.drain(..too_many.min(self.0.len()));
        // Grows as a vector does, and not beyond what it may hold.
        let needed = self.0.len() + bytes.len();
        if self.0.capacity() < needed {
            let capacity = (self.0.capacity() * 2).clamp(needed, most.max(needed));
            self.0.reserve_exact(capacity - self.0.len());
        }
        self.0.extend(bytes);
    }

    /// Returns the bytes, in order.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        self.0.as_slices().into()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_bytes_are_kept_in_little_memory(
            pushed in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            most in 0..600usize,
        ) {
            let (mut history, mut all) = (History::default(), Vec::new());
            for bytes in pushed {
                history.push(&bytes, most);
                all.extend(bytes);
                prop_assert_eq!(history.pieces().concat(), &all[all.len().saturating_sub(most)..]);
                prop_assert!(history.0.capacity() <= most);
            }
        }
    }
}
