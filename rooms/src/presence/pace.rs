//! How often things are said, and how long is waited for them. It all follows from the heartbeat.

use std::time::Duration;

/// So many messages are published in a batch's time,
pub(super) const BURST: usize = 256;
/// or so many bytes, and what is left of a list: 2.5 MB in a second.
pub(super) const BURST_BYTES: usize = 256 * 1024;

/// About so many rooms questions are planned in a batch's time: half of what is published at most.
pub(super) const QUESTIONS: usize = BURST / 2;

/// Of so many rooms a node says in each heartbeat what its state is.
pub(super) const ROOMS_PER_BEAT: usize = 64;

/// How often a node is asked before what is known of it is dropped.
pub(super) const ATTEMPTS: u32 = 2;

/// A node that said nothing for so many heartbeats is gone.
const HEARTBEATS: u32 = 3;

/// Another node's heartbeat is believed up to so many times the own one.
const LONGEST: u32 = 10;

/// How often things are said, and how long is waited for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) heartbeat: Duration,
    /// What happens in a room within this time is announced, and told, at once. 100 ms, or a tenth of the heartbeat.
    pub(super) batch: Duration,
    /// How long somebody may be away before it is told. 1 s, or half of the heartbeat.
    pub(super) linger: Duration,
}

impl Pace {
    /// That of rooms without a broker: everything is told at once, and needs no timer.
    pub(super) const AT_ONCE: Self = Self { heartbeat: Duration::ZERO, batch: Duration::ZERO, linger: Duration::ZERO };

    pub(super) fn new(heartbeat: Duration) -> Self {
        let heartbeat = heartbeat.max(Duration::from_millis(1));
        let batch = Duration::from_millis(100).min(heartbeat / 10);
        Self { heartbeat, batch, linger: Duration::from_secs(1).min(heartbeat / 2) }
    }

    /// For how long a node with this heartbeat may be silent.
    pub(super) fn silence(&self, heartbeat: Duration) -> Duration {
        HEARTBEATS * heartbeat.clamp(self.heartbeat / LONGEST, LONGEST * self.heartbeat)
    }

    /// Over what time questions about so many rooms are spread.
    #[cfg(test)]
    pub(super) fn spread(&self, rooms: usize) -> Duration {
        self.batch * u32::try_from(rooms / QUESTIONS).unwrap() + self.heartbeat / 10
    }
}
