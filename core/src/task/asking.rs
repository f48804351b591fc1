//! A request whose HTTP is another library's: its handler is asked.

use alloc::sync::Arc;
use core::future::poll_fn;

use super::timer::{Timer, in_time};
use crate::api::AsyncResponse;
use crate::handshake::Request;
use crate::serve::{Asked, ServerError, Service};

impl Service {
    /// Asks the handler, and waits for its answer, at most for
    /// [`Config::handler_timeout`](crate::Config::handler_timeout).
    ///
    /// # Errors
    /// Those of the handler.
    ///
    /// # Cancel safety
    /// Dropping the future drops that of the handler: the peer has left.
    pub async fn answer(
        self: &Arc<Self>,
        request: &Request,
        mut timer: impl Timer,
    ) -> Result<AsyncResponse, ServerError> {
        let mut pending = match self.ask(request) {
            Asked::Answered(answer) => return answer,
            Asked::Pending(pending) => pending,
        };
        let deadline = self.config().handler_timeout.map(|timeout| timer.now() + timeout);
        match in_time(&mut timer, deadline, poll_fn(|cx| pending.poll(cx.waker()))).await {
            Some(answer) => answer,
            None => pending.give_up(),
        }
    }
}
