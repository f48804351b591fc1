//! Peers that say something all the time, and never anything whole: no deadline waits for them, on threads either.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::blocking::{Server, connect_stream};
use bellwire::proto::client::Phase;
use bellwire::{Config, ConnectError, Response, Target};
use bellwire_tests::{PATIENCE, Trust, echo};

/// The start of a record of the handshake, which says that 1024 bytes follow.
const RECORD: [u8; 5] = [22, 3, 3, 4, 0];

/// Sends a byte of it now and then; `true` if it came to the end.
fn dribble(mut stream: &TcpStream) -> bool {
    if stream.write_all(&RECORD).is_err() {
        return false;
    }
    for _ in 0..1000 {
        thread::sleep(Duration::from_millis(20));
        // Has the other side left?
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let left = match stream.read(&mut [0; 4096]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if left || stream.write_all(&[0]).is_err() {
            return false;
        }
    }
    true
}

fn soon() -> Config {
    Config::default().open_timeout(Duration::from_millis(300)).close_timeout(Duration::from_millis(300))
}

#[test]
fn a_client_that_dribbles_its_handshake_has_as_long_as_any_other() {
    let (sender, told) = mpsc::channel();
    let server = Server::bind("127.0.0.1:0").unwrap().tls(Trust::shared().server()).config(soon());
    let server = server.on_error(move |error| sender.send(error.to_string()).unwrap());
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
    assert!(!dribble(&TcpStream::connect(addr).unwrap()), "it is listened to for ever");
    assert!(told.recv_timeout(PATIENCE).unwrap().contains("did not arrive in time"));
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}

#[test]
fn a_server_that_dribbles_its_handshake_has_as_long_as_any_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    let dribbling = thread::spawn(move || dribble(&listener.accept().unwrap().0));
    let target = Target::new(url).unwrap().tls(Trust::shared().client()).config(soon());
    let error = connect_stream(target).unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Tls)), "{error:?}");
    assert!(!dribbling.join().unwrap());
}
