//! Randomness is data: mask keys and the client's key come from an injected source.

/// A source of random bytes.
///
/// RFC 6455 §5.3: "The masking key needs to be unpredictable; thus, the masking key MUST be derived
/// from a strong source of entropy". A fixed source is for tests only.
pub trait Entropy: Send {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

#[cfg(feature = "std")]
pub use system::SystemEntropy;

#[cfg(feature = "std")]
mod system {
    use core::cell::RefCell;

    use super::Entropy;

    /// The operating system's generator, read in blocks of 4 KiB, one block per thread: one system call
    /// for a thousand mask keys.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing safe can be done then.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct SystemEntropy;

    impl Entropy for SystemEntropy {
        fn fill(&mut self, bytes: &mut [u8]) {
            BLOCK.with_borrow_mut(|block| block.fill(bytes));
        }
    }

    const SIZE: usize = 4096;

    struct Block {
        bytes: [u8; SIZE],
        used: usize,
    }

    std::thread_local! {
        static BLOCK: RefCell<Block> = const { RefCell::new(Block { bytes: [0; SIZE], used: SIZE }) };
    }

    impl Block {
        fn fill(&mut self, target: &mut [u8]) {
            for piece in target.chunks_mut(SIZE) {
                if self.bytes.len() - self.used < piece.len() {
                    self.refill();
                }
                let end = self.used + piece.len();
                if let Some(fresh) = self.bytes.get_mut(self.used..end) {
                    piece.copy_from_slice(fresh);
                    // A key that was used is not kept.
                    fresh.fill(0);
                }
                self.used = end;
            }
        }

        fn refill(&mut self) {
            #[expect(clippy::panic, reason = "predictable mask keys would be worse")]
            if let Err(error) = getrandom::fill(&mut self.bytes) {
                panic!("no randomness from the operating system: {error}");
            }
            self.used = 0;
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn system_entropy_does_not_repeat_itself_across_blocks() {
        let mut seen = alloc::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let mut key = [0; 8];
            SystemEntropy.fill(&mut key);
            assert!(seen.insert(key));
        }
    }

    #[test]
    fn system_entropy_fills_more_than_a_block() {
        let mut bytes = alloc::vec![0; 10_000];
        SystemEntropy.fill(&mut bytes);
        assert!(bytes.chunks(16).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }
}
