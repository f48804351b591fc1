//! Asynchronous callbacks that were called. They are polled once where they are made, since most are done then; and the
//! memory of one that is done serves the next of its type on its thread.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::mem;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker, ready};
use std::panic::{self, AssertUnwindSafe};

use super::builder::outcome;
use super::listener::{IntoOutcome, Outcome};

/// A callback that was called, and polled once.
pub(crate) enum Called {
    Done(Outcome),
    Pending(Pending),
}

/// A callback that is to be polled until it is done.
pub(crate) struct Pending {
    place: Box<dyn Place>,
    /// It has asked to be polled again at once, and others are to run before that. (Tokio's own `yield_now` asks only
    /// when its task has returned: it is polled again before that.)
    pub(crate) yields: bool,
    /// It was not polled since it was called.
    fresh: bool,
}

/// Where a future lives until it is done. It is boxed twice: so its place can be kept whatever its type is, and taken
/// for another of that type.
struct At<F>(Pin<Box<Option<F>>>);

trait Place: Send {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome>;
    fn give_back(self: Box<Self>);
}

impl<F: Future<Output: IntoOutcome> + Send + 'static> Place for At<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(future) = self.0.as_mut().as_pin_mut() else { return Poll::Ready(Ok(())) };
        let returned = ready!(future.poll(cx));
        self.0.set(None);
        Poll::Ready(outcome(returned))
    }

    fn give_back(self: Box<Self>) {
        // A thread that is about to end has no use for it.
        if let Ok(Some(before)) = SPARE.try_with(|spare| spare.replace(Some(self))) {
            keep_among_others(before);
        }
    }
}

impl<F: Future<Output: IntoOutcome> + Send + 'static> At<F> {
    /// Takes a free place of the thread: that which was used last, if it is for futures of this type.
    fn take() -> Box<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        match spare.map(<Box<dyn Any>>::downcast) {
            Some(Ok(place)) => place,
            spare => Self::take_among_others(spare.and_then(Result::err)),
        }
    }

    #[cold]
    fn take_among_others(spare: Option<Box<dyn Any>>) -> Box<Self> {
        let take = |others: &RefCell<Vec<Box<dyn Any>>>| {
            let mut others = others.borrow_mut();
            let at = others.iter().rposition(|place| place.is::<Self>())?;
            others.remove(at).downcast().ok()
        };
        let place = OTHERS.try_with(take).ok().flatten();
        spare.into_iter().for_each(keep_among_others);
        place.unwrap_or_else(|| Box::new(Self(Box::pin(None))))
    }

    /// Polls it where there is no task to be woken. Whether it has asked to be polled again at once.
    fn first_poll(&mut self, (yielded, waker): &(Arc<Yield>, Waker)) -> (Poll<Outcome>, bool) {
        yielded.0.store(false, Ordering::Relaxed);
        let polled = Place::poll(self, &mut Context::from_waker(waker));
        (polled, yielded.0.load(Ordering::Relaxed))
    }
}

/// Notes that it was called.
struct Yield(AtomicBool);

impl Wake for Yield {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread keeps so many free places beside the one that was used last: those of the callbacks of some listeners.
const MOST: usize = 16;

#[cold]
fn keep_among_others(place: Box<dyn Any>) {
    let _ = OTHERS.try_with(|others| {
        let mut others = others.borrow_mut();
        if others.len() == MOST {
            others.remove(0);
        }
        others.push(place);
    });
}

std::thread_local! {
    /// The free place that was used last, for the futures of one type.
    static SPARE: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) };
    /// Those of other types, and those that nested calls left. The newest is last.
    static OTHERS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    /// For the first poll, which is made where there is no task to be woken.
    static YIELD: (Arc<Yield>, Waker) = {
        let yielded = Arc::new(Yield(AtomicBool::new(false)));
        (yielded.clone(), yielded.into())
    };
}

impl Called {
    /// A callback whose outcome is that of a future.
    pub(crate) fn of<F: Future<Output: IntoOutcome> + Send + 'static>(future: F) -> Self {
        let mut place = At::take();
        place.0.set(Some(future));
        let polled = panic::catch_unwind(AssertUnwindSafe(|| YIELD.try_with(|thread| place.first_poll(thread))));
        match polled {
            Ok(Ok((Poll::Ready(outcome), _))) => {
                place.give_back();
                Self::Done(outcome)
            }
            Ok(Ok((Poll::Pending, yields))) => Self::Pending(Pending { place, yields, fresh: true }),
            // On a thread that is about to end it was not polled: it is later, as all that are pending are.
            Ok(Err(_)) => Self::Pending(Pending { place, yields: false, fresh: false }),
            Err(payload) => {
                // What it still holds may panic, too, and not while this is unwound: that would abort the process.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(place)));
                panic::resume_unwind(payload)
            }
        }
    }
}

impl Pending {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let first = || YIELD.try_with(|(_, waker)| waker.will_wake(cx.waker())).unwrap_or(false);
        if mem::take(&mut self.fresh) && first() {
            // It was called by one that is polled for the first time, too.
            return Poll::Pending;
        }
        self.place.poll(cx)
    }

    /// It is done: another one may have its place.
    pub(crate) fn done(self) {
        self.place.give_back();
    }
}
