//! An echo server on smol's executor and the sockets of async-io, on one thread. It prints its address.
//!
//! Its argument is the form of its handler: `listener`, `async` or `stream`.

use std::io::{self, Write};

use bellwire::futures_io::{Executor, FuturesIo, Server, Timer};
use bellwire::{
    AsyncResponse, Config, Listener, Message, Outcome, Request, Response, WebSocket, async_listener, stream,
};

/// Not smol's global executor, which has a thread of its own: how tasks go from one thread to another and back is not the
/// same each time.
static EXECUTOR: smol::Executor<'static> = smol::Executor::new();

#[derive(Clone)]
struct OneThread;

impl Executor for OneThread {
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::start()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        EXECUTOR.spawn(task).detach();
    }
}

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

fn main() -> io::Result<()> {
    smol::block_on(EXECUTOR.run(serve()))
}

async fn serve() -> io::Result<()> {
    let server = Server::bind_on(FuturesIo(OneThread), "127.0.0.1:0").await?;
    let server = server.config(Config::default().keepalive_interval(None));
    println!("{}", server.local_addr()?);
    io::stdout().flush()?;
    match std::env::args().nth(1).as_deref() {
        Some("listener") => server.run(|_: &Request| Response::websocket(Echo)).await,
        Some("async") => server.run_async(echo_async).await,
        Some("stream") => server.run_async(echo_stream).await,
        _ => Err(io::Error::other("say which form: listener, async or stream")),
    }
}

async fn echo_async(_: Request) -> AsyncResponse {
    AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message)))
}

async fn echo_stream(_: Request) -> AsyncResponse {
    let (listener, opened) = stream();
    let echo = async move {
        let Some(mut messages) = opened.await else { return };
        while let Some(Ok(message)) = messages.recv().await {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    };
    EXECUTOR.spawn(echo).detach();
    AsyncResponse::websocket(listener)
}
