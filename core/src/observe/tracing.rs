//! What happens, as spans and events of `tracing`. Targets, levels and fields are told to users in `docs/guide/seeing.md`.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::time::Duration;

use tracing::Span;
use tracing::field::display;
use tracing::span::EnteredSpan;

use super::{Opened, Problem, Seen, Severity, by, role};
use crate::context::SocketContext;
use crate::http::{Shown, Uri};
use crate::protocol::{Closed, Role};

/// What belongs to a connection that is open.
const CONNECTION: &str = "bellwire::connection";
/// What a server's owner may want to know.
const SERVER: &str = "bellwire::server";
/// What happens to a client before and between its connections.
const CLIENT: &str = "bellwire::client";

/// An event whose level is known only when it happens.
macro_rules! event {
    ($severity:expr, $($event:tt)*) => {
        match $severity {
            Severity::Error => tracing::error!($($event)*),
            Severity::Warn => tracing::warn!($($event)*),
            Severity::Info => tracing::info!($($event)*),
            Severity::Debug => tracing::debug!($($event)*),
        }
    };
}

/// A connection's span, and what was told of it.
pub(super) struct Watch {
    role: Role,
    span: Span,
    /// How many sends were refused when that was told last.
    refused: u64,
    /// Whether it is told that the queue is full, and has not been empty since.
    full: bool,
    paused: bool,
}

/// Callbacks run within the span.
pub(crate) struct Entered(#[expect(dead_code, reason = "left when it is dropped")] Option<EnteredSpan>);

impl Watch {
    pub(super) fn new(role: Role) -> Self {
        Self { role, span: Span::none(), refused: 0, full: false, paused: false }
    }

    pub(super) fn open(&mut self, Opened { id, context }: Opened<'_>) {
        let text = |text: Option<&Box<str>>| text.map(|text| display(Shown(text).to_string()));
        let peer = context.and_then(SocketContext::get_peer_addr);
        // Behind a proxy.
        let client =
            context.and_then(SocketContext::get_client_ip).filter(|ip| Some(*ip) != peer.map(|peer| peer.ip()));
        // Of the highest level: who sees any event of the connection's sees which connection it is.
        self.span = tracing::error_span!(
            target: CONNECTION,
            "connection",
            id = u64::from(id),
            role = role(self.role),
            peer = peer.map(display),
            client = client.map(display),
            path = text(context.and_then(|context| context.path.as_ref())),
            protocol = text(context.and_then(|context| context.protocol.as_ref())),
        );
        tracing::debug!(target: CONNECTION, parent: &self.span, "connection opened");
    }

    #[inline(always)]
    pub(super) fn enter(&self) -> Entered {
        Entered((!self.span.is_none()).then(|| self.span.clone().entered()))
    }

    #[inline(always)]
    pub(super) fn turn(&mut self, seen: &Seen) {
        if seen.refused != self.refused || seen.paused != self.paused || self.full {
            self.turn_to(seen);
        }
    }

    #[cold]
    fn turn_to(&mut self, seen: &Seen) {
        let queued = seen.queued;
        if seen.refused != self.refused {
            self.refused = seen.refused;
            // Once for each time that the peer is slow, not for each message that a program then tries to send.
            if !self.full {
                self.full = true;
                let refused = seen.refused;
                tracing::warn!(target: CONNECTION, parent: &self.span, queued, refused, "queue full, messages are refused");
            }
        } else if queued == 0 {
            self.full = false;
        }
        match (self.paused, seen.paused) {
            (false, true) => {
                tracing::debug!(target: CONNECTION, parent: &self.span, queued, "reading paused, the peer reads too slowly");
            }
            (true, false) => tracing::debug!(target: CONNECTION, parent: &self.span, queued, "reading resumed"),
            _ => {}
        }
        self.paused = seen.paused;
    }

    pub(super) fn fail(&self, problem: &Problem<'_>) {
        let Problem { kind, severity, detail, .. } = *problem;
        event!(
            severity,
            target: CONNECTION,
            parent: &self.span,
            kind,
            detail = detail.map(display),
            "connection failed"
        );
    }

    pub(super) fn close(&self, closed: &Closed, seen: &Seen) {
        tracing::debug!(
            target: CONNECTION,
            parent: &self.span,
            code = closed.code.0,
            reason = ?closed.reason,
            by = by(closed.by),
            clean = closed.clean,
            received_messages = seen.received.messages,
            received_bytes = seen.received.bytes,
            sent_messages = seen.sent.messages,
            sent_bytes = seen.sent.bytes,
            "connection closed"
        );
    }
}

pub(super) fn server(problem: &Problem<'_>) {
    let Problem { kind, severity, peer, path, status, detail } = *problem;
    let (peer, path, detail) = (peer.map(display), path.map(|path| display(Shown(path))), detail.map(display));
    match status {
        Some(status) => event!(severity, target: SERVER, peer, path, status, kind, detail, "request refused"),
        None => event!(severity, target: SERVER, peer, path, kind, detail, "server error"),
    }
}

pub(super) fn no_connection(uri: &Uri, problem: &Problem<'_>) {
    let Problem { kind, severity, status, detail, .. } = *problem;
    event!(
        severity,
        target: CLIENT,
        host = %Shown(uri.host()),
        port = uri.port(),
        path = %Shown(uri.path()),
        kind,
        status,
        detail = detail.map(display),
        "no connection"
    );
}

pub(super) fn again(problem: &Problem<'_>, tries: u32, retry_in: Option<Duration>) {
    let Problem { kind, status, .. } = *problem;
    match retry_in.map(|delay| delay.as_secs_f64()) {
        Some(retry_in) => tracing::info!(target: CLIENT, kind, status, tries, retry_in, "connecting again"),
        None => tracing::warn!(target: CLIENT, kind, status, tries, "not connecting again"),
    }
}
