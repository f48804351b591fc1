//! How much is read, written and kept at once, on tasks and on threads.

use std::io::IoSlice;

use crate::protocol::Output;

/// The size of a read buffer: of one for all connections of a runtime's thread, or for the one of a thread.
pub const READ_BUFFER: usize = 64 * 1024;

/// The size of a read buffer during a client's opening handshake.
pub const HANDSHAKE_BUFFER: usize = 4 * 1024;

/// How many slices leave in one write, and how many bytes: a write that ends now and then lets a connection be
/// aborted while a large message is on its way.
const MAX_SLICES: usize = 64;
const MAX_WRITE: usize = 1024 * 1024;

/// Calls `write` with what is to leave in one write.
pub fn gather<T>(output: &Output, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let first = output.first();
    if first.len() == output.len() && first.len() <= MAX_WRITE {
        return write(&[IoSlice::new(first)]);
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(output.pieces_up_to(MAX_WRITE)) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    write(slices.get(..count).unwrap_or_default())
}
