//! The one deadline of everything that a client does until it has a connection.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use bellwire_core::backend::READ_ON;
use bellwire_core::proto::Time;

use crate::drive::SHORTEST;
use crate::pause::Pause;
use crate::writer::is_timeout;

/// Calls streams, none of which waits beyond the deadline.
pub(crate) struct Deadline {
    start: Instant,
    /// When it comes; `None` for never.
    due: Option<Time>,
    /// When it was noticed that it has come.
    late: Option<Time>,
    pause: Pause,
}

/// Why a call has come to nothing.
pub(crate) enum Fault {
    /// The deadline has come.
    Late,
    Io(io::Error),
}

impl Deadline {
    /// Counts from now. `due` is a time after that.
    pub(crate) fn new(due: Option<Time>) -> Self {
        Self { start: Instant::now(), due, late: None, pause: Pause::default() }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Returns when it comes; `None` for never.
    pub(crate) fn instant(&self) -> Option<Instant> {
        self.due.and_then(|due| self.start.checked_add(due.since_start()))
    }

    /// Calls a stream, whose timeout `set` is told before, until something comes of it. `set` gets `None` for ever.
    pub(crate) fn call<T>(
        &mut self,
        mut set: impl FnMut(Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> Result<T, Fault> {
        loop {
            let timeout = self.time_left().ok_or(Fault::Late)?;
            set(timeout).map_err(Fault::Io)?;
            let asked = Instant::now();
            let result = call();
            self.pause.watch(&result, timeout, || asked.elapsed());
            match result {
                Err(error) if is_timeout(&error) && self.late.is_some() => return Err(Fault::Late),
                Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(Fault::Io),
            }
        }
    }

    /// Returns how long the next call may wait; never zero. When the deadline has come what has arrived by then is still
    /// read; then this is `None`.
    fn time_left(&mut self) -> Option<Option<Duration>> {
        let Some(due) = self.due else { return Some(None) };
        let now = self.now();
        if now >= due && now.saturating_since(*self.late.get_or_insert(now)) >= READ_ON {
            return None;
        }
        Some(Some(due.saturating_since(now).max(SHORTEST)))
    }
}
