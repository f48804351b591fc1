//! Reading from a subscription.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use async_nats::{Message, Subscriber};
use futures_core::Stream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, unconstrained};

use super::reactor::{Busy, Spawner};
use crate::engine::Arrivals;

/// A subscription that is read on the thread of its connection, until this is dropped.
pub(super) struct Reader {
    /// Has it unsubscribe, and end.
    _stop: oneshot::Sender<Infallible>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Has `take` called with each message. All that are there are one batch.
    pub(super) fn start(
        on: &Spawner,
        subscriber: Subscriber,
        take: impl FnMut(Message, &mut Arrivals) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        // All that has come is taken before it is the client's turn again.
        let task = on.spawn(unconstrained(read(subscriber, take, stopped, on.busy())));
        Self { _stop: stop, task }
    }

    /// Stops it. What this returns ends when it has.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.task
    }
}

async fn read(
    mut subscriber: Subscriber,
    mut take: impl FnMut(Message, &mut Arrivals),
    mut stop: oneshot::Receiver<Infallible>,
    _busy: Busy,
) {
    let mut batch = Arrivals::default();
    while let Some(message) = next(&mut subscriber, &mut stop, &mut batch).await {
        take(message, &mut batch);
    }
    drop(batch);
    let _ = subscriber.unsubscribe().await;
}

/// The next message, unless there is none any more, or none is wanted. While it has to be waited for, what came before is
/// delivered.
async fn next(
    subscriber: &mut Subscriber,
    stop: &mut oneshot::Receiver<Infallible>,
    batch: &mut Arrivals,
) -> Option<Message> {
    poll_fn(|context| {
        let next = match Pin::new(&mut *stop).poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Pin::new(&mut *subscriber).poll_next(context),
        };
        if next.is_pending() {
            batch.deliver();
        }
        next
    })
    .await
}
