//! What a server tells its owner: how often, and where if there is no hook.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::{self, Discriminant};
use core::time::Duration;

use super::error::ServerError;
use crate::handshake::server::Refusal;
use crate::sync::Mutex;

/// How often the same thing is told.
const PERIOD: Duration = Duration::from_secs(60);

/// How many different things are remembered: those beyond are held back until one of these is old.
const MAX_KINDS: usize = 64;

/// Lets each kind of news through once per minute.
pub(super) struct Throttle<K>(Mutex<Vec<Told<K>>>);

struct Told<K> {
    kind: K,
    when: Duration,
    /// How often it was held back since.
    held_back: u64,
}

impl<K: PartialEq> Throttle<K> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns how often this was held back since it was told last, if it is to be told now, on any clock.
    pub(super) fn pass(&self, kind: K, now: Duration) -> Option<u64> {
        let mut told = self.0.lock();
        if let Some(known) = told.iter_mut().find(|told| told.kind == kind) {
            // A clock that was set back must not silence anything.
            if known.when.abs_diff(now) < PERIOD {
                known.held_back = known.held_back.saturating_add(1);
                return None;
            }
            known.when = now;
            return Some(mem::take(&mut known.held_back));
        }
        if told.len() >= MAX_KINDS {
            told.retain(|told| told.when.abs_diff(now) < PERIOD);
        }
        if told.len() >= MAX_KINDS {
            return None;
        }
        told.push(Told { kind, when: now, held_back: 0 });
        Some(0)
    }
}

/// Returns the hook of a server whose owner has set none: it prints each kind of error once per minute, as a line. Each
/// rule that a request can break is a kind of its own.
///
/// The core has neither a clock nor an output: the backend lends the time since any start, and what prints a line.
pub fn printing(now: fn() -> Duration, print: fn(&str)) -> impl Fn(&ServerError) + Send + Sync {
    let throttle = Throttle::new();
    move |error: &ServerError| {
        // Those come once per path already.
        let held_back = match error {
            ServerError::NoProtocolChosen { .. } => Some(0),
            error => throttle.pass(kind(error), now()),
        };
        if let Some(held_back) = held_back {
            print(&line(error, held_back));
        }
    }
}

fn kind(error: &ServerError) -> (Discriminant<ServerError>, Option<Refusal>) {
    let refusal = if let ServerError::Refused { refused, .. } = error { Some(refused.refusal) } else { None };
    (mem::discriminant(error), refusal)
}

fn line(error: &ServerError, held_back: u64) -> String {
    // What handlers and panics say may have several lines, and come from anywhere.
    let text: String = format!("{error}").chars().map(|c| if is_layout(c) { ' ' } else { c }).collect();
    match held_back {
        0 => format!("bellwire: {text}\n"),
        count => format!("bellwire: {text} (and {count} more of this kind since the last one)\n"),
    }
}

/// Returns `true` if a character moves others about: controls, ends of lines and paragraphs, changes of the writing's
/// direction.
fn is_layout(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::handshake::server::Refused;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn h5_each_kind_passes_once_per_minute_and_what_was_held_back_is_counted() {
        let throttle = Throttle::new();
        assert_eq!(throttle.pass("a", Duration::ZERO), Some(0));
        assert_eq!(throttle.pass("a", 1 * SECOND), None);
        assert_eq!(throttle.pass("b", 1 * SECOND), Some(0), "another kind");
        assert_eq!(throttle.pass("a", 59 * SECOND), None);
        assert_eq!(throttle.pass("a", 60 * SECOND), Some(2));
        assert_eq!(throttle.pass("a", 61 * SECOND), None);
        assert_eq!(throttle.pass("a", 120 * SECOND), Some(1));
        assert_eq!(throttle.pass("a", 3 * SECOND), Some(0), "the clock was set back");
    }

    #[test]
    fn h5_h12_kinds_are_bounded_whoever_makes_them_up() {
        let throttle = Throttle::new();
        let passed =
            |now: Duration| (0..10_000).filter(|kind| throttle.pass(format!("/{kind}"), now).is_some()).count();
        assert_eq!(passed(Duration::ZERO), MAX_KINDS);
        assert_eq!(passed(30 * SECOND), 0);
        assert_eq!(throttle.0.lock().len(), MAX_KINDS);
        assert_eq!(passed(61 * SECOND), MAX_KINDS, "new room each minute");
    }

    #[test]
    fn h5_the_printing_hook_prints_a_line_of_each_kind() {
        static NOW: AtomicU64 = AtomicU64::new(1000);
        static PRINTED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let hook = printing(
            || Duration::from_secs(NOW.load(Ordering::Relaxed)),
            |line| PRINTED.lock().unwrap().push(line.into()),
        );
        let refused = |refusal| {
            let (origin, host, path) = (Some("http://a\"\x1b<b>".into()), Some("b".into()), Some("/p\n".into()));
            ServerError::Refused { peer: None, refused: Refused { origin, host, path, ..Refused::from(refusal) } }
        };
        let printed = || mem::take(&mut *PRINTED.lock().unwrap());
        hook(&refused(Refusal::Origin));
        let lines = printed();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("bellwire: request for \"/p\\n\" refused: Origin not allowed"), "{lines:?}");
        assert!(lines[0].contains(r#""http://a\"\x1b\x3cb\x3e""#) && lines[0].contains("\"b\""), "{lines:?}");
        hook(&refused(Refusal::Origin));
        hook(&refused(Refusal::Origin));
        assert!(printed().is_empty());
        hook(&refused(Refusal::Host));
        hook(&ServerError::Handler("two\nlines".into()));
        assert_eq!(printed().len(), 2, "other kinds");
        NOW.fetch_add(60, Ordering::Relaxed);
        hook(&refused(Refusal::Origin));
        hook(&ServerError::Handler("two\u{2028}lines".into()));
        let lines = printed();
        assert!(lines[0].ends_with("(and 2 more of this kind since the last one)\n"), "{lines:?}");
        assert_eq!(lines[1], "bellwire: the handler failed: two lines\n");
    }
}
