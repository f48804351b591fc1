//! What tasks make possible: to drop a connection's driver before its end.

use std::net::SocketAddr;
use std::time::Duration;

use bellwire::listener::{IntoAnyListener, IntoListener, IntoResponse};
use bellwire::{Config, Request, Role};

use crate::{Backend, Connect};

/// A backend whose connections are futures.
pub trait Tasks: Backend {
    /// Runs a future until it ends or is aborted.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task;

    /// Answers a request over memory.
    fn accepting<R: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        stream: Self::Memory,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Shakes hands over memory.
    fn connecting(
        &self,
        connect: Connect,
        stream: Self::Memory,
        listener: impl IntoListener,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Drives a stream that somebody else has upgraded.
    fn driving(
        &self,
        stream: Self::Memory,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoAnyListener,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Serves on a loopback port: where, how to shut down, and what serves.
    fn serving<R: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> (SocketAddr, Shutdown, impl Future<Output = ()> + Send + 'static);
}

/// Shuts a server down, and says how many connections had to be dropped.
pub type Shutdown = Box<dyn FnOnce(Duration) -> usize + Send>;

/// A task that runs.
pub struct Task(pub(crate) Box<dyn FnOnce()>);

impl Task {
    /// Drops its future, and returns when that is done.
    pub fn abort(self) {
        (self.0)();
    }
}

/// A backend on a runtime that can end.
pub trait Ending: Backend {
    /// Ends it, with all its tasks.
    fn end(&mut self);
}
