//! The loop of a client that connects again, without a runtime: it connects, waits, and connects again.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;
use core::time::Duration;
use std::panic::{self, AssertUnwindSafe};

use super::timer::{Timer, sleep, yield_now};
use crate::api::{AnyListener, IntoAnyListener};
use crate::entropy::{Entropy, SystemEntropy};
use crate::handshake::{ConnectError, IntoTarget, Target};
use crate::observe::again;
use crate::protocol::{BoxError, CloseCode, Closed, ClosedBy};
use crate::reconnect::{
    Backoff, Carried, Connected, Disconnected, EndReason, Ended, Failure, Feed, Link, Lost, Make, Next, Policy,
    Reconnecting, ReconnectingStream,
};
use crate::time::Time;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connect = Box<dyn FnMut(Target, AnyListener) -> Boxed<Result<Boxed<Closed>, ConnectError>> + Send>;
type OnDisconnected = Box<dyn FnMut(Disconnected) + Send>;
type OnEnd = Box<dyn FnOnce(&Ended) + Send>;
type Hook = Box<dyn FnMut(Target, u32) -> Boxed<Result<Target, BoxError>> + Send>;

/// A client that connects again, without a runtime: what [`ReconnectBuilder`](super::ReconnectBuilder) is made of, for
/// authors of backends.
#[must_use = "call `listen` or `stream`, and run what comes of it"]
pub struct Reconnector {
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

debug!(Reconnector => |this| target: this.target, policy: this.policy);

debug!(Running => |this| target: this.target, connections: this.connections);

impl Reconnector {
    /// Begins one that connects by this function. What that returns waits until the connection has ended, and its
    /// transport takes nothing more.
    ///
    /// # Errors
    /// Those of the target: [`ConnectError::Url`], [`ConnectError::Config`].
    pub fn new<F, W>(
        target: impl IntoTarget,
        policy: Policy,
        mut connect: impl FnMut(Target, AnyListener) -> F + Send + 'static,
    ) -> Result<Self, ConnectError>
    where
        F: Future<Output = Result<W, ConnectError>> + Send + 'static,
        W: Future<Output = Closed> + Send + 'static,
    {
        let connect: Connect = Box::new(move |target, listener| {
            let connecting = connect(target, listener);
            Box::pin(async move { connecting.await.map(|ended| Box::pin(ended) as Boxed<Closed>) })
        });
        let (target, entropy) = (target.into_target()?, Box::new(SystemEntropy));
        Ok(Self { target, policy, connect, hook: None, events: Events::default(), entropy })
    }

    /// [`ReconnectBuilder::before_each`](super::ReconnectBuilder::before_each).
    pub fn before_each<F, E>(&mut self, mut hook: impl FnMut(Target, u32) -> F + Send + 'static)
    where
        F: Future<Output = Result<Target, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook = Some(Box::new(move |target, tries| {
            let prepared = hook(target, tries);
            Box::pin(async move { prepared.await.map_err(Into::into) })
        }));
    }

    /// [`ReconnectBuilder::on_disconnected`](super::ReconnectBuilder::on_disconnected).
    pub fn on_disconnected(&mut self, tell: impl FnMut(Disconnected) + Send + 'static) {
        self.events.on_disconnected = Some(Box::new(tell));
    }

    /// [`ReconnectBuilder::on_end`](super::ReconnectBuilder::on_end).
    pub fn on_end(&mut self, tell: impl FnOnce(&Ended) + Send + 'static) {
        self.events.on_end = Some(Box::new(tell));
    }

    /// [`ReconnectBuilder::entropy`](super::ReconnectBuilder::entropy).
    pub fn entropy(&mut self, entropy: impl Entropy + 'static) {
        self.entropy = Box::new(entropy);
    }

    /// Gives each connection a listener.
    pub fn listen<L: IntoAnyListener>(
        self,
        make: impl Fn(&Connected) -> L + Send + Sync + 'static,
    ) -> (Reconnecting, Running) {
        let (link, running) = self.start(Arc::new(move |connected| make(&connected).into_any_listener()));
        (Reconnecting(link), running)
    }

    /// Makes a stream of what happens.
    pub fn stream(mut self) -> (ReconnectingStream, Running) {
        let feed = Arc::<Feed>::default();
        self.events.feed = Some(feed.clone());
        let (link, running) = self.start(feed.make());
        (ReconnectingStream::new(link, feed), running)
    }

    fn start(self, make: Make) -> (Arc<Link>, Running) {
        let link = Link::new(self.policy.when_offline());
        let running = Running {
            link: link.clone(),
            make,
            target: self.target,
            connect: self.connect,
            hook: self.hook,
            events: self.events,
            backoff: Backoff::new(self.policy, self.entropy),
            connections: 0,
            failure: None,
            over: false,
        };
        (link, running)
    }
}

/// What connects, waits, and connects again: to be run by a task or a thread of its own.
#[must_use = "nothing happens unless it is run"]
pub struct Running {
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
    /// Runs until nothing more will happen. `unix_time` returns the time since the beginning of 1970.
    ///
    /// # Cancel safety
    /// Dropping the future ends it: [`EndReason::Abandoned`].
    pub async fn run<C: Timer>(mut self, mut timer: C, unix_time: fn() -> Duration) {
        let link = self.link.clone();
        let reason = loop {
            let Some(tried) = link.unless_closing(self.try_once()).await else { break EndReason::Closed };
            let failure = match tried {
                Ok(ended) => {
                    self.backoff.connected(timer.now());
                    Failure::Closed(ended.await)
                }
                Err(failure) => failure,
            };
            let lost = link.lost().await;
            let retry_at = match self.failed(failure, lost, timer.now(), unix_time()) {
                Ok(retry_at) => retry_at,
                Err(reason) => break reason,
            };
            let pause = async {
                self.events.received().await;
                // However short the delay is, and whatever fails without waiting.
                yield_now(&mut timer).await;
                sleep(&mut timer, retry_at).await;
            };
            if link.unless_closing(pause).await.is_none() {
                break EndReason::Closed;
            }
        };
        self.end(reason);
    }

    /// Returns what waits for the end of the connection.
    async fn try_once(&mut self) -> Result<Boxed<Closed>, Failure> {
        let mut target = self.target.clone();
        if let Some(hook) = &mut self.hook {
            target = hook(target, self.backoff.tries()).await.map_err(Failure::Hook)?;
        }
        // A stream sends what was kept when its reader has had its say.
        let flushes = self.events.feed.is_none();
        let carried = Carried::new(&self.link, &self.make, self.connections + 1, flushes);
        let ended = (self.connect)(target, carried.into_listener()).await.map_err(Failure::Connect)?;
        self.connections += 1;
        Ok(ended)
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
        again(&failure.problem(), tries, retry_in);
        self.failure = Some(failure.clone());
        self.events.disconnected(Disconnected { failure, error, unsent, retry_in, tries });
        next
    }

    fn end(&mut self, reason: EndReason) {
        self.over = true;
        let on_end = self.events.on_end.take();
        let tell = |ended: &Ended| on_end.into_iter().for_each(|tell| tell(ended));
        // If that panics, it is the end all the same for those who wait.
        let tell = |ended: &Ended| drop(panic::catch_unwind(AssertUnwindSafe(|| tell(ended))));
        self.link.end(reason, self.failure.take(), tell);
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
