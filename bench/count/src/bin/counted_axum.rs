//! A server of axum on one thread of tokio. It prints its address.
//!
//! Its argument is the form of its handler: `listener` or `stream`, which echo.

use std::io::{self, Write};

use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use bellwire::axum::{Connections, WebSocketUpgrade};
use bellwire::{Config, Listener, Message, MessageStream, Outcome, WebSocket};
use tokio::net::TcpListener;

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let router = match std::env::args().nth(1).as_deref() {
        Some("listener") => Router::new().route("/", any(with_listener)),
        Some("stream") => Router::new().route("/", any(with_stream)),
        _ => return Err(io::Error::other("say which form: listener or stream")),
    };
    // No pings: what is idle is to stay so.
    let connections = Connections::new().config(Config::default().keepalive_interval(None));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    axum::serve(listener, router.layer(Extension(connections))).await
}

async fn with_listener(upgrade: WebSocketUpgrade) -> Response {
    upgrade.listener(Echo)
}

async fn with_stream(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

async fn echo(mut messages: MessageStream) {
    while let Some(Ok(message)) = messages.recv().await {
        if messages.send(message).await.is_err() {
            return;
        }
    }
}
