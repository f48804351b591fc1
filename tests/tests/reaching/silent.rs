//! Clients of a TLS port that say nothing, too little, or something else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire::{Config, Response, ServerError, tokio as backend};
use bellwire_tests::{Trust, echo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What such a client hears within which time, and what the server's hook is told.
async fn talk(says: &[u8], leaves: bool) -> (Vec<u8>, Duration, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = told.clone();
    let server = backend::Server::bind("127.0.0.1:0").await.unwrap().tls(Trust::shared().server());
    let server = server.config(Config::default()).on_error(move |error: &ServerError| {
        hook.lock().unwrap().push(error.to_string());
    });
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let running = tokio::spawn(server.run(|_| Response::websocket(echo())));
    let start = Instant::now();
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(says).await.unwrap();
    let mut heard = Vec::new();
    if leaves {
        client.shutdown().await.unwrap();
    }
    let _ = client.read_to_end(&mut heard).await;
    let took = start.elapsed();
    drop(client);
    handle.shutdown(Duration::from_secs(1)).await;
    running.await.unwrap().unwrap();
    let told = told.lock().unwrap().clone();
    (heard, took, told)
}

/// Says this, and is told of in these words, or not at all.
async fn check(says: &[u8], leaves: bool, expected: Option<&str>) -> Duration {
    let (heard, took, told) = talk(says, leaves).await;
    assert_eq!(told.len(), usize::from(expected.is_some()), "{told:?}");
    assert!(told.iter().all(|told| told.contains(expected.unwrap()) && told.contains("127.0.0.1:")), "{told:?}");
    // An alert at most.
    assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
    took
}

const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252];
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_says_nothing_has_as_long_as_any_other() {
    for says in [b"", HELLO] {
        let took = check(says, false, Some("did not arrive in time")).await;
        // And a moment for the answer, which nobody can read.
        let (config, open) = (Config::default(), Config::default().open_timeout.unwrap());
        assert!((open..open + config.linger_timeout * 2).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn who_says_something_else_is_told_of_once_and_who_just_leaves_is_not() {
    check(b"", true, None).await;
    check(HELLO, true, Some("the peer ended the connection within the TLS handshake")).await;
    check(HTTP, false, Some("the peer does not speak TLS")).await;
    check(HTTP, true, Some("the peer does not speak TLS")).await;
}
