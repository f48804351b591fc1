//! A client that connects again, on a runtime that polls: the task that connects, waits, and connects again.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;
use core::time::Duration;

use super::client::Client;
use super::runtime::Runtime;
use super::timer::{Timer, sleep};
use crate::api::{AnyListener, IntoAnyListener};
use crate::entropy::{Entropy, SystemEntropy};
use crate::handshake::{ConnectError, IntoTarget, Target};
use crate::protocol::{BoxError, CloseCode, ClosedBy};
use crate::reconnect::{
    Backoff, Carried, Connected, Disconnected, EndReason, Ended, Failure, Feed, Link, Lost, Make, Next, Policy,
    Reconnecting, ReconnectingStream,
};
use crate::time::Time;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connect = Box<dyn FnMut(Target, AnyListener) -> Boxed<Result<Client, ConnectError>> + Send>;
type OnDisconnected = Box<dyn FnMut(Disconnected) + Send>;
type OnEnd = Box<dyn FnOnce(&Ended) + Send>;
type Hook = Box<dyn FnMut(Target, u32) -> Boxed<Result<Target, BoxError>> + Send>;

/// Builds a client that connects again: what `reconnecting` of a runtime's module returns.
#[must_use = "call `listen` or `stream`"]
pub struct ReconnectBuilder<R> {
    runtime: R,
    target: Target,
    policy: Policy,
    connect: Connect,
    hook: Option<Hook>,
    events: Events,
    entropy: Box<dyn Entropy>,
}

/// Who is told what happens between the connections.
#[derive(Default)]
struct Events {
    on_disconnected: Option<OnDisconnected>,
    on_end: Option<OnEnd>,
    feed: Option<Arc<Feed>>,
}

debug!(ReconnectBuilder<R> => |this| target: this.target, policy: this.policy);

impl<R: Runtime> ReconnectBuilder<R> {
    /// Begins one that connects by this function: for whoever writes a runtime's `reconnecting`.
    ///
    /// # Errors
    /// Those of the target: [`ConnectError::Url`], [`ConnectError::Config`].
    pub fn new<F: Future<Output = Result<Client, ConnectError>> + Send + 'static>(
        runtime: R,
        target: impl IntoTarget,
        policy: Policy,
        mut connect: impl FnMut(Target, AnyListener) -> F + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let connect: Connect = Box::new(move |target, listener| Box::pin(connect(target, listener)));
        Ok(Self {
            runtime,
            target: target.into_target()?,
            policy,
            connect,
            hook: None,
            events: Events::default(),
            entropy: Box::new(SystemEntropy),
        })
    }

    /// Sets what is done before each try: it gets the target, and how many tries in a row have come to nothing, and
    /// returns the target that is to be tried, with a fresh token for example. Each time it begins with the target that
    /// was given first.
    ///
    /// An error counts as a try that has failed ([`Failure::Hook`]). There is no limit to how long it may take, but it is
    /// dropped when the client is closed.
    pub fn before_each<F, E>(mut self, mut hook: impl FnMut(Target, u32) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Target, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook = Some(Box::new(move |target, tries| {
            let prepared = hook(target, tries);
            Box::pin(async move { prepared.await.map_err(Into::into) })
        }));
        self
    }

    /// Sets what is called when a connection has ended, after its `on_close`, and when a try has failed. A stream has
    /// [`Event::Disconnected`](crate::reconnect::Event::Disconnected) instead.
    pub fn on_disconnected(mut self, tell: impl FnMut(Disconnected) + Send + 'static) -> Self {
        self.events.on_disconnected = Some(Box::new(tell));
        self
    }

    /// Sets what is called once, last, when nothing more will happen. [`Reconnecting::wait`] returns the same.
    pub fn on_end(mut self, tell: impl FnOnce(&Ended) + Send + 'static) -> Self {
        self.events.on_end = Some(Box::new(tell));
        self
    }

    /// Sets where the random delays are drawn from, for tests that want the same ones in each run.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Connects, in a task of its own, and gives each connection a listener: the function is called when the server has
    /// answered, right before the `on_open` of what it returns. One connection is over when the next one begins, so that
    /// everything that is called is called one after the other.
    pub fn listen<L: IntoAnyListener>(self, make: impl Fn(&Connected) -> L + Send + Sync + 'static) -> Reconnecting {
        let make: Make = Arc::new(move |connected| make(&connected).into_any_listener());
        Reconnecting(self.start(make))
    }

    /// Connects, in a task of its own, and returns what happens as a stream.
    pub fn stream(mut self) -> ReconnectingStream {
        let feed = Arc::<Feed>::default();
        self.events.feed = Some(feed.clone());
        ReconnectingStream::new(self.start(feed.make()), feed)
    }

    fn start(self, make: Make) -> Arc<Link> {
        let link = Link::new(self.policy.when_offline());
        let backoff = Backoff::new(self.policy, self.entropy);
        let running = Running {
            link: link.clone(),
            make,
            target: self.target,
            connect: self.connect,
            hook: self.hook,
            events: self.events,
            backoff,
            connections: 0,
            failure: None,
            over: false,
        };
        self.runtime.spawn(running.run(self.runtime.clone()));
        link
    }
}

/// The task that connects.
struct Running {
    link: Arc<Link>,
    make: Make,
    target: Target,
    connect: Connect,
    hook: Option<Hook>,
    events: Events,
    backoff: Backoff,
    /// How many there were.
    connections: u64,
    /// What has failed last.
    failure: Option<Arc<Failure>>,
    over: bool,
}

impl Running {
    async fn run<R: Runtime>(mut self, runtime: R) {
        let (link, mut timer) = (self.link.clone(), runtime.timer());
        let reason = loop {
            let Some(tried) = link.unless_closing(self.try_once()).await else { break EndReason::Closed };
            let failure = match tried {
                Ok(mut client) => {
                    self.backoff.connected(timer.now());
                    Failure::Closed(client.closed().await)
                }
                Err(failure) => failure,
            };
            let lost = link.lost().await;
            let retry_at = match self.failed(failure, lost, timer.now(), R::unix_time()) {
                Ok(retry_at) => retry_at,
                Err(reason) => break reason,
            };
            let pause = async {
                self.events.received().await;
                sleep(&mut timer, retry_at).await;
            };
            if link.unless_closing(pause).await.is_none() {
                break EndReason::Closed;
            }
        };
        self.end(reason);
    }

    async fn try_once(&mut self) -> Result<Client, Failure> {
        let mut target = self.target.clone();
        if let Some(hook) = &mut self.hook {
            target = hook(target, self.backoff.tries()).await.map_err(Failure::Hook)?;
        }
        // A stream sends what was kept when its reader has had its say.
        let flushes = self.events.feed.is_none();
        let carried = Carried::new(&self.link, &self.make, self.connections + 1, flushes);
        let client = (self.connect)(target, carried.into_listener()).await.map_err(Failure::Connect)?;
        self.connections += 1;
        Ok(client)
    }

    /// Tells of a failure. Returns when to try again, or why not.
    fn failed(&mut self, failure: Failure, lost: Lost, now: Time, unix_time: Duration) -> Result<Time, EndReason> {
        let Lost { unsent, closed_with, error } = lost;
        let failure = Arc::new(as_meant(failure, closed_with));
        let next = match self.backoff.failed(now, unix_time, &failure) {
            _ if self.link.is_closing() => Err(EndReason::Closed),
            Next::RetryAt(at) => Ok(at),
            Next::GiveUp => Err(EndReason::GaveUp),
            Next::Final => Err(EndReason::Final),
        };
        let (retry_in, tries) = (next.ok().map(|at| at.saturating_since(now)), self.backoff.tries());
        self.failure = Some(failure.clone());
        self.events.disconnected(Disconnected { failure, error, unsent, retry_in, tries });
        next
    }

    fn end(&mut self, reason: EndReason) {
        self.over = true;
        let on_end = self.events.on_end.take();
        self.link.end(reason, self.failure.take(), |ended| on_end.into_iter().for_each(|tell| tell(ended)));
        if let Some(feed) = &self.events.feed {
            feed.end();
        }
    }
}

/// Dropped before its end, by a runtime that ends, or while a function of the user's panics.
impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.end(EndReason::Abandoned);
        }
    }
}

/// A close of this side's that the peer did not answer counts as what this side has said.
fn as_meant(mut failure: Failure, closed_with: Option<CloseCode>) -> Failure {
    if let (Failure::Closed(closed), Some(code)) = (&mut failure, closed_with) {
        if closed.by == ClosedBy::Local && closed.code == CloseCode::ABNORMAL {
            closed.code = code;
        }
    }
    failure
}

impl Events {
    fn disconnected(&mut self, disconnected: Disconnected) {
        match (&mut self.on_disconnected, &self.feed) {
            (_, Some(feed)) => feed.disconnected(disconnected),
            (Some(tell), None) => tell(disconnected),
            (None, None) => {}
        }
    }

    /// Waits until a stream's reader has received what has happened.
    async fn received(&mut self) {
        if let Some(feed) = &self.feed {
            core::future::poll_fn(|cx| feed.poll_received(cx)).await;
        }
    }
}
