//! What is seen while messages are sent: a bar on a terminal, a JSON object each second.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::Load;
use super::report::thousands;
use crate::output::{Format, Printer, Style};
use crate::screen::{Screen, Stream};

const WIDTH: usize = 30;

pub(super) struct Progress {
    printer: Printer,
    /// Where the bar is drawn.
    screen: Option<Screen>,
    is_jsonl: bool,
    start: Instant,
    duration: Duration,
    /// Whole seconds that were told, and what was answered by then.
    told: (u64, u64),
}

impl Progress {
    pub(super) fn new(style: Style, printer: Printer, start: Instant, duration: Duration) -> Self {
        let screen = Screen::new(Stream::Err, !style.no_colour);
        let is_jsonl = style.format == Format::Jsonl;
        let screen = Some(screen).filter(|screen| screen.is_terminal() && !style.quiet && !is_jsonl);
        Self { printer, screen, is_jsonl, start, duration, told: (0, 0) }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, load: &Load) -> io::Result<()> {
        let time = self.start.elapsed();
        let answered = load.answered.load(Ordering::Relaxed);
        if let Some(screen) = &self.screen {
            screen.write(format!("\r{}\x1b[K", bar(time, self.duration, answered)).as_bytes())?;
        }
        let (second, before) = self.told;
        if self.is_jsonl && time.as_secs() > second {
            self.told = (time.as_secs(), answered);
            let sent = load.sent.load(Ordering::Relaxed);
            let rate = (answered - before) as f64 / (time.as_secs() - second) as f64;
            let fields =
                json!({ "second": time.as_secs(), "sent": sent, "answered": answered, "messages_per_second": rate });
            self.printer.event("progress", fields)?;
        }
        Ok(())
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(screen) = &self.screen {
            let _ = screen.write(b"\r\x1b[K");
        }
    }
}

fn bar(time: Duration, duration: Duration, answered: u64) -> String {
    let done = (time.as_secs_f64() / duration.as_secs_f64()).min(1.0);
    let full = (done * WIDTH as f64) as usize;
    let rate = answered as f64 / time.as_secs_f64().max(1e-3);
    let (full, empty) = ("#".repeat(full), "-".repeat(WIDTH - full));
    let (time, duration) = (time.min(duration).as_secs_f64(), duration.as_secs_f64());
    format!("[{full}{empty}] {time:.1} of {duration} s, {} messages/s", thousands(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows() {
        let at = |time: f64| bar(Duration::from_secs_f64(time), Duration::from_secs(10), 5000);
        assert_eq!(at(0.0), format!("[{}] 0.0 of 10 s, 5,000,000 messages/s", "-".repeat(30)));
        assert_eq!(at(5.0), format!("[{}{}] 5.0 of 10 s, 1,000 messages/s", "#".repeat(15), "-".repeat(15)));
        assert_eq!(at(11.0), format!("[{}] 10.0 of 10 s, 454 messages/s", "#".repeat(30)));
    }
}
