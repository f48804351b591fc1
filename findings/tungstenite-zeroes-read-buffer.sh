#!/usr/bin/env bash
# tokio-tungstenite 0.30.0 (Rust): asking for a message zeroes the read buffer, 128 KiB by default, also when there is none.
#
# A task that forwards what comes on a channel to a client is often a loop with `select!` of the channel and of `next()`.
# When it wakes for the channel `next()` is polled, too, and once more when the message has been forwarded. Each poll
# zeroes as much as `read_buffer_size` says before it asks the connection (snapview/tungstenite-rs#547). Here the
# connection never has anything to read, and marks what it is offered, to see what of it has been zeroed again. Seen in
# November 2026; the times, without the marks, are of one machine:
#
#   select!, 128 KiB: 262144 bytes zeroed for each message; 2.75 µs
#   select!, 4 KiB: 8192 bytes zeroed for each message; 0.45 µs
#   split, a task each, 128 KiB: 0 bytes zeroed for each message; 0.29 µs
#
# So forward with a small `read_buffer_size`, or from a task of its own to the sink of `split()`. Needs cargo. Fails when
# the bytes change.
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
futures-util = { version = "0.3", default-features = false, features = ["sink"] }
tokio = { version = "1", features = ["macros", "rt", "sync"] }
tokio-tungstenite = { version = "=0.30.0", default-features = false }
tungstenite = { version = "=0.30.0", default-features = false }
TOML
cat >src/main.rs <<'RUST'
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::{Message, Role, WebSocketConfig};

const MESSAGES: usize = 10_000;
const MARK: u8 = 0xaa;

static ZEROED: AtomicUsize = AtomicUsize::new(0);

/// Takes what is written, and never has anything to read.
struct Silent {
    mark: bool,
    marked: bool,
}

impl AsyncRead for Silent {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.mark {
            let offered = buffer.initialize_unfilled();
            if self.marked {
                ZEROED.fetch_add(offered.iter().filter(|&&byte| byte == 0).count(), Relaxed);
            }
            offered.fill(MARK);
            self.marked = true;
        }
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn socket(mark: bool, buffer: usize) -> WebSocketStream<Silent> {
    let config = WebSocketConfig::default().read_buffer_size(buffer);
    WebSocketStream::from_raw_socket(Silent { mark, marked: false }, Role::Server, Some(config)).await
}

/// Puts one message after another into the channel, each when the one before it has been forwarded.
async fn produce(channel: mpsc::Sender<Message>) {
    for _ in 0..MESSAGES {
        channel.send(Message::text("Hello")).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn select(mark: bool, buffer: usize) {
    let mut socket = socket(mark, buffer).await;
    let (sender, mut channel) = mpsc::channel(1);
    let forward = tokio::spawn(async move {
        loop {
            tokio::select! {
                // The same each time, so that it can be counted.
                biased;
                _ = socket.next() => unreachable!(),
                message = channel.recv() => match message {
                    Some(message) => socket.send(message).await.unwrap(),
                    None => break,
                },
            }
        }
    });
    produce(sender).await;
    forward.await.unwrap();
}

async fn split(mark: bool, buffer: usize) {
    let (mut sink, mut stream) = socket(mark, buffer).await.split();
    let (sender, mut channel) = mpsc::channel(1);
    let read = tokio::spawn(async move { stream.next().await });
    let forward = tokio::spawn(async move {
        while let Some(message) = channel.recv().await {
            sink.send(message).await.unwrap();
        }
    });
    produce(sender).await;
    forward.await.unwrap();
    read.abort();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (how, buffer) in [("select!", 128), ("select!", 4), ("split, a task each", 128)] {
        let run = |mark| match how {
            "select!" => runtime.block_on(select(mark, buffer << 10)),
            _ => runtime.block_on(split(mark, buffer << 10)),
        };
        run(true);
        let began = Instant::now();
        run(false);
        let each = began.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64;
        let zeroed = ZEROED.swap(0, Relaxed) / MESSAGES;
        println!("{how}, {buffer} KiB: {zeroed} bytes zeroed for each message; {each:.2} µs");
    }
}
RUST
cargo run --quiet --release >said
cat said
sed 's/;.*//' said | diff - <(printf '%s\n' 'select!, 128 KiB: 262144 bytes zeroed for each message' \
    'select!, 4 KiB: 8192 bytes zeroed for each message' \
    'split, a task each, 128 KiB: 0 bytes zeroed for each message')
