//! What stands for `tracing` in a build without it.

use core::time::Duration;

use super::{Opened, Problem, Seen};
use crate::http::Uri;
use crate::protocol::{Closed, Role};

pub(super) struct Watch;

/// Callbacks run.
pub(crate) struct Entered;

#[allow(clippy::unused_self)]
impl Watch {
    pub(super) fn new(_: Role) -> Self {
        Self
    }

    pub(super) fn open(&mut self, _: Opened<'_>) {}

    #[inline(always)]
    pub(super) fn enter(&self) -> Entered {
        Entered
    }

    #[inline(always)]
    pub(super) fn turn(&mut self, _: &Seen) {}

    pub(super) fn fail(&self, _: &Problem<'_>) {}

    pub(super) fn close(&self, _: &Closed, _: &Seen) {}
}

pub(super) fn server(_: &Problem<'_>) {}

pub(super) fn no_connection(_: &Uri, _: &Problem<'_>) {}

pub(super) fn again(_: &Problem<'_>, _: u32, _: Option<Duration>) {}
