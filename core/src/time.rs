//! Points in time, which come from outside: nothing here reads a clock.

use core::ops::{Add, AddAssign};
use core::time::Duration;

/// A point in time: how long after a start that the caller chose, the same for all calls to a connection.
///
/// A type of its own, so that a timeout is not passed where a point in time is wanted. It must not go backwards; if it
/// does, deadlines are late, and nothing worse happens.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(Duration);

impl Time {
    /// The start itself. As a deadline: at once.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A time that no deadline reaches: as a deadline, never.
    pub const MAX: Self = Self(Duration::MAX);

    /// Creates the point in time that is this long after the start.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Returns how long after the start this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to this; zero if that is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the point in time this much later, or `None` if there is none.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}

/// A later point in time. One that is too late to be expressed is [`MAX`](Time::MAX).
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
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
