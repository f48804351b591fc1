//! Bytes on their way to the transport.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter;

use bytes::{Buf, Bytes};

/// Bytes to be written, in pieces: headers and small payloads lie together in one buffer, large payloads
/// stay where they are, so that they leave without being copied (write the pieces vectored).
///
/// Write [`pieces`](Self::pieces), then say how much was taken with [`advance`](Self::advance).
#[derive(Default)]
pub struct Output(
    // In a box: a connection mostly has none, and what is handed from a connection to a write, and back, is a pointer.
    Option<Box<Queue>>,
);

#[derive(Default)]
struct Queue {
    buffer: Vec<u8>,
    /// How much of `buffer` is gone.
    start: usize,
    /// `None` while there are none, which is nearly always.
    large: Option<Large>,
}

/// Large payloads, of which there is mostly one.
struct Large {
    first: Placed,
    rest: VecDeque<Placed>,
    /// How many bytes they have in all.
    length: usize,
}

/// A large payload.
struct Placed {
    /// How much of the buffer comes before it.
    before: usize,
    payload: Bytes,
}

/// A place in the bytes that a connection sends: how many come before it, counted from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamOffset(u64);

impl StreamOffset {
    /// Creates the place that this many bytes come before.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns how many bytes come before it.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Gone bytes are dropped from the front of the buffer once there are this many and they are most of it.
const COMPACT: usize = 64 * 1024;

impl Output {
    /// Creates an empty output, which holds no memory.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Returns how many bytes are left to write.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    /// Returns `true` if everything was written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|queue| queue.is_empty())
    }

    /// Returns the first piece: for transports that write one slice at a time. Empty only if all is written.
    #[inline]
    pub fn first(&self) -> &[u8] {
        self.pieces().next().unwrap_or_default()
    }

    /// Returns what is left to write, in order. No piece is empty.
    #[inline]
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces_up_to(usize::MAX)
    }

    /// Returns the same, at most `most` bytes in all: for a write that shall not take long.
    #[inline]
    pub fn pieces_up_to(&self, most: usize) -> impl Iterator<Item = &[u8]> {
        let queue = self.0.as_deref();
        Pieces { queue, start: queue.map_or(0, |queue| queue.start), large: 0, room: most }
    }

    /// Drops the first `count` bytes, which were written; at most all of them.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        if let Some(queue) = &mut self.0 {
            queue.advance(count);
        }
    }

    /// Drops everything, and keeps the buffer for the next bytes.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(queue) = &mut self.0 {
            queue.large = None;
            queue.start = 0;
            queue.buffer.clear();
        }
    }

    /// Returns how many bytes the small pieces' buffer holds memory for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.buffer.capacity())
    }

    /// Returns `true` unless it is new, or was taken.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn has_memory(&self) -> bool {
        self.0.is_some()
    }

    /// Returns how much memory it holds, but for large payloads.
    #[cfg(feature = "std")]
    pub(crate) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| size_of_val(&**queue) + queue.buffer.capacity())
    }

    /// Returns the buffer, to append headers and small payloads to. The first one has room for so many bytes.
    #[inline]
    pub(super) fn buffer(&mut self, room: usize) -> &mut Vec<u8> {
        match self.0 {
            Some(ref mut queue) => &mut queue.buffer,
            None => &mut self.begin(room).buffer,
        }
    }

    /// Appends a payload without copying it.
    pub(crate) fn push_large(&mut self, payload: Bytes) {
        if !payload.is_empty() {
            self.0.get_or_insert_default().push_large(payload);
        }
    }

    #[inline(never)]
    fn begin(&mut self, room: usize) -> &mut Queue {
        self.0.insert(Box::new(Queue { buffer: Vec::with_capacity(room), ..Queue::default() }))
    }
}

impl Queue {
    #[inline]
    fn len(&self) -> usize {
        self.buffer.len() - self.start + self.large.as_ref().map_or(0, |large| large.length)
    }

    #[inline]
    fn is_empty(&self) -> bool {
        // No large payload is empty.
        self.buffer.len() == self.start && self.large.is_none()
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        let count = if self.large.is_some() { self.advance_large(count) } else { count };
        self.start = self.buffer.len().min(self.start.saturating_add(count));
        self.compact();
    }

    fn push_large(&mut self, payload: Bytes) {
        let length = payload.len();
        let placed = Placed { before: self.buffer.len(), payload };
        if let Some(large) = &mut self.large {
            large.length += length;
            large.rest.push_back(placed);
        } else {
            self.large = Some(Large { first: placed, rest: VecDeque::new(), length });
        }
    }

    /// Drops bytes up to the end of the large payloads. Returns how many are left to be dropped after them.
    #[cold]
    fn advance_large(&mut self, mut count: usize) -> usize {
        while let Some(large) = &mut self.large {
            let Placed { before, payload } = &mut large.first;
            let small = *before - self.start;
            if count < small {
                break;
            }
            count -= small;
            self.start = *before;
            let part = count.min(payload.len());
            count -= part;
            large.length -= part;
            payload.advance(part);
            if !payload.is_empty() {
                break;
            }
            match large.rest.pop_front() {
                Some(next) => large.first = next,
                None => self.large = None,
            }
        }
        count
    }

    fn compact(&mut self) {
        if self.is_empty() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start >= COMPACT && self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            for placed in self.large.iter_mut().flat_map(|large| large.iter_mut()) {
                placed.before -= self.start;
            }
            self.start = 0;
        }
    }
}

impl Large {
    fn get(&self, index: usize) -> Option<&Placed> {
        if index == 0 { Some(&self.first) } else { self.rest.get(index - 1) }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Placed> {
        iter::once(&mut self.first).chain(&mut self.rest)
    }
}

/// What [`Output::pieces_up_to`] returns.
struct Pieces<'a> {
    queue: Option<&'a Queue>,
    /// How much of the buffer is behind.
    start: usize,
    /// How many large payloads are.
    large: usize,
    /// How many bytes may still come.
    room: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let queue = self.queue?;
        let next = queue.large.as_ref().and_then(|large| large.get(self.large));
        let end = next.map_or(queue.buffer.len(), |placed| placed.before);
        let piece = match next {
            Some(Placed { payload, .. }) if self.start == end => {
                self.large += 1;
                payload
            }
            _ => {
                let small = queue.buffer.get(self.start..end)?;
                self.start = end;
                small
            }
        };
        let piece = piece.get(..self.room).unwrap_or(piece);
        self.room -= piece.len();
        (!piece.is_empty()).then_some(piece)
    }
}

debug!(Output => |this| len: this.len());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(Vec<u8>),
        PushLarge(Vec<u8>),
        Advance(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Push),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::PushLarge),
            prop_oneof![9 => 0..60usize, 1 => Just(usize::MAX)].prop_map(Step::Advance),
        ]
    }

    fn flat(output: &Output) -> Vec<u8> {
        output.pieces().flatten().copied().collect()
    }

    proptest! {
        #[test]
        fn pieces_are_what_was_pushed_less_what_was_written(steps in prop::collection::vec(step(), 0..40)) {
            let mut output = Output::new();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        output.buffer(0).extend_from_slice(&bytes);
                        model.extend(bytes);
                    }
                    Step::PushLarge(bytes) => {
                        model.extend(&bytes);
                        output.push_large(bytes.into());
                    }
                    Step::Advance(count) => {
                        output.advance(count);
                        model.drain(..count.min(model.len()));
                    }
                }
                prop_assert_eq!(flat(&output), &*model);
                for most in [0, 1, 7, model.len(), model.len() + 1] {
                    let part: Vec<u8> = output.pieces_up_to(most).flatten().copied().collect();
                    prop_assert_eq!(part, &model[..model.len().min(most)]);
                }
                prop_assert_eq!(output.len(), model.len());
                prop_assert_eq!(output.first().is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_queue_that_never_empties_does_not_grow_for_ever() {
        let mut output = Output::new();
        output.buffer(0).extend_from_slice(&[0; 100]);
        for _ in 0..100_000 {
            output.buffer(0).extend_from_slice(&[0; 100]);
            output.push_large(Bytes::from_static(b"large"));
            output.advance(105);
        }
        assert!(output.capacity() < 4 * COMPACT, "{}", output.capacity());
    }
}
