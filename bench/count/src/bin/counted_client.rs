//! Clients on one thread of tokio, which echo what they are sent: `counted_client ADDRESS CONNECTIONS`.

use std::error::Error;
use std::future::pending;

use bellwire::tokio::connect;
use bellwire::{Config, Listener, Message, Outcome, Target, WebSocket};

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections] = &arguments[..] else { return Err("usage: counted_client ADDRESS CONNECTIONS".into()) };
    let target = Target::new(format!("ws://{address}/"))?.config(Config::default().keepalive_interval(None));
    let mut clients = Vec::new();
    for _ in 0..connections.parse()? {
        clients.push(connect(&target, Echo).await?);
    }
    pending().await
}
