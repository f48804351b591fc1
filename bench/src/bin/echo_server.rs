//! An echo server on one thread of tokio, for `bench/compare` to measure. It prints its address.
//!
//! Its argument is the form of its handler: `listener`, `async`, `stream` or `stream_listener`.

use std::io::{self, Write};

use bellwire::tokio::Server;
use bellwire::{
    AsyncResponse, Config, Listener, Message, MessageStream, Outcome, Request, Response, StreamError, WebSocket,
    async_listener, stream, stream_listener,
};

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // No pings: what is idle is to stay so.
    let server = Server::bind("127.0.0.1:0").await?.config(Config::default().keepalive_interval(None));
    println!("{}", server.local_addr()?);
    io::stdout().flush()?;
    match std::env::args().nth(1).as_deref() {
        Some("listener") => server.run(|_: &Request| Response::websocket(Echo)).await,
        Some("async") => server.run_async(echo_async).await,
        Some("stream") => server.run_async(echo_stream).await,
        Some("stream_listener") => server.run_async(echo_stream_listener).await,
        _ => Err(io::Error::other("say which form: listener, async, stream or stream_listener")),
    }
}

async fn echo_async(_: Request) -> AsyncResponse {
    AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message)))
}

async fn echo_stream_listener(_: Request) -> AsyncResponse {
    AsyncResponse::websocket(stream_listener(echo))
}

async fn echo(mut messages: MessageStream) -> Result<(), StreamError> {
    while let Some(message) = messages.recv().await {
        messages.send(message?).await?;
    }
    Ok(())
}

async fn echo_stream(_: Request) -> AsyncResponse {
    let (listener, opened) = stream();
    tokio::spawn(async move {
        let Some(mut messages) = opened.await else { return };
        while let Some(Ok(message)) = messages.recv().await {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    });
    AsyncResponse::websocket(listener)
}
