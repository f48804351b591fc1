//! Memory for output: each thread keeps one buffer, which whatever is sent there next is written to. So a connection
//! that is idle holds none, and one that answers what it reads allocates none.

use core::cell::Cell;

use crate::protocol::{Connection, Output};

/// The most memory that a thread keeps.
const MOST: usize = 64 * 1024;

std::thread_local! {
    static SPARE: Cell<Output> = const { Cell::new(Output::new()) };
}

/// Keeps the memory of what was written, unless what is kept already is larger, or it is too large.
pub fn keep(mut written: Output) {
    // A thread that is about to end has no use for it.
    let _ = SPARE.try_with(|spare| {
        let kept = spare.take();
        if (kept.capacity()..=MOST).contains(&written.capacity()) {
            written.clear();
            spare.set(written);
        } else {
            spare.set(kept);
        }
    });
}

/// Lends the thread's memory to a connection that has none, while `act` sends something with it.
#[inline]
pub(super) fn lend<T>(connection: &mut Connection, act: impl FnOnce(&mut Connection) -> T) -> T {
    if connection.output().capacity() > 0 {
        return act(connection);
    }
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    connection.lend_output(&mut spare);
    let result = act(connection);
    if connection.output().is_empty() {
        // It has sent nothing.
        connection.lend_output(&mut spare);
        let _ = SPARE.try_with(|place| place.set(spare));
    }
    result
}
