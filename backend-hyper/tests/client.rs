//! Clients over HTTP/2, against bellwire's own server and against servers of hyper alone.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bellwire_core::backend::Client;
use bellwire_core::config::Deflate;
use bellwire_core::proto::client::{HandshakeError, MAX_BODY, Phase};
use bellwire_core::{CloseCode, ClosedBy, Config, ConnectError, OwnedMessage, Target, listener};
use bellwire_hyper::{Connections, WebSocketUpgrade, connect, connect_stream};
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{mpsc, oneshot};

type Requests = SendRequest<Empty<Bytes>>;
type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.enable_connect_protocol();
    builder
}

/// A connection in memory to a server that answers as `answer` says.
async fn server<F>(
    builder: Builder<TokioExecutor>,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> Requests
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    windowed(builder, None, answer).await
}

/// As `server`, for a client whose streams have windows of so many bytes.
async fn windowed<F>(
    builder: Builder<TokioExecutor>,
    window: impl Into<Option<u32>>,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) -> Requests
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (here, there) = duplex(64 * 1024);
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let answer = answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let _ = builder.serve_connection(TokioIo::new(there), service).await;
    });
    client(here, window).await
}

async fn client(stream: tokio::io::DuplexStream, window: impl Into<Option<u32>>) -> Requests {
    let (requests, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    requests
}

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

fn ok() -> Response<Body> {
    Response::new(Empty::new().boxed())
}

/// A server of bellwire's that echoes, to a client whose windows are as small as they can be.
async fn echo(builder: Builder<TokioExecutor>, connections: Connections) -> Requests {
    windowed(builder, 1, move |mut request| {
        request.extensions_mut().insert(connections.clone());
        async move {
            match WebSocketUpgrade::from_request(&mut request) {
                Ok(upgrade) => {
                    let echo = listener().on_message(|socket, message| socket.send(message));
                    upgrade.protocols(["mqtt"]).listener(echo).map(BodyExt::boxed)
                }
                Err(rejection) => rejection.to_response().map(BodyExt::boxed),
            }
        }
    })
    .await
}

/// A server of hyper's that accepts, and lets `talk` have the stream.
async fn accepting<F>(talk: impl Fn(TokioIo<Upgraded>) -> F + Clone + Send + Sync + 'static) -> Requests
where
    F: Future<Output = ()> + Send + 'static,
{
    server(builder(), move |mut request| {
        let (upgrade, talk) = (hyper::upgrade::on(&mut request), talk.clone());
        tokio::spawn(async move {
            let stream = TokioIo::new(upgrade.await.unwrap());
            talk(stream).await;
        });
        async { ok() }
    })
    .await
}

fn quiet() -> Connections {
    Connections::new().on_error(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_listener_is_echoed_and_closes() {
    let connections = quiet();
    let mut requests = echo(builder(), connections.clone()).await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let target = Target::new("ws://example.com/chat").unwrap().protocol("mqtt").unwrap();
    let listener = listener().on_message(move |_, message| sender.send(OwnedMessage::from(message)));
    let mut client: Client = connect(&mut requests, &target, listener).await.unwrap();
    assert_eq!((client.protocol(), client.response().status()), (Some("mqtt"), 200));
    client.socket().send("hello").unwrap();
    assert_eq!(received.recv().await.unwrap(), "hello");
    let closed = client.close().await;
    assert!(closed.clean && closed.code == CloseCode::NORMAL, "{closed}");
}

#[tokio::test]
async fn many_websockets_share_a_connection_and_its_small_windows() {
    let connections = quiet();
    let mut builder = builder();
    builder.initial_stream_window_size(1).max_concurrent_streams(100);
    let requests = echo(builder, connections.clone()).await;
    let mut tasks = tokio::task::JoinSet::new();
    let open = Arc::new(tokio::sync::Barrier::new(100));
    for index in 0..100 {
        let (mut requests, open, connections) = (requests.clone(), open.clone(), connections.clone());
        tasks.spawn(async move {
            let (mut messages, _) = connect_stream(&mut requests, format!("ws://h/{index}")).await.unwrap();
            open.wait().await;
            assert_eq!(connections.connections(), 100);
            open.wait().await;
            for length in [0, 1, 126] {
                let text = index.to_string().repeat(length);
                messages.send(text.clone()).await.unwrap();
                assert_eq!(messages.recv().await.unwrap().unwrap(), text);
            }
            assert!(messages.close().await.clean);
        });
    }
    tasks.join_all().await;
    assert_eq!(connections.connections(), 0);
}

#[tokio::test]
async fn messages_are_compressed_as_over_http_1() {
    let config = Config::default().deflate(Deflate::default());
    let connections = quiet().config(config.clone());
    let mut requests = echo(builder(), connections).await;
    let target = Target::new("ws://h/").unwrap().config(config);
    let (mut messages, response) = connect_stream(&mut requests, &target).await.unwrap();
    assert!(response.header("Sec-WebSocket-Extensions").unwrap().starts_with("permessage-deflate"));
    assert!(messages.socket().compression().is_some());
    let text = "again and again ".repeat(4096);
    for _ in 0..3 {
        messages.send(text.clone()).await.unwrap();
        assert_eq!(messages.recv().await.unwrap().unwrap(), text);
    }
    assert!(messages.close().await.clean);
}

#[tokio::test]
async fn the_request_is_an_extended_connect() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let mut requests = server(builder(), move |request| {
        sender.send(request).unwrap();
        async { Response::builder().status(403).body(full("")).unwrap() }
    })
    .await;
    for (url, uri) in [
        ("ws://example.com/chat?room=1", "http://example.com/chat?room=1"),
        ("wss://example.com", "https://example.com/"),
        ("wss://[::1]:9001/a", "https://[::1]:9001/a"),
        ("ws://user:secret@h:443/", "http://h:443/"),
    ] {
        let target = Target::new(url).unwrap().protocol("mqtt").unwrap().protocol("soap").unwrap();
        let target = target.cookie("a", "b").unwrap().header("Keep-Alive", "timeout=5").unwrap();
        connect(&mut requests, target, listener()).await.unwrap_err();
        let request = seen.recv().await.unwrap();
        assert_eq!((request.method(), request.uri().to_string()), (&Method::CONNECT, uri.to_owned()));
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        let headers = request.headers();
        assert_eq!(headers["sec-websocket-version"], "13");
        assert_eq!(headers["sec-websocket-protocol"], "mqtt, soap");
        assert_eq!(headers["cookie"], "a=b");
        assert!(headers["user-agent"].as_bytes().starts_with(b"bellwire/"));
        assert_eq!(headers.contains_key("authorization"), url.contains("secret"));
        for name in ["host", "connection", "upgrade", "keep-alive", "sec-websocket-key", "sec-websocket-extensions"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
    for (target, path) in [("http://other/a?b", "/a?b"), ("http://other", "/"), ("?q", "/?q"), ("/{|}", "/{|}")] {
        let target = Target::new("ws://h/x").unwrap().request_target(target).unwrap();
        connect(&mut requests, target, listener()).await.unwrap_err();
        assert_eq!(seen.recv().await.unwrap().uri().path_and_query().unwrap(), path);
    }
    for odd in ["/<", "/a#b", "*", "a"] {
        let target = Target::new("ws://h/").unwrap().request_target(odd).unwrap();
        assert!(matches!(connect(&mut requests, target, listener()).await, Err(ConnectError::Url(_))), "{odd}");
    }
}

#[tokio::test]
async fn frames_are_masked() {
    let (sender, bytes) = oneshot::channel();
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let mut requests = accepting(move |mut stream| {
        let sender = sender.lock().unwrap().take().unwrap();
        async move {
            let mut frame = [0; 11];
            stream.read_exact(&mut frame).await.unwrap();
            stream.write_all(b"\x81\x05world").await.unwrap();
            sender.send(frame).unwrap();
            pending().await
        }
    })
    .await;
    let (mut messages, _) = connect_stream(&mut requests, "ws://h/").await.unwrap();
    messages.send("hello").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), "world");
    let [first, length, mask @ .., a, b, c, d, e] = bytes.await.unwrap();
    assert_eq!((first, length), (0x81, 0x85));
    let text: Vec<u8> = [a, b, c, d, e].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    assert_eq!(text, b"hello");
}

/// An answer, and the start of the error's text.
type Row = (fn() -> Response<Body>, &'static str);

#[tokio::test]
async fn answers_are_judged_as_over_http_1() {
    fn with(name: &str, values: &[&str]) -> Response<Body> {
        let mut response = ok();
        for value in values {
            let name = http::HeaderName::try_from(name).unwrap();
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    }
    fn status(status: u16, body: &'static str) -> Response<Body> {
        Response::builder().status(status).body(full(body)).unwrap()
    }
    let table: &[Row] = &[
        (|| status(403, "not \x1byou"), "the server refused the WebSocket with status 403: \"not \\u{1b}you\""),
        (|| status(503, ""), "the server refused the WebSocket with status 503"),
        (|| status(404, "gone"), "the server refused the WebSocket with status 404: \"gone\""),
        (|| status(204, ""), "the server refused the WebSocket with status 204"),
        (|| status(201, ""), "the server refused the WebSocket with status 201"),
        (
            || with("sec-websocket-protocol", &["soap"]),
            "the server chose the subprotocol \"soap\", which was not offered",
        ),
        (
            || with("sec-websocket-protocol", &["mqtt", "mqtt"]),
            "the server's answer has more than one Sec-WebSocket-Protocol",
        ),
        (|| with("sec-websocket-protocol", &["mqtt, soap"]), "the server chose the subprotocol \"mqtt, soap\""),
        (
            || with("sec-websocket-extensions", &["permessage-deflate"]),
            "the server uses extensions that were not offered",
        ),
    ];
    for &(answer, text) in table {
        let mut requests = server(builder(), move |_| async move { answer() }).await;
        let target = Target::new("ws://h/").unwrap().protocol("mqtt").unwrap();
        let error = connect(&mut requests, target, listener().on_open(|_| panic!())).await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(error.is_retryable(), text.contains("503"), "{error}");
    }
    let agreed = || with("sec-websocket-extensions", &["permessage-deflate; server_max_window_bits=7"]);
    let mut requests = server(builder(), move |_| async move { agreed() }).await;
    let target = Target::new("ws://h/").unwrap().config(Config::default().deflate(Deflate::default()));
    let error = connect(&mut requests, target, listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::InvalidExtension(_))), "{error}");
}

#[tokio::test]
async fn a_refusal_keeps_status_headers_and_the_start_of_its_body() {
    let mut requests = server(builder(), |_| async {
        let body = Full::new(Bytes::from("x".repeat(MAX_BODY + 1))).boxed();
        Response::builder().status(429).header("Retry-After", "7").body(body).unwrap()
    })
    .await;
    let error = connect(&mut requests, "ws://h/", listener()).await.unwrap_err();
    let response = error.response().unwrap();
    assert_eq!((response.status(), response.header("retry-after").as_deref()), (429, Some("7")));
    assert_eq!(response.body(), "x".repeat(MAX_BODY).as_bytes());
}

#[tokio::test]
async fn what_our_server_refuses_is_told() {
    let connections = Connections::new().on_error(|_| ());
    let mut requests = echo(builder(), connections.clone()).await;
    let target = Target::new("ws://h/").unwrap().header("Origin", "http://evil.example").unwrap();
    let error = connect(&mut requests, target, listener()).await.unwrap_err();
    let response = error.response().unwrap();
    assert_eq!(response.status(), 403);
    assert!(String::from_utf8_lossy(response.body()).starts_with("Origin not allowed: "), "{error}");
    let target = Target::new("ws://h/").unwrap().header("Origin", "http://h").unwrap();
    assert!(connect(&mut requests, target, listener()).await.is_ok());
}

#[tokio::test]
async fn a_server_without_the_setting_is_named() {
    let mut requests = server(Builder::new(TokioExecutor::new()), |_| async { ok() }).await;
    let error = connect(&mut requests, "ws://h/", listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::NoExtendedConnect)), "{error:?}");
    assert!(error.to_string().contains("SETTINGS_ENABLE_CONNECT_PROTOCOL") && !error.is_retryable(), "{error}");
    // The connection itself goes on.
    let request = Request::get("http://h/").body(Empty::new()).unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_waited_for_as_long_as_the_target_says() {
    let mut requests = server(builder(), |_| pending()).await;
    let target = Target::new("ws://h/").unwrap().config(Config::default().open_timeout(Duration::from_secs(3)));
    let start = tokio::time::Instant::now();
    let error = connect(&mut requests, &target, listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Handshake)), "{error}");
    assert_eq!(start.elapsed().as_secs(), 3);

    let mut requests = server(builder(), |_| async {
        let start = async { Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"because"))) };
        let body = futures_util::stream::once(start).chain(futures_util::stream::pending());
        Response::builder().status(500).body(BodyExt::boxed(StreamBody::new(body))).unwrap()
    })
    .await;
    let error = connect(&mut requests, &target, listener()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), b"because", "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_more_streams_are_opened_than_the_server_allows() {
    let mut builder = builder();
    builder.max_concurrent_streams(1);
    let mut requests = echo(builder, quiet()).await;
    let mut first = connect(&mut requests, "ws://h/1", listener()).await.unwrap();
    let error = connect(&mut requests.clone(), "ws://h/2", listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Handshake)), "{error}");
    let second = tokio::spawn(async move { connect(&mut requests, "ws://h/3", listener()).await });
    assert!(first.close().await.clean);
    assert!(second.await.unwrap().unwrap().close().await.clean);
}

#[tokio::test]
async fn an_end_without_a_close_is_abnormal() {
    // END_STREAM; what is left of a frame before it; the connection's end.
    for last in [&b""[..], b"\x81\x05he"] {
        let mut requests = accepting(move |mut stream| async move {
            stream.write_all(last).await.unwrap();
            stream.shutdown().await.unwrap();
            pending().await
        })
        .await;
        let (mut messages, _) = connect_stream(&mut requests, "ws://h/").await.unwrap();
        assert!(messages.recv().await.is_none_or(|message| message.is_err()));
        assert_eq!(messages.closed().unwrap().code, CloseCode::ABNORMAL);
    }
    // RST_STREAM.
    let mut requests = accepting(|stream| async move { drop(stream) }).await;
    let mut client = connect(&mut requests, "ws://h/", listener()).await.unwrap();
    let closed = client.closed().await;
    assert!(!closed.clean && closed.code == CloseCode::ABNORMAL, "{closed}");
    // The others go on.
    assert!(connect(&mut requests, "ws://h/", listener()).await.is_ok());
}

#[tokio::test]
async fn the_end_of_the_connection_ends_its_websockets() {
    let (here, there) = duplex(64 * 1024);
    let connections = quiet();
    let serving = tokio::spawn(async move {
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(connections.clone());
            let upgrade = WebSocketUpgrade::from_request(&mut request).unwrap();
            async { Ok::<_, Infallible>(upgrade.listener(listener())) }
        });
        let _ = builder().serve_connection(TokioIo::new(there), service).await;
    });
    let mut requests = client(here, None).await;
    let mut clients = vec![];
    for _ in 0..3 {
        clients.push(connect(&mut requests, "ws://h/", listener()).await.unwrap());
    }
    serving.abort();
    for mut client in clients {
        let closed = client.closed().await;
        assert!(!closed.clean && closed.code == CloseCode::ABNORMAL, "{closed}");
        assert_ne!(closed.by, ClosedBy::Local);
    }
    let error = connect(&mut requests, "ws://h/", listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn after_goaway_what_is_open_goes_on_and_nothing_new_is_opened() {
    let (here, there) = duplex(64 * 1024);
    let (going_away, told) = oneshot::channel::<()>();
    let served = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let served = served.clone();
        async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                served.fetch_add(1, Ordering::Relaxed);
                request.extensions_mut().insert(quiet());
                let upgrade = WebSocketUpgrade::from_request(&mut request).unwrap();
                let echo = listener().on_message(|socket, message| socket.send(message));
                async { Ok::<_, Infallible>(upgrade.listener(echo)) }
            });
            let mut connection = std::pin::pin!(builder().serve_connection(TokioIo::new(there), service));
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = told => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    });
    let mut requests = client(here, None).await;
    let (mut messages, _) = connect_stream(&mut requests, "ws://h/").await.unwrap();
    going_away.send(()).unwrap();
    // Whatever the order in which the client hears of it: in the end nothing is opened.
    while connect(&mut requests, "ws://h/", listener()).await.is_ok() {}
    let before = served.load(Ordering::Relaxed);
    let error = connect(&mut requests, "ws://h/", listener()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)) && error.is_retryable(), "{error}");
    assert_eq!(served.load(Ordering::Relaxed), before);
    messages.send("still here").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), OwnedMessage::from("still here"));
    assert!(messages.close().await.clean);
}

#[tokio::test]
async fn dropping_the_future_resets_the_stream_and_nothing_else() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let mut requests = server(builder(), move |request| {
        let sender = sender.clone();
        async move {
            let last = request.uri().path() == "/2";
            sender.send(()).unwrap();
            if last { Response::builder().status(404).body(full("")).unwrap() } else { pending().await }
        }
    })
    .await;
    {
        let mut first = std::pin::pin!(connect(&mut requests, "ws://h/1", listener()));
        tokio::select! {
            _ = first.as_mut() => panic!("not answered"),
            _ = asked.recv() => {}
        }
    }
    let error = connect(&mut requests, "ws://h/2", listener()).await.unwrap_err();
    assert_eq!(error.response().unwrap().status(), 404);
}
