//! A server on one thread of tokio. It prints its address.
//!
//! Its argument is the form of its handler: `listener`, `async` or `stream`, which echo; `deflate`, a listener whose
//! connections compress; or `send` or `broadcast`, which send each message to all connections.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bellwire::config::Deflate;
use bellwire::tokio::Server;
use bellwire::{
    AsyncResponse, Config, Listener, Message, Outcome, Request, Response, WebSocket, async_listener, broadcast, stream,
};

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

/// Sends to all, those of other tasks among them.
struct Member {
    room: Arc<Mutex<Vec<WebSocket>>>,
    to_all: fn(&[WebSocket], Message<'_>),
}

impl Listener for Member {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.room.lock().expect("no panic").push(socket.clone());
        Ok(())
    }

    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        (self.to_all)(&self.room.lock().expect("no panic"), message);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // No pings: what is idle is to stay so.
    let config = Config::default().keepalive_interval(None);
    let server = Server::bind("127.0.0.1:0").await?.config(config.clone());
    println!("{}", server.local_addr()?);
    io::stdout().flush()?;
    match std::env::args().nth(1).as_deref() {
        Some("listener") => server.run(|_: &Request| Response::websocket(Echo)).await,
        Some("deflate") => {
            let config = config.deflate(Deflate::default());
            server.config(config).run(|_: &Request| Response::websocket(Echo)).await
        }
        Some("async") => server.run_async(echo_async).await,
        Some("stream") => server.run_async(echo_stream).await,
        Some("send") => serve_room(server, send_to_each).await,
        Some("broadcast") => serve_room(server, |sockets, message| drop(broadcast(sockets, message))).await,
        _ => Err(io::Error::other("say which form: listener, async, stream, deflate, send or broadcast")),
    }
}

async fn echo_async(_: Request) -> AsyncResponse {
    AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message)))
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

async fn serve_room(server: Server, to_all: fn(&[WebSocket], Message<'_>)) -> io::Result<()> {
    let room = Arc::default();
    server.run(move |_: &Request| Response::websocket(Member { room: Arc::clone(&room), to_all })).await
}

fn send_to_each(sockets: &[WebSocket], message: Message<'_>) {
    sockets.iter().for_each(|socket| socket.send(message).expect("it is open"));
}
