//! What subscribers of `tracing` see.

use std::io::{self, ErrorKind};

use bellwire_core::config::SlowReader;
use bellwire_core::proto::client::IntoTarget;
use bellwire_core::{AsyncResponse, BoxError, CloseCode, ServerError, Target, async_listener, stream_listener};
use tracing::Level;

use super::*;
use crate::collector::{Collector, Seen};

const CONNECTION: &str = "bellwire::connection";
const SERVER: &str = "bellwire::server";
const CLIENT: &str = "bellwire::client";

fn without_keepalive() -> Config {
    Config::default().keepalive_interval(None)
}

/// What is seen of a connection.
fn connection(act: impl FnOnce(&Collector)) -> Vec<String> {
    Collector::watch(act).0.texts(CONNECTION)
}

#[test]
fn a_connection_has_a_span_with_its_number_and_what_it_is_about() {
    for (role, name) in [(Role::Server, "server"), (Role::Client, "client")] {
        let (seen, id) = Collector::watch(|_| {
            let driver = driver(role, without_keepalive(), |_, _| Ok(()));
            driver.socket().unwrap().id()
        });
        let about = r#"peer=192.0.2.1:7 path="/chat" protocol="mqtt""#;
        assert_eq!(seen.spans(), [format!("connection id={id} role={name:?} {about}")]);
        assert!(seen.events().iter().all(|event| event.span == Some(seen.spans()[0].clone())));
    }
}

#[test]
fn callbacks_run_within_the_span_whatever_form_they_have() {
    let sync = |_: &Request| {
        let closures = listener()
            .on_open(|_| {
                tracing::info!("in open");
                Ok::<_, BoxError>(())
            })
            .on_message(|_, _| {
                tracing::info!("in message");
                Ok::<_, BoxError>(())
            })
            .on_error(|_, _| tracing::info!("in error"))
            .on_close(|_, _, _| tracing::info!("in close"));
        Response::websocket(closures)
    };
    let asynchronous = |_: Request| {
        ready(AsyncResponse::websocket(async_listener().on_message(async |_: WebSocket, _| {
            tracing::info!("in message");
            std::future::poll_fn(|cx: &mut Context<'_>| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            })
            .await;
            tracing::info!("in the rest of it");
            Ok::<_, BoxError>(())
        })))
    };
    let talking = |_: Request| {
        ready(AsyncResponse::websocket(stream_listener(async |mut messages: bellwire_core::MessageStream| {
            while let Some(Ok(_)) = messages.recv().await {
                tracing::info!("in message");
            }
            Ok::<_, BoxError>(())
        })))
    };
    let (seen, ()) = Collector::watch(|_| {
        let mut client = testing::connect(sync).unwrap();
        client.send("a").unwrap();
        client.hang_up();
        let asynchronous = [
            testing::now_or_never(testing::connect_async("ws://a/", asynchronous)).unwrap(),
            testing::now_or_never(testing::connect_async("ws://a/", talking)).unwrap(),
        ];
        for client in asynchronous {
            let mut client = client.unwrap();
            client.send("b").unwrap();
            client.close();
        }
        tracing::info!("outside");
    });
    let of_users: Vec<_> = seen.events().into_iter().filter(|event| !event.target.starts_with("bellwire")).collect();
    let texts: Vec<_> = of_users.iter().map(|Seen { text, span, .. }| (&**text, span.is_some())).collect();
    let inside = ["open", "message", "error", "close", "message", "the rest of it", "message"];
    let expected = inside.map(|name| (format!("in {name}"), true)).into_iter().chain([("outside".into(), false)]);
    assert_eq!(texts, expected.collect::<Vec<_>>().iter().map(|(text, is)| (&**text, *is)).collect::<Vec<_>>());
    assert_eq!(seen.spans().len(), 3);
}

#[test]
fn a_close_says_how_and_by_whom_and_what_went_before() {
    for role in [Role::Server, Role::Client] {
        let (message, close) = (frame(role, 1, b"hello"), frame(role, 8, b"\x03\xe9bye\n"));
        let bytes = message.len() + close.len();
        let seen = connection(|_| {
            let mut driver = driver(role, without_keepalive(), |socket, text| Ok(socket.send(text)?));
            receive(&mut driver, START, message);
            receive(&mut driver, START, close);
        });
        let sent = if role == Role::Server { 7 } else { 11 };
        let closed = format!(
            r#"DEBUG connection closed code=1001 reason="bye\n" by="peer" clean=true received_messages=1 received_bytes={bytes} sent_messages=1 sent_bytes={sent}"#
        );
        assert_eq!(seen, ["DEBUG connection opened", &*closed]);
    }
}

/// The event of a failure, and that a close follows.
#[track_caller]
fn fails(expected: &str, config: Config, act: impl FnOnce(&mut Driver)) {
    let seen = connection(|_| {
        act(&mut driver(Role::Server, config, |_, text| match text {
            "fail" => Err(format!("what {SECRET} says").into()),
            "panic" => panic!("{SECRET}"),
            _ => Ok(()),
        }))
    });
    let [.., failed, closed] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(failed, expected);
    assert!(closed.starts_with("DEBUG connection closed code="), "{seen:?}");
    assert!(!seen.concat().contains(SECRET), "{seen:?}");
}

#[test]
fn each_failure_has_its_level_and_kind() {
    let timeless = without_keepalive;
    fails(r#"INFO connection failed kind="violation" detail=client frame not masked"#, timeless(), |driver| {
        receive(driver, START, vec![0x81, 0x01, b'a']);
    });
    fails(r#"DEBUG connection failed kind="vanished""#, timeless(), |driver| driver.receive_eof(START));
    fails(r#"INFO connection failed kind="transport" detail=out of paper"#, timeless(), |driver| {
        driver.transport_failed(START, io::Error::other("out of paper"));
    });
    fails(r#"WARN connection failed kind="callback""#, timeless(), |driver| {
        receive(driver, START, frame(Role::Server, 1, b"fail"));
    });
    fails(r#"ERROR connection failed kind="panic""#, timeless(), |driver| {
        receive(driver, START, frame(Role::Server, 1, b"panic"));
    });
    fails(r#"DEBUG connection failed kind="abandoned""#, timeless(), |_| ());
    fails(r#"DEBUG connection failed kind="idle""#, timeless().idle_timeout(Duration::from_secs(5)), |driver| {
        driver.handle_timeout(at(5_000));
    });
    fails(r#"INFO connection failed kind="keepalive""#, Config::default(), |driver| {
        driver.handle_timeout(at(20_000));
        turn(driver, at(20_000));
        driver.handle_timeout(at(40_000));
    });
    fails(
        r#"DEBUG connection failed kind="close_timeout""#,
        timeless().close_timeout(Duration::from_secs(1)),
        |driver| {
            driver.socket().unwrap().close().unwrap();
            turn(driver, START);
            driver.handle_timeout(START);
            driver.handle_timeout(at(1_000));
        },
    );
    let slow = timeless().slow_reader(SlowReader::Close).max_queued(10);
    fails(r#"WARN connection failed kind="slow_reader""#, slow, |driver| {
        let socket = driver.socket().unwrap().clone();
        socket.send("the first always fits").unwrap();
        socket.send("this does not").unwrap_err();
        driver.handle_timeout(START);
    });
}

#[test]
fn a_slow_reader_is_told_of_once_until_it_has_read() {
    let seen = connection(|_| {
        let config = without_keepalive().watermarks(10, 20).max_queued(100);
        let mut driver = driver(Role::Server, config, |socket, text| Ok(socket.send(text)?));
        let socket = driver.socket().unwrap().clone();
        let output = {
            // The callback sends above the high watermark: the peer is not read.
            driver.receive(START, &mut frame(Role::Server, 1, &[b'a'; 30]));
            let output = driver.take_output().unwrap();
            let _ = driver.settle(Waker::noop());
            output
        };
        for _ in 0..3 {
            // The queue has no room, as often as it is tried.
            socket.send(&[0; 90]).unwrap_err();
            let _ = driver.settle(Waker::noop());
        }
        driver.wrote(START, output.len());
        let _ = driver.settle(Waker::noop());
        // From the beginning.
        socket.send(&[0; 50]).unwrap();
        socket.send(&[0; 90]).unwrap_err();
        turn(&mut driver, START);
        let _ = driver.settle(Waker::noop());
        std::mem::forget(driver);
    });
    let full = |queued, refused| format!("WARN queue full, messages are refused queued={queued} refused={refused}");
    let paused = "DEBUG reading paused, the peer reads too slowly queued=32";
    assert_eq!(
        seen[..4],
        ["DEBUG connection opened".into(), paused.into(), full(32, 1), "DEBUG reading resumed queued=0".into()]
    );
    assert_eq!(seen.iter().filter(|text| text.contains("queue full")).count(), 2, "{seen:?}");
}

// Servers.

fn report(error: &ServerError) -> Vec<String> {
    let service = Service::new(Config::default(), |_: &Request| Response::new(200), |_: &ServerError| ());
    Collector::watch(|_| service.report(error)).0.texts(SERVER)
}

fn ask(request: &str) -> Vec<String> {
    let handler = |_: &Request| Response::websocket(listener());
    let (seen, ()) = Collector::watch(|_| {
        let service = Arc::new(Service::new(Config::default(), handler, |_: &ServerError| ()));
        let mut driver = Driver::server(service, Some(([192, 0, 2, 1], 7).into()), START);
        driver.receive(START, &mut request.replace('\n', "\r\n").into_bytes());
    });
    assert!(!seen.everything().contains(SECRET), "{}", seen.everything());
    seen.texts(SERVER)
}

#[test]
fn a_refusal_has_its_rule_its_status_and_where_it_comes_from() {
    let head = "Host: a\nCookie: s3cr3t\nAuthorization: Bearer s3cr3t\nX-Key: s3cr3t\nConnection: Upgrade\nUpgrade: websocket\n";
    let from = r#"INFO request refused peer=192.0.2.1:7 path="/chat""#;
    let seen = ask(&format!("GET /chat?token=s3cr3t HTTP/1.1\n{head}\n"));
    assert_eq!(
        seen,
        [format!(
            "{from} status=426 kind=\"version\" detail=WebSocket version missing or not supported: send Sec-WebSocket-Version: 13"
        )]
    );
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n";
    let seen = ask(&format!("GET /chat?token=s3cr3t HTTP/1.1\n{head}{key}Origin: http://b\n\n"));
    let origin = r#"status=403 kind="origin" detail=Origin not allowed: the page is from "http://b", and the server was asked for as "a"."#;
    assert!(seen[0].starts_with(&format!("{from} {origin}")), "{seen:?}");
    // What is no HTTP is not quoted, but for what seems to be a path.
    let seen = ask("GET /a?s3cr3t s3cr3t s3cr3t\nCookie: s3cr3t\n\n");
    assert_eq!(seen.len(), 1, "{seen:?}");
    let path = ask("GET /\x1b[31m?s3cr3t HTTP/1.0\nHost: a\nHost: b\n\n");
    assert!(!path.concat().contains('\x1b'), "{path:?}");
}

#[test]
fn a_servers_errors_have_their_kind_and_no_text_of_the_handlers() {
    let secret = || SECRET.to_string();
    for (error, expected) in [
        (
            ServerError::Accept(ErrorKind::ConnectionAborted.into()),
            r#"WARN server error kind="accept" detail=connection aborted"#,
        ),
        (ServerError::Handler(secret().into()), r#"WARN server error kind="handler""#),
        (ServerError::HandlerPanicked(secret()), r#"ERROR server error kind="handler_panic""#),
        (ServerError::ListenerPanicked(secret()), r#"ERROR server error kind="listener_panic""#),
        (ServerError::NoAnswer, r#"WARN server error kind="no_answer""#),
        (ServerError::ProtocolNotOffered(secret()), r#"WARN server error kind="protocol_not_offered""#),
    ] {
        assert_eq!(report(&error), [expected]);
    }
    let seen = report(&ServerError::HandlerTimeout(Duration::from_secs(3)));
    assert!(
        seen[0]
            .starts_with(r#"WARN server error kind="handler_timeout" detail=the handler has not answered within 3s"#)
    );
}

#[test]
fn subprotocols_that_were_offered_are_not_told_since_they_may_be_tokens() {
    let key = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n";
    let seen = ask(&format!("GET /a?b HTTP/1.1\nHost: a\n{key}Sec-WebSocket-Protocol: bearer.s3cr3t\n\n"));
    assert_eq!(seen, [r#"WARN server error path="/a" kind="no_protocol_chosen""#]);
}

// Clients.

#[test]
fn a_client_without_a_connection_says_where_it_wanted_to_go() {
    let answers = |_: &Request| Response::new(401).header("X-Key", SECRET).with_body(SECRET);
    let url = "ws://user:s3cr3t@example.com/chat?token=s3cr3t";
    let (seen, ()) = Collector::watch(|_| {
        let error = testing::connect_to(url, answers).unwrap_err();
        bellwire_core::backend::no_connection(&url.into_target().unwrap(), &error);
        let target = Target::new("ws://example.com/").unwrap();
        let error = bellwire_core::ConnectError::Connect(ErrorKind::ConnectionRefused.into());
        bellwire_core::backend::no_connection(&target, &error);
    });
    let to = r#"INFO no connection host="example.com" port=80"#;
    let refused = format!(r#"{to} path="/chat" kind="refused" status=401"#);
    let connect = format!(r#"{to} path="/" kind="connect" detail=connection refused"#);
    assert_eq!(seen.texts(CLIENT), [refused, connect]);
    assert!(!seen.everything().contains(SECRET));
}

/// A clock that stands, and sleeps that are over at once.
pub(crate) struct Hasty;

impl bellwire_core::backend::Timer for Hasty {
    fn now(&self) -> Time {
        START
    }

    fn set(&mut self, _: Time) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A client that tries twice, in vain.
pub(crate) fn reconnect_in_vain() {
    let refused = || bellwire_core::ConnectError::Connect(ErrorKind::ConnectionRefused.into());
    let policy =
        bellwire_core::reconnect::Policy::new().max_tries(2).first_delay(Duration::ZERO).max_delay(Duration::ZERO);
    let connect = move |_, _| ready(Err::<std::future::Ready<bellwire_core::Closed>, _>(refused()));
    let reconnector = bellwire_core::backend::Reconnector::new("ws://a/", policy, connect).unwrap();
    let (_handle, running) = reconnector.listen(|_| listener());
    let mut running = std::pin::pin!(running.run(Hasty, || Duration::ZERO));
    while running.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}

#[test]
fn a_client_that_reconnects_says_when_it_tries_again_and_when_it_gives_up() {
    let (seen, ()) = Collector::watch(|_| reconnect_in_vain());
    let first = r#"INFO connecting again kind="connect" tries=1 retry_in=0.0"#;
    assert_eq!(seen.texts(CLIENT), [first, r#"WARN not connecting again kind="connect" tries=2"#]);
}

// Secrets.

#[test]
fn no_event_and_no_span_shows_what_was_sent_or_where_a_cookie_or_a_query_stands() {
    let server = |request: &Request| {
        assert!(request.header("Cookie").is_some());
        let closures = listener().on_message(|socket, message| {
            socket.send(message)?;
            match message.as_text() {
                Some("fail s3cr3t") => Err(BoxError::from(message.as_text().unwrap_or_default())),
                _ => Ok(()),
            }
        });
        Response::websocket(closures)
    };
    let target = || {
        let target = Target::new("ws://example.com/chat?token=s3cr3t").unwrap();
        target.cookie("a", SECRET).unwrap().header("X-Key", SECRET).unwrap().bearer(SECRET).unwrap()
    };
    let (seen, ()) = Collector::watch(|_| {
        let mut client = testing::connect_to(target(), server).unwrap();
        client.send(SECRET).unwrap();
        client.send(SECRET.as_bytes()).unwrap();
        client.ping(SECRET).unwrap();
        client.send("fail s3cr3t").unwrap();
        assert_eq!(client.closed().unwrap().code, CloseCode::INTERNAL_ERROR);
    });
    assert!(seen.events().iter().any(|event| event.level == Level::WARN), "{}", seen.everything());
    assert!(!seen.everything().contains(SECRET), "{}", seen.everything());
}
