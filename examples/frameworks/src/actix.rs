//! actix-web: what the client sends is the request's payload, and what it gets the response's body. Between them and bellwire
//! are two ends of a pipe.

use std::str::FromStr;

use actix_web::web::{Payload, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse, rt};
use bellwire::{Config, Role, listener};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::handshake;

/// How much waits in the pipe, in each direction, for the other side to take it.
const PIPE: usize = 16 * 1024;

/// An application with a WebSocket at `/ws`.
pub fn app(config: &mut ServiceConfig) {
    config.route("/", get().to(async || "a page")).route("/ws", get().to(echo));
}

async fn echo(request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let config = Config::default();
    let Some(parts) = parts(&request) else { return HttpResponse::BadRequest().finish() };
    let (head, text) = handshake::answer(&parts, &config).into_parts();
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        return answer(&head).body(text);
    }
    let (here, there) = tokio::io::duplex(PIPE);
    let (to_client, mut from_client) = tokio::io::split(there);
    rt::spawn(async move {
        while let Some(Ok(bytes)) = payload.next().await {
            if from_client.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = from_client.shutdown().await;
    });
    let echo = listener().on_message(|socket, message| socket.send(message));
    rt::spawn(bellwire::tokio::upgraded(here, [], Role::Server, config, echo));
    answer(&head).upgrade("websocket").streaming(ReaderStream::new(to_client))
}

/// The request in the types of the crate `http` from version 1 on: those of actix-web are older.
fn parts(request: &HttpRequest) -> Option<http::request::Parts> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = http::Method::from_str(request.method().as_str()).ok()?;
    parts.uri = http::Uri::from_str(&request.uri().to_string()).ok()?;
    if request.version() == actix_web::http::Version::HTTP_10 {
        parts.version = http::Version::HTTP_10;
    }
    for (name, value) in request.headers() {
        let name = http::HeaderName::from_str(name.as_str()).ok()?;
        parts.headers.append(name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(parts)
}

fn answer(head: &http::response::Parts) -> actix_web::HttpResponseBuilder {
    let status = actix_web::http::StatusCode::from_u16(head.status.as_u16());
    let mut response = HttpResponse::build(status.unwrap_or_default());
    for (name, value) in &head.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response
}
