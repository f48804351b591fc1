//! A listener with its unit tests: no port, no client, no runtime. Run it with
//! `cargo run --example tested_listener`, its tests with `cargo test --example tested_listener`.

use std::io;

use bellwire::listener::ListenerBuilder;
use bellwire::{Listener, Message, Outcome, Request, Response, WebSocket, listener};

/// A listener as a type: counts the lines of one connection, and leaves after "bye".
#[derive(Default)]
struct Counter {
    lines: usize,
}

impl Listener for Counter {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.lines += 1;
        socket.send(format!("{}: {}", self.lines, message.as_text().unwrap_or("(binary)")))?;
        if message == "bye" {
            socket.close_with(1000, "bye")?;
        }
        Ok(())
    }
}

/// A listener made of closures.
fn greeter() -> ListenerBuilder {
    listener().on_open(|socket| socket.send("hello")).on_ping(|socket, data| socket.pong([b"you said ", data].concat()))
}

/// The whole program, except for its port.
fn app(request: &Request) -> Response {
    match request.path() {
        "/counter" => Response::websocket(Counter::default()),
        "/greeter" => Response::websocket(greeter()),
        _ => Response::not_found(),
    }
}

fn main() -> io::Result<()> {
    bellwire::blocking::serve("127.0.0.1:9001", app)
}

#[cfg(test)]
mod tests {
    use bellwire::listener::IntoListener;
    use bellwire::testing::{self, Recorder, Sent};
    use bellwire::{ConnectError, SendError};

    use super::*;

    #[test]
    fn the_counter_counts_until_bye() -> Outcome {
        let recorder = Recorder::new();
        let mut counter = Counter::default();
        counter.on_message(&recorder.socket(), Message::Text("hi"))?;
        counter.on_message(&recorder.socket(), Message::Binary(b"\x01"))?;
        assert_eq!(recorder.take_sent(), [Sent::text("1: hi"), Sent::text("2: (binary)")]);

        counter.on_message(&recorder.socket(), Message::Text("bye"))?;
        assert_eq!(recorder.sent(), [Sent::text("3: bye"), Sent::close(1000, "bye")]);
        assert!(!recorder.socket().is_open());
        Ok(())
    }

    /// Tests the handler as well, by a client in memory.
    #[test]
    fn the_app_says_goodbye_to_whoever_does() -> Result<(), ConnectError> {
        let mut client = testing::connect_to("ws://localhost/counter", app)?;
        client.send("bye").unwrap();
        assert_eq!(client.take_received(), [Sent::text("1: bye"), Sent::close(1000, "bye")]);
        assert!(testing::connect_to("ws://localhost/elsewhere", app).is_err());
        Ok(())
    }

    #[test]
    fn the_counter_gives_up_on_a_peer_that_does_not_read() {
        let recorder = Recorder::new();
        recorder.set_full(true);
        let error = Counter::default().on_message(&recorder.socket(), Message::Text("hi")).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&SendError::Full));
    }

    #[test]
    fn the_greeter_greets_and_answers_pings_in_its_own_way() -> Outcome {
        let recorder = Recorder::new();
        // On the builder, `on_open` sets a callback; on the listener, it is the event.
        let mut greeter = greeter().into_listener();
        greeter.on_open(&recorder.socket())?;
        greeter.on_ping(&recorder.socket(), b"tick")?;
        assert_eq!(recorder.sent(), [Sent::text("hello"), Sent::Pong(b"you said tick".to_vec())]);
        Ok(())
    }
}
