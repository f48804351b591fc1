//! What a turn looks at while it has the connection locked.

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
pub(crate) use off::Seen;
#[cfg(any(feature = "tracing", feature = "metrics"))]
pub(crate) use on::Seen;

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod on {
    use crate::observe::Peak;
    use crate::protocol::{Connection, Traffic};

    /// How a connection looked when it was locked last.
    #[derive(Debug, Clone, Copy, Default)]
    #[cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(dead_code, reason = "each looks at a part"))]
    pub(crate) struct Seen {
        pub(crate) received: Traffic,
        pub(crate) sent: Traffic,
        /// How often something was not sent for want of room.
        pub(crate) refused: u64,
        /// How many bytes are queued, and how many there were at most.
        pub(crate) queued: usize,
        pub(crate) peak: Peak,
        /// The peer is not read until it reads.
        pub(crate) paused: bool,
    }

    impl Seen {
        pub(crate) fn look(&mut self, connection: &Connection, peak: Peak) {
            let stats = connection.stats();
            *self = Self {
                received: stats.received,
                sent: stats.sent,
                refused: stats.refused,
                queued: connection.buffered(),
                peak,
                paused: !connection.wants_read(),
            };
        }
    }
}

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
mod off {
    use crate::observe::Peak;
    use crate::protocol::Connection;

    /// Nobody looks.
    #[derive(Debug, Default)]
    pub(crate) struct Seen;

    impl Seen {
        #[inline(always)]
        pub(crate) fn look(&mut self, _: &Connection, _: Peak) {}
    }
}
