//! How a connection to a NATS server is made.

use std::future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::rustls::crypto::{self, CryptoProvider};
use async_nats::{Client, ConnectError, ConnectErrorKind, ServerError};
use tokio::time;

use super::Options;
use super::cluster::Cluster;
use super::health::{Health, Pulse};
use super::server::Server;
use crate::error::BrokerError;

/// How often a client that is not ours is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a client of ours asks its server whether it is still there. It gives it up with the third question.
const PING: Duration = Duration::from_secs(5);
/// How many messages of one subscription can wait to be read: more than come at a time, see
/// [`reactor`](super::reactor).
const UNREAD: usize = 1 << 20;

/// Where connections come from.
pub(super) struct Dial {
    source: Source,
    /// How long a connection may take.
    patience: Duration,
}

enum Source {
    Servers(Cluster, Options),
    Client(Client),
}

impl Dial {
    pub(super) fn servers(servers: Vec<Server>, options: Options, patience: Duration) -> Self {
        Self::new(Source::Servers(Cluster::new(servers), options), patience)
    }

    pub(super) fn client(client: Client, patience: Duration) -> Self {
        Self::new(Source::Client(client), patience)
    }

    fn new(source: Source, patience: Duration) -> Self {
        // With something left, so that it is said what was wrong before it is said that all took too long.
        Self { source, patience: patience.mul_f32(0.9) }
    }

    /// How long what was begun may take to end. A client of ours ends at once; another goes on, and has to be told what
    /// is not wanted any more.
    pub(super) fn grace(&self) -> Duration {
        match &self.source {
            Source::Servers(..) => Duration::ZERO,
            Source::Client(_) => Duration::from_secs(2),
        }
    }

    /// How long it may take until the server does what a new connection wants.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Connects. `vital` begins the subjects without which a session can do nothing.
    pub(super) async fn connect(&self, vital: &str) -> Result<(Client, Arc<Health>), BrokerError> {
        match &self.source {
            Source::Client(client) => self.adopt(client, vital).await,
            Source::Servers(cluster, options) => {
                let mut problem = BrokerError::Closed;
                let servers = cluster.round();
                let share = self.patience / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
                for server in servers {
                    match reach(&server, options, vital, share).await {
                        Ok((client, health)) => {
                            cluster.learn(&server, &client.server_info().connect_urls);
                            return Ok((client, health));
                        }
                        // Of several problems, that with the credentials says most.
                        Err(_) if matches!(problem, BrokerError::Credentials(_)) => {}
                        Err(error) => problem = error,
                    }
                }
                Err(problem)
            }
        }
    }

    /// Takes a client that there is already, as long as it does not reconnect.
    async fn adopt(&self, client: &Client, vital: &str) -> Result<(Client, Arc<Health>), BrokerError> {
        let statistics = client.statistics();
        let connects = || statistics.connects.load(Ordering::Relaxed);
        let connected = async {
            loop {
                let before = connects();
                if client.connection_state() == State::Connected && before == connects() {
                    return before;
                }
                time::sleep(LOOK).await;
            }
        };
        let Ok(connection) = time::timeout(self.patience, connected).await else {
            return Err(BrokerError::Unreachable("the client is not connected, and tries to".into()));
        };
        let (watched, statistics) = (client.clone(), client.statistics());
        let health = Health::new(vital.into(), move || {
            watched.connection_state() == State::Connected && statistics.connects.load(Ordering::Relaxed) == connection
        });
        tokio::spawn(watch(health.clone()));
        Ok((client.clone(), health))
    }
}

/// Connects to a server, once.
async fn reach(
    server: &Server,
    options: &Options,
    vital: &str,
    patience: Duration,
) -> Result<(Client, Arc<Health>), BrokerError> {
    if server.address().tls_required() {
        choose_provider();
    }
    let health = Health::new(vital.into(), || true);
    let (pulse, connections) = (Pulse::of(&health), AtomicUsize::new(0));
    let options = server
        .authenticate(options())
        .ping_interval(PING)
        .subscription_capacity(UNREAD)
        // The client is never to connect again. It waits here until it is gone, which is soon.
        .reconnect_delay_callback(move |_| match connections.fetch_add(1, Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::MAX,
        })
        .event_callback(move |event| {
            pulse.event(event);
            future::ready(())
        });
    let connecting = async {
        let client = options.connect(server.address()).await.map_err(|error| problem(server, &error))?;
        health.connected().await?;
        Ok(client)
    };
    let client = time::timeout(patience, connecting).await.map_err(|_| silent(server))??;
    Ok((client, health))
}

/// Finds out when the connection of a client has ended that does not say so.
async fn watch(health: Arc<Health>) {
    while health.check().is_ok() {
        time::sleep(LOOK).await;
    }
}

/// The client leaves it to rustls to choose who encrypts, which panics if the program has several to choose from.
fn choose_provider() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may just have chosen.
        let _ = crypto::ring::default_provider().install_default();
    }
}

fn silent(server: &Server) -> BrokerError {
    BrokerError::Unreachable(format!(
        "{server} takes connections, and does not greet as a NATS server does: is it one?"
    ))
}

/// What a client could not do, without what may be secret.
fn problem(server: &Server, error: &ConnectError) -> BrokerError {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            BrokerError::Credentials(format!("{server} wants others, or any: write nats://USER:PASSWORD@HOST"))
        }
        ConnectErrorKind::Authentication => BrokerError::Credentials(format!("those for {server} cannot be signed")),
        ConnectErrorKind::Tls => BrokerError::Protocol(format!("no TLS with {server}: {}", cause(error))),
        ConnectErrorKind::Io => io_problem(server, error),
        _ => BrokerError::Unreachable(format!("{server}: {}", cause(error))),
    }
}

fn io_problem(server: &Server, error: &ConnectError) -> BrokerError {
    let source = std::error::Error::source(error);
    if let Some(ServerError::Other(text)) = source.and_then(|source| source.downcast_ref()) {
        let is_about_credentials = text.to_lowercase().contains("authentication");
        let text = format!("{server} says {text:?}");
        return if is_about_credentials { BrokerError::Credentials(text) } else { BrokerError::Unreachable(text) };
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput) | None => {
            BrokerError::Protocol(format!("{server} does not speak as a NATS server does: {}", cause(error)))
        }
        Some(io::ErrorKind::InvalidData) => BrokerError::Protocol(format!("no TLS with {server}: {}", cause(error))),
        Some(_) => BrokerError::Unreachable(format!("{server}: {}", cause(error))),
    }
}

/// What is behind an error, in a line that is not too long: some of it may come from anyone.
fn cause(error: &ConnectError) -> String {
    let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    text.chars().filter(|char| !char.is_control()).take(120).collect()
}
