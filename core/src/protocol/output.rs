//! Bytes on their way to the transport.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

/// Bytes to be written, in pieces: headers and small payloads lie together in one buffer, large payloads
/// stay where they are, so that they leave without being copied (write the pieces vectored).
///
/// Write [`pieces`](Self::pieces), then say how much was taken with [`advance`](Self::advance).
#[derive(Default)]
pub struct Output {
    buffer: Vec<u8>,
    /// How much of `buffer` is gone.
    start: usize,
    /// Large payloads, each with how much of `buffer` comes before it.
    large: VecDeque<(usize, Bytes)>,
    length: usize,
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
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many bytes are left to write.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns `true` if everything was written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the first piece: for transports that write one slice at a time. Empty only if all is written.
    pub fn first(&self) -> &[u8] {
        self.pieces().next().unwrap_or_default()
    }

    /// Returns what is left to write, in order. No piece is empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = self.start;
        let between = self.large.iter().flat_map(move |(before, payload)| {
            let small = self.buffer.get(start..*before).unwrap_or_default();
            start = *before;
            [small, payload]
        });
        let last = self.large.back().map_or(self.start, |(before, _)| *before);
        between.chain([self.buffer.get(last..).unwrap_or_default()]).filter(|piece| !piece.is_empty())
    }

    /// Returns the same, at most `most` bytes in all: for a write that shall not take long.
    pub fn pieces_up_to(&self, most: usize) -> impl Iterator<Item = &[u8]> {
        let mut room = most;
        self.pieces().map_while(move |piece| {
            let part = piece.get(..piece.len().min(room))?;
            room -= part.len();
            (!part.is_empty()).then_some(part)
        })
    }

    /// Drops the first `count` bytes, which were written; at most all of them.
    pub fn advance(&mut self, count: usize) {
        let mut count = count.min(self.length);
        self.length -= count;
        while let Some((before, payload)) = self.large.front_mut() {
            let small = *before - self.start;
            if count < small {
                break;
            }
            count -= small;
            self.start = *before;
            if count < payload.len() {
                let _ = payload.split_to(count);
                return;
            }
            count -= payload.len();
            self.large.pop_front();
        }
        self.start += count;
        self.compact();
    }

    /// Drops everything, and keeps the buffer for the next bytes.
    pub fn clear(&mut self) {
        self.advance(self.length);
    }

    /// Returns how many bytes the small pieces' buffer holds memory for.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Appends bytes and lets `change` alter them where they now lie.
    pub(super) fn push_with(&mut self, bytes: &[u8], change: impl FnOnce(&mut [u8])) {
        let before = self.buffer.len();
        self.push(bytes);
        change(self.buffer.get_mut(before..).unwrap_or_default());
    }

    /// Appends a payload without copying it.
    pub(crate) fn push_large(&mut self, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        self.length += payload.len();
        self.large.push_back((self.buffer.len(), payload));
    }

    fn compact(&mut self) {
        if self.length == 0 {
            self.buffer.clear();
            self.start = 0;
        } else if self.start >= COMPACT && self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            for (before, _) in &mut self.large {
                *before -= self.start;
            }
            self.start = 0;
        }
    }
}

debug!(Output => |this| len: this.length);

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
            (0..60usize).prop_map(Step::Advance),
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
                        output.push(&bytes);
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
        output.push(&[0; 100]);
        for _ in 0..100_000 {
            output.push(&[0; 100]);
            output.push_large(Bytes::from_static(b"large"));
            output.advance(105);
        }
        assert!(output.capacity() < 4 * COMPACT, "{}", output.capacity());
    }
}
