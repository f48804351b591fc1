//! Clients of a TLS port that say nothing, too little, or something else, in virtual time.

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

#[tokio::test(start_paused = true)]
async fn each_has_as_long_as_any_other_and_is_told_of_once_unless_it_just_leaves() {
    let hello = &[22, 3, 1, 2, 0, 1, 0, 1, 252][..];
    let http = &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..];
    for (says, leaves, expected) in [
        (&b""[..], false, Some("did not arrive in time")),
        (b"", true, None),
        (hello, false, Some("did not arrive in time")),
        (hello, true, Some("the peer ended the connection within the TLS handshake")),
        (http, false, Some("the peer does not speak TLS")),
        (http, true, Some("the peer does not speak TLS")),
    ] {
        let (heard, took, told) = talk(says, leaves).await;
        assert_eq!(told.len(), usize::from(expected.is_some()), "{told:?}");
        assert!(told.iter().all(|told| told.contains(expected.unwrap()) && told.contains("127.0.0.1:")), "{told:?}");
        let (config, is_late) = (Config::default(), expected.is_some_and(|text| text.contains("in time")));
        let open = config.open_timeout.unwrap();
        // And a moment for the answer, which nobody can read.
        let range = if is_late { open..open + config.linger_timeout * 2 } else { Duration::ZERO..open };
        assert!(range.contains(&took), "{took:?} {told:?}");
        // An alert at most.
        assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
    }
}
