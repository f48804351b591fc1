//! What is said beside the callbacks, on a connection that is a [stream](crate::stream_listener) for a future of its own
//! task: it is polled behind the callbacks, when it was woken.

use core::task::{Context, Poll, Waker};
use std::panic::{self, AssertUnwindSafe};

use super::Dispatcher;
use crate::api::{Conversation, Kind};

fn of(listener: &mut Kind) -> Option<&mut Option<Conversation>> {
    if let Kind::Async(listener) = listener { listener.0.conversation() } else { None }
}

impl Dispatcher {
    /// Returns `true` if it is not over.
    pub(in crate::drive) fn is_conversing(&mut self) -> bool {
        of(&mut self.listener).is_some_and(|conversation| conversation.is_some())
    }

    /// Goes on with it, if it was woken. Whether it was.
    #[inline]
    pub(in crate::drive) fn converse(&mut self) -> bool {
        self.shared.take_due() && self.converse_now()
    }

    fn converse_now(&mut self) -> bool {
        let Self { shared, listener, watch, .. } = self;
        let Some(Some(conversation)) = of(listener) else { return false };
        let (waker, reads) = (Waker::from(shared.clone()), shared.status().wants_read());
        let _entered = watch.enter();
        let poll = || shared.during(|| conversation.as_mut().poll(&mut Context::from_waker(&waker)));
        let polled = panic::catch_unwind(AssertUnwindSafe(poll));
        if reads && !shared.status().wants_read() {
            // D16: it may send without being asked, and that does not stop the reading.
            shared.lock().read_on();
        }
        let returned = match polled {
            Ok(Poll::Pending) => {
                if self.shared.is_due() {
                    self.spend();
                }
                return true;
            }
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(payload) => Err(payload),
        };
        self.stop_conversing();
        self.judge(returned);
        true
    }

    /// Drops it, where it waits if it does.
    pub(super) fn stop_conversing(&mut self) {
        let conversation = of(&mut self.listener).and_then(Option::take);
        self.drop_inside(conversation);
    }
}
