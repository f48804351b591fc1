//! error: `listener()`
use bellwire::async_listener;

fn main() {
    let _ = async_listener().on_message(|socket, message| socket.send(message));
}
