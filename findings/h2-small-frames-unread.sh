#!/usr/bin/env bash
# h2 0.4.20 (Rust: hyper, axum, reqwest, tonic): small DATA frames that wait unread end the whole HTTP/2 connection.
#
# Each DATA frame of less than 256 bytes that its stream's owner has not read yet counts as the bytes that it lacks to 256.
# When these exceed half of the connection's window, the receiver sends GOAWAY with ENHANCE_YOUR_CALM, though flow control
# would allow far more. A WebSocket over HTTP/2 (RFC 8441) has a frame for each small message, so that a peer which reads
# slowly loses all that is in the connection. Frames of 16 bytes, with the window of RFC 9113 and with the one that hyper
# 1.12 sets for servers, seen in November 2026:
#
#   window of 65535 bytes: 136 frames wait, 2176 bytes; one more: GOAWAY ENHANCE_YOUR_CALM
#   window of 1048576 bytes: 2184 frames wait, 34944 bytes; one more: GOAWAY ENHANCE_YOUR_CALM
#
# It came with 0.4.16; since 0.4.18 `data_frame_budget` sets it, which hyper 1.12 does not pass on. Needs cargo. Fails when
# that changes.
set -euo pipefail
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[dependencies]
bytes = "1"
h2 = "=0.4.20"
http = "1"
tokio = { version = "1", features = ["io-util", "rt", "time"] }
TOML
cat >src/main.rs <<'RUST'
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::duplex;
use tokio::time::timeout;

const SIZE: usize = 16;

/// Answers a request with so many frames, and never ends. Returns what becomes of a connection whose client does not read.
async fn unread(window: u32, frames: usize) -> Result<(), h2::Error> {
    let (near, far) = duplex(1 << 20);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..frames {
            stream.send_data(Bytes::from_static(&[0; SIZE]), false).unwrap();
        }
        // Until the client is gone.
        while connection.accept().await.is_some() {}
        drop(stream);
    });
    let mut client = h2::client::Builder::new();
    client.initial_window_size(window).initial_connection_window_size(window);
    let (mut sender, connection) = client.handshake::<_, Bytes>(near).await?;
    let connection = tokio::spawn(connection);
    let (response, _) = sender.send_request(Request::new(()), true)?;
    let _body = response.await?;
    // All that is sent is here in far less time.
    timeout(Duration::from_secs(1), connection).await.map_or(Ok(()), |ended| ended.unwrap())
}

async fn most(window: u32) -> String {
    let (mut waits, mut ends) = (0, window as usize / SIZE);
    let mut error = None;
    while ends - waits > 1 {
        let frames = (waits + ends) / 2;
        match unread(window, frames).await {
            Ok(()) => waits = frames,
            Err(why) => (ends, error) = (frames, Some(why)),
        }
    }
    let Some(error) = error else { return format!("{waits} frames wait") };
    let how = if error.is_go_away() { "GOAWAY" } else { "?" };
    let why = if error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) { "ENHANCE_YOUR_CALM" } else { "?" };
    format!("{waits} frames wait, {} bytes; one more: {how} {why}", waits * SIZE)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for window in [65_535, 1 << 20] {
        println!("window of {window} bytes: {}", runtime.block_on(most(window)));
    }
}
RUST
cargo run --quiet --release >said
cat said
diff said - <<'EOF'
window of 65535 bytes: 136 frames wait, 2176 bytes; one more: GOAWAY ENHANCE_YOUR_CALM
window of 1048576 bytes: 2184 frames wait, 34944 bytes; one more: GOAWAY ENHANCE_YOUR_CALM
EOF
