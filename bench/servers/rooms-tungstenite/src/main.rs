//! A chat of one room on tokio-tungstenite, over several nodes with Redis pub/sub, as one writes it by hand: a task for
//! each connection, which gets what is published over a broadcast channel of tokio.
//!
//! `bench-rooms-tungstenite send|batch REDIS_URL PORT`. `send`: one task both reads and sends, as in the examples of
//! tokio-tungstenite, and sends each message by itself. `batch`: one task reads and another sends, whatever is there goes to
//! Redis in one pipeline, and to a member with one flush. Who connects to `/publisher` is no member.

use std::error::Error;
use std::future::pending;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const ROOM: &str = "room";
/// Messages that a member may be behind.
const BEHIND: usize = 1024;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, url, port] = &arguments[..] else { return Err("usage: bench-rooms-tungstenite WAY URL PORT".into()) };
    let (batch, client) = (way == "batch", redis::Client::open(&**url)?);
    let (room, _) = broadcast::channel(BEHIND);
    // On a busy machine an answer may take longer than this library waits by itself.
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let publisher = client.get_multiplexed_async_connection_with_config(&patient).await?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe(ROOM).await?;
    tokio::spawn(deliver(subscriber, room.clone()));
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (room, publisher) = (room.clone(), publisher.clone());
        tokio::spawn(async move {
            let mut is_member = true;
            // It is tungstenite's own type.
            #[allow(clippy::result_large_err)]
            let look = |request: &Request, response: Response| -> std::result::Result<Response, ErrorResponse> {
                is_member = request.uri().path() != "/publisher";
                Ok(response)
            };
            let socket = accept_hdr_async(stream, look).await?;
            let room = is_member.then(|| room.subscribe());
            if batch { serve_in_batches(socket, room, publisher).await } else { serve(socket, room, publisher).await }
        });
    }
}

/// What comes from Redis is given to all members. A text is made once, and shared.
async fn deliver(subscriber: redis::aio::PubSub, room: Sender<Utf8Bytes>) -> Result<()> {
    let mut messages = subscriber.into_on_message();
    while let Some(message) = messages.next().await {
        let text = Utf8Bytes::try_from(Bytes::copy_from_slice(message.get_payload_bytes()))?;
        // Without members nobody needs it.
        let _ = room.send(text);
    }
    Ok(())
}

/// One task, which reads and sends. Each time it is woken it looks for both.
async fn serve(
    mut socket: WebSocketStream<TcpStream>,
    mut room: Option<Receiver<Utf8Bytes>>,
    mut redis: MultiplexedConnection,
) -> Result<()> {
    loop {
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(Message::Text(text)) => redis.publish::<_, _, ()>(ROOM, text.as_str()).await?,
                Some(_) => {}
                None => return Ok(()),
            },
            text = next(&mut room) => if let Some(text) = text {
                socket.send(Message::Text(text)).await?;
            }
        }
    }
}

/// Two tasks, each of which does at once whatever there is to do.
async fn serve_in_batches(
    socket: WebSocketStream<TcpStream>,
    room: Option<Receiver<Utf8Bytes>>,
    mut redis: MultiplexedConnection,
) -> Result<()> {
    let (sink, mut stream) = socket.split();
    let sending = room.map(|room| tokio::spawn(send_ready(sink, room)).abort_handle());
    let mut read = async || {
        while let Some(message) = stream.next().await.transpose()? {
            if let Message::Text(text) = message {
                publish_ready(&mut stream, text, &mut redis).await?;
            }
        }
        Ok(())
    };
    let outcome = read().await;
    if let Some(sending) = sending {
        sending.abort();
    }
    outcome
}

async fn send_ready(mut sink: SplitSink<WebSocketStream<TcpStream>, Message>, room: Receiver<Utf8Bytes>) -> Result<()> {
    let mut room = Some(room);
    loop {
        let Some(text) = next(&mut room).await else { continue };
        sink.feed(Message::Text(text)).await?;
        while let Some(Ok(text)) = room.as_mut().map(Receiver::try_recv) {
            sink.feed(Message::Text(text)).await?;
        }
        sink.flush().await?;
    }
}

/// Publishes a text, and all that have come behind it.
async fn publish_ready(
    socket: &mut SplitStream<WebSocketStream<TcpStream>>,
    text: Utf8Bytes,
    redis: &mut MultiplexedConnection,
) -> Result<()> {
    let (mut pipeline, mut next) = (redis::pipe(), Some(text));
    while let Some(text) = next {
        pipeline.publish(ROOM, text.as_str()).ignore();
        next = socket.next().now_or_never().flatten().transpose()?.and_then(|message| match message {
            Message::Text(text) => Some(text),
            _ => None,
        });
    }
    Ok(pipeline.query_async(redis).await?)
}

/// The next message of the room. None: it was too slow for some.
async fn next(room: &mut Option<Receiver<Utf8Bytes>>) -> Option<Utf8Bytes> {
    let Some(room) = room else { return pending().await };
    match room.recv().await {
        Ok(text) => Some(text),
        Err(RecvError::Lagged(_)) => None,
        Err(RecvError::Closed) => pending().await,
    }
}
