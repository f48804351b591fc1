//! What a server does with its connections that takes time: the way to its end, and a pause when accepting fails.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::io::{self, ErrorKind};

use super::drain::Drain;
use super::timer::{Timer, in_time, sleep, yield_now};
use crate::entropy::SystemEntropy;
use crate::serve::{Key, Registry, ServerError, Service, Stage};

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
        self.end(grace, &mut timer).await
    }

    /// Stops accepting, drops connections whose request is not answered yet, and closes the others with 1012, in random
    /// order, spread evenly over a time. What is left then is waited for, dropped and counted as in a
    /// [`shutdown`](Self::shutdown). It begins when this is called, not when the future is first polled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves those open that were not told yet, and the server closing: nothing is accepted any more.
    pub fn drain(&self, over: Duration, grace: Duration, mut timer: impl Timer) -> impl Future<Output = usize> {
        let open = self.begin_restart();
        let drain = Drain::new(open, timer.now(), over, &mut SystemEntropy);
        async move {
            self.tell_restart(drain, &mut timer).await;
            self.end(grace, &mut timer).await
        }
    }

    /// Tells each connection when it is its turn, unless all have left before.
    async fn tell_restart(&self, mut drain: Drain<Key>, timer: &mut impl Timer) {
        let mut left = pin!(self.wait_until(|stage, tasks| tasks == 0 || stage >= Stage::Dropping));
        loop {
            // One time for all that are due by now: others have their turn after them, however long they take.
            let now = timer.now();
            while let Some(key) = drain.next_due(now) {
                self.restart(key);
            }
            let Some(due) = drain.due() else { return };
            yield_now(timer).await;
            let mut turn = pin!(sleep(timer, due));
            let is_over = poll_fn(|cx| match left.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => turn.as_mut().poll(cx).map(|()| false),
            });
            if is_over.await {
                return;
            }
        }
    }

    /// Waits at most `grace` for those who were told, and then drops those that are left.
    async fn end(&self, grace: Duration, timer: &mut impl Timer) -> usize {
        let in_grace = self.wait_until_empty(timer, grace).await;
        let left = if in_grace { 0 } else { self.tasks() };
        self.abort_all();
        self.enter(Stage::Dropping);
        // They have nothing to wait for any more but their own callbacks.
        self.wait_until_empty(timer, LAST_CALLBACKS).await;
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
