//! What goes wrong, as far as a log may show it.

use core::fmt::Display;
use core::net::SocketAddr;

use crate::handshake::ConnectError;
use crate::handshake::client::HandshakeError;
use crate::handshake::server::{Refusal, Refused};
use crate::protocol::{Error, Timeout};

/// What has gone wrong, as far as a log may show it: nothing that a peer has sent but where it comes from and where it wants
/// to, and nothing that the program's own functions say of an error.
#[cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(dead_code, reason = "each looks at a part"))]
pub(crate) struct Problem<'a> {
    /// What it is, in one of a few words: also a label of numbers.
    pub(crate) kind: &'static str,
    pub(crate) severity: Severity,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) path: Option<&'a str>,
    pub(crate) status: Option<u16>,
    /// A text that is our own, or the system's.
    pub(crate) detail: Option<&'a dyn Display>,
}

/// Whose affair it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// A mistake in this program.
    Error,
    /// Something that who runs this program can change.
    Warn,
    /// A peer was turned away, or a connection was lost.
    Info,
    /// Life.
    Debug,
}

impl<'a> Problem<'a> {
    pub(crate) fn new(kind: &'static str, severity: Severity) -> Self {
        Self { kind, severity, peer: None, path: None, status: None, detail: None }
    }

    pub(crate) fn detail(self, detail: &'a dyn Display) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Why a connection has failed.
    pub(super) fn of_connection(error: &'a Error) -> Self {
        match error {
            Error::Violation(violation) => Self::new("violation", Severity::Info).detail(violation),
            Error::Timeout(Timeout::Keepalive) => Self::new("keepalive", Severity::Info),
            Error::Timeout(Timeout::Idle) => Self::new("idle", Severity::Debug),
            Error::Timeout(Timeout::Close) => Self::new("close_timeout", Severity::Debug),
            Error::Vanished => Self::new("vanished", Severity::Debug),
            Error::SlowReader => Self::new("slow_reader", Severity::Warn),
            Error::Transport(error) => Self::new("transport", Severity::Info).detail(error),
            Error::Callback(_) => Self::new("callback", Severity::Warn),
            Error::Panicked(_) => Self::new("panic", Severity::Error),
            Error::Decode(_) => Self::new("decode", Severity::Info),
            Error::Abandoned => Self::new("abandoned", Severity::Debug),
        }
    }

    /// Why a request was refused. The text quotes its `Origin` and `Host`, where they are the reason.
    pub(crate) fn of_refused(refused: &'a Refused) -> Self {
        let refusal = refused.refusal;
        let problem = Self::new(reason(refusal), Severity::Info).detail(refused);
        Self { status: Some(refusal.status()), ..problem }
    }

    /// Why a client has no connection. What the server has answered is not told, but for its status.
    pub(crate) fn of_connect(error: &'a ConnectError) -> Self {
        let problem = match error {
            ConnectError::Url(_) => Self::new("url", Severity::Warn),
            #[cfg(feature = "http")]
            ConnectError::Method(_) => Self::new("method", Severity::Warn),
            ConnectError::Header(_) => Self::new("header", Severity::Warn),
            ConnectError::Credentials(_) => Self::new("credentials", Severity::Warn),
            ConnectError::Protocol(_) => Self::new("protocol", Severity::Warn),
            ConnectError::Config(error) => Self::new("config", Severity::Warn).detail(error),
            ConnectError::Tls(error) => Self::new("tls", Severity::Info).detail(error),
            ConnectError::Resolve(error) => Self::new("resolve", Severity::Info).detail(error),
            ConnectError::Connect(error) => Self::new("connect", Severity::Info).detail(error),
            ConnectError::Proxy(_) => Self::new("proxy", Severity::Info),
            ConnectError::Timeout(phase) => Self::new("timeout", Severity::Info).detail(phase),
            ConnectError::Handshake(HandshakeError::Refused(_)) => Self::new("refused", Severity::Info),
            ConnectError::Handshake(_) => Self::new("handshake", Severity::Info),
            ConnectError::Redirect(_) => Self::new("redirect", Severity::Info),
            ConnectError::Io(error) => Self::new("io", Severity::Info).detail(error),
            ConnectError::Thread(error) => Self::new("thread", Severity::Warn).detail(error),
        };
        Self { status: error.response().map(|answer| answer.status()), ..problem }
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "malformed",
        Refusal::Tls => "tls",
        Refusal::ProxyProtocol => "proxy_protocol",
        Refusal::Target => "target",
        Refusal::Host => "host",
        Refusal::Body => "body",
        Refusal::Origin => "origin",
        Refusal::Method => "method",
        Refusal::UpgradeMethod => "upgrade_method",
        Refusal::ConnectMethod => "connect_method",
        Refusal::ConnectProtocol => "connect_protocol",
        Refusal::Timeout => "timeout",
        Refusal::TargetTooLong => "target_too_long",
        Refusal::HeadTooLarge => "head_too_large",
        Refusal::TooManyFields => "too_many_fields",
        Refusal::HttpVersion => "http_version",
        Refusal::NotAnUpgrade => "not_an_upgrade",
        Refusal::Http10 => "http_10",
        Refusal::Connection => "connection",
        Refusal::Version => "version",
        Refusal::RepeatedVersion => "repeated_version",
        Refusal::Key => "key",
        Refusal::Protocols => "protocols",
        Refusal::Extensions => "extensions",
    }
}
