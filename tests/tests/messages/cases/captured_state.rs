//! error: `with_state`
use bellwire::async_listener;
use std::sync::{Arc, Mutex};

fn main() {
    let room = Arc::new(Mutex::new(0));
    let _ = async_listener().on_message(async move |socket, message| {
        *room.lock().unwrap() += 1;
        socket.send(message)
    });
}
