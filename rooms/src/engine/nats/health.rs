//! What is known of a connection: that it has ended, how far the server has got, and what it has denied.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Event, ServerError};
use tokio::sync::watch;

use crate::engine::printable;
use crate::error::BrokerError;

/// How many events of a client can wait: those after them are dropped. As many denials mean that there may be more.
pub(super) const MOST_EVENTS: usize = 128;

/// What is known of a connection. The client's events make it, and the session asks for it.
pub(super) struct Health {
    progress: watch::Sender<Progress>,
    denied: Mutex<Vec<Denial>>,
    /// Begins the subjects without which a session can do nothing.
    vital: String,
    /// Whether the client still has the connection that this is about. One that is not ours does not say when it has
    /// another.
    is_current: Box<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Default)]
struct Progress {
    is_connected: bool,
    /// What the server has said last that is no denial: it often is why the connection ends.
    complaint: Option<String>,
    ended: Option<BrokerError>,
    /// The last marker that has come back from the server.
    echoed: u64,
    /// Whether the client has dropped messages that were not read fast enough.
    has_missed: bool,
    /// How many denials there ever were.
    denials: usize,
}

/// The server has not allowed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) subject: String,
    /// What the server has said.
    pub(super) text: String,
}

impl Health {
    pub(super) fn new(vital: String, is_current: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        let is_current = Box::new(is_current);
        Arc::new(Self { progress: watch::Sender::default(), denied: Mutex::default(), vital, is_current })
    }

    /// The connection has ended for this reason, unless it has already.
    pub(super) fn end(&self, error: BrokerError) {
        self.progress.send_if_modified(|progress| {
            let is_first = progress.ended.is_none();
            progress.ended.get_or_insert(error);
            is_first
        });
    }

    /// Takes what was denied since this was called before.
    pub(super) fn take_denials(&self) -> Vec<Denial> {
        mem::take(&mut *self.denials())
    }

    /// Whether the connection has not ended yet.
    pub(super) fn check(&self) -> Result<(), BrokerError> {
        if !(self.is_current)() {
            self.end(closed("the client has lost it"));
        }
        self.progress.borrow().ended.clone().map_or(Ok(()), Err)
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) -> Result<(), BrokerError> {
        self.when(|progress| progress.is_connected).await
    }

    /// Waits until the server has got as far as this marker.
    pub(super) async fn echoed(&self, marker: u64) -> Result<(), BrokerError> {
        self.when(|progress| progress.echoed >= marker).await
    }

    /// Waits until the client has dropped messages since this was called before.
    pub(super) async fn missed(&self) -> Result<(), BrokerError> {
        self.when(|progress| progress.has_missed).await?;
        self.progress.send_if_modified(|progress| {
            progress.has_missed = false;
            false
        });
        Ok(())
    }

    /// Waits until something is denied.
    pub(super) async fn denied(&self) -> Denial {
        let _ = self.progress.subscribe().wait_for(|progress| progress.denials > 0).await;
        self.denials().first().cloned().unwrap_or_else(|| Denial { subject: String::new(), text: "denied".into() })
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) -> BrokerError {
        match self.when(|_| false).await {
            Err(error) => error,
            Ok(()) => BrokerError::Closed,
        }
    }

    async fn when(&self, is: impl Fn(&Progress) -> bool) -> Result<(), BrokerError> {
        let mut progress = self.progress.subscribe();
        // There is always a sender: it is in here.
        let Ok(progress) = progress.wait_for(|progress| is(progress) || progress.ended.is_some()).await else {
            return Err(BrokerError::Closed);
        };
        progress.ended.clone().map_or(Ok(()), Err)
    }

    fn event(&self, event: Event) {
        match event {
            Event::Connected => self.progress.send_modify(|progress| progress.is_connected = true),
            Event::Disconnected => self.end(self.complaint().unwrap_or_else(|| closed("the server has closed it"))),
            Event::Closed => self.end(closed("the client was closed")),
            Event::SlowConsumer(_) => self.progress.send_modify(|progress| progress.has_missed = true),
            Event::ServerError(ServerError::AuthorizationViolation) => self.complain("Authorization Violation".into()),
            Event::ServerError(ServerError::Other(text)) => match denial(&text) {
                Some(subject) => self.deny(Denial { subject: subject.into(), text: printable(&text) }),
                None => self.complain(printable(&text)),
            },
            _ => {}
        }
    }

    fn complain(&self, text: String) {
        self.progress.send_modify(|progress| progress.complaint = Some(text));
    }

    fn complaint(&self) -> Option<BrokerError> {
        let text = self.progress.borrow().complaint.clone()?;
        let is_about_credentials =
            ["authentication", "authorization"].iter().any(|word| text.to_lowercase().contains(word));
        Some(if is_about_credentials { BrokerError::Credentials(text) } else { BrokerError::Lost(text) })
    }

    fn deny(&self, denial: Denial) {
        if denial.subject.starts_with(&self.vital) {
            self.end(BrokerError::Denied(denial.text.clone()));
        }
        let mut denied = self.denials();
        if denied.len() < 2 * MOST_EVENTS {
            denied.push(denial);
        }
        drop(denied);
        self.progress.send_modify(|progress| progress.denials += 1);
    }

    fn denials(&self) -> MutexGuard<'_, Vec<Denial>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The subject that the server has not allowed to publish or to subscribe to, if that is what it says.
fn denial(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("Permissions Violation for ")?;
    let (_, quoted) = rest.split_once('"')?;
    quoted.split_once('"').map(|(subject, _)| subject)
}

fn closed(by: &str) -> BrokerError {
    BrokerError::Lost(by.into())
}

/// Belongs to what runs as long as the connection does, and tells what comes there. When it is dropped, the connection
/// has ended.
pub(super) struct Pulse(Arc<Health>);

impl Pulse {
    pub(super) fn of(health: &Arc<Health>) -> Self {
        Self(health.clone())
    }

    /// The client says this.
    pub(super) fn event(&self, event: Event) {
        self.0.event(event);
    }

    /// This marker has come back.
    pub(super) fn echo(&self, marker: u64) {
        self.0.progress.send_modify(|progress| progress.echoed = marker);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.end(closed("the client has given it up"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    /// What a future is when it is polled once.
    fn now<F: Future>(future: F) -> Poll<F::Output> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn said(text: &str) -> Event {
        Event::ServerError(ServerError::Other(text.into()))
    }

    fn health() -> (Arc<Health>, Pulse) {
        let health = Health::new("app.echo.".into(), || true);
        let pulse = Pulse::of(&health);
        (health, pulse)
    }

    #[test]
    fn markers_come_back_in_order_until_the_connection_has_ended() {
        let (health, pulse) = health();
        assert!(now(health.echoed(1)).is_pending() && now(health.connected()).is_pending());
        pulse.event(Event::Connected);
        pulse.echo(2);
        assert!(matches!(now(health.connected()), Poll::Ready(Ok(()))));
        assert!(matches!(now(health.echoed(1)), Poll::Ready(Ok(()))) && now(health.echoed(3)).is_pending());
        drop(pulse);
        assert!(matches!(now(health.echoed(3)), Poll::Ready(Err(BrokerError::Lost(_)))));
        assert!(matches!(now(health.ended()), Poll::Ready(BrokerError::Lost(_))));
    }

    #[test]
    fn what_the_server_has_said_last_is_why_it_has_ended() {
        for (text, is_about_credentials) in [
            ("Stale Connection", false),
            ("Maximum Payload Violation", false),
            ("User Authentication Expired", true),
            ("Authorization Violation", true),
        ] {
            let (health, pulse) = health();
            pulse.event(said(text));
            assert!(now(health.ended()).is_pending());
            pulse.event(Event::Disconnected);
            let error = match now(health.ended()) {
                Poll::Ready(BrokerError::Credentials(said)) if is_about_credentials => said,
                Poll::Ready(BrokerError::Lost(said)) if !is_about_credentials => said,
                other => panic!("{other:?}"),
            };
            assert_eq!(error, text);
        }
    }

    #[test]
    fn what_anybody_may_have_said_is_a_line_that_is_not_too_long() {
        let (health, pulse) = health();
        let long = "x".repeat(10_000);
        pulse.event(said(&format!("Permissions Violation for Publish to \"app.room.a\"\x1b[2J\r\n{long}")));
        pulse.event(said(&format!("Nobody\x1b[2J\r\nknows {long}")));
        pulse.event(Event::Disconnected);
        let denial = health.take_denials().remove(0);
        let Poll::Ready(BrokerError::Lost(complaint)) = now(health.ended()) else { panic!() };
        assert!(
            denial.subject == "app.room.a" && complaint.starts_with("Nobody[2Jknows xxx"),
            "{denial:?} {complaint}"
        );
        for text in [denial.text, complaint] {
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_denial_says_what_was_denied() {
        let (health, pulse) = health();
        let texts = [
            "Permissions Violation for Publish to \"app.room.a\"",
            "Permissions Violation for Subscription to \"app.room.b\"",
            "Permissions Violation for Subscription to \"app.room.c\" using queue \"d\"",
        ];
        texts.iter().for_each(|text| pulse.event(said(text)));
        let denials = health.take_denials();
        let subjects: Vec<_> = denials.iter().map(|denial| &*denial.subject).collect();
        assert_eq!(subjects, ["app.room.a", "app.room.b", "app.room.c"]);
        assert!(health.take_denials().is_empty() && now(health.ended()).is_pending());
        pulse.event(said("Permissions Violation for Publish to \"app.echo.x\""));
        assert!(matches!(now(health.ended()), Poll::Ready(BrokerError::Denied(_))));
    }

    #[test]
    fn messages_that_were_dropped_are_told_of_once() {
        let (health, pulse) = health();
        assert!(now(health.missed()).is_pending());
        pulse.event(Event::SlowConsumer(7));
        assert!(matches!(now(health.missed()), Poll::Ready(Ok(()))) && now(health.missed()).is_pending());
    }
}
