//! poem: it hands over the connection, as a stream of tokio.

use bellwire::{Config, Role, listener};
use poem::{Endpoint, Request, Response, Route, endpoint};

use crate::handshake::accept;

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
    let (head, text) = match accept(&parts, &config) {
        Ok(accepted) => (accepted, None),
        Err(refusal) => {
            let (head, text) = refusal.into_parts();
            (http::Response::from_parts(head, ()), Some(text))
        }
    };
    let upgrade = request.take_upgrade();
    let (mut parts, ()) = head.into_parts();
    if text.is_none() {
        match upgrade {
            Ok(upgrade) => drop(tokio::spawn(async move {
                if let Ok(stream) = upgrade.await {
                    let echo = listener().on_message(|socket, message| socket.send(message));
                    bellwire::tokio::upgraded(stream, [], Role::Server, config, echo).await;
                }
            })),
            Err(_) => parts.status = http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    let mut response = Response::builder().status(parts.status).body(text.unwrap_or_default());
    *response.headers_mut() = parts.headers;
    response
}
