//! error: `async_listener()`
use bellwire::listener;

fn main() {
    let _ = listener().with_state(1).on_open(|_, socket| {
        let socket = socket.clone();
        async move { socket.send("hello") }
    });
}
