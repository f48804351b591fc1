//! How long the judgement of a deadline that has come is put off, so that what has arrived is read before.

use core::time::Duration;

use crate::time::Time;

/// How much longer to sleep when a deadline has come, before it is judged.
///
/// A process that was stopped or starved finds its timers fired before its runtime has asked the system what has
/// arrived meanwhile: until then nothing can be read, whatever there is. Another sleep, however short, makes the
/// runtime ask.
pub(crate) const ONCE_MORE: Duration = Duration::from_millis(2);

/// How much longer a deadline may wait while there is always more to be read.
pub const READ_ON: Duration = Duration::from_millis(100);

/// A deadline is judged after what has arrived was read, however late it is noticed.
#[derive(Debug, Default)]
pub(super) struct Grace {
    /// When it was noticed that a deadline had come. Of one that is later this says nothing.
    noticed: Option<Time>,
}

impl Grace {
    /// Returns when this deadline, which has come, is to be judged.
    pub(super) fn end(&mut self, deadline: Time, now: Time, grace: Duration) -> Time {
        // "At once" is no deadline to sleep for.
        if deadline == Time::ZERO {
            return deadline;
        }
        let noticed = self.noticed.filter(|noticed| *noticed >= deadline).unwrap_or(now.max(deadline));
        self.noticed = Some(noticed);
        noticed + grace
    }
}
