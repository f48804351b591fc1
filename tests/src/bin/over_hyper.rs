//! A server of hyper's that speaks HTTP/2 alone, without TLS, and echoes: what `.ci/http2` talks to. It prints its address and
//! what happens to its WebSockets.
//!
//! `--window BYTES` is how much it takes of a stream at once; `--no-websockets` leaves RFC 8441 out of its SETTINGS.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::error::Error;

use bellwire::hyper::{Body, Connections, WebSocketUpgrade};
use bellwire::listener;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lexopt::Arg::Long;
use lexopt::ValueExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result {
    let (mut window, mut websockets) = (None, true);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("window") => window = Some(args.value()?.parse()?),
            Long("no-websockets") => websockets = false,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.initial_stream_window_size(window);
    if websockets {
        server.enable_connect_protocol();
    }
    Builder::new_multi_thread().enable_all().build()?.block_on(serve(server))
}

async fn serve(server: http2::Builder<TokioExecutor>) -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let connections = Connections::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (server, connections) = (server.clone(), connections.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(connections.clone(), request));
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                println!("http2 {error}");
            }
        });
    }
}

async fn answer(
    connections: Connections,
    mut request: Request<Incoming>,
) -> std::result::Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(connections);
    let path = request.uri().path().to_string();
    let opened = path.clone();
    let echo = listener()
        .on_open(move |_| println!("open {opened}"))
        .on_message(|socket, message| socket.send(message))
        .on_close(move |_, code, _| println!("close {path} {code}"));
    Ok(match WebSocketUpgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade.protocols(["echo"]).listener(echo),
        Err(rejection) => rejection.to_response(),
    })
}
