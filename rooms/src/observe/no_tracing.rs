//! What stands for `tracing` in a build without it.

use std::time::Duration;

pub(super) fn gap(_: usize, _: Duration, _: usize) {}

#[cfg(feature = "__broker")]
pub(super) use broker::{Watch, unpublished};

#[cfg(feature = "__broker")]
mod broker {
    use std::time::Duration;

    use crate::error::{BrokerError, PublishError};

    #[derive(Default)]
    pub(in crate::observe) struct Watch;

    #[allow(clippy::unused_self)]
    impl Watch {
        pub(in crate::observe) fn connected(&self, _: Duration) {}

        pub(in crate::observe) fn away(&self, _: &BrokerError, _: Duration) {}
    }

    pub(in crate::observe) fn unpublished(_: &PublishError, _: usize) {}
}
