//! What happens, in numbers for recorders of `metrics`. Names, labels and units are told to users in
//! `docs/guide/seeing.md`.

use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

#[cfg(feature = "__broker")]
use super::why_away;
use super::why_unpublished;
#[cfg(feature = "__broker")]
use crate::error::BrokerError;
use crate::error::PublishError;

const OPEN: &str = "bellwire_rooms_open";
const MEMBERS: &str = "bellwire_rooms_members";
const PUBLISHED: &str = "bellwire_rooms_published_total";
const REFUSED: &str = "bellwire_rooms_publish_refused_total";
const GAPS: &str = "bellwire_rooms_gaps_total";
const IN_DOUBT: &str = "bellwire_rooms_in_doubt_total";
const AWAY: &str = "bellwire_rooms_away";
const FAILED: &str = "bellwire_rooms_broker_failures_total";
const RECEIVED: &str = "bellwire_rooms_received_total";
const UNPUBLISHED: &str = "bellwire_rooms_unpublished_total";

/// Describes the metrics of rooms to the recorder, with their units: call it once, when the recorder is installed. They are
/// recorded whether this is called or not, of rooms that are made after the recorder is installed.
pub fn describe() {
    describe_gauge!(OPEN, Unit::Count, "Rooms that have members on this node");
    describe_gauge!(MEMBERS, Unit::Count, "Members of rooms on this node, once for each room that they are in");
    describe_counter!(PUBLISHED, Unit::Count, "Messages that were accepted to be published");
    describe_counter!(REFUSED, Unit::Count, "Messages that were not accepted to be published, by the reason");
    describe_counter!(GAPS, Unit::Count, "How often members may have missed messages");
    describe_counter!(
        IN_DOUBT,
        Unit::Count,
        "Messages that were on their way when the connection to the broker was lost"
    );
    describe_gauge!(AWAY, Unit::Count, "Rooms, as a program makes them, that have no connection to their broker");
    describe_counter!(FAILED, Unit::Count, "Connections to the broker that were lost or not made, by the reason");
    describe_counter!(RECEIVED, Unit::Count, "Messages that have come from the broker");
    describe_counter!(UNPUBLISHED, Unit::Count, "Messages that were accepted, and not published, by the reason");
}

/// The share of one program's rooms, all of them together, of the numbers. What is counted for each message or member is
/// looked up once.
pub(super) struct Watch {
    open: Share,
    members: Share,
    published: Counter,
    #[cfg(feature = "__broker")]
    received: Counter,
    /// 1 while there is no connection to the broker.
    #[cfg(feature = "__broker")]
    away: Share,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            open: Share::of(gauge!(OPEN)),
            members: Share::of(gauge!(MEMBERS)),
            published: counter!(PUBLISHED),
            #[cfg(feature = "__broker")]
            received: counter!(RECEIVED),
            #[cfg(feature = "__broker")]
            away: Share::of(gauge!(AWAY)),
        }
    }
}

impl Watch {
    pub(super) fn joined(&self, is_first: bool) {
        self.members.grow(1);
        self.open.grow(usize::from(is_first));
    }

    pub(super) fn left(&self, is_last: bool) {
        self.members.shrink(1);
        self.open.shrink(usize::from(is_last));
    }

    pub(super) fn published(&self, outcome: &Result<(), PublishError>) {
        match outcome {
            Ok(()) => self.published.increment(1),
            Err(why) => counter!(REFUSED, "kind" => why_unpublished(why)).increment(1),
        }
    }

    pub(super) fn gap(&self, in_doubt: usize) {
        counter!(GAPS).increment(1);
        counter!(IN_DOUBT).increment(in_doubt as u64);
    }
}

#[cfg(feature = "__broker")]
impl Watch {
    pub(super) fn away(&self) {
        self.away.set(1);
    }

    pub(super) fn back(&self) {
        self.away.set(0);
    }

    pub(super) fn failed(&self, why: &BrokerError) {
        counter!(FAILED, "kind" => why_away(why)).increment(1);
    }

    pub(super) fn received(&self) {
        self.received.increment(1);
    }

    pub(super) fn unpublished(&self, why: &PublishError) {
        counter!(UNPUBLISHED, "kind" => why_unpublished(why)).increment(1);
    }
}

/// What one adds to a gauge that several share, and takes away at its end.
struct Share {
    gauge: Gauge,
    added: AtomicUsize,
}

impl Share {
    fn of(gauge: Gauge) -> Self {
        Self { gauge, added: AtomicUsize::new(0) }
    }

    fn grow(&self, by: usize) {
        if by > 0 {
            self.added.fetch_add(by, Ordering::Relaxed);
            self.gauge.increment(by as f64);
        }
    }

    fn shrink(&self, by: usize) {
        if by > 0 {
            self.added.fetch_sub(by, Ordering::Relaxed);
            self.gauge.decrement(by as f64);
        }
    }

    #[cfg(feature = "__broker")]
    fn set(&self, to: usize) {
        let before = self.added.swap(to, Ordering::Relaxed);
        if before < to {
            self.gauge.increment((to - before) as f64);
        } else if to < before {
            self.gauge.decrement((before - to) as f64);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let added = *self.added.get_mut();
        self.shrink(added);
    }
}
