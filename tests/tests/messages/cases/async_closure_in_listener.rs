//! error: `async_listener()`
use bellwire::{Response, listener};

fn main() {
    let _ = Response::websocket(listener().on_message(async |socket, message| socket.send(message)));
}
