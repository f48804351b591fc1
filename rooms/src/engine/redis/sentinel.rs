//! Sentinels: which Redis is the primary, and when it is another.
//!
//! They agree on that by epochs: each failover begins a new one. So who has fallen behind, on the wrong side of a
//! network that was cut, is told apart from who knows of a failover first.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Pipeline, ServerError, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address;
use super::refusal::{Refusal, lost, no_redis, not_connected};
use crate::error::BrokerError;

/// A Sentinel that answers is not waited for longer than this before the next is asked, too.
const ASK_NEXT_AFTER: Duration = Duration::from_millis(200);

/// How often a Sentinel is asked whether there is another primary, and how soon again if it did not answer.
const WATCH_EACH: Duration = Duration::from_secs(1);
const WATCH_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The Sentinels that watch a primary.
#[derive(Debug)]
pub(super) struct Sentinels {
    /// What they know the primary by.
    name: Arc<str>,
    sentinels: Vec<Sentinel>,
    /// Which one to ask first: it was the last to answer.
    first: AtomicUsize,
    /// The last failover that was told of. Who says less has not heard of it.
    epoch: AtomicU64,
    /// How long a connection to the primary may take, with all that is to be asked before.
    patience: Duration,
}

/// What they say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    host: String,
    port: u16,
    /// By which failover it has become that; 0 if nobody says so.
    epoch: u64,
    /// Most Sentinels cannot reach it.
    is_down: bool,
}

impl Sentinels {
    /// # Errors
    /// [`BrokerError::Url`] if there is none, or the client leads to no name.
    pub(super) fn new(client: &Client, sentinels: Vec<Client>, patience: Duration) -> Result<Self, BrokerError> {
        if sentinels.is_empty() {
            return Err(BrokerError::Url("of the Sentinels none is given: write redis://host:26379 for each".into()));
        }
        let name: Arc<str> = address::host(client).map(Into::into).ok_or_else(|| {
            BrokerError::Url(
                "with Sentinels the host is the name that they know the primary by: write redis://mymaster".into(),
            )
        })?;
        let sentinels = sentinels.into_iter().map(|client| Sentinel { client, name: name.clone() }).collect();
        Ok(Self { name, sentinels, first: AtomicUsize::new(0), epoch: AtomicU64::new(0), patience })
    }

    /// Connects to the primary, in the way of this client.
    pub(super) async fn connect<T, F: Future<Output = Result<T, BrokerError>>>(
        &self,
        client: &Client,
        connect: impl FnOnce(Client) -> F,
    ) -> Result<(T, Primary), BrokerError> {
        // That is sooner than whoever waits for a connection gives up: so what is wrong can be said.
        let patience = self.patience * 9 / 10;
        let deadline = Instant::now() + patience;
        let (index, primary) = self.find(self.patience / 2).await?;
        let client = address::at(client, &primary.host, primary.port)?;
        let shown = address::shown(&client);
        match timeout_at(deadline, connect(client)).await.unwrap_or(Err(BrokerError::TimedOut(patience))) {
            Ok(connection) => Ok((connection, primary)),
            Err(error) => {
                // Another may know of a failover that this one has not heard of.
                self.first.store(index + 1, Ordering::Relaxed);
                Err(self.not_there(index, &primary, &shown, error))
            }
        }
    }

    /// The primary, by the Sentinel that is the first to answer, and which one that is. Of those who have not heard of the
    /// last failover the best will do if there are no others: their epochs may have begun anew.
    async fn find(&self, patience: Duration) -> Result<(usize, Primary), BrokerError> {
        let deadline = Instant::now() + patience;
        let count = self.sentinels.len();
        let ask_next_after = ASK_NEXT_AFTER.min(patience / u32::try_from(count + 1).unwrap_or(u32::MAX));
        let first = self.first.load(Ordering::Relaxed) % count.max(1);
        let mut to_ask = self.sentinels.iter().enumerate().cycle().skip(first).take(count);
        let mut asked = JoinSet::new();
        let mut failures = Vec::new();
        let mut behind: Vec<(usize, Primary)> = Vec::new();
        loop {
            if let Some((index, sentinel)) = to_ask.next() {
                let sentinel = sentinel.clone();
                asked.spawn(async move {
                    let answer = timeout_at(deadline, sentinel.answer()).await;
                    (index, answer.unwrap_or(Err(BrokerError::TimedOut(patience))))
                });
            } else if asked.is_empty() {
                let best = behind.into_iter().max_by_key(|(_, primary)| primary.epoch);
                let (index, primary) = best.ok_or_else(|| self.nobody_knows(failures))?;
                self.told(index, &primary);
                return Ok((index, primary));
            }
            match timeout(ask_next_after, asked.join_next()).await {
                Ok(Some(Ok((index, Ok(primary))))) if primary.epoch >= self.epoch.load(Ordering::Relaxed) => {
                    self.told(index, &primary);
                    return Ok((index, primary));
                }
                Ok(Some(Ok((index, Ok(primary))))) => behind.push((index, primary)),
                Ok(Some(Ok((index, Err(error))))) => failures.push((index, error)),
                _ => {}
            }
        }
    }

    fn told(&self, index: usize, primary: &Primary) {
        self.first.store(index, Ordering::Relaxed);
        self.epoch.store(primary.epoch, Ordering::Relaxed);
    }

    /// What each of them has said instead. What does not pass by itself is what it is called by.
    fn nobody_knows(&self, failures: Vec<(usize, BrokerError)>) -> BrokerError {
        let mut said = format!("no Sentinel says where the primary `{}` is", self.name);
        let mut kind = BrokerError::Unreachable(String::new());
        for (index, error) in failures {
            let error = reworded(error, |problem| {
                said += &format!("; {}: {problem}", self.shown(index));
                String::new()
            });
            if matches!(kind, BrokerError::Unreachable(_)) {
                kind = error;
            }
        }
        reworded(kind, |_| said)
    }

    /// Why there is no connection to what this Sentinel has named.
    fn not_there(&self, index: usize, primary: &Primary, shown: &str, error: BrokerError) -> BrokerError {
        let (name, sentinel) = (&self.name, self.shown(index));
        let down = if primary.is_down { ", and that most of them cannot reach it" } else { "" };
        let may_pass = matches!(
            error,
            BrokerError::Unreachable(_) | BrokerError::Lost(_) | BrokerError::TimedOut(_) | BrokerError::Protocol(_)
        );
        let passes = if may_pass { "; if Redis is failing over, that passes" } else { "" };
        reworded(error, |problem| {
            format!("the Sentinel {sentinel} says that `{name}` is at {shown}{down}: {problem}{passes}")
        })
    }

    fn shown(&self, index: usize) -> String {
        self.sentinels.get(index).map(Sentinel::shown).unwrap_or_default()
    }

    /// Asks all of them, time and again, until one knows of a later primary.
    pub(super) fn watch(
        self: &Arc<Self>,
        primary: Primary,
        watchers: &mut JoinSet<()>,
        ended: impl Fn(BrokerError) + Clone + Send + 'static,
    ) {
        for (index, sentinel) in self.sentinels.iter().enumerate() {
            let (this, sentinel, primary, ended) = (self.clone(), sentinel.clone(), primary.clone(), ended.clone());
            watchers.spawn(async move {
                let next = sentinel.successor(&primary, this.patience).await;
                this.told(index, &next);
                ended(BrokerError::Lost(format!(
                    "Redis has failed over: the Sentinel {} says that `{}` is now at {}:{}",
                    sentinel.shown(),
                    sentinel.name,
                    next.host,
                    next.port
                )));
            });
        }
    }
}

/// One of them.
#[derive(Debug, Clone)]
struct Sentinel {
    client: Client,
    /// What it is asked for.
    name: Arc<str>,
}

impl Sentinel {
    fn shown(&self) -> String {
        address::shown(&self.client)
    }

    async fn answer(&self) -> Result<Primary, BrokerError> {
        self.ask(&mut self.connect().await?).await
    }

    async fn connect(&self) -> Result<MultiplexedConnection, BrokerError> {
        // Who waits for this has deadlines of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|error| match error.kind() {
            ErrorKind::AuthenticationFailed => BrokerError::Credentials(
                "it has other credentials than its URL, which should be redis://user:password@host, or it has none"
                    .into(),
            ),
            _ => not_connected(&error),
        })
    }

    async fn ask(&self, connection: &mut MultiplexedConnection) -> Result<Primary, BrokerError> {
        let mut pipeline = Pipeline::new();
        // The epoch comes first, so that it is never later than the address, which would hide a failover.
        pipeline.cmd("SENTINEL").arg("MASTER").arg(&*self.name);
        pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        let replies = connection.send_packed_commands(&pipeline, 0, 2).await.map_err(|error| lost(&error))?;
        let [state, address] = replies.try_into().map_err(|_| no_redis())?;
        self.primary(&state, &address)
    }

    fn primary(&self, state: &Value, address: &Value) -> Result<Primary, BrokerError> {
        let (host, port) = match address {
            Value::Array(address) => match address.as_slice() {
                [host, port] => (text(host), text(port).and_then(|port| port.parse().ok())),
                _ => (None, None),
            },
            Value::Nil => {
                return Err(BrokerError::Protocol(format!(
                    "it watches no primary of the name `{}`: is that the one in its `sentinel monitor`?",
                    self.name
                )));
            }
            Value::ServerError(error) => return Err(refused(error)),
            _ => (None, None),
        };
        let (Some(host), Some(port)) = (host, port) else { return Err(no_redis()) };
        Ok(Primary {
            host: host.into(),
            port,
            epoch: field(state, "config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            is_down: field(state, "flags").is_some_and(|flags| flags.contains("o_down")),
        })
    }

    /// Waits until it knows of a primary after this one.
    async fn successor(&self, primary: &Primary, patience: Duration) -> Primary {
        loop {
            if let Ok(Ok(mut connection)) = timeout(patience, self.connect()).await {
                while let Ok(Ok(now)) = timeout(patience, self.ask(&mut connection)).await {
                    if now.succeeds(primary) {
                        return now;
                    }
                    sleep(WATCH_EACH).await;
                }
            }
            sleep(WATCH_AGAIN_AFTER).await;
        }
    }
}

impl Primary {
    /// Whether it has become the primary after the other. Of one epoch there is one primary, which Sentinels may call by
    /// different names.
    fn succeeds(&self, other: &Self) -> bool {
        self.epoch > other.epoch && (&self.host, self.port) != (&other.host, other.port)
    }
}

fn refused(error: &ServerError) -> BrokerError {
    let details = error.details().unwrap_or_default();
    match error.code() {
        _ if details.contains("unknown command") => {
            BrokerError::Protocol("that is no Sentinel: they are at port 26379 unless they were told otherwise".into())
        }
        "NOPERM" => BrokerError::Denied(format!(
            "NOPERM {details} (let the user have it with `ACL SETUSER` there: `+sentinel|get-master-addr-by-name \
             +sentinel|master`)"
        )),
        _ => Refusal::from(error).into_broker_error(),
    }
}

/// The same error in other words. Nothing is lost where nothing has begun.
fn reworded(error: BrokerError, word: impl FnOnce(&str) -> String) -> BrokerError {
    match error {
        BrokerError::Url(text) => BrokerError::Url(word(&text)),
        BrokerError::Unreachable(text) | BrokerError::Lost(text) => BrokerError::Unreachable(word(&text)),
        BrokerError::TimedOut(after) => BrokerError::Unreachable(word(&format!("no answer within {after:?}"))),
        BrokerError::Credentials(text) => BrokerError::Credentials(word(&text)),
        BrokerError::Denied(text) => BrokerError::Denied(word(&text)),
        BrokerError::Protocol(text) => BrokerError::Protocol(word(&text)),
        BrokerError::History(text) => BrokerError::History(word(&text)),
        BrokerError::Prefix(_) | BrokerError::Closed => error,
    }
}

/// A field of what is listed as names and values.
fn field<'a>(list: &'a Value, name: &str) -> Option<&'a str> {
    let Value::Array(list) = list else { return None };
    let pair = list.chunks_exact(2).find(|pair| pair.first().and_then(text) == Some(name))?;
    pair.get(1).and_then(text)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::redis::tests::saying;

    fn some(count: usize) -> Sentinels {
        let client = Client::open("redis://user:hidden@mymaster/3").unwrap();
        let sentinels = (1..=count).map(|number| Client::open(format!("redis://:hidden@s{number}:26379")).unwrap());
        Sentinels::new(&client, sentinels.collect(), Duration::from_secs(5)).unwrap()
    }

    fn words(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString((*word).into())).collect())
    }

    fn at(port: u16, epoch: u64) -> Primary {
        Primary { host: "10.0.0.1".into(), port, epoch, is_down: false }
    }

    fn said(state: &Value, address: &Value) -> Result<Primary, BrokerError> {
        some(1).sentinels[0].primary(state, address)
    }

    #[test]
    fn a_primary_is_told_with_its_epoch_and_whether_it_is_down() {
        let address = words(&["10.0.0.1", "7000"]);
        for (state, epoch, is_down) in [
            (words(&["name", "mymaster", "flags", "master", "config-epoch", "7"]), 7, false),
            (words(&["flags", "s_down,o_down,master,disconnected", "config-epoch", "7"]), 7, true),
            (words(&["flags", "s_down,master", "odd"]), 0, false),
            (words(&["config-epoch", "x"]), 0, false),
            (Value::Nil, 0, false),
        ] {
            assert_eq!(said(&state, &address), Ok(Primary { is_down, ..at(7000, epoch) }), "{state:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_an_error() {
        for (address, expected) in [
            (Value::Nil, "no primary of the name `mymaster`"),
            (words(&["10.0.0.1"]), "does not speak as Redis does"),
            (words(&["10.0.0.1", "70000"]), "does not speak as Redis does"),
            (Value::Okay, "does not speak as Redis does"),
        ] {
            let error = said(&Value::Nil, &address).unwrap_err();
            assert!(matches!(&error, BrokerError::Protocol(text) if text.contains(expected)), "{address:?}: {error:?}");
        }
    }

    #[test]
    fn only_a_later_failover_makes_another_the_primary() {
        let here = at(7000, 3);
        for (other, expected) in [
            (at(7001, 4), true),
            (at(7000, 4), false),
            // By another name, and by one who has not heard of the last failover.
            (at(7001, 3), false),
            (at(7001, 2), false),
        ] {
            assert_eq!(other.succeeds(&here), expected, "{other:?}");
        }
        assert!(Primary { host: "10.0.0.2".into(), ..at(7000, 4) }.succeeds(&here));
    }

    #[tokio::test]
    async fn who_has_not_heard_of_the_last_failover_is_asked_in_vain_unless_nobody_has() {
        let client = Client::open("redis://mymaster").unwrap();
        let urls = [saying("old", 1, 3).await, saying("new", 1, 5).await, saying("older", 1, 2).await];
        let clients =
            urls.iter().map(|url| address::for_sentinel(&Client::open(url.as_str()).unwrap(), false).unwrap());
        let clients = clients.collect();
        let sentinels = Sentinels::new(&client, clients, Duration::from_secs(60)).unwrap();
        for (first, known, expected) in [(0, 0, "old"), (0, 4, "new"), (2, 5, "new"), (2, 9, "new"), (0, 3, "old")] {
            sentinels.first.store(first, Ordering::Relaxed);
            sentinels.epoch.store(known, Ordering::Relaxed);
            let (index, primary) = sentinels.find(Duration::from_secs(30)).await.unwrap();
            assert_eq!(primary.host, expected, "{first}, {known}");
            assert_eq!(sentinels.first.load(Ordering::Relaxed), index);
            assert_eq!(sentinels.epoch.load(Ordering::Relaxed), primary.epoch);
        }
    }

    #[test]
    fn when_nobody_knows_each_is_named_and_what_does_not_pass_counts() {
        let sentinels = some(3);
        let silent = || (0, BrokerError::TimedOut(Duration::from_secs(1)));
        let gone = || (1, BrokerError::Unreachable("connection refused".into()));
        let denied = || (2, BrokerError::Denied("NOPERM".into()));
        let names = "no Sentinel says where the primary `mymaster` is";
        assert_eq!(
            sentinels.nobody_knows(vec![silent(), gone()]),
            BrokerError::Unreachable(format!(
                "{names}; redis://s1:26379: no answer within 1s; redis://s2:26379: connection refused"
            ))
        );
        let error = sentinels.nobody_knows(vec![silent(), denied(), gone()]);
        assert!(matches!(&error, BrokerError::Denied(text) if text.contains("s1") && text.contains("s2")), "{error:?}");
        assert!(!format!("{sentinels:?} {error:?}").contains("hidden"));
    }

    #[test]
    fn the_primary_that_is_not_there_is_named_with_who_has_said_so() {
        let sentinels = some(2);
        let lost = sentinels.not_there(1, &Primary { is_down: true, ..at(7000, 1) }, "redis://x", BrokerError::Closed);
        assert_eq!(lost, BrokerError::Closed);
        let refused = BrokerError::Lost("refused".into());
        let error = sentinels.not_there(1, &Primary { is_down: true, ..at(7000, 1) }, "redis://x:7000", refused);
        assert_eq!(
            error,
            BrokerError::Unreachable(
                "the Sentinel redis://s2:26379 says that `mymaster` is at redis://x:7000, and that most of them cannot \
                 reach it: refused; if Redis is failing over, that passes"
                    .into()
            )
        );
        let error = sentinels.not_there(0, &at(7000, 1), "redis://x:7000", BrokerError::Credentials("NOAUTH".into()));
        assert!(matches!(&error, BrokerError::Credentials(text) if text.ends_with("redis://x:7000: NOAUTH")));
    }
}
