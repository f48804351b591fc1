//! The stream form with typed messages.

use alloc::sync::Arc;
use core::fmt;
use core::task::{Context, Poll};

use super::stream::{MessageReceiver, MessageSender, MessageStream, StreamError, TIMEOUT};
use crate::api::{Codec, TypedSocket};
use crate::protocol::{BoxError, Closed, Error, OwnedMessage, SendError};

/// A [`MessageStream`] whose messages are decoded and encoded: what [`MessageStream::typed`] makes.
///
/// A message that cannot be decoded is an error of [`recv`](Self::recv) which ends nothing: the next call goes on with
/// the next message. As a `Sink` it takes values, and references to them.
pub struct TypedStream<C> {
    sender: TypedSender<C>,
    receiver: TypedReceiver<C>,
}

/// The half of a [`TypedStream`] that sends.
pub struct TypedSender<C> {
    sender: MessageSender,
    codec: Arc<C>,
}

/// The half of a [`TypedStream`] that receives.
pub struct TypedReceiver<C> {
    receiver: MessageReceiver,
    codec: Arc<C>,
}

/// The reason why a stream of typed messages could not receive or send.
#[derive(Debug)]
#[non_exhaustive]
pub enum TypedStreamError {
    /// The connection has failed: what `on_error` reports.
    Connection(Error),
    /// A message was refused. It was not sent.
    Send(SendError),
    /// On threads, a call that may wait only so long: nothing was received, or not sent. The connection goes on.
    Timeout,
    /// A message that was received could not be decoded. The connection stays open.
    Decode(BoxError),
    /// A value could not be encoded. It was not sent.
    Encode(BoxError),
}

impl MessageStream {
    /// Makes it a stream of typed messages.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Codec, MessageStream};
    /// use bellwire::stream::TypedStreamError;
    ///
    /// /// Answers each value with itself, until the peer closes.
    /// async fn echo<C: Codec<In = T, Out = T>, T>(messages: MessageStream, codec: C) -> Result<(), TypedStreamError> {
    ///     let mut values = messages.typed(codec);
    ///     while let Some(value) = values.recv().await {
    ///         match value {
    ///             Ok(value) => values.send(&value).await?,
    ///             Err(TypedStreamError::Decode(error)) => eprintln!("{error}"),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn typed<C: Codec>(self, codec: C) -> TypedStream<C> {
        let codec = Arc::new(codec);
        let (sender, receiver) = self.split();
        TypedStream {
            sender: TypedSender { sender, codec: codec.clone() },
            receiver: TypedReceiver { receiver, codec },
        }
    }
}

impl<C: Codec> TypedStream<C> {
    /// Returns a typed handle to the connection: for pings, closing with a code, and sends that do not wait.
    pub fn socket(&self) -> TypedSocket<C> {
        self.sender.socket()
    }

    /// As [`MessageStream::closed`].
    pub fn closed(&self) -> Option<Closed> {
        self.sender.closed()
    }

    /// Receives the next value; `None` once the connection has ended, for good.
    ///
    /// # Errors
    /// Inside: [`TypedStreamError::Decode`] for each message that cannot be decoded, after which others come; and
    /// [`TypedStreamError::Connection`] as in [`MessageStream::recv`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::recv`].
    pub async fn recv(&mut self) -> Option<Result<C::In, TypedStreamError>> {
        self.receiver.recv().await
    }

    /// Sends a value as [`MessageStream::send`] sends a message. It is encoded at once, and need not live on.
    ///
    /// # Errors
    /// [`TypedStreamError::Encode`], and that of [`MessageStream::send`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::send`].
    pub fn send<'s>(&'s mut self, value: &C::Out) -> impl Future<Output = Result<(), TypedStreamError>> + use<'s, C> {
        self.sender.send(value)
    }

    /// As [`MessageStream::flush`].
    ///
    /// # Errors
    /// That of [`MessageStream::flush`].
    ///
    /// # Cancel safety
    /// As [`MessageStream::flush`].
    pub async fn flush(&mut self) -> Result<(), TypedStreamError> {
        self.sender.flush().await
    }

    /// As [`MessageStream::close`].
    ///
    /// # Cancel safety
    /// As there.
    pub async fn close(&mut self) -> Closed {
        self.sender.close().await
    }

    /// Splits it into two halves that may live in different tasks. The connection is closed when both are dropped.
    pub fn split(self) -> (TypedSender<C>, TypedReceiver<C>) {
        (self.sender, self.receiver)
    }
}

impl<C: Codec> TypedReceiver<C> {
    /// As [`TypedStream::socket`].
    pub fn socket(&self) -> TypedSocket<C> {
        TypedSocket::shared(self.receiver.socket().clone(), self.codec.clone())
    }

    /// As [`MessageStream::closed`].
    pub fn closed(&self) -> Option<Closed> {
        self.receiver.closed()
    }

    /// As [`TypedStream::recv`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn recv(&mut self) -> Option<Result<C::In, TypedStreamError>> {
        core::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<C::In, TypedStreamError>>> {
        let decode = |message: OwnedMessage| self.codec.decode(message.as_message()).map_err(TypedStreamError::Decode);
        self.receiver.poll_recv(cx).map(|next| next.map(|message| decode(message?)))
    }
}

impl<C: Codec> TypedSender<C> {
    /// As [`TypedStream::socket`].
    pub fn socket(&self) -> TypedSocket<C> {
        TypedSocket::shared(self.sender.socket().clone(), self.codec.clone())
    }

    /// As [`MessageStream::closed`].
    pub fn closed(&self) -> Option<Closed> {
        self.sender.closed()
    }

    /// As [`TypedStream::send`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub fn send<'s>(&'s mut self, value: &C::Out) -> impl Future<Output = Result<(), TypedStreamError>> + use<'s, C> {
        let message = self.encode(value);
        async move { Ok(self.sender.send(message?).await?) }
    }

    /// As [`TypedStream::flush`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn flush(&mut self) -> Result<(), TypedStreamError> {
        Ok(self.sender.flush().await?)
    }

    /// As [`MessageStream::close`].
    ///
    /// # Cancel safety
    /// As there.
    pub async fn close(&mut self) -> Closed {
        self.sender.close().await
    }

    fn encode(&self, value: &C::Out) -> Result<OwnedMessage, TypedStreamError> {
        self.codec.encode(value).map_err(TypedStreamError::Encode)
    }
}

impl From<StreamError> for TypedStreamError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Connection(error) => Self::Connection(error),
            StreamError::Send(error) => Self::Send(error),
            StreamError::Timeout => Self::Timeout,
        }
    }
}

impl fmt::Display for TypedStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Timeout => f.write_str(TIMEOUT),
            Self::Decode(error) => write!(f, "a message could not be decoded: {error}"),
            Self::Encode(error) => write!(f, "the message could not be encoded: {error}"),
        }
    }
}

impl core::error::Error for TypedStreamError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connection(error) => error.source(),
            Self::Send(_) | Self::Timeout => None,
            Self::Decode(error) | Self::Encode(error) => error.source(),
        }
    }
}

debug!(TypedStream<C>);
debug!(TypedSender<C>);
debug!(TypedReceiver<C>);

/// The traits of the futures crates.
#[cfg(feature = "stream")]
mod traits {
    use core::borrow::Borrow;
    use core::pin::Pin;

    use futures_core::{FusedStream, Stream};
    use futures_sink::Sink;

    use super::*;

    impl<C: Codec> Stream for TypedReceiver<C> {
        type Item = Result<C::In, TypedStreamError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.poll_recv(cx)
        }
    }

    impl<C: Codec> FusedStream for TypedReceiver<C> {
        fn is_terminated(&self) -> bool {
            self.receiver.is_terminated()
        }
    }

    impl<C: Codec> Stream for TypedStream<C> {
        type Item = Result<C::In, TypedStreamError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.receiver.poll_recv(cx)
        }
    }

    impl<C: Codec> FusedStream for TypedStream<C> {
        fn is_terminated(&self) -> bool {
            self.receiver.is_terminated()
        }
    }

    impl<C: Codec, T: Borrow<C::Out>> Sink<T> for TypedSender<C> {
        type Error = TypedStreamError;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Pin::new(&mut self.sender).poll_ready(cx).map_err(Into::into)
        }

        fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), TypedStreamError> {
            let message = self.encode(value.borrow())?;
            Ok(Pin::new(&mut self.sender).start_send(message)?)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Pin::new(&mut self.sender).poll_flush(cx).map_err(Into::into)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Pin::new(&mut self.sender).poll_close(cx).map_err(Into::into)
        }
    }

    impl<C: Codec, T: Borrow<C::Out>> Sink<T> for TypedStream<C> {
        type Error = TypedStreamError;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Sink::<T>::poll_ready(Pin::new(&mut self.sender), cx)
        }

        fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), TypedStreamError> {
            Pin::new(&mut self.sender).start_send(value)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Sink::<T>::poll_flush(Pin::new(&mut self.sender), cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TypedStreamError>> {
            Sink::<T>::poll_close(Pin::new(&mut self.sender), cx)
        }
    }
}
