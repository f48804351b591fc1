//! sockudo-ws, as its users write it, and with what is ready written at once.
//!
//! `bench-sockudo-ws send|batch [alone|takeover LEVEL] PORT`

use std::io;

use bytes::BytesMut;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::error::{Error, Result};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::protocol::Message;
use sockudo_ws::{CompressedWebSocketStream, Config, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, deflate @ .., port] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let batch = form == "batch";
    let deflate = deflate_config(deflate);
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let deflate = deflate.clone();
        tokio::spawn(async move {
            let (stream, agreed) = handshake(stream, deflate).await?;
            let config = Config::builder().auto_ping(false).build();
            match agreed {
                Some(agreed) => run(CompressedWebSocketStream::server(stream, config, agreed), batch).await,
                None => run(WebSocketStream::server(stream, config), batch).await,
            }
        });
    }
}

fn deflate_config(arguments: &[String]) -> Option<DeflateConfig> {
    let [context, level] = arguments else { return None };
    let alone = context == "alone";
    Some(DeflateConfig {
        server_no_context_takeover: alone,
        client_no_context_takeover: alone,
        compression_level: level.parse().ok()?,
        ..DeflateConfig::default()
    })
}

/// What was agreed on about compression comes back with the stream.
async fn handshake(
    mut stream: TcpStream,
    deflate: Option<DeflateConfig>,
) -> Result<(TcpStream, Option<DeflateConfig>)> {
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, _)) = parse_request(&head)? {
            let offers = request.extensions.unwrap_or_default();
            let agreed = deflate.and_then(|deflate| negotiate_server_deflate(offers, &deflate));
            let extensions = agreed.as_ref().map(|agreed| agreed.to_response_header());
            let response = build_response(&generate_accept_key(request.key), None, extensions.as_deref());
            stream.write_all(&response).await?;
            return Ok((stream, agreed.map(|agreed| agreed.config)));
        }
    }
}

/// A connection, whether it compresses or not.
trait Socket: Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin {}
impl<S: Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin> Socket for S {}

async fn run(socket: impl Socket, batch: bool) -> Result<()> {
    if batch { echo_batch(socket).await } else { echo(socket).await }
}

async fn echo(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn echo_batch(mut socket: impl Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        let mut ready = Some(message);
        while let Some(message) = ready {
            match message? {
                message @ (Message::Text(_) | Message::Binary(_)) => socket.feed(message).await?,
                Message::Close(_) => return socket.flush().await,
                _ => {}
            }
            ready = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
