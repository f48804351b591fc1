//! What a server does with its connections that takes time: the way to its end, and a pause when accepting fails.

use core::time::Duration;
use std::io::{self, ErrorKind};

use super::timer::{Timer, in_time, sleep};
use crate::serve::{Registry, ServerError, Service, Stage};

/// How long to wait before accepting again when that has failed: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that is dropped may take to run its last callbacks before shutdown stops waiting.
const LAST_CALLBACKS: Duration = Duration::from_secs(1);

impl Registry {
    /// Stops accepting, drops connections whose request is not answered yet, closes the others with 1001, waits at
    /// most `grace` for them, and then drops those that are left; their last callbacks are waited for at most one
    /// second more. Returns how many had to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server closing: nothing is accepted any more.
    pub async fn shutdown(&self, grace: Duration, mut timer: impl Timer) -> usize {
        self.enter(Stage::Closing);
        self.close_all();
        let in_grace = self.wait_until_empty(&mut timer, grace).await;
        let left = if in_grace { 0 } else { self.tasks() };
        self.abort_all();
        self.enter(Stage::Dropping);
        // They have nothing to wait for any more but their own callbacks.
        self.wait_until_empty(&mut timer, LAST_CALLBACKS).await;
        self.enter(Stage::GivenUp);
        left
    }

    async fn wait_until_empty(&self, timer: &mut impl Timer, timeout: Duration) -> bool {
        let deadline = timer.now().checked_add(timeout);
        in_time(timer, deadline, self.wait_until(|_, tasks| tasks == 0)).await.is_some()
    }
}

/// Reports that accepting has failed, and waits a moment if it is likely to fail again.
///
/// # Cancel safety
/// Dropping the future cuts the pause short.
pub async fn accept_failed(service: &Service, error: io::Error, mut timer: impl Timer) {
    let passing = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
    let pause = !passing.contains(&error.kind());
    service.report(&ServerError::Accept(error));
    if pause {
        let deadline = timer.now() + ACCEPT_PAUSE;
        sleep(&mut timer, deadline).await;
    }
}
