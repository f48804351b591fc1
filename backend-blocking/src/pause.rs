//! A call that should wait, and comes back too early: a stream in non-blocking mode. A loop that calls it again and
//! again pauses in between, or it would use up a processor to wait.

use std::io;
use std::thread;
use std::time::Duration;

use crate::writer::is_timeout;

/// The first pause, and how long pauses become.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// Paces the calls of one loop.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// The last pause, if that call came back too early.
    length: Duration,
}

impl Pause {
    /// What a call came back with that may wait for so long, for ever without a timeout. If it says too early that this
    /// time has passed, waits a little in its place.
    pub(crate) fn watch<T>(
        &mut self,
        result: &io::Result<T>,
        timeout: Option<Duration>,
        waited: impl FnOnce() -> Duration,
    ) {
        let too_early = || timeout.is_none_or(|timeout| waited() < timeout / 2);
        if result.as_ref().is_err_and(is_timeout) && too_early() {
            self.length = (self.length * 2).clamp(FIRST, LONGEST);
            thread::sleep(self.length);
        } else {
            self.length = Duration::ZERO;
        }
    }
}
