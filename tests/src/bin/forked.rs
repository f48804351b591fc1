//! A program that forks when it has randomness in store: both processes print the key of a handshake and the mask of a
//! frame, a line each. `tests/suite/forked.rs` compares them.
#![forbid(unsafe_code)]

#[cfg(unix)]
fn main() {
    use std::sync::Arc;

    use bellwire::proto::SystemEntropy;
    use bellwire::proto::{Connection, Time};
    use bellwire::{Config, Target};

    let mut connection = Connection::client(Arc::new(Config::default()), Box::new(SystemEntropy), Time::ZERO);
    let mut frame = || {
        connection.send("x").unwrap();
        let output = connection.take_output().unwrap();
        let bytes: Vec<u8> = output.pieces().flatten().copied().collect();
        connection.wrote(Time::ZERO, bytes.len());
        bytes
    };
    // From here on there is something in store.
    let before = frame();
    let child = fork::fork().unwrap();
    let handshake = Target::new("ws://localhost/").unwrap().handshake(Time::ZERO);
    let request = String::from_utf8(handshake.output().to_vec()).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    println!("{key} {:x?}", [frame(), before].concat());
    if let fork::Fork::Parent(child) = child {
        fork::waitpid(child).unwrap();
    }
}

#[cfg(not(unix))]
fn main() {}
