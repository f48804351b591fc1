//! What happens, as events of `tracing`. Targets, levels and fields are told to users in `docs/guide/seeing.md`.

use std::time::Duration;

const ROOMS: &str = "bellwire::rooms";

/// A member that comes back after too long is daily life; a connection that was lost is for who runs the broker.
pub(super) fn gap(rooms: usize, away: Duration, in_doubt: usize) {
    let seconds = away.as_secs_f64();
    if away.is_zero() {
        tracing::info!(target: ROOMS, rooms, away = seconds, in_doubt, "members may have missed messages");
    } else {
        tracing::warn!(target: ROOMS, rooms, away = seconds, in_doubt, "members may have missed messages");
    }
}

#[cfg(feature = "__broker")]
pub(super) use broker::{Watch, unpublished};

#[cfg(feature = "__broker")]
mod broker {
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use super::ROOMS;
    use crate::error::{BrokerError, PublishError};
    use crate::observe::{why_away, why_unpublished};

    #[derive(Default)]
    pub(in crate::observe) struct Watch(Mutex<Option<Away>>);

    /// There is no connection, after there was one or a try to make one.
    struct Away {
        since: Duration,
        /// What was told last.
        why: BrokerError,
    }

    impl Watch {
        pub(in crate::observe) fn connected(&self, now: Duration) {
            let ended = self.lock().take();
            let away = ended.map(|away| now.saturating_sub(away.since).as_secs_f64());
            tracing::info!(target: ROOMS, away, "connected to the broker");
        }

        /// Tries are many: a warning is only what is new.
        pub(in crate::observe) fn away(&self, why: &BrokerError, now: Duration) {
            let mut away = self.lock();
            let before = away.take();
            let is_new = before.as_ref().is_none_or(|before| before.why != *why);
            let since = before.map_or(now, |before| before.since);
            *away = Some(Away { since, why: why.clone() });
            drop(away);
            let kind = why_away(why);
            if is_new {
                tracing::warn!(target: ROOMS, kind, detail = %why, "no connection to the broker");
            } else {
                tracing::debug!(target: ROOMS, kind, detail = %why, "still no connection to the broker");
            }
        }

        fn lock(&self) -> MutexGuard<'_, Option<Away>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// For all that are not published together: why the first is not.
    pub(in crate::observe) fn unpublished(why: &PublishError, count: usize) {
        tracing::warn!(target: ROOMS, kind = why_unpublished(why), detail = %why, count, "messages not published");
    }
}
