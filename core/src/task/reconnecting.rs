//! A client that connects again, on a runtime that polls.

use super::client::Client;
use super::reconnector::{Reconnector, Running};
use super::runtime::Runtime;
use crate::api::{AnyListener, IntoAnyListener};
use crate::entropy::Entropy;
use crate::handshake::{ConnectError, IntoTarget, Target};
use crate::protocol::BoxError;
use crate::reconnect::{Connected, Disconnected, Ended, Policy, Reconnecting, ReconnectingStream};

/// Builds a client that connects again: what `reconnecting` of a runtime's module returns.
#[must_use = "call `listen` or `stream`"]
pub struct ReconnectBuilder<R> {
    runtime: R,
    reconnector: Reconnector,
}

debug!(ReconnectBuilder<R> => |this| reconnector: this.reconnector);

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
        let reconnector = Reconnector::new(target, policy, move |target, listener| {
            let connecting = connect(target, listener);
            async move {
                let mut client = connecting.await?;
                Ok(async move { client.closed().await })
            }
        });
        Ok(Self { runtime, reconnector: reconnector? })
    }

    /// Sets what is done before each try: it gets the target, and how many tries in a row have come to nothing, and
    /// returns the target that is to be tried, with a fresh token for example. Each time it begins with the target that
    /// was given first.
    ///
    /// An error counts as a try that has failed ([`Failure::Hook`](crate::reconnect::Failure::Hook)). There is no limit to
    /// how long it may take, but it is dropped when the client is closed.
    pub fn before_each<F, E>(mut self, hook: impl FnMut(Target, u32) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Target, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.reconnector.before_each(hook);
        self
    }

    /// Sets what is called when a connection has ended, after its `on_close`, and when a try has failed. A stream has
    /// [`Event::Disconnected`](crate::reconnect::Event::Disconnected) instead.
    pub fn on_disconnected(mut self, tell: impl FnMut(Disconnected) + Send + 'static) -> Self {
        self.reconnector.on_disconnected(tell);
        self
    }

    /// Sets what is called once, last, when nothing more will happen. [`Reconnecting::wait`] returns the same.
    pub fn on_end(mut self, tell: impl FnOnce(&Ended) + Send + 'static) -> Self {
        self.reconnector.on_end(tell);
        self
    }

    /// Sets where the random delays are drawn from, for tests that want the same ones in each run.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.reconnector.entropy(entropy);
        self
    }

    /// Connects, in a task of its own, and gives each connection a listener: the function is called when the server has
    /// answered, right before the `on_open` of what it returns. One connection is over when the next one begins, so that
    /// everything that is called is called one after the other.
    ///
    /// # Panics
    /// Where the runtime cannot spawn: on tokio outside of a runtime.
    pub fn listen<L: IntoAnyListener>(self, make: impl Fn(&Connected) -> L + Send + Sync + 'static) -> Reconnecting {
        let (handle, running) = self.reconnector.listen(make);
        run(&self.runtime, running);
        handle
    }

    /// Connects, in a task of its own, and returns what happens as a stream.
    ///
    /// # Panics
    /// Where the runtime cannot spawn: on tokio outside of a runtime.
    pub fn stream(self) -> ReconnectingStream {
        let (stream, running) = self.reconnector.stream();
        run(&self.runtime, running);
        stream
    }
}

fn run<R: Runtime>(runtime: &R, running: Running) {
    let clock = runtime.clone();
    runtime.spawn(async move { running.run(clock.timer(), R::unix_time).await });
}
