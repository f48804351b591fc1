//! Why there is no connection, or none any more.

use core::fmt;

use crate::handshake::ConnectError;
#[cfg(feature = "std")]
use crate::observe::{Problem, Severity};
use crate::protocol::{BoxError, CloseCode, Closed};

/// The reason why there is no connection, or none any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A try to connect has failed.
    Connect(ConnectError),
    /// The connection has ended.
    Closed(Closed),
    /// What was to be done before a try has failed: a token could not be fetched, for example.
    Hook(BoxError),
}

impl Failure {
    /// Returns `true` if another try may help, unless a [`Policy`](super::Policy) says otherwise: what
    /// [`ConnectError::is_retryable`] says; of a connection that has ended, one of the close codes 1001, 1006 and 1011 to
    /// 1014; and every error of a hook, but for a [`ConnectError`] that says otherwise.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::reconnect::Failure;
    /// use bellwire::{Closed, ClosedBy, CloseCode};
    ///
    /// let closed = |code| Failure::Closed(Closed::clean(code, "", ClosedBy::Peer));
    /// assert!(closed(CloseCode::GOING_AWAY).is_retryable());
    /// assert!(!closed(CloseCode::POLICY).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Closed(closed) => is_retryable(closed.code),
            Self::Hook(error) => error.downcast_ref().is_none_or(ConnectError::is_retryable),
        }
    }

    /// Returns why a try to connect has failed, if that is what it is.
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Hook(error) => error.downcast_ref(),
            Self::Closed(_) => None,
        }
    }

    /// Returns as much of it as a log may show: not what the hook says of its error.
    #[cfg(feature = "std")]
    pub(crate) fn problem(&self) -> Problem<'_> {
        match self {
            Self::Connect(error) => Problem::of_connect(error),
            Self::Closed(_) => Problem::new("closed", Severity::Info),
            Self::Hook(_) => Problem::new("hook", Severity::Warn),
        }
    }

    /// Returns how the connection has ended, if there was one.
    pub fn closed(&self) -> Option<&Closed> {
        if let Self::Closed(closed) = self { Some(closed) } else { None }
    }
}

/// 1012 is "Service Restart", 1013 "Try Again Later", 1014 "Bad Gateway" (IANA's registry of close codes).
fn is_retryable(code: CloseCode) -> bool {
    matches!(code, CloseCode::GOING_AWAY | CloseCode::ABNORMAL) || matches!(code.0, 1011..=1014)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Closed(closed) => write!(f, "the connection has ended: {closed}"),
            Self::Hook(error) => write!(f, "preparing to connect has failed: {error}"),
        }
    }
}

/// The text includes that of the error inside, so the source is that error's source.
impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Hook(error) => error.source(),
            Self::Closed(_) => None,
        }
    }
}
