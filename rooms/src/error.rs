//! What can go wrong with a room, with what is said in it, and with a broker.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::name::NameError;

/// A socket could not join a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// There can be no room of this name.
    Room(NameError),
    /// Nobody can be present under this name: it is empty, or longer than [`MAX_WHO`](crate::MAX_WHO) bytes.
    Who(usize),
    /// The socket has ended, or has begun to close.
    Closed,
}

/// A message was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// There can be no room of this name.
    Room(NameError),
    /// The message is too long.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most bytes of a message: [`Builder::max_message`](crate::Builder::max_message), or the broker's limit.
        limit: usize,
    },
    /// There is no connection to the broker, or the rooms were [closed](crate::Rooms::close): nobody has got it. See
    /// [`Builder::while_away`](crate::Builder::while_away).
    Unavailable,
    /// As much is waiting for the broker, or for the members of the room, as may wait
    /// ([`Builder::queue`](crate::Builder::queue)): nobody has got it.
    Full,
    /// The connection to the broker was lost before it had confirmed the message: some may have got it, all or nobody.
    /// It is not sent again.
    Lost,
    /// The broker did not take it, for this reason: nobody has got it, but for the members on this node with
    /// [`Builder::local_first`](crate::Builder::local_first).
    Refused(String),
}

/// The history of a room could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryError {
    /// There can be no room of this name.
    Room(NameError),
    /// No history is kept: see [`Builder::history`](crate::Builder::history).
    NotKept,
    /// There is no connection to the broker, it was lost meanwhile, or too many histories wait to be read.
    Unavailable,
    /// The history should have that position, and has not: the broker has lost it, or another room has it. What is there
    /// can be read without a position.
    Gone,
    /// The broker did not answer as it should, for this reason.
    Failed(String),
}

/// What is wrong with a broker, or with the way to it. It holds no secrets: URLs are without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerError {
    /// The URL is not that of a broker of this kind: what is wrong with it.
    Url(String),
    /// The application's [prefix](crate::Builder::prefix) is none: this one.
    Prefix(String),
    /// Nobody answers there.
    Unreachable(String),
    /// The broker wants other credentials, or any.
    Credentials(String),
    /// The broker does not allow this.
    Denied(String),
    /// What answers there is not such a broker, or one that lacks what is needed.
    Protocol(String),
    /// The broker did not answer for so long.
    TimedOut(Duration),
    /// The connection has ended.
    Lost(String),
    /// The broker keeps no history: what it lacks.
    History(String),
    /// The runtime in which the connection was has ended, or [`Rooms::close`](crate::Rooms::close) was called.
    Closed,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(error) => error.fmt(f),
            Self::Who(0) => f.write_str("an empty name for who joins: call `join` for a member without a name"),
            Self::Who(length) => {
                write!(f, "the name of who joins has {length} bytes: {} is the most", crate::MAX_WHO)
            }
            Self::Closed => f.write_str("the socket is closed"),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(error) => error.fmt(f),
            Self::TooLong { length, limit } => write!(f, "the message has {length} bytes: {limit} is the most"),
            Self::Unavailable => f.write_str(
                "there is no connection to the broker, or the rooms are closed: the message was not published",
            ),
            Self::Full => f.write_str("too much is waiting to be published: the message was not"),
            Self::Lost => {
                f.write_str("the broker was lost before it had confirmed the message, which may be lost, too")
            }
            Self::Refused(reason) => write!(f, "the broker did not take the message: {reason}"),
        }
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(error) => error.fmt(f),
            Self::NotKept => f.write_str("no history is kept: turn it on with `Builder::history`"),
            Self::Unavailable => f.write_str("the broker that keeps the history cannot be asked now: try again later"),
            Self::Gone => {
                f.write_str("the history has lost that position: read without one, `None`, what there is of it")
            }
            Self::Failed(reason) => write!(f, "the history could not be read: {reason}"),
        }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(problem) => write!(f, "not the URL of a broker: {problem}"),
            Self::Prefix(prefix) => {
                write!(f, "{prefix:?} is no prefix: it is 1 to 64 ASCII letters, digits, \"-\" and \"_\"")
            }
            Self::Unreachable(problem) => write!(f, "the broker cannot be reached: {problem}"),
            Self::Credentials(problem) => write!(f, "the broker does not accept the credentials: {problem}"),
            Self::Denied(problem) => write!(f, "the broker does not allow it: {problem}"),
            Self::Protocol(problem) => write!(f, "this is not a broker that rooms can use: {problem}"),
            Self::TimedOut(after) => write!(f, "the broker did not answer within {after:?}"),
            Self::Lost(problem) => write!(f, "the connection to the broker was lost: {problem}"),
            Self::History(problem) => write!(f, "the broker keeps no history: {problem}"),
            Self::Closed => f.write_str("these rooms are closed, or the runtime that they were made in has ended"),
        }
    }
}

impl Error for JoinError {}
impl Error for PublishError {}
impl Error for HistoryError {}
impl Error for BrokerError {}

impl From<NameError> for JoinError {
    fn from(error: NameError) -> Self {
        Self::Room(error)
    }
}

impl From<NameError> for PublishError {
    fn from(error: NameError) -> Self {
        Self::Room(error)
    }
}

impl From<NameError> for HistoryError {
    fn from(error: NameError) -> Self {
        Self::Room(error)
    }
}
