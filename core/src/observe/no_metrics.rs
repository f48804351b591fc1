//! What stands for `metrics` in a build without it.

use core::time::Duration;

use super::{Problem, Seen};
use crate::protocol::{Closed, Role};

pub(super) struct Watch;

/// Nobody asks how much was queued at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak(());

impl Peak {
    #[inline(always)]
    pub(crate) fn rise(&mut self, _: impl FnOnce() -> usize) {}
}

#[allow(clippy::unused_self)]
impl Watch {
    pub(super) fn new(_: Role) -> Self {
        Self
    }

    pub(super) fn open(&mut self) {}

    #[inline(always)]
    pub(super) fn turn(&mut self, _: &Seen) {}

    pub(super) fn answer(&self, _: Duration) {}

    pub(super) fn fail(&self, _: &Problem<'_>) {}

    pub(super) fn close(&mut self, _: &Closed, _: &Seen) {}
}

pub(super) fn server(_: &Problem<'_>) {}

pub(super) fn no_connection(_: &Problem<'_>) {}

pub(super) fn again(_: &Problem<'_>, _: Option<Duration>) {}
