//! The body of a response: some text, or nothing. That of a 101 notices whether it is sent.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// The body of a response that bellwire has made.
#[derive(Default)]
pub struct Body {
    bytes: Bytes,
    used: Option<Used>,
}

/// Whether a server has looked at a response's body.
///
/// hyper's `OnUpgrade` comes true also if a middleware has put another answer in the place of the 101, and what is written
/// then arrives behind that answer. A body that was dropped before any server has looked at it was not sent, and neither was
/// its head.
#[derive(Clone, Default)]
pub(crate) struct Used(Arc<AtomicBool>);

impl Used {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Body {
    /// A body without content that notices whether it is used.
    pub(crate) fn noticing(used: Used) -> Self {
        Self { bytes: Bytes::new(), used: Some(used) }
    }

    fn notice(&self) {
        if let Some(Used(used)) = &self.used {
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
