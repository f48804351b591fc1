//! How the program ends: each kind of failure has an exit status of its own, for scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use bellwire::proto::client::{HandshakeError, ProxyError, SocksFailure};
use bellwire::reconnect::{self, Ended};
use bellwire::{CloseCode, Closed, ClosedBy, ConnectError, Error, TlsError};

/// The exit statuses. They are documented in `--help` and in the README: a number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well, and the connection was closed properly.
    Clean = 0,
    /// The program itself failed: a file, the standard input or output, the address to listen on.
    Failed = 1,
    /// The command line, or a line of the input, makes no sense.
    Usage = 2,
    /// There is no connection: the name, the network, a proxy, TLS, or it took too long.
    Unreachable = 3,
    /// The server, or a proxy, answered, and refused.
    Refused = 4,
    /// The peer broke the protocol.
    Protocol = 5,
    /// The connection was lost without a closing handshake.
    Lost = 6,
    /// The server closed with a code that says that something is wrong.
    ClosedWith = 7,
    /// What was waited for did not come.
    NoReply = 8,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure: its exit status, and what the user reads.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Nobody reads the output any more.
    pub(crate) is_unread: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), is_unread: false }
    }

    /// Of the command line.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, format_args!("{message}; see --help"))
    }

    /// Of a file.
    pub(crate) fn file(name: &str, error: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, format_args!("{name}: {error}"))
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::usage(error)
    }
}

/// Of the standard input or output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { is_unread: error.kind() == io::ErrorKind::BrokenPipe, ..Self::new(Exit::Failed, error) }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::from(&error)
    }
}

impl From<&ConnectError> for Failure {
    fn from(error: &ConnectError) -> Self {
        let exit = match error {
            ConnectError::Url(_)
            | ConnectError::Header(_)
            | ConnectError::Credentials(_)
            | ConnectError::Protocol(_)
            | ConnectError::Config(_)
            | ConnectError::Proxy(ProxyError::Invalid(_) | ProxyError::Variable(..)) => return Self::usage(error),
            ConnectError::Handshake(HandshakeError::Refused(_)) | ConnectError::Redirect(_) => Exit::Refused,
            ConnectError::Handshake(HandshakeError::Eof) => Exit::Unreachable,
            ConnectError::Handshake(_) => Exit::Protocol,
            ConnectError::Proxy(error) => by_proxy(error),
            ConnectError::Thread(_) => Exit::Failed,
            ConnectError::Tls(TlsError::Certificate(cause)) => {
                let hint = "--ca FILE takes other roots";
                return Self::new(
                    Exit::Unreachable,
                    format_args!("the peer's certificate is not trusted: {cause} ({hint})"),
                );
            }
            _ => Exit::Unreachable,
        };
        Self::new(exit, error)
    }
}

fn by_proxy(error: &ProxyError) -> Exit {
    match error {
        ProxyError::Refused(_)
        | ProxyError::CredentialsNeeded
        | ProxyError::CredentialsRefused
        | ProxyError::NoMethod
        | ProxyError::Socks(SocksFailure::NotAllowed) => Exit::Refused,
        ProxyError::NotHttp
        | ProxyError::TooLarge
        | ProxyError::TooManyFields(_)
        | ProxyError::NotSocks5
        | ProxyError::SpokeFirst => Exit::Protocol,
        _ => Exit::Unreachable,
    }
}

/// Judges how a connection ended. The error is what `on_error` was told, if it was.
pub(crate) fn judge(closed: &Closed, error: Option<&Error>) -> Result<(), Failure> {
    match (error, closed.clean, closed.code) {
        (Some(error @ Error::Violation(_)), ..) => Err(Failure::new(Exit::Protocol, error)),
        // With a code that the user has chosen.
        (_, true, _) if closed.by == ClosedBy::Local => Ok(()),
        (_, true, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS) => Ok(()),
        (_, true, _) => Err(Failure::new(Exit::ClosedWith, format_args!("the server closed the connection: {closed}"))),
        (Some(error), ..) => Err(Failure::new(Exit::Lost, format_args!("the connection broke: {error}"))),
        (None, ..) => Err(Failure::new(Exit::Lost, format_args!("the connection broke: {closed}"))),
    }
}

/// Judges how a client has ended, by what has failed last.
pub(crate) fn judge_end(ended: &Ended, error: Option<&Error>) -> Result<(), Failure> {
    match ended.failure.as_deref() {
        None => {}
        Some(reconnect::Failure::Connect(error)) => return Err(error.into()),
        Some(reconnect::Failure::Closed(closed)) => judge(closed, error)?,
        Some(failure) => return Err(Failure::new(Exit::Failed, failure)),
    }
    match ended.unsent.len() {
        0 => Ok(()),
        count => {
            Err(Failure::new(Exit::Lost, format_args!("the connection has ended before {count} messages were sent")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwire::ClosedBy::{Local, Peer};

    #[test]
    fn ends_have_their_exit_statuses() {
        let judged = |closed: Closed| judge(&closed, None).map_or_else(|failure| failure.exit, |()| Exit::Clean);
        assert_eq!(judged(Closed::clean(1000, "", Peer)), Exit::Clean);
        assert_eq!(judged(Closed::clean(1001, "Server Shutdown", Peer)), Exit::Clean);
        assert_eq!(judged(Closed::clean(1005, "", Peer)), Exit::Clean);
        assert_eq!(judged(Closed::clean(1011, "", Peer)), Exit::ClosedWith);
        assert_eq!(judged(Closed::clean(4000, "", Peer)), Exit::ClosedWith);
        assert_eq!(judged(Closed::clean(4000, "", Local)), Exit::Clean);
        assert_eq!(judged(Closed::abnormal(Peer)), Exit::Lost);
    }
}
