//! The codecs of a thread. A compressor has 380 KB and an inflater 48 KB, and each is lent for one message.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;

use super::codec::{Compressor, Inflater, Settings};

/// How many codecs of a kind a thread keeps.
const MOST: usize = 4;

/// Scratch memory is kept up to this size.
const LARGE_SCRATCH: usize = 64 * 1024;

/// How many bytes a step of an inflater yields at most.
const STEP: usize = 16 * 1024;

std::thread_local! {
    static COMPRESSORS: RefCell<Vec<Compressor>> = const { RefCell::new(Vec::new()) };
    static INFLATERS: RefCell<Vec<Inflater>> = const { RefCell::new(Vec::new()) };
    static COMPRESSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static INFLATED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes a compressor with these settings, which may remember anything.
pub(super) fn compressor(settings: Settings) -> Compressor {
    let kept = COMPRESSORS.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let at = kept.iter().rposition(|compressor| compressor.settings() == settings)?;
        Some(kept.remove(at))
    });
    kept.ok().flatten().unwrap_or_else(|| Compressor::new(settings))
}

/// Gives a compressor back. Those that were used last are kept.
pub(super) fn keep_compressor(compressor: Compressor) {
    let oldest = COMPRESSORS.try_with(|kept| keep(&mut kept.borrow_mut(), compressor));
    drop(oldest);
}

/// Takes an inflater, which is to be [restarted](Inflater::restart).
pub(super) fn inflater() -> Inflater {
    let kept = INFLATERS.try_with(|kept| kept.borrow_mut().pop());
    kept.ok().flatten().unwrap_or_else(Inflater::new)
}

/// Gives an inflater back.
pub(super) fn keep_inflater(inflater: Inflater) {
    let oldest = INFLATERS.try_with(|kept| keep(&mut kept.borrow_mut(), inflater));
    drop(oldest);
}

fn keep<T>(kept: &mut Vec<T>, codec: T) -> Option<T> {
    let oldest = (kept.len() >= MOST).then(|| kept.remove(0));
    kept.push(codec);
    oldest
}

/// Lends scratch memory for a compressed message.
pub(super) fn with_compressed<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = COMPRESSED.try_with(RefCell::take).unwrap_or_default();
    let done = work(&mut scratch);
    if scratch.len() <= LARGE_SCRATCH {
        let _ = COMPRESSED.try_with(|kept| mem::swap(&mut *kept.borrow_mut(), &mut scratch));
    }
    done
}

/// Lends scratch memory for what a step inflates.
pub(super) fn with_inflated<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = INFLATED.try_with(RefCell::take).unwrap_or_default();
    scratch.resize(STEP, 0);
    let done = work(&mut scratch);
    let _ = INFLATED.try_with(|kept| mem::swap(&mut *kept.borrow_mut(), &mut scratch));
    done
}
