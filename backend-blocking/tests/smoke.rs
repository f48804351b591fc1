//! The backend on its own; the suite that all backends share is in the workspace's `tests`.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire_blocking::{Server, connect};
use bellwire_core::{CloseCode, Config, OwnedMessage, Response, listener};

#[test]
fn a_client_and_a_server_talk_and_part() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let handle = server.handle();
    let running = thread::spawn(move || {
        server.run(|_| Response::websocket(listener().on_message(|socket, message| socket.send(message))))
    });

    let (sender, received) = mpsc::channel();
    let mut client = connect(
        &url,
        listener()
            .on_open(|socket| socket.send("hello"))
            .on_message(move |_, message| sender.send(message.into_owned()).unwrap()),
    )
    .unwrap();
    assert_eq!(received.recv_timeout(Duration::from_secs(5)).unwrap(), OwnedMessage::Text("hello".into()));

    // From another thread than the connection's.
    client.socket().send(&b"bytes"[..]).unwrap();
    assert_eq!(received.recv_timeout(Duration::from_secs(5)).unwrap(), b"bytes");

    client.socket().close().unwrap();
    let closed = client.closed();
    assert_eq!((closed.code, closed.clean), (CloseCode::NORMAL, true));

    assert_eq!(handle.shutdown(Duration::from_secs(5)), 0);
    running.join().unwrap().unwrap();
}

#[test]
fn l12_a_server_with_a_timeout_of_zero_does_not_start() {
    let config = Config::default().keepalive_interval(Duration::ZERO);
    let error = Server::bind("127.0.0.1:0").unwrap().config(config).run(|_| Response::new(204)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("Config::keepalive_interval is 0ns: "), "{error}");
}
