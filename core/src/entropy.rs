//! Randomness is data: mask keys and the client's key come from an injected source.

/// A source of random bytes.
///
/// RFC 6455 §5.3: "The masking key needs to be unpredictable; thus, the masking key MUST be derived
/// from a strong source of entropy". A fixed source is for tests only.
pub trait Entropy: Send {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&mut self, bytes: &mut [u8]);

    /// Announces something new: a handshake, a connection, frames after a pause. A source that keeps bytes in store
    /// makes sure here that no copy of this process uses the same ones, after a `fork`.
    fn renew(&mut self) {}
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
    use core::mem;

    use super::Entropy;

    /// The operating system's generator, read in blocks of 4 KiB, one block per thread: one system call
    /// for a thousand mask keys. After a `fork` neither process uses what the other has in store.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing safe can be done then.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct SystemEntropy;

    impl Entropy for SystemEntropy {
        fn fill(&mut self, bytes: &mut [u8]) {
            BLOCK.with_borrow_mut(|block| block.fill(bytes, std::process::id));
        }

        fn renew(&mut self) {
            BLOCK.with_borrow_mut(|block| block.renew(std::process::id()));
        }
    }

    const SIZE: usize = 4096;

    #[derive(Clone)]
    pub(super) struct Block {
        bytes: [u8; SIZE],
        used: usize,
        /// The process that has filled it.
        process: u32,
    }

    std::thread_local! {
        static BLOCK: RefCell<Block> = const { RefCell::new(Block::new()) };
    }

    impl Block {
        pub(super) const fn new() -> Self {
            Self { bytes: [0; SIZE], used: SIZE, process: 0 }
        }

        /// Throws away what another process has in store as well. RFC 6455 §4.1: "The nonce MUST be selected randomly
        /// for each connection", and §5.3: "The masking key needs to be unpredictable".
        pub(super) fn renew(&mut self, process: u32) {
            if self.process != process {
                self.bytes.fill(0);
                self.used = SIZE;
            }
        }

        #[inline]
        pub(super) fn fill(&mut self, target: &mut [u8], process: impl Fn() -> u32) {
            // A mask key: most of all, and a copy of a known length is no call.
            if let Ok(key) = <&mut [u8; 4]>::try_from(&mut *target) {
                if let Some(fresh) = self.bytes.get_mut(self.used..).and_then(|fresh| fresh.first_chunk_mut()) {
                    *key = mem::take(fresh);
                    self.used += key.len();
                    return;
                }
            }
            self.fill_any(target, process);
        }

        #[inline(never)]
        fn fill_any(&mut self, target: &mut [u8], process: impl Fn() -> u32) {
            for piece in target.chunks_mut(SIZE) {
                if self.bytes.len() - self.used < piece.len() {
                    self.refill();
                    self.process = process();
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
    fn e6_a_copy_of_the_process_does_not_use_what_is_in_store() {
        let (mut parent, mut child) = (system::Block::new(), system::Block::new());
        let draw = |block: &mut system::Block, process| {
            let mut key = [0; 16];
            block.fill(&mut key, || process);
            key
        };
        draw(&mut parent, 1);
        // As `fork` does it: all memory is the same in both.
        child.clone_from(&parent);
        assert_eq!(draw(&mut parent.clone(), 1), draw(&mut child.clone(), 2), "or this would show nothing");
        parent.renew(1);
        child.renew(2);
        let (first, second) = (draw(&mut parent, 1), draw(&mut child, 2));
        assert_ne!(first, second);
        // The rest of its store is its own, and is not thrown away.
        child.renew(2);
        let next = draw(&mut child.clone(), 2);
        child.renew(2);
        assert_eq!(draw(&mut child, 2), next);
    }

    #[test]
    fn system_entropy_fills_more_than_a_block() {
        let mut bytes = alloc::vec![0; 10_000];
        SystemEntropy.fill(&mut bytes);
        assert!(bytes.chunks(16).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }
}
