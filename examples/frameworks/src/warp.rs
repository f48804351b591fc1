//! warp: its filters are a service of tower, and hyper serves it beside bellwire's.

use std::convert::Infallible;
use std::io;

use bellwire::{Request, Response, listener, tower::service};
use http_body_util::Either;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::ServiceExt;
use warp::Filter;

fn echo(_: &Request) -> Response {
    Response::websocket(listener().on_message(|socket, message| socket.send(message)))
}

/// Serves an application with a WebSocket at `/ws`.
pub async fn serve(port: TcpListener) -> io::Result<()> {
    let pages = warp::service(warp::path::end().map(|| String::from("a page")));
    let web_socket = service(echo);
    loop {
        let (stream, _) = port.accept().await?;
        let web_socket = web_socket.clone();
        let router = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let web_socket = web_socket.clone();
            async move {
                Ok::<_, Infallible>(match request.uri().path() {
                    "/ws" => web_socket.oneshot(request).await?.map(Either::Left),
                    _ => pages.oneshot(request).await?.map(Either::Right),
                })
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), router).with_upgrades(),
        );
    }
}
