//! What an idle connection holds, byte by byte. A binary of its own: its allocator counts.

// Elsewhere pointers and tokio's cells are of other sizes.
#![cfg(target_arch = "x86_64")]

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bellwire_core::backend::Service;
use bellwire_core::listener::IntoAsyncResponse;
use bellwire_core::{
    AsyncResponse, Config, Listener, Request, Response, ServerError, async_listener, listener, stream,
};
use bellwire_tokio::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// How many connections are measured: as many entries as their registry's slabs have room for.
const COUNT: usize = 1024;

/// It asks, and then is silent. As large as a `TcpStream` in a release, and with no memory besides.
#[derive(Default)]
struct Peer {
    has_asked: bool,
    waker: Option<Waker>,
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_asked {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.has_asked = true;
        buffer.put_slice(REQUEST);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
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

struct Silent;

impl Listener for Silent {}

/// Returns how many bytes each of so many connections holds, and in how many allocations, when all are idle.
fn held<A: IntoAsyncResponse + 'static>(keepalive: bool, handler: fn() -> A) -> (f64, f64) {
    let config = if keepalive { Config::default() } else { Config::default().keepalive_interval(None) };
    let answer = move |_: Request| async move { handler() };
    let service = Arc::new(Service::asynchronous(config, answer, |error: &ServerError| panic!("{error}")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let open = |count: usize| {
        let acceptor = Acceptor::from_service(service.clone());
        runtime.block_on(async {
            for _ in 0..count {
                let before = acceptor.connections();
                // Not all at once: the runtime's queue would grow.
                tokio::spawn(acceptor.accept(Peer::default(), None));
                while acceptor.connections() == before {
                    tokio::task::yield_now().await;
                }
            }
        });
    };
    // What all share.
    measure(|| open(1));
    let held = measure(|| open(COUNT - 1));
    [held.bytes_current, held.count_current].map(|all| all as f64 / (COUNT - 1) as f64).into()
}

#[test]
fn an_idle_connection_holds_no_more_than_docs_memory_says() {
    let closures = || Response::websocket(listener().on_message(|socket, message| socket.send(message)));
    // The thread keeps buffers for all its connections, until it has enough.
    for _ in 0..8 {
        held(false, || Response::websocket(Silent));
    }
    // What is more is to be accounted for there. A sleep of tokio's is 112 bytes with its test-util, and 96 without.
    let rows: [(&str, (f64, f64), f64); 5] = [
        ("listener, no keepalive", held(false, || Response::websocket(Silent)), 818.0),
        ("listener", held(true, || Response::websocket(Silent)), 930.0),
        ("listener of closures", held(true, closures), 1042.0),
        ("async listener", held(true, || AsyncResponse::websocket(async_listener())), 1042.0),
        ("stream and its task", held(true, echo), 1402.0),
    ];
    // The span of a connection, and its meters.
    let seen = if cfg!(any(feature = "tracing", feature = "metrics")) { 424.0 } else { 0.0 };
    for (form, (bytes, count), most) in rows {
        let most = most + seen;
        println!("{form}: {bytes:.0} bytes in {count:.1} allocations");
        assert!(bytes <= most, "{form}: {bytes} bytes, and it was to be {most} at most");
    }
}

fn echo() -> AsyncResponse {
    let (listener, opened) = stream();
    tokio::spawn(async move {
        let Some(mut messages) = opened.await else { return };
        while let Some(Ok(message)) = messages.recv().await {
            if messages.send(message).await.is_err() {
                return;
            }
        }
        pending().await
    });
    AsyncResponse::websocket(listener)
}
