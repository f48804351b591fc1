//! Memory of large messages: what one has left serves the next one on the same thread.
//!
//! An allocator gives much of what is freed back to the system, which hands it out again page by page, each filled with
//! zeros: for a message of 1 MiB that costs more than everything else. So each thread keeps [`MAX_KEPT`] bytes of what
//! its messages have left, the newest, until it ends. Without the standard library nothing is kept.

#[cfg(feature = "std")]
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::cell::RefCell;
use core::mem;

use bytes::Bytes;

/// From this size on a payload is large: it stays where it is until it is written (uWebSockets draws the line at the
/// same size), and its memory is kept.
pub(crate) const LARGE: usize = 16 * 1024;

/// The most memory that a thread keeps.
#[cfg(feature = "std")]
const MAX_KEPT: usize = 4 * 1024 * 1024;

/// So many times what has come of a message may be taken for it from what is kept: nobody gets much for the claim that
/// more will come.
#[cfg(feature = "std")]
const AHEAD: usize = 16;

/// A payload whose memory is kept when it is dropped: a `String` or a `Vec`.
pub(crate) struct Pooled<T: Default + Into<Vec<u8>>>(pub(crate) T);

/// Makes room for `more` bytes, where at most as many as are `expected` may follow: memory grows with what has come.
pub(super) fn grow(bytes: &mut Vec<u8>, more: usize, expected: usize) {
    if bytes.capacity() - bytes.len() < more {
        let came = bytes.len().saturating_add(more);
        if let Some(mut larger) = take(came, expected) {
            larger.extend_from_slice(bytes);
            give_back(mem::replace(bytes, larger));
        } else {
            bytes.reserve_exact(growth(bytes.len(), more, expected));
        }
    }
}

/// The same for text.
pub(super) fn grow_text(text: &mut String, more: usize, expected: usize) {
    if text.capacity() - text.len() < more {
        let came = text.len().saturating_add(more);
        // Empty, and so there is nothing to check.
        if let Some(Ok(mut larger)) = take(came, expected).map(String::from_utf8) {
            larger.push_str(text);
            give_back(mem::replace(text, larger).into_bytes());
        } else {
            text.reserve_exact(growth(text.len(), more, expected));
        }
    }
}

/// Returns a text that may be kept: a copy of a borrowed one lies in memory of the thread, if it is large.
#[cfg(feature = "std")]
pub(crate) fn own_text(text: Cow<'_, str>) -> String {
    let Cow::Borrowed(text) = text else { return text.into_owned() };
    let mut owned = String::new();
    grow_text(&mut owned, text.len(), 0);
    owned.push_str(text);
    owned
}

/// The same for bytes.
#[cfg(feature = "std")]
pub(crate) fn own(bytes: Cow<'_, [u8]>) -> Vec<u8> {
    let Cow::Borrowed(bytes) = bytes else { return bytes.into_owned() };
    let mut owned = Vec::new();
    grow(&mut owned, bytes.len(), 0);
    owned.extend_from_slice(bytes);
    owned
}

/// By how much to grow: to twice what has come, but not beyond what may.
fn growth(length: usize, more: usize, expected: usize) -> usize {
    more.saturating_add(expected.min(length.saturating_add(more)))
}

/// Takes empty memory for a message of which so many bytes have come, if what is kept fits it.
#[cfg(feature = "std")]
fn take(came: usize, expected: usize) -> Option<Vec<u8>> {
    if came < LARGE {
        return None;
    }
    let total = came.saturating_add(expected);
    let (least, most) = (total.min(came.saturating_mul(2)), total.saturating_mul(2).min(came.saturating_mul(AHEAD)));
    let fits = |memory: &Vec<u8>| (least..=most).contains(&memory.capacity());
    with_kept(|kept| kept.iter().rposition(fits).map(|at| kept.remove(at))).flatten()
}

/// Keeps memory that is not used any more, if it is large.
#[cfg(feature = "std")]
pub(crate) fn give_back(mut memory: Vec<u8>) {
    if !(LARGE..=MAX_KEPT).contains(&memory.capacity()) {
        return;
    }
    memory.clear();
    with_kept(|kept| {
        let mut room = MAX_KEPT - memory.capacity();
        let newest = kept.iter().rev().take_while(|older| {
            let fits = older.capacity() <= room;
            room = room.saturating_sub(older.capacity());
            fits
        });
        kept.drain(..kept.len() - newest.count());
        kept.push(memory);
    });
}

#[cfg(feature = "std")]
fn with_kept<T>(act: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> Option<T> {
    std::thread_local! {
        /// The newest is last.
        static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }
    // A thread that is about to end keeps nothing.
    KEPT.try_with(|kept| act(&mut kept.borrow_mut())).ok()
}

#[cfg(not(feature = "std"))]
fn take(_: usize, _: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(not(feature = "std"))]
fn give_back(_: Vec<u8>) {}

/// Makes a payload one that can be shared, and whose memory is kept, if it is large, when the last share is gone.
pub(crate) fn share(payload: Vec<u8>) -> Bytes {
    if payload.capacity() >= LARGE { Bytes::from_owner(Pooled(payload)) } else { payload.into() }
}

impl<T: Default + Into<Vec<u8>>> Drop for Pooled<T> {
    fn drop(&mut self) {
        give_back(mem::take(&mut self.0).into());
    }
}

impl<T: Default + Into<Vec<u8>> + AsRef<[u8]>> AsRef<[u8]> for Pooled<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// How much each block holds that this thread keeps.
    fn kept() -> Vec<usize> {
        with_kept(|kept| kept.iter().map(Vec::capacity).collect()).unwrap()
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn what_a_message_leaves_serves_the_next_one() {
        let shared = share(vec![7; MIB]);
        let (place, other) = (shared.as_ptr(), shared.clone());
        drop(shared);
        assert!(kept().is_empty());
        drop(other);
        assert_eq!(kept(), [MIB]);
        let mut next = vec![1; 100];
        grow(&mut next, MIB / 16, MIB);
        assert_eq!((next.as_ptr(), next.len(), kept()), (place, 100, vec![]));
    }

    #[test]
    fn nobody_gets_much_for_little() {
        give_back(Vec::with_capacity(MIB));
        for (came, expected) in [(1, MIB), (LARGE, usize::MAX), (MIB / 16 - 1, MIB), (MIB / 2 - 1, 0), (MIB + 1, 0)] {
            let mut message = Vec::new();
            grow(&mut message, came, expected);
            assert!(message.capacity() <= 2 * came && kept() == [MIB], "{came}");
        }
    }

    #[test]
    fn a_thread_keeps_the_newest_up_to_a_bound() {
        for size in [1, 2, 3, 5, 1, 2] {
            give_back(Vec::with_capacity(size * MIB));
        }
        assert_eq!(kept(), [MIB, 2 * MIB]);
        for _ in 0..1000 {
            give_back(Vec::with_capacity(LARGE));
        }
        assert_eq!(kept(), [LARGE].repeat(MAX_KEPT / LARGE));
        give_back(Vec::with_capacity(LARGE - 1));
        assert_eq!(kept().len(), MAX_KEPT / LARGE);
    }
}
