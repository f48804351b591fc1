//! One connection to Redis.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Client, Pipeline, PushInfo, PushKind, Value};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::hello::{Known, hello};
use super::publishing::{self, Keeping, Outcomes};
use super::refusal::{self, Refusal, no_redis};
use super::sentinel::{Primary, Sentinels};
use super::{Names, RedisBroker, history};
use crate::core::lock;
use crate::engine::{Arrivals, Channel, Excerpt, Inbox, Publication, Session};
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// How long Redis is trusted to be what it said it was.
const ASK_AFTER: Duration = Duration::from_secs(5);

/// One connection to Redis.
pub(crate) struct RedisSession {
    connection: MultiplexedConnection,
    names: Arc<Names>,
    max_payload: usize,
    keeping: Option<Keeping>,
    /// When Redis was last asked what it is.
    asked: Instant,
    end: End,
    /// Set when there is another primary. Then no answer of this one is waited for.
    replaced: End,
    /// Those who ask the Sentinels for that.
    watchers: JoinSet<()>,
}

impl RedisSession {
    pub(super) async fn connect(client: &Client, broker: &RedisBroker, inbox: Inbox) -> Result<Self, BrokerError> {
        let end = End::new();
        // Who waits for this has deadlines of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(Reader::start(inbox, end.clone()));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(|error| refusal::not_connected(&error))?;
        let Known { max_payload, script } = hello(&mut connection, broker).await?;
        let keeping = script.zip(broker.history).map(|(script, history)| Keeping { script, history });
        Ok(Self {
            connection,
            names: broker.names.clone(),
            max_payload,
            keeping,
            asked: Instant::now(),
            end,
            replaced: End::new(),
            watchers: JoinSet::new(),
        })
    }

    /// Has the connection end when a Sentinel knows of another primary.
    pub(super) fn watch(&mut self, sentinels: &Arc<Sentinels>, primary: Primary) {
        let (end, replaced) = (self.end.clone(), self.replaced.clone());
        sentinels.watch(primary, &mut self.watchers, move |error| {
            end.set(error.clone());
            replaced.set(error);
        });
    }

    /// Sends a command for each of these channels. One for all of them would be answered with as many replies, or with one
    /// if Redis refuses it.
    async fn each(&mut self, command: &str, channels: &[Channel]) -> Result<(), BrokerError> {
        let mut pipeline = Pipeline::with_capacity(channels.len());
        for channel in channels {
            pipeline.cmd(command).arg(channel.name(&self.names.prefix));
        }
        for reply in self.send(&pipeline).await? {
            match reply {
                Value::Push { .. } => {}
                Value::ServerError(error) => return Err(Refusal::from(&error).into_broker_error()),
                _ => return Err(no_redis()),
            }
        }
        Ok(())
    }

    async fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, BrokerError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        replies.map_err(|error| refusal::lost(&error))
    }

    /// Publishes what Redis takes: it ends a connection on which more comes at once.
    async fn publish_fitting(&mut self, batch: &[Publication]) -> Result<Vec<Result<(), PublishError>>, BrokerError> {
        let Self { connection, names, keeping, asked, replaced, .. } = self;
        let keeping = keeping.as_ref().filter(|_| batch.iter().any(|publication| publication.keep));
        let outcomes = if let Some(keeping) = keeping {
            replaced.or(publishing::publish_and_keep(connection, names, batch, keeping)).await?
        } else {
            // A primary that has become a replica takes messages as before, but nobody else gets them.
            let asks = batch.is_empty() || asked.elapsed() > ASK_AFTER;
            if asks {
                *asked = Instant::now();
            }
            replaced.or(publishing::publish(connection, names, batch, asks)).await?
        };
        Ok(self.settle(outcomes))
    }

    /// What became of each, for those who published it. What speaks against all others, too, ends the connection.
    fn settle(&self, outcomes: Outcomes) -> Vec<Result<(), PublishError>> {
        let settle = |refusal: Refusal| {
            if refusal.is_final() {
                self.end.set(refusal.clone().into_broker_error());
            }
            refusal.into_publish_error()
        };
        outcomes.into_iter().map(|outcome| outcome.map_err(settle)).collect()
    }
}

impl Session for RedisSession {
    fn max_payload(&self) -> usize {
        self.max_payload
    }

    async fn subscribe(&mut self, channels: &[Channel]) -> Result<(), BrokerError> {
        self.replaced.clone().or(self.each("SUBSCRIBE", channels)).await
    }

    async fn unsubscribe(&mut self, channels: &[Channel]) -> Result<(), BrokerError> {
        self.replaced.clone().or(self.each("UNSUBSCRIBE", channels)).await
    }

    async fn publish(&mut self, batch: &[Publication]) -> Result<Vec<Result<(), PublishError>>, BrokerError> {
        let limit = self.max_payload;
        let fits = |publication: &Publication| publication.bytes.len() <= limit;
        if batch.iter().all(fits) {
            return self.publish_fitting(batch).await;
        }
        // They have waited since before this Redis, or its limit, was known.
        let fitting: Vec<_> = batch.iter().filter(|publication| fits(publication)).cloned().collect();
        let mut outcomes = self.publish_fitting(&fitting).await?.into_iter();
        let outcome = |publication: &Publication| match publication.bytes.len() {
            length if length > limit => Err(PublishError::TooLong { length, limit }),
            _ => outcomes.next().unwrap_or(Ok(())),
        };
        Ok(batch.iter().map(outcome).collect())
    }

    async fn now(&mut self) -> Result<Position, BrokerError> {
        self.replaced.or(history::now(&mut self.connection)).await
    }

    fn history(
        &self,
        room: Arc<str>,
        since: Option<Position>,
    ) -> impl Future<Output = Result<Excerpt, HistoryError>> + Send + 'static {
        let connection = self.connection.clone();
        let stream = self.names.stream(&room);
        let history = self.keeping.as_ref().map(|keeping| keeping.history);
        async move {
            let history = history.ok_or(HistoryError::NotKept)?;
            history::read(connection, &stream, since, history).await
        }
    }

    async fn ended(&mut self) -> BrokerError {
        self.end.wait().await
    }
}

impl fmt::Debug for RedisSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSession").finish_non_exhaustive()
    }
}

/// What the connection's task has for what comes between replies. It is dropped with that task.
struct Reader {
    inbox: Inbox,
    /// What has come in one read. That there is no more to read the connection's task does not say, so that another one
    /// delivers it, whose turn is after that.
    batch: Arc<Mutex<Arrivals>>,
    is_due: mpsc::Sender<()>,
    end: End,
}

impl AsyncPushSender for Reader {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        if push.kind == PushKind::Message {
            self.receive(push.data);
        }
        Ok(())
    }
}

impl Reader {
    fn start(inbox: Inbox, end: End) -> Self {
        let (is_due, due) = mpsc::channel(1);
        let batch = Arc::default();
        tokio::spawn(deliver(Arc::clone(&batch), due));
        Self { inbox, batch, is_due, end }
    }

    fn receive(&self, data: Vec<Value>) {
        let mut data = data.into_iter();
        if let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (data.next(), data.next()) {
            let (position, bytes) = publishing::received(payload);
            if let Ok(channel) = std::str::from_utf8(&channel) {
                // While a batch is delivered the next one waits, and Redis does: nothing piles up.
                let mut batch = lock(&self.batch);
                let is_first = batch.is_empty();
                self.inbox.receive(channel, position, &bytes, &mut batch);
                if is_first && !batch.is_empty() {
                    let _ = self.is_due.try_send(());
                }
            }
        }
    }
}

/// Delivers what has come, until nothing comes any more.
async fn deliver(batch: Arc<Mutex<Arrivals>>, mut due: mpsc::Receiver<()>) {
    while due.recv().await.is_some() {
        lock(&batch).deliver();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.batch).deliver();
        self.end.set(BrokerError::Lost(
            "Redis or the network ended it. If its log speaks of `client-output-buffer-limit`, this node could not \
             keep up"
                .into(),
        ));
    }
}

/// Why a connection has ended, once it has.
#[derive(Clone)]
struct End {
    reason: Arc<watch::Sender<Option<BrokerError>>>,
}

impl End {
    fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    /// The first reason is the one.
    fn set(&self, error: BrokerError) {
        self.reason.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(error);
            is_first
        });
    }

    /// Waits for an answer, unless there is an end before.
    async fn or<T>(&self, answer: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        tokio::select! {
            biased;
            answer = answer => answer,
            why = self.wait() => Err(why),
        }
    }

    async fn wait(&self) -> BrokerError {
        let mut reason = self.reason.subscribe();
        let ended = reason.wait_for(Option::is_some).await;
        ended.ok().and_then(|reason| reason.clone()).unwrap_or(BrokerError::Closed)
    }
}
