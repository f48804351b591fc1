//! The body of a response: some text, or nothing. That of a 101 notices whether it is sent.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bellwire_core::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// The body of a response that bellwire has made.
///
/// A body that a middleware puts around that of a 101 has to pass on
/// [`is_end_stream`](http_body::Body::is_end_stream), as nearly all do: a server that does not ask for it has not sent the
/// 101, and then there is no WebSocket.
#[derive(Default)]
pub struct Body {
    bytes: Bytes,
    used: Option<Used>,
}

/// Whether a server has looked at a response's body, as its body and whoever waits for the upgrade have it.
///
/// hyper's `OnUpgrade` comes true also if a middleware has put another answer in the place of the 101, and what is written
/// then arrives behind that answer. A body that was dropped before any server has looked at it was not sent, and neither was
/// its head.
struct Used {
    used: Arc<AtomicBool>,
    _dropped: oneshot::Sender<Infallible>,
}

/// The other end. That by default has no body, and never fails.
#[derive(Default)]
pub(crate) struct Sent {
    used: Option<Arc<AtomicBool>>,
    dropped: Option<oneshot::Receiver<Infallible>>,
}

impl Sent {
    /// Fails if the body was dropped, and no server has looked at it; wakes when it is dropped.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError> {
        if self.dropped.as_mut().is_some_and(|dropped| Pin::new(dropped).poll(cx).is_ready()) {
            self.dropped = None;
        }
        if self.dropped.is_none() { self.check() } else { Ok(()) }
    }

    /// Fails if no server has looked at the body.
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        match &self.used {
            Some(used) if !used.load(Ordering::Acquire) => {
                let why = "the 101 was not sent: another answer was, or the client has left; or a middleware's body keeps \
                           is_end_stream from the one inside of it";
                Err(why.into())
            }
            _ => Ok(()),
        }
    }
}

impl Body {
    /// A body without content, and what notices whether it is used.
    pub(crate) fn noticing() -> (Self, Sent) {
        let used = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = oneshot::channel();
        let sent = Sent { used: Some(used.clone()), dropped: Some(receiver) };
        (Self { bytes: Bytes::new(), used: Some(Used { used, _dropped: sender }) }, sent)
    }

    fn notice(&self) {
        if let Some(Used { used, .. }) = &self.used {
            used.store(true, Ordering::Release);
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, used: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.notice();
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.notice();
        self.bytes.is_empty()
    }

    /// Middleware asks this, too: it does not show that the body is sent.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length", &self.bytes.len()).finish()
    }
}
