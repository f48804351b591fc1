//! Messages at a fixed rate, whatever the server does: a thread that sleeps from one to the next. A runtime's timer would
//! be a millisecond late.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bellwire::WebSocket;
use hdrhistogram::Histogram;

use super::load::{Line, Load, histogram, record};

/// The longest sleep: the end of the load must be noticed.
const NAP: Duration = Duration::from_millis(100);

/// When the messages of a load are due, counted from its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) rate: f64,
    pub(super) duration: Duration,
}

impl Schedule {
    /// When the message of this number is due, if it is one of the load.
    fn due(&self, number: u64) -> Option<Duration> {
        // Not the sum of intervals, whose errors would add up.
        let due = Duration::try_from_secs_f64(number as f64 / self.rate).ok()?;
        Some(due).filter(|due| *due < self.duration)
    }
}

/// Sends each message when it is due, to the connections in turns. Returns how late it was itself. When the load is over,
/// messages that were due before, and for which it had no time, are held: they count, too.
pub(super) fn send_all(
    schedule: Schedule,
    start: Instant,
    load: &Load,
    lines: &[(WebSocket, Arc<Line>)],
) -> Histogram<u64> {
    let mut lateness = histogram();
    let dues = (0..).map_while(|number| schedule.due(number)).map(|due| start + due);
    for (due, (socket, line)) in dues.zip(lines.iter().cycle()) {
        sleep_until(due, load);
        if load.is_over() {
            if due > Instant::now() {
                break;
            }
            line.hold(due);
            continue;
        }
        record(&mut lateness, Instant::now().saturating_duration_since(due));
        line.send(socket, due);
    }
    lateness
}

fn sleep_until(due: Instant, load: &Load) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() || load.is_over() {
            return;
        }
        thread::sleep(left.min(NAP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_intervals() {
        let schedule = Schedule { rate: 4.0, duration: Duration::from_secs(1) };
        let dues: Vec<_> = (0..).map_while(|number| schedule.due(number)).collect();
        assert_eq!(dues, [0, 250, 500, 750].map(Duration::from_millis));
        let slow = Schedule { rate: 1e-3, duration: Duration::from_secs(1) };
        assert_eq!((slow.due(0), slow.due(1), slow.due(u64::MAX)), (Some(Duration::ZERO), None, None));
    }
}
