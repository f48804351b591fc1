//! The smallest server on tokio: `bench/compare` measures how long it takes to compile, and how big it is.

use bellwire::{Request, Response, listener};

fn echo(_: &Request) -> Response {
    Response::websocket(listener().on_message(|socket, message| socket.send(message)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    bellwire::tokio::serve("127.0.0.1:9001", echo).await
}
