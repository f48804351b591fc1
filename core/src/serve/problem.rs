//! What a server's owner is told, as far as a log may show it.

use core::fmt::Display;
use core::net::SocketAddr;

use super::error::ServerError;
use crate::observe::{Problem, Severity};

impl ServerError {
    /// Returns as much of it as a log may show: not what the handler says of its error, which may quote the request.
    pub(super) fn problem(&self) -> Problem<'_> {
        let warn = |kind| Problem::new(kind, Severity::Warn);
        match self {
            Self::Accept(error) => warn("accept").detail(error),
            Self::Tls { peer, error } => from(*peer, None, Problem::new("tls", Severity::Info).detail(error)),
            Self::ProxyProtocol { peer, error } => from(*peer, None, warn("proxy_protocol").detail(error)),
            Self::Refused { peer, refused } => from(*peer, refused.path.as_deref(), Problem::of_refused(refused)),
            Self::Handler(_) => warn("handler"),
            Self::HandlerPanicked(_) => Problem::new("handler_panic", Severity::Error),
            Self::NoAnswer => warn("no_answer"),
            Self::HandlerTimeout(_) => warn("handler_timeout").detail(self as &dyn Display),
            Self::ProtocolNotOffered(_) => warn("protocol_not_offered"),
            Self::NoProtocolChosen { path, .. } => from(None, Some(path), warn("no_protocol_chosen")),
            Self::Header { .. } => warn("header"),
            Self::Config(error) => warn("config").detail(error),
            Self::Upgrade(error) => warn("upgrade").detail(error),
            Self::ListenerPanicked(_) => Problem::new("listener_panic", Severity::Error),
        }
    }
}

fn from<'a>(peer: Option<SocketAddr>, path: Option<&'a str>, problem: Problem<'a>) -> Problem<'a> {
    Problem { peer, path, ..problem }
}
