//! The server, in a process of its own.

use std::io::{self, Write};
use std::time::Duration;

use bellwire::tokio::Server;
use bellwire::{Config, Listener, Message, Outcome, Request, Response, WebSocket};

pub struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

/// Serves on so many threads until it is killed. It prints its address.
pub fn run(threads: usize, keepalive: Option<Duration>) -> io::Result<()> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()?.block_on(async {
        let config = Config::default().keepalive_interval(keepalive);
        let server = Server::bind("127.0.0.1:0").await?.config(config);
        println!("{}", server.local_addr()?);
        io::stdout().flush()?;
        server.run(|_: &Request| Response::websocket(Echo)).await
    })
}
