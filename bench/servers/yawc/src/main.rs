//! yawc, as its users write it, and with what is ready written at once; it checks UTF-8, as the others do.
//!
//! `bench-yawc send|batch [alone|takeover LEVEL] PORT`

use std::io;

use futures_util::{FutureExt, SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use yawc::frame::OpCode;
use yawc::{CompressionLevel, DeflatePool, Options, UpgradeFut, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, deflate @ .., port] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let batch = form == "batch";
    let options = options(deflate).ok_or(io::ErrorKind::InvalidInput)?;
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let options = options.clone();
        let service = service_fn(move |request| answer(request, options.clone(), batch));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

/// Without context takeover, codecs come from a pool, as its documentation has it for many connections.
fn options(deflate: &[String]) -> Option<Options> {
    let options = Options::default().with_utf8().with_limits(4 << 20, 8 << 20);
    let [context, level] = deflate else { return Some(options) };
    let options = options.with_compression_level(CompressionLevel::new(level.parse().ok()?));
    match &**context {
        "alone" => {
            let alone = options.server_no_context_takeover().client_no_context_takeover();
            Some(alone.with_deflate_pool(DeflatePool::new(64)))
        }
        "takeover" => Some(options),
        _ => None,
    }
}

async fn answer(mut request: Request<Incoming>, options: Options, batch: bool) -> yawc::Result<Response<Empty<Bytes>>> {
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async move { if batch { echo_batch(upgraded).await } else { echo(upgraded).await } });
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut socket = upgraded.await?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

async fn echo_batch(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut socket = upgraded.await?;
    while let Some(frame) = socket.next().await {
        let mut ready = Some(frame);
        while let Some(frame) = ready {
            if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                socket.feed(frame).await?;
            }
            ready = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
