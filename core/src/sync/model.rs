//! What models of several threads have in common: how a thread that polls goes to sleep, and is woken.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::mem;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use loom::sync::{Condvar, Mutex};

/// The sleep of a task, or of a driver, that has a thread for itself.
#[derive(Default)]
pub(crate) struct Sleep {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Sleep {
    pub(crate) fn wait(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !mem::take(&mut *woken) {
            woken = self.changed.wait(woken).unwrap();
        }
    }
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Polls again whenever it is woken.
pub(crate) fn wait_for<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let sleep = Arc::new(Sleep::default());
    let waker = Waker::from(sleep.clone());
    loop {
        if let Poll::Ready(output) = poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        sleep.wait();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    wait_for(|cx| future.as_mut().poll(cx))
}
