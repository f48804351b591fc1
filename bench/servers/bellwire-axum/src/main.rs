//! bellwire inside a server of axum, in both forms of a handler.
//!
//! `bench-bellwire-axum listener|stream PORT`

use std::io;

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, port] = &arguments[..] else { return Err(io::Error::other("usage: bench-bellwire-axum FORM PORT")) };
    let router = match &**form {
        "listener" => Router::new().route("/", any(with_listener)),
        "stream" => Router::new().route("/", any(with_stream)),
        _ => return Err(io::Error::other("no such form")),
    };
    // No pings: what is idle is to stay so.
    let connections = Connections::new().config(Config::default().keepalive_interval(None));
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
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
