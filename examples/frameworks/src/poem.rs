//! poem: it hands over the connection, as a stream of tokio.

use bellwire::{Config, Role, listener};
use http::StatusCode;
use poem::{Endpoint, Request, Response, Route, endpoint};

use crate::handshake::answer;

/// An application with a WebSocket at `/ws`.
pub fn app() -> impl Endpoint {
    let page = endpoint::make_sync(|_| "a page");
    Route::new().at("/", page).at("/ws", endpoint::make(|request| async move { echo(&request) }))
}

fn echo(request: &Request) -> Response {
    let config = Config::default();
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    let (mut answer, text) = answer(&parts, &config).into_parts();
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        match request.take_upgrade() {
            Ok(upgrade) => drop(tokio::spawn(async move {
                if let Ok(stream) = upgrade.await {
                    let echo = listener().on_message(|socket, message| socket.send(message));
                    bellwire::tokio::upgraded(stream, [], Role::Server, config, echo).await;
                }
            })),
            Err(_) => answer.status = StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    let mut response = Response::builder().status(answer.status).body(text);
    *response.headers_mut() = answer.headers;
    response
}
