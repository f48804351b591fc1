//! The same over HTTP/2, with hyper as the client.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use bellwire_hyper::Body;
use bytes::Bytes;

use super::common::{App, CLOSE, Client, TEXT, Way, frame, masked, serve, within};

type Sender = SendRequest<Empty<Bytes>>;

/// A connection whose SETTINGS have come.
async fn connected(client: Client) -> Sender {
    connected_with(client, None).await
}

/// The same, whose streams take so many bytes ahead.
async fn connected_with(client: Client, window: Option<u32>) -> Sender {
    let io = TokioIo::new(client.into_inner());
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = within(builder.initial_stream_window_size(window).handshake(io)).await.unwrap();
    // How it ends is seen by its streams.
    tokio::spawn(async move { drop(connection.await) });
    let plain = Request::get("http://localhost/").body(Empty::new()).unwrap();
    assert_eq!(within(sender.send_request(plain)).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    sender
}

fn connect(protocol: &'static str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(Method::CONNECT).uri("http://localhost/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let protocol = Some(protocol).filter(|protocol| !protocol.is_empty()).map(Protocol::from_static);
    let mut request = request.body(Empty::new()).unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(protocol);
    }
    request
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

async fn asked(sender: &mut Sender, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    within(sender.send_request(request)).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn app() -> (App, super::common::Told, Sender) {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let client = serve(Way::AutoTcp, move |request| handled.clone().answer(request)).await;
    let sender = connected(client).await;
    assert!(told.next().await.contains("over HTTP/2 it is opened with an extended CONNECT"));
    (app, told, sender)
}

#[tokio::test]
async fn each_broken_rule_has_its_status_and_its_text() {
    let (app, mut told, mut sender) = app().await;
    for (protocol, fields, status, expected) in [
        ("webtransport", &[VERSION][..], 501, "Protocol not supported"),
        ("websocket", &[], 426, "send Sec-WebSocket-Version: 13"),
        ("websocket", &[("sec-websocket-version", "8")], 426, "send Sec-WebSocket-Version: 13"),
        ("websocket", &[VERSION, VERSION], 400, "Sec-WebSocket-Version is there more than once"),
        ("websocket", &[VERSION, ("origin", "https://evil.example")], 403, "Origin not allowed"),
        ("websocket", &[VERSION, ("sec-websocket-protocol", "a, a")], 400, "Invalid Sec-WebSocket-Protocol"),
        ("websocket", &[VERSION, ("sec-websocket-extensions", ";")], 400, "Malformed Sec-WebSocket-Extensions"),
    ] {
        let response = asked(&mut sender, connect(protocol, fields)).await;
        assert_eq!(response.status(), status, "{fields:?}");
        let text = text(response).await;
        assert!(text.contains(expected), "{text}");
        assert!(told.next().await.contains(text.trim_end()));
    }
    // The connection goes on.
    echoes(&mut sender, &mut told).await;
    drop(sender);
    told.ended(&app).await;
}

async fn echoes(sender: &mut Sender, told: &mut super::common::Told) {
    let response = asked(sender, connect("websocket", &[VERSION])).await;
    assert_eq!(response.status(), StatusCode::OK);
    let names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["date"]);
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());
    let mut bytes = masked(TEXT, b"hello");
    bytes.extend(masked(CLOSE, &1000_u16.to_be_bytes()));
    stream.write_all(&bytes).await.unwrap();
    let mut expected = frame(TEXT, b"hello");
    expected.extend(frame(CLOSE, &1000_u16.to_be_bytes()));
    let mut answers = Vec::new();
    within(stream.read_to_end(&mut answers)).await.unwrap();
    assert_eq!(answers, expected);
    told.expect(&["open", "close 1000"]).await;
}

#[tokio::test]
async fn one_connection_carries_many_and_a_plain_connect_is_none() {
    let (app, mut told, mut sender) = app().await;
    for _ in 0..20 {
        echoes(&mut sender, &mut told).await;
    }
    let response = asked(&mut sender, connect("", &[VERSION])).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS");
    assert!(told.next().await.contains("use GET, HEAD or OPTIONS"));
    drop((sender, response));
    told.ended(&app).await;
}

#[tokio::test]
async fn a_200_that_a_middleware_replaces_upgrades_nothing() {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let client = serve(Way::AutoTcp, move |request| {
        let app = handled.clone();
        async move {
            let mut answer = app.answer(request).await;
            if answer.status() == StatusCode::OK {
                answer = Response::new(Body::from(Bytes::from_static(b"not you\n")));
                *answer.status_mut() = StatusCode::FORBIDDEN;
            }
            answer
        }
    })
    .await;
    let mut sender = connected(client).await;
    told.next().await;
    let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::FORBIDDEN, "not you\n"));
    assert!(told.next().await.starts_with("owner: "));
    drop(sender);
    told.ended(&app).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_an_abnormal_end_of_it_alone() {
    let (app, mut told, mut sender) = app().await;
    let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
    let stream = within(hyper::upgrade::on(response)).await.unwrap();
    told.expect(&["open"]).await;
    drop(stream);
    told.expect(&["close 1006"]).await;
    echoes(&mut sender, &mut told).await;
    drop(sender);
    told.ended(&app).await;
}

/// As over TCP, where it is a reset.
#[tokio::test]
async fn a_client_that_drops_what_is_written_to_has_left_and_nothing_has_failed() {
    let (app, mut told) = App::new();
    let handled = app.clone();
    let client = serve(Way::AutoTcp, move |mut request| {
        let app = handled.clone();
        async move {
            let [heard, failed] = [(); 2].map(|()| app.clone());
            let listener = app.echo().on_error(move |_, error| failed.tell(format!("error: {error}")));
            let listener = listener.on_message(move |socket, message| {
                heard.tell("message");
                socket.send(message)
            });
            app.upgrade(&mut request)
                .map_or_else(|rejection| rejection.to_response(), |upgrade| upgrade.listener(listener))
        }
    })
    .await;
    let mut sender = connected_with(client, Some(100)).await;
    told.next().await;
    let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());
    told.expect(&["open"]).await;
    // hyper takes some of what it cannot send.
    for _ in 0..10 {
        stream.write_all(&masked(TEXT, &[b'x'; 125])).await.unwrap();
        told.expect(&["message"]).await;
    }
    drop(stream);
    told.expect(&["error: the peer ended the transport without a close frame", "close 1006"]).await;
    drop(sender);
    told.ended(&app).await;
}

#[tokio::test]
async fn a_connection_that_is_dropped_ends_all_its_streams() {
    let (app, mut told, mut sender) = app().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
        streams.push(within(hyper::upgrade::on(response)).await.unwrap());
        told.expect(&["open"]).await;
    }
    assert_eq!(app.connections.connections(), 3);
    drop((streams, sender));
    told.expect(&["close 1006"; 3]).await;
    told.ended(&app).await;
}

#[tokio::test]
async fn a_shutdown_tells_every_stream() {
    let (app, mut told, mut sender) = app().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
        streams.push(TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap()));
        told.expect(&["open"]).await;
    }
    let shutdown = app.connections.shutdown(Duration::from_secs(60));
    let talk = async {
        for stream in &mut streams {
            let mut close = [0; 19];
            stream.read_exact(&mut close).await.unwrap();
            assert_eq!(close[..], frame(CLOSE, b"\x03\xe9Server Shutdown"));
            stream.write_all(&masked(CLOSE, &1001_u16.to_be_bytes())).await.unwrap();
            assert_eq!(stream.read(&mut close).await.unwrap(), 0);
            stream.shutdown().await.unwrap();
        }
    };
    assert_eq!(within(async { tokio::join!(shutdown, talk) }).await.0, 0);
    told.expect(&["close 1001"; 3]).await;
    let response = asked(&mut sender, connect("websocket", &[VERSION])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop((sender, streams, response));
    told.ended(&app).await;
}
