//! The thread on which a client of NATS runs, with all that reads from it.
//!
//! There is one thread per connection. That ends whatever the client has begun, also while it tries to reconnect, which
//! it cannot be talked out of. And the tasks take turns in the order in which they were woken: what has come is handed
//! on before more is read, and what the server has said before a message is known before the message is.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time;

/// Ends the thread when it is dropped, and all tasks with it.
pub(super) struct Reactor {
    spawner: Spawner,
    _end: oneshot::Sender<Infallible>,
}

/// Starts tasks on the thread. It does not keep it, but for its grace.
#[derive(Clone)]
pub(super) struct Spawner {
    handle: Handle,
    busy: Busy,
}

/// As long as one of these is there, the thread does not end, within its grace.
pub(super) type Busy = mpsc::Sender<Infallible>;

impl Reactor {
    /// Starts the thread. In the end it gives tasks that are [busy](Spawner::busy) so much time to finish.
    pub(super) fn start(grace: Duration) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (busy, mut idle) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("bellwire-nats".into()).spawn(move || {
            runtime.block_on(async {
                let _ = ended.await;
                if !grace.is_zero() {
                    let _ = time::timeout(grace, idle.recv()).await;
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { spawner: Spawner { handle, busy }, _end: end })
    }

    pub(super) fn spawner(&self) -> &Spawner {
        &self.spawner
    }
}

impl Spawner {
    /// What a task holds that wants to finish.
    pub(super) fn busy(&self) -> Busy {
        self.busy.clone()
    }

    /// Runs a task on the thread, until it ends or the thread does.
    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(task)
    }

    /// Polls a future where it is awaited, as if it ran on the thread: with the timers of that.
    pub(super) async fn within<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _within = self.handle.enter();
            future.as_mut().poll(context)
        })
        .await
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc as threads;

    const HANG: Duration = Duration::from_secs(30);

    thread_local! {
        /// What is dropped with the thread.
        static WITH_THREAD: RefCell<Option<threads::Sender<()>>> = const { RefCell::new(None) };
    }

    /// Ends when the thread and its task have.
    fn ends(reactor: &Reactor) -> threads::Receiver<()> {
        let (sender, receiver) = threads::channel();
        reactor.spawner().spawn(async move {
            WITH_THREAD.set(Some(sender.clone()));
            let _with_task = sender;
            std::future::pending::<()>().await;
        });
        receiver
    }

    #[test]
    fn the_thread_ends_and_its_tasks_with_it() {
        let reactor = Reactor::start(Duration::ZERO).unwrap();
        let (end, _busy) = (ends(&reactor), reactor.spawner().busy());
        assert_eq!(end.recv_timeout(Duration::from_millis(50)), Err(threads::RecvTimeoutError::Timeout));
        drop(reactor);
        assert_eq!(end.recv_timeout(HANG), Err(threads::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn within_its_grace_the_thread_waits_for_who_is_busy() {
        let reactor = Reactor::start(Duration::from_secs(3600)).unwrap();
        let (end, busy) = (ends(&reactor), reactor.spawner().busy());
        drop(reactor);
        assert_eq!(end.recv_timeout(Duration::from_millis(50)), Err(threads::RecvTimeoutError::Timeout));
        drop(busy);
        assert_eq!(end.recv_timeout(HANG), Err(threads::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn nobody_is_waited_for_longer_than_that() {
        let reactor = Reactor::start(Duration::from_millis(10)).unwrap();
        let (end, _busy) = (ends(&reactor), reactor.spawner().busy());
        drop(reactor);
        assert_eq!(end.recv_timeout(HANG), Err(threads::RecvTimeoutError::Disconnected));
    }
}
