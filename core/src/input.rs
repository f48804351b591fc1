//! Input: a slice that becomes shorter as its bytes are taken.

use core::mem;

/// Takes `count` bytes from the front of `input`, or all if there are fewer.
#[inline]
pub(crate) fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let bytes = mem::take(input);
    let (taken, rest) = bytes.split_at_mut(count.min(bytes.len()));
    *input = rest;
    taken
}
