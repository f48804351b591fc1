//! Points in time, which come from outside: nothing here reads a clock.

use core::time::Duration;

/// A point in time: how long after a start that the caller chose, the same for all calls to a connection.
/// Must not go backwards; if it does, deadlines are late, and nothing worse happens.
pub type Time = Duration;

/// The shortest interval and timeouts of a peer's silence. `Config::check` refuses shorter ones; whoever drives a
/// connection by hand and does not ask it gets these, and no flood of pings.
pub(crate) const SHORTEST: Duration = Duration::from_millis(10);
