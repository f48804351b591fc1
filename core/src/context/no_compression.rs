//! What stands for `compression` in a build without it: types that have no values, so no connection has any.

use core::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compression {
    pub(crate) server: Window,
    pub(crate) client: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {}

impl fmt::Display for Compression {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {}
    }
}
