//! tokio-websockets, as its users write it, and with what is ready written at once.
//!
//! `bench-tokio-websockets send|batch PORT`

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Error, ServerBuilder, WebSocketStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let batch = arguments.next().as_deref() == Some("batch");
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let (_, socket) = ServerBuilder::new().accept(stream).await?;
            if batch { echo_batch(socket).await } else { echo(socket).await }
        });
    }
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Each read would write what is queued, so all messages are taken before one is queued.
async fn echo_batch(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    let mut ready = Vec::new();
    while let Some(message) = socket.next().await {
        ready.push(message?);
        while let Some(message) = socket.next().now_or_never().flatten() {
            ready.push(message?);
        }
        for message in ready.drain(..) {
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
        }
        socket.flush().await?;
    }
    Ok(())
}
