//! The codecs of a thread. A compressor has 280 KB and an inflater 48 KB, and each is lent for one message.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::codec::{Compressor, Inflater, Settings};

/// How many codecs of a kind a thread keeps.
const MOST: usize = 4;

/// How many threads keep what they have used: with a thread for each connection, most are idle.
const MOST_THREADS: usize = 128;

/// Scratch memory is kept up to this size.
const LARGE_SCRATCH: usize = 64 * 1024;

/// How many bytes a step of an inflater yields at most.
const STEP: usize = 16 * 1024;

/// How many threads keep something.
static THREADS: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::new()) };
}

/// What a thread keeps.
struct Kept {
    /// It is one of [`THREADS`].
    is_counted: bool,
    compressors: Vec<Compressor>,
    inflaters: Vec<Inflater>,
    compressed: Vec<u8>,
    inflated: Vec<u8>,
}

impl Kept {
    const fn new() -> Self {
        Self {
            is_counted: false,
            compressors: Vec::new(),
            inflaters: Vec::new(),
            compressed: Vec::new(),
            inflated: Vec::new(),
        }
    }

    /// Returns `true` if the thread may keep what it has used, until it ends.
    fn is_allowed(&mut self) -> bool {
        if !self.is_counted {
            let more = |threads| (threads < MOST_THREADS).then_some(threads + 1);
            self.is_counted = THREADS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        }
        self.is_counted
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_counted {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Takes a compressor with these settings, which may remember anything.
pub(super) fn compressor(settings: Settings) -> Compressor {
    let kept = take(|kept| {
        let at = kept.compressors.iter().rposition(|compressor| compressor.settings() == settings)?;
        Some(kept.compressors.remove(at))
    });
    kept.flatten().unwrap_or_else(|| Compressor::new(settings))
}

/// Gives a compressor back. Those that were used last are kept.
pub(super) fn keep_compressor(compressor: Compressor) {
    keep(|kept| add(&mut kept.compressors, compressor));
}

/// Takes an inflater, which is to be [restarted](Inflater::restart).
pub(super) fn inflater() -> Inflater {
    take(|kept| kept.inflaters.pop()).flatten().unwrap_or_else(Inflater::new)
}

/// Gives an inflater back.
pub(super) fn keep_inflater(inflater: Inflater) {
    keep(|kept| add(&mut kept.inflaters, inflater));
}

/// Lends scratch memory for a compressed message.
pub(super) fn with_compressed<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = take(|kept| core::mem::take(&mut kept.compressed)).unwrap_or_default();
    let done = work(&mut scratch);
    if scratch.len() <= LARGE_SCRATCH {
        keep(|kept| kept.compressed = scratch);
    }
    done
}

/// Lends scratch memory for what a step inflates.
pub(super) fn with_inflated<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = take(|kept| core::mem::take(&mut kept.inflated)).unwrap_or_default();
    scratch.resize(STEP, 0);
    let done = work(&mut scratch);
    keep(|kept| kept.inflated = scratch);
    done
}

/// A thread that is about to end has nothing.
fn take<T>(taken: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    KEPT.try_with(|kept| taken(&mut kept.borrow_mut())).ok()
}

fn keep(kept: impl FnOnce(&mut Kept)) {
    take(|all| {
        if all.is_allowed() {
            kept(all);
        }
    });
}

fn add<T>(codecs: &mut Vec<T>, codec: T) {
    if codecs.len() >= MOST {
        codecs.remove(0);
    }
    codecs.push(codec);
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// How many inflaters this thread keeps after it has used some.
    fn kept(used: usize) -> usize {
        let inflaters: Vec<_> = core::iter::repeat_with(inflater).take(used).collect();
        inflaters.into_iter().for_each(keep_inflater);
        take(|kept| kept.inflaters.len()).unwrap()
    }

    #[test]
    fn a_thread_keeps_few_and_only_so_many_threads_do() {
        let all_are_there = Barrier::new(2 * MOST_THREADS);
        let kept_by_all: usize = thread::scope(|scope| {
            let work = || {
                let kept = kept(2 * MOST);
                all_are_there.wait();
                kept
            };
            let threads: Vec<_> = (0..2 * MOST_THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((MOST_THREADS / 2..=MOST_THREADS).contains(&(kept_by_all / MOST)), "{kept_by_all}");
        // Those have ended.
        assert_eq!(thread::scope(|scope| scope.spawn(|| kept(1)).join().unwrap()), 1);
    }
}
