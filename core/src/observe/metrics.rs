//! What happens, in numbers for recorders of `metrics`. Names, labels and units are told to users in
//! `docs/guide/seeing.md`.
//!
//! No label is what a peer has made up, so their number is bounded.

use alloc::boxed::Box;
use core::mem;
use core::time::Duration;

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::{Problem, Seen, by, role};
use crate::protocol::{CloseCode, Closed, Role};

const OPEN: &str = "bellwire_connections_open";
const OPENED: &str = "bellwire_connections_opened_total";
const CLOSED: &str = "bellwire_connections_closed_total";
const FAILED: &str = "bellwire_connections_failed_total";
const RECEIVED_MESSAGES: &str = "bellwire_received_messages_total";
const RECEIVED_BYTES: &str = "bellwire_received_bytes_total";
const SENT_MESSAGES: &str = "bellwire_sent_messages_total";
const SENT_BYTES: &str = "bellwire_sent_bytes_total";
const SENDS_REFUSED: &str = "bellwire_sends_refused_total";
const PAUSES: &str = "bellwire_reading_pauses_total";
const QUEUE: &str = "bellwire_queue_peak_bytes";
const ROUND_TRIP: &str = "bellwire_ping_round_trip_seconds";
const REQUESTS_REFUSED: &str = "bellwire_requests_refused_total";
const SERVER_ERRORS: &str = "bellwire_server_errors_total";
const NO_CONNECTION: &str = "bellwire_connects_failed_total";
const AGAIN: &str = "bellwire_reconnects_total";

/// Describes the metrics of bellwire to the recorder, with their units: call it once, when the recorder is installed. They
/// are recorded whether this is called or not.
pub fn describe() {
    describe_gauge!(OPEN, Unit::Count, "WebSocket connections that are open");
    describe_counter!(OPENED, Unit::Count, "WebSocket connections that have opened");
    describe_counter!(CLOSED, Unit::Count, "WebSocket connections that have closed, by close code and by who began");
    describe_counter!(FAILED, Unit::Count, "WebSocket connections that have failed, by what was wrong");
    describe_counter!(RECEIVED_MESSAGES, Unit::Count, "Messages that were received");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes of frames that were received");
    describe_counter!(SENT_MESSAGES, Unit::Count, "Messages that were accepted to be sent");
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes of frames that were handed to the transport");
    describe_counter!(SENDS_REFUSED, Unit::Count, "Sends that were refused because the queue was full");
    describe_counter!(PAUSES, Unit::Count, "How often a peer was not read because it read too slowly itself");
    describe_histogram!(QUEUE, Unit::Bytes, "The most bytes that a connection had queued, told when it closes");
    describe_histogram!(ROUND_TRIP, Unit::Seconds, "The time from a ping to its pong");
    describe_counter!(REQUESTS_REFUSED, Unit::Count, "Requests that a server has refused, by the rule that was broken");
    describe_counter!(SERVER_ERRORS, Unit::Count, "What else has gone wrong on a server");
    describe_counter!(NO_CONNECTION, Unit::Count, "Tries of clients to connect that have failed");
    describe_counter!(AGAIN, Unit::Count, "How often clients that reconnect have decided whether to try again");
}

/// The most bytes that were queued at once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak(usize);

impl Peak {
    #[inline(always)]
    pub(crate) fn rise(&mut self, queued: impl FnOnce() -> usize) {
        self.0 = self.0.max(queued());
    }
}

/// A connection's share of the numbers.
pub(super) struct Watch {
    role: &'static str,
    open: bool,
    /// Looked up once, when it opens.
    meters: Option<Box<Meters>>,
    /// What was recorded already.
    told: Seen,
}

struct Meters {
    received_messages: Counter,
    received_bytes: Counter,
    sent_messages: Counter,
    sent_bytes: Counter,
}

impl Watch {
    pub(super) fn new(end: Role) -> Self {
        Self { role: role(end), open: false, meters: None, told: Seen::default() }
    }

    pub(super) fn open(&mut self) {
        let role = self.role;
        counter!(OPENED, "role" => role).increment(1);
        gauge!(OPEN, "role" => role).increment(1);
        self.open = true;
        self.meters = Some(Box::new(Meters {
            received_messages: counter!(RECEIVED_MESSAGES, "role" => role),
            received_bytes: counter!(RECEIVED_BYTES, "role" => role),
            sent_messages: counter!(SENT_MESSAGES, "role" => role),
            sent_bytes: counter!(SENT_BYTES, "role" => role),
        }));
    }

    /// Adds what has come and gone since the last turn.
    pub(super) fn turn(&mut self, seen: &Seen) {
        let Some(meters) = &self.meters else { return };
        let told = mem::replace(&mut self.told, *seen);
        let add = |meter: &Counter, now: u64, before: u64| {
            if now > before {
                meter.increment(now - before);
            }
        };
        add(&meters.received_messages, seen.received.messages, told.received.messages);
        add(&meters.received_bytes, seen.received.bytes, told.received.bytes);
        add(&meters.sent_messages, seen.sent.messages, told.sent.messages);
        add(&meters.sent_bytes, seen.sent.bytes, told.sent.bytes);
        if seen.refused > told.refused {
            counter!(SENDS_REFUSED, "role" => self.role).increment(seen.refused - told.refused);
        }
        if seen.paused && !told.paused {
            counter!(PAUSES, "role" => self.role).increment(1);
        }
    }

    pub(super) fn answer(&self, round_trip: Duration) {
        histogram!(ROUND_TRIP, "role" => self.role).record(round_trip);
    }

    pub(super) fn fail(&self, problem: &Problem<'_>) {
        counter!(FAILED, "role" => self.role, "kind" => problem.kind).increment(1);
    }

    pub(super) fn close(&mut self, closed: &Closed, seen: &Seen) {
        let clean = if closed.clean { "true" } else { "false" };
        let (code, by) = (code(closed.code), by(closed.by));
        counter!(CLOSED, "role" => self.role, "code" => code, "by" => by, "clean" => clean).increment(1);
        histogram!(QUEUE, "role" => self.role).record(seen.peak.0 as f64);
        self.leave();
    }

    fn leave(&mut self) {
        if mem::take(&mut self.open) {
            gauge!(OPEN, "role" => self.role).decrement(1);
        }
    }
}

/// However it ends.
impl Drop for Watch {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Peers choose close codes: those of applications are one label, so that there are not a thousand.
fn code(code: CloseCode) -> &'static str {
    match code.0 {
        1000 => "1000",
        1001 => "1001",
        1002 => "1002",
        1003 => "1003",
        1005 => "1005",
        1006 => "1006",
        1007 => "1007",
        1008 => "1008",
        1009 => "1009",
        1010 => "1010",
        1011 => "1011",
        1012 => "1012",
        1013 => "1013",
        1014 => "1014",
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

pub(super) fn server(problem: &Problem<'_>) {
    match problem.status {
        Some(_) => counter!(REQUESTS_REFUSED, "reason" => problem.kind).increment(1),
        None => counter!(SERVER_ERRORS, "kind" => problem.kind).increment(1),
    }
}

pub(super) fn no_connection(problem: &Problem<'_>) {
    counter!(NO_CONNECTION, "kind" => problem.kind).increment(1);
}

pub(super) fn again(problem: &Problem<'_>, retry_in: Option<Duration>) {
    let next = if retry_in.is_some() { "try" } else { "none" };
    counter!(AGAIN, "kind" => problem.kind, "next" => next).increment(1);
}
