//! What stands for `deflate` in a build without it: types that have no values, so no message is compressed.

use alloc::boxed::Box;

use bytes::Bytes;

use super::Violation;
use super::frame::Opcode;
use super::partial::Partial;
use crate::config::Config;
use crate::context::Window;

pub(super) enum Inflation {}

impl Inflation {
    pub(super) fn new(window: Window) -> Self {
        match window {}
    }

    pub(super) fn part(&mut self, _: &[u8], _: &mut Partial, _: usize) -> Result<(), Violation> {
        match *self {}
    }

    pub(super) fn last_part(&mut self, _: &[u8], _: &mut Partial, _: usize) -> Result<(), Violation> {
        match *self {}
    }

    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }
}

pub(super) enum Deflation {}

impl Deflation {
    pub(super) fn message(
        _: &mut Option<Box<Self>>,
        _: &[u8],
        window: Window,
        _: &Config,
        _: impl FnOnce(&[u8]),
    ) -> bool {
        match window {}
    }

    pub(super) fn sent_alone(_: &mut Option<Box<Self>>, _: &[u8], window: Window, _: &Config) {
        match window {}
    }

    pub(super) fn rest(_: &mut Option<Box<Self>>) {}
}

/// Of a message that is sent to many: none.
#[derive(Debug, Clone, Default)]
pub(super) struct CompressedFrames {}

impl CompressedFrames {
    pub(super) fn get(&self, _: Opcode, _: &[u8], window: Window, _: &Config) -> Option<&Bytes> {
        match window {}
    }
}

pub(super) fn compresses(_: &[u8], _: &Config) -> bool {
    false
}
