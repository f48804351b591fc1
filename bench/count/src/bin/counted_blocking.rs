//! An echo server with a thread for each connection. It prints its address.

use std::io::{self, Write};

use bellwire::blocking::Server;
use bellwire::{Config, Listener, Message, Outcome, Request, Response, WebSocket};

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

fn main() -> io::Result<()> {
    let server = Server::bind("127.0.0.1:0")?.config(Config::default().keepalive_interval(None));
    println!("{}", server.local_addr()?);
    io::stdout().flush()?;
    server.run(|_: &Request| Response::websocket(Echo))
}
