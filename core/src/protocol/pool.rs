//! Memory of large messages: what one has left serves the next one on the same thread.
//!
//! An allocator gives much of what is freed back to the system, which hands it out again page by page, each filled with
//! zeros: for a message of 1 MiB that costs more than everything else. So each thread keeps [`MAX_KEPT`] bytes of what
//! its messages have left, the newest, until it ends, and all threads together [`MAX_IN_ALL`]. Without the standard library nothing is kept.

#[cfg(feature = "std")]
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::cell::RefCell;
use core::mem;
#[cfg(feature = "std")]
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// From this size on a payload is large: it stays where it is until it is written (uWebSockets draws the line at the
/// same size), and its memory is kept.
pub(crate) const LARGE: usize = 16 * 1024;

/// From this size on the frame of a [`Prepared`](super::Prepared) stays where it is: all who get it write the same memory,
/// which the processor has at hand then.
pub(crate) const SHARED: usize = 512;

/// The most memory that a thread keeps.
#[cfg(feature = "std")]
const MAX_KEPT: usize = 4 * 1024 * 1024;

/// The most memory that all threads keep: with a thread for each connection, most are idle.
#[cfg(feature = "std")]
const MAX_IN_ALL: usize = 64 * 1024 * 1024;

#[cfg(feature = "std")]
static IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// What a thread keeps. The newest is last.
#[cfg(feature = "std")]
struct Kept(Vec<Vec<u8>>);

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

/// A message is whole, and may be kept for long: if less has come than its memory was taken for, it moves.
pub(super) fn fit(bytes: &mut Vec<u8>) {
    if bytes.capacity() >= LARGE && bytes.capacity() / 2 > bytes.len() {
        let mut fitting = Vec::new();
        grow(&mut fitting, bytes.len(), 0);
        fitting.extend_from_slice(bytes);
        give_back(mem::replace(bytes, fitting));
    }
}

/// The same for text.
pub(super) fn fit_text(text: &mut String) {
    if text.capacity() >= LARGE && text.capacity() / 2 > text.len() {
        let mut fitting = String::new();
        grow_text(&mut fitting, text.len(), 0);
        fitting.push_str(text);
        give_back(mem::replace(text, fitting).into_bytes());
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
    with_kept(|kept| kept.0.iter().rposition(fits).map(|at| kept.remove(at))).flatten()
}

/// Keeps memory that is not used any more, if it is large.
#[cfg(feature = "std")]
pub(crate) fn give_back(mut memory: Vec<u8>) {
    if !(LARGE..=MAX_KEPT).contains(&memory.capacity()) {
        return;
    }
    memory.clear();
    with_kept(|kept| {
        while kept.length() + memory.capacity() > MAX_KEPT {
            kept.remove(0);
        }
        kept.push(memory);
    });
}

#[cfg(feature = "std")]
impl Kept {
    fn length(&self) -> usize {
        self.0.iter().map(Vec::capacity).sum()
    }

    fn push(&mut self, memory: Vec<u8>) {
        let more = |all: usize| all.checked_add(memory.capacity()).filter(|all| *all <= MAX_IN_ALL);
        if IN_ALL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            self.0.push(memory);
        }
    }

    fn remove(&mut self, at: usize) -> Vec<u8> {
        let memory = self.0.remove(at);
        IN_ALL.fetch_sub(memory.capacity(), Ordering::Relaxed);
        memory
    }
}

#[cfg(feature = "std")]
impl Drop for Kept {
    fn drop(&mut self) {
        IN_ALL.fetch_sub(self.length(), Ordering::Relaxed);
    }
}

#[cfg(feature = "std")]
fn with_kept<T>(act: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    std::thread_local! {
        static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
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
        with_kept(|kept| kept.0.iter().map(Vec::capacity).collect()).unwrap()
    }

    const MIB: usize = 1024 * 1024;

    /// One test after the other: what all threads keep is bounded.
    fn turn() -> impl Drop {
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[test]
    fn what_a_message_leaves_serves_the_next_one() {
        let _turn = turn();
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
        let _turn = turn();
        give_back(Vec::with_capacity(MIB));
        for (came, expected) in [(1, MIB), (LARGE, usize::MAX), (MIB / 16 - 1, MIB), (MIB / 2 - 1, 0), (MIB + 1, 0)] {
            let mut message = Vec::new();
            grow(&mut message, came, expected);
            assert!(message.capacity() <= 2 * came && kept() == [MIB], "{came}");
        }
    }

    #[test]
    fn a_thread_keeps_the_newest_up_to_a_bound() {
        let _turn = turn();
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

    #[test]
    fn all_threads_together_keep_no_more_than_a_bound() {
        let _turn = turn();
        let (threads, full) = (2 * MAX_IN_ALL / MAX_KEPT, std::sync::Barrier::new(2 * MAX_IN_ALL / MAX_KEPT));
        let in_all: usize = std::thread::scope(|scope| {
            let keep = || {
                give_back(Vec::with_capacity(MAX_KEPT));
                full.wait();
                kept().iter().sum::<usize>()
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(keep)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((MAX_IN_ALL / 2..=MAX_IN_ALL).contains(&in_all), "{in_all}");
        // What has ended keeps nothing.
        give_back(Vec::with_capacity(MAX_KEPT));
        assert_eq!(kept(), [MAX_KEPT]);
    }
}
