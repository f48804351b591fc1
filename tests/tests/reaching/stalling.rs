//! Whatever stalls on the way is what the one deadline names, on tasks and on threads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bellwire::proto::client::Phase;
use bellwire::{Config, ConnectError, Proxy, Target, blocking, tokio as backend};
use bellwire_tests::Trust;
use rustls::{ServerConnection, StreamOwned};

/// What a peer does before it says nothing any more.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Agrees on TLS.
    Tls,
    /// Reads a head, and answers it.
    Answer(&'static str),
}
use Step::{Answer, Tls};

trait Duplex: Read + Write + Send {}

impl<S: Read + Write + Send> Duplex for S {}

/// Takes these steps with everybody, and keeps them waiting then.
fn start(steps: &'static [Step]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || keep_waiting(stream, steps));
        }
    });
    addr
}

fn keep_waiting(stream: TcpStream, steps: &[Step]) {
    let mut stream: Box<dyn Duplex> = Box::new(stream);
    for step in steps {
        match step {
            Tls => {
                let session = ServerConnection::new(Trust::shared().server()).unwrap();
                stream = Box::new(StreamOwned::new(session, stream));
            }
            Answer(answer) => {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).unwrap();
            }
        }
    }
    // Until the other side has enough.
    while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
}

const TUNNEL: &str = "HTTP/1.1 200 Go on\r\n\r\n";

/// The scheme, that of the proxy, what the peer that is reached first does, and what is late.
const STALLS: [(&str, &str, &[Step], Phase); 10] = [
    ("ws", "", &[], Phase::Handshake),
    ("wss", "", &[], Phase::Tls),
    ("wss", "", &[Tls, Answer("HTTP/1.1 100 Continue\r\n\r\n")], Phase::Handshake),
    ("ws", "http", &[], Phase::Proxy),
    ("ws", "socks5h", &[], Phase::Proxy),
    ("ws", "https", &[], Phase::Proxy),
    ("ws", "https", &[Tls, Answer("HTTP/1.1 102 Processing\r\n\r\n")], Phase::Proxy),
    ("wss", "http", &[Answer(TUNNEL)], Phase::Tls),
    ("wss", "https", &[Tls, Answer(TUNNEL)], Phase::Tls),
    ("wss", "https", &[Tls, Answer(TUNNEL), Tls, Answer("HTTP/1.1 103 Early Hints\r\n\r\n")], Phase::Handshake),
];

fn target((scheme, proxy, steps, _): (&str, &str, &'static [Step], Phase)) -> Target {
    let port = start(steps).port();
    let config = Config::default().open_timeout(Duration::from_secs(3));
    let target = |url: String| Target::new(url).unwrap().config(config.clone()).tls(Trust::shared().client());
    match proxy {
        "" => target(format!("{scheme}://localhost:{port}/")),
        _ => {
            let proxy = Proxy::new(format!("{proxy}://localhost:{port}")).unwrap();
            target(format!("{scheme}://localhost:1/")).proxy(proxy)
        }
    }
}

/// As it is, and where a redirect leads to it.
fn targets(stall: (&'static str, &'static str, &'static [Step], Phase)) -> Vec<Target> {
    let direct = target(stall);
    if !stall.1.is_empty() {
        return vec![direct];
    }
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://localhost:{}/", first.local_addr().unwrap().port());
    let location = direct.uri().to_string();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = first.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 307 There\r\nLocation: {location}\r\n\r\n");
        }
    });
    let config = Config::default().open_timeout(Duration::from_secs(3));
    let redirected = Target::new(url).unwrap().config(config).tls(Trust::shared().client()).redirects(1);
    vec![direct, redirected]
}

#[tokio::test]
async fn what_is_late_is_what_stalls() {
    let mut running = Vec::new();
    for stall in STALLS {
        for target in targets(stall) {
            let on_threads = target.clone();
            let blocking = tokio::task::spawn_blocking(move || blocking::connect_stream(on_threads).map(drop));
            let polled = tokio::spawn(async { backend::connect_stream(target).await.map(drop) });
            running.push((stall, "on threads", blocking));
            running.push((stall, "on tasks", polled));
        }
    }
    for (stall, on, connecting) in running {
        let error = crate::within(connecting).await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::Timeout(phase) if phase == stall.3), "{stall:?} {on}: {error:?}");
    }
}
