//! Asynchronous callbacks that were called. They are polled once where they are made, since most are done then; and the
//! memory of one that is done serves the next on its thread.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::any::Any;
use core::cell::Cell;
use core::mem;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};

use super::builder::outcome;
use super::listener::{IntoOutcome, Outcome};

/// A callback that was called, and polled once.
pub(crate) enum Called {
    Done(Outcome),
    Pending(Pending),
}

/// A callback that is to be polled until it is done.
pub(crate) struct Pending {
    place: Pin<Box<dyn Place>>,
    /// It has asked to be polled again at once, and others are to run before that. (Tokio's own `yield_now` asks only
    /// when its task has returned: it is polled again before that.)
    pub(crate) yields: bool,
    /// It was not polled since it was called.
    fresh: bool,
}

/// Where a future lives until it is done.
trait Place: Send {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome>;
    fn give_back(self: Pin<Box<Self>>);
}

impl<F: Future<Output: IntoOutcome> + Send + 'static> Place for Option<F> {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(future) = self.as_mut().as_pin_mut() else { return Poll::Ready(Ok(())) };
        let returned = ready!(future.poll(cx));
        self.set(None);
        Poll::Ready(outcome(returned))
    }

    fn give_back(self: Pin<Box<Self>>) {
        Box::new(Spare(Some(self))).give_back();
    }
}

/// A place that is free.
struct Spare<F>(Option<Pin<Box<Option<F>>>>);

impl<F: 'static> Spare<F> {
    /// Takes the one of the thread, if that is for futures of this type.
    fn take() -> Box<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        spare.and_then(|spare| spare.downcast().ok()).unwrap_or_else(|| Box::new(Self(None)))
    }

    fn give_back(self: Box<Self>) {
        // A thread that is about to end has no use for it.
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }
}

/// Notes that it was called.
struct Yield(AtomicBool);

impl Wake for Yield {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

std::thread_local! {
    /// A [`Spare`] for the futures of one type.
    static SPARE: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) };
    /// For the first poll, which is made where there is no task to be woken.
    static YIELD: (Arc<Yield>, Waker) = {
        let yielded = Arc::new(Yield(AtomicBool::new(false)));
        (yielded.clone(), yielded.into())
    };
}

impl Called {
    /// A callback whose outcome is that of a future.
    pub(crate) fn of<F: Future<Output: IntoOutcome> + Send + 'static>(future: F) -> Self {
        let mut spare = Spare::take();
        let mut place = spare.0.take().unwrap_or_else(|| Box::pin(None));
        place.set(Some(future));
        let mut poll = Poll::Pending;
        let yields = YIELD.try_with(|(yielded, waker)| {
            yielded.0.store(false, Ordering::Relaxed);
            poll = Place::poll(place.as_mut(), &mut Context::from_waker(waker));
            yielded.0.load(Ordering::Relaxed)
        });
        let called = match poll {
            Poll::Ready(outcome) => {
                spare.0 = Some(place);
                Self::Done(outcome)
            }
            // On a thread that is about to end it was not polled: it is later, as all that are pending are.
            Poll::Pending => Self::Pending(Pending { place, yields: yields.unwrap_or(false), fresh: yields.is_ok() }),
        };
        spare.give_back();
        called
    }
}

impl Pending {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let first = || YIELD.try_with(|(_, waker)| waker.will_wake(cx.waker())).unwrap_or(false);
        if mem::take(&mut self.fresh) && first() {
            // It was called by one that is polled for the first time, too.
            return Poll::Pending;
        }
        self.place.as_mut().poll(cx)
    }

    /// It is done: another one may have its place.
    pub(crate) fn done(self) {
        self.place.give_back();
    }
}
