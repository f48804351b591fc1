//! What is known of a connection: that it has ended, how far the server has got, and what it has denied.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Event, ServerError};
use tokio::sync::watch;

use crate::error::BrokerError;

/// How many events of a client can wait: those after them are dropped. As many denials mean that there may be more.
pub(super) const MOST_EVENTS: usize = 128;

/// What is known of a connection. The client's events make it, and the session asks for it.
pub(super) struct Health {
    progress: watch::Sender<Progress>,
    denied: Mutex<Vec<Denial>>,
    /// Begins the subjects without which a session can do nothing.
    vital: String,
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
    pub(super) fn new(vital: String) -> Arc<Self> {
        Arc::new(Self { progress: watch::Sender::default(), denied: Mutex::default(), vital })
    }

    /// The connection has ended for this reason, unless it has already.
    pub(super) fn end(&self, error: BrokerError) {
        self.progress.send_if_modified(|progress| {
            let is_first = progress.ended.is_none();
            progress.ended.get_or_insert(error);
            is_first
        });
    }

    pub(super) fn echo(&self, marker: u64) {
        self.progress.send_modify(|progress| progress.echoed = marker);
    }

    /// Takes what was denied since this was called before.
    pub(super) fn take_denials(&self) -> Vec<Denial> {
        mem::take(&mut *self.denials())
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
                Some(subject) => self.deny(Denial { subject: subject.into(), text }),
                None => self.complain(text),
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

/// Takes the events of a client. When the client is gone, so is this, and the connection has ended.
pub(super) struct Events(Arc<Health>);

impl Events {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self(health)
    }

    pub(super) fn take(&self, event: Event) {
        self.0.event(event);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.end(closed("the client has given it up"));
    }
}
