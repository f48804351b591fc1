//! What stands for `metrics` in a build without it.

#[cfg(feature = "__broker")]
use crate::error::BrokerError;
use crate::error::PublishError;

#[derive(Default)]
pub(super) struct Watch;

#[allow(clippy::unused_self)]
impl Watch {
    pub(super) fn joined(&self, _: bool) {}

    pub(super) fn left(&self, _: bool) {}

    pub(super) fn published(&self, _: &Result<(), PublishError>) {}

    pub(super) fn gap(&self, _: usize) {}
}

#[cfg(feature = "__broker")]
#[allow(clippy::unused_self)]
impl Watch {
    pub(super) fn away(&self) {}

    pub(super) fn back(&self) {}

    pub(super) fn failed(&self, _: &BrokerError) {}

    pub(super) fn received(&self) {}

    pub(super) fn unpublished(&self, _: &PublishError) {}
}
