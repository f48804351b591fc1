//! Points in time, which come from outside: nothing here reads a clock.

use core::fmt;
use core::num::NonZero;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// A point in time: how long after a start that the caller chose, the same for all calls to a connection.
///
/// A type of its own, so that a timeout is not passed where a point in time is wanted. It must not go backwards; if it
/// does, deadlines are late, and nothing worse happens. It counts nanoseconds, for 584 years: later times are
/// [`MAX`](Self::MAX).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::Time;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let now = Time::from_start(start.elapsed());
/// assert_eq!((now + Duration::from_secs(1)).saturating_since(now), Duration::from_secs(1));
/// ```
///
/// A timeout is no point in time:
///
/// ```compile_fail,E0308
/// # use bellwire_core as bellwire;
/// # use bellwire::proto::{Connection, Time};
/// # let mut connection = Connection::server(Default::default(), Time::ZERO);
/// connection.handle_timeout(std::time::Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// One more than the nanoseconds: a connection keeps a dozen times, and an `Option` of one is no larger so.
pub struct Time(NonZero<u64>);

impl Time {
    /// The start itself. As a deadline: at once.
    pub const ZERO: Self = Self(NonZero::<u64>::MIN);

    /// A time that no deadline reaches: as a deadline, never.
    pub const MAX: Self = Self(NonZero::<u64>::MAX);

    /// Creates the point in time that is this long after the start.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(Self::ZERO.0.saturating_add(nanos(elapsed)))
    }

    /// Returns how long after the start this is. [`Duration::MAX`] for [`MAX`](Self::MAX).
    pub const fn since_start(self) -> Duration {
        match self.0.get() {
            u64::MAX => Duration::MAX,
            count => Duration::from_nanos(count - 1),
        }
    }

    /// Returns the time from `earlier` to this; zero if that is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// Returns the point in time this much later, or `None` if there is none.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        Some(self + duration).filter(|later| *later < Self::MAX)
    }
}

/// As many as there are, at most.
const fn nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos < u64::MAX as u128 { nanos as u64 } else { u64::MAX }
}

/// The start.
impl Default for Time {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.since_start()).finish()
    }
}

/// A later point in time. One that is too late to be expressed is [`MAX`](Time::MAX).
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// The shortest interval and timeouts of a peer's silence. `Config::check` refuses shorter ones; whoever drives a
/// connection by hand and does not ask it gets these, and no flood of pings.
pub(crate) const SHORTEST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Duration = Duration::from_nanos(u64::MAX - 2);

    #[test]
    fn a_time_that_may_be_missing_is_eight_bytes() {
        assert_eq!(size_of::<Option<Time>>(), 8);
    }

    #[test]
    fn what_goes_in_comes_out_until_times_are_too_late() {
        for elapsed in [Duration::ZERO, Duration::from_nanos(1), Duration::new(1 << 30, 999_999_999), LAST] {
            assert_eq!(Time::from_start(elapsed).since_start(), elapsed);
            assert_eq!(Time::ZERO.checked_add(elapsed), Some(Time::from_start(elapsed)));
        }
        for late in [LAST + Duration::from_nanos(1), Duration::from_secs(1 << 40), Duration::MAX] {
            assert_eq!(
                (Time::from_start(late), Time::ZERO + late, Time::ZERO.checked_add(late)),
                (Time::MAX, Time::MAX, None)
            );
        }
        assert_eq!((Time::MAX.since_start(), Time::MAX + LAST), (Duration::MAX, Time::MAX));
        assert_eq!(Time::ZERO.saturating_since(Time::MAX), Duration::ZERO);
    }
}
