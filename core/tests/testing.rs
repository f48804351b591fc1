//! `testing::connect`: a handler and its listener, tested in memory by a client that speaks the whole protocol.

use std::future::poll_fn;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::Service;
use bellwire_core::listener::ListenerBuilder;
use bellwire_core::proto::client::HandshakeError;
use bellwire_core::testing::{self, Sent, TestClient};
use bellwire_core::{
    AsyncResponse, Closed, ClosedBy, Config, ConnectError, Request, Response, SendError, Target, async_listener,
    listener, stream,
};
use futures_util::FutureExt;

/// Tells what happens to it.
fn told() -> (impl Fn(&Request) -> Response + Send + Sync, Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let handler = move |_: &Request| {
        let tell = || tell.lock().unwrap().clone();
        let (message, pong, error, close) = (tell(), tell(), tell(), tell());
        Response::websocket(
            listener()
                .on_message(move |socket, text| {
                    message.send(format!("message {}", text.as_text().unwrap_or("(binary)"))).unwrap();
                    socket.send(text)
                })
                .on_pong(move |_, _| pong.send("pong".into()).unwrap())
                .on_error(move |_, failure| error.send(format!("error {failure}")).unwrap())
                .on_close(move |socket, code, reason| {
                    let Closed { clean, by, .. } = socket.closed().unwrap();
                    close.send(format!("close {code} {reason:?} {clean} {by:?}")).unwrap();
                }),
        )
    };
    (handler, told)
}

fn all(told: &Receiver<String>) -> Vec<String> {
    told.try_iter().collect()
}

#[test]
fn u6_what_a_call_causes_has_happened_when_it_returns() {
    let (handler, told) = told();
    let mut client = testing::connect(handler).unwrap();
    assert_eq!((client.response().status(), client.try_recv()), (101, None));
    client.send("hello").unwrap();
    client.send(&[1, 2, 3][..]).unwrap();
    assert_eq!(all(&told), ["message hello", "message (binary)"]);
    client.ping("are you there?").unwrap();
    assert_eq!(
        client.take_received(),
        [Sent::text("hello"), Sent::binary([1, 2, 3]), Sent::Pong(b"are you there?".to_vec())]
    );
    client.socket().unwrap().ping("and you?").unwrap();
    assert_eq!(client.take_received(), [Sent::Ping(b"and you?".to_vec())]);
    assert_eq!(all(&told), ["pong"], "it was answered");
    let closed = client.close().unwrap();
    assert_eq!(closed, Closed::clean(1000, "Normal Closure", ClosedBy::Local));
    assert_eq!(all(&told), ["close 1000 \"Normal Closure\" true Peer"]);
    assert_eq!(client.send("late"), Err(SendError::Closed));
    assert_eq!(client.close(), Some(closed), "once is enough");
    drop(client);
    assert_eq!(all(&told).len(), 0);
}

#[test]
fn u6_every_end_is_seen_by_both_sides() {
    type End = fn(&mut TestClient);
    let ends: [(End, (u16, bool, ClosedBy), &str); 5] = [
        (
            |client| drop(client.close_with(4000, "mine")),
            (4000, true, ClosedBy::Local),
            "close 4000 \"mine\" true Peer",
        ),
        (
            |client| client.socket().unwrap().close_with(4001, "theirs").unwrap(),
            (4001, true, ClosedBy::Peer),
            "close 4001 \"theirs\" true Local",
        ),
        (|client| client.socket().unwrap().abort(), (1006, false, ClosedBy::Peer), "close 1006 \"\" false Local"),
        (|client| client.hang_up(), (1006, false, ClosedBy::Local), "close 1006 \"\" false Peer"),
        (
            |client| client.send(vec![0; 2 << 20]).unwrap(),
            (1009, true, ClosedBy::Peer),
            "close 1009 \"Binary message too large: 2097152 > 1048576\" false Local",
        ),
    ];
    for (end, expected, event) in ends {
        let (handler, told) = told();
        let mut client = testing::connect(handler).unwrap();
        end(&mut client);
        assert_eq!(client.try_recv(), None);
        let Closed { code, clean, by, .. } = client.closed().unwrap();
        assert_eq!((u16::from(code), clean, by), expected);
        let told = all(&told);
        assert_eq!(told.last().map(String::as_str), Some(event), "{told:?}");
        assert_eq!(told.iter().filter(|told| told.starts_with("close")).count(), 1, "{told:?}");
    }
    let (handler, told) = told();
    drop(testing::connect(handler).unwrap());
    assert_eq!(all(&told).last().unwrap(), "close 1006 \"\" false Peer", "a peer that vanishes");
}

#[test]
fn u6_a_refusal_comes_whole() {
    let refused = |error| match error {
        Err(ConnectError::Handshake(HandshakeError::Refused(response))) => *response,
        other => panic!("{other:?}"),
    };
    let response = refused(testing::connect(|_: &Request| {
        Response::text("who are you?").with_status(401).header("WWW-Authenticate", "Basic")
    }));
    assert_eq!((response.status(), response.body()), (401, &b"who are you?"[..]));
    assert_eq!(response.header("WWW-Authenticate").as_deref(), Some("Basic"));
    for broken in [
        testing::connect(|_: &Request| -> Result<Response, &str> { Err("failed") }),
        testing::connect(|_: &Request| panic!("at once")),
        testing::connect(|_: &Request| Response::websocket(listener()).protocol("not offered")),
        testing::connect(|_: &Request| Response::websocket(listener()).header("X Y", "x")),
    ] {
        assert_eq!(refused(broken).status(), 500);
    }
    assert!(matches!(
        testing::connect_to("http://localhost", |_: &Request| Response::not_found()),
        Err(ConnectError::Url(_))
    ));
}

#[test]
fn u6_headers_protocols_and_the_url_reach_the_handler() {
    let target = Target::new("ws://u:p@localhost/a?b").unwrap().header("X-Own", "1").unwrap().protocol("mqtt").unwrap();
    let mut client = testing::connect_to(target, |request: &Request| {
        let seen =
            format!("{} {} {:?}", request.target(), request.header("X-Own").unwrap(), request.header("Authorization"));
        let greeter: ListenerBuilder = listener().on_open(move |socket| socket.send(seen.as_str()));
        Response::websocket(greeter).protocol(request.select_protocol(&["mqtt"]).unwrap())
    })
    .unwrap();
    assert_eq!(client.response().protocol(), Some("mqtt"));
    assert_eq!(client.try_recv().unwrap(), "/a?b 1 Some(\"Basic dTpw\")");
    let socket = client.socket().unwrap();
    assert_eq!((socket.path(), socket.protocol(), socket.peer_addr()), (Some("/a"), Some("mqtt"), None));
}

#[test]
fn u6_a_target_connects_again() {
    let target = Target::new("ws://h/feed").unwrap().header("X-Name", "me").unwrap();
    for _ in 0..2 {
        let mut client = testing::connect_to(&target, |request: &Request| {
            let asked = (request.path() == "/feed", request.header("X-Name").as_deref() == Some("me"));
            assert_eq!(asked, (true, true));
            Response::websocket(listener())
        })
        .unwrap();
        client.close();
    }
    let zero = target.config(Config::default().open_timeout(Duration::ZERO));
    let invalid = testing::connect_to(&zero, |_: &Request| Response::websocket(listener()));
    assert!(matches!(invalid, Err(ConnectError::Config(_))), "{invalid:?}");
}

#[test]
fn u6_time_is_virtual() {
    let config = Config::default().idle_timeout(Duration::from_secs(30)).keepalive_interval(None);
    let (handler, told) = told();
    let service = Arc::new(Service::new(config, handler, |error| panic!("{error}")));
    let target = || Target::new("ws://localhost").unwrap().config(Config::default().keepalive_interval(None));
    let mut client = testing::connect_service(target(), service).now_or_never().unwrap().unwrap();
    client.advance(Duration::from_secs(29));
    client.send("still here").unwrap();
    client.advance(Duration::from_secs(29));
    assert_eq!((all(&told), client.closed()), (vec!["message still here".to_owned()], None));
    client.advance(Duration::from_secs(2));
    assert_eq!(client.take_received(), [Sent::text("still here"), Sent::close(1001, "Connection Idle Timeout")]);
    assert!(all(&told).last().unwrap().starts_with("close 1001"));
    // A year of keepalive is soon over.
    let mut client = testing::connect_to("ws://localhost", |_: &Request| Response::websocket(listener())).unwrap();
    client.advance(Duration::from_secs(24 * 3600));
    assert_eq!(client.closed(), None);
    assert!(client.take_received().iter().filter(|sent| matches!(sent, Sent::Ping(_))).count() > 1000);
    // Also behind the end.
    client.close().unwrap();
    client.advance(Duration::from_secs(24 * 3600));
}

/// Pending until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    async fn pass(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            gate.1.take()
        };
        waker.expect("somebody waits").wake();
    }
}

/// A waker that counts.
fn counting() -> (Waker, Arc<Counter>) {
    let counter = Arc::new(Counter::default());
    (counter.clone().into(), counter)
}

#[derive(Default)]
struct Counter(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn u6_asynchronous_handlers_and_callbacks_are_waited_for() {
    let (handler, callback) = (Gate::default(), Gate::default());
    let service = Arc::new(Service::asynchronous(
        Config::default(),
        {
            let (handler, callback) = (handler.clone(), callback.clone());
            move |_| {
                let (handler, callback) = (handler.clone(), callback.clone());
                async move {
                    handler.pass().await;
                    AsyncResponse::websocket(async_listener().on_message(move |socket, message| {
                        let callback = callback.clone();
                        async move {
                            callback.pass().await;
                            socket.send_and_wait(message).await
                        }
                    }))
                }
            }
        },
        |error| panic!("{error}"),
    ));
    let (waker, wakes) = counting();
    let cx = &mut Context::from_waker(&waker);
    let mut connecting = Box::pin(testing::connect_service("ws://localhost", service));
    assert!(connecting.poll_unpin(cx).is_pending());
    handler.open();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Ok(mut client)) = connecting.poll_unpin(cx) else { panic!("it has answered") };
    client.send("one").unwrap();
    client.send("two").unwrap();
    let woken = wakes.count();
    {
        let mut receiving = Box::pin(client.recv());
        assert!(receiving.poll_unpin(cx).is_pending());
        callback.open();
        assert!(wakes.count() > woken);
        assert_eq!(receiving.poll_unpin(cx), Poll::Ready(Some("one".into())));
    }
    assert_eq!(client.recv().now_or_never().unwrap().unwrap(), "two");
    // What others send wakes, too.
    let socket = client.socket().unwrap().clone();
    let woken = wakes.count();
    {
        let mut receiving = Box::pin(client.recv());
        assert!(receiving.poll_unpin(cx).is_pending());
        socket.send("from elsewhere").unwrap();
        assert!(wakes.count() > woken);
        assert_eq!(receiving.poll_unpin(cx), Poll::Ready(Some("from elsewhere".into())));
    }
    client.close().unwrap();
    assert_eq!(client.recv().now_or_never(), Some(None), "the end");
}

#[test]
fn u6_a_stream_is_tested_from_its_other_end() {
    let (listener, opened) = stream();
    let listener = Mutex::new(Some(listener));
    let handler = move |_: Request| {
        let listener = listener.lock().unwrap().take();
        async { listener.map(AsyncResponse::websocket).ok_or("only one") }
    };
    let service = Arc::new(Service::asynchronous(Config::default(), handler, |error| panic!("{error}")));
    let mut client = testing::connect_service("ws://localhost", service).now_or_never().unwrap().unwrap();
    let mut messages = opened.now_or_never().unwrap().unwrap();
    client.send("to the stream").unwrap();
    assert_eq!(messages.recv().now_or_never().unwrap().unwrap().unwrap(), "to the stream");
    messages.socket().send("to the client").unwrap();
    assert_eq!(client.try_recv().unwrap(), "to the client");
    drop(messages);
    assert_eq!(client.take_received(), [Sent::close(1000, "Normal Closure")]);
}

#[test]
fn u6_messages_of_every_size_pass() {
    let config = || Config::default().max_message(8 << 20).max_queued(16 << 20);
    let handler = move |_: &Request| {
        Response::websocket(listener().on_message(|socket, message| socket.send(message))).config(config())
    };
    let target = Target::new("ws://localhost").unwrap().config(config());
    let mut client = testing::connect_to(target, handler).unwrap();
    for size in [0, 1, 125, 126, 65_535, 65_536, 5 << 20] {
        client.send("x".repeat(size)).unwrap();
        assert_eq!(client.try_recv().unwrap(), *"x".repeat(size));
    }
    for index in 0..1000 {
        client.send(format!("{index}")).unwrap();
    }
    assert_eq!(client.take_received().len(), 1000);
}

#[test]
fn u6_a_listener_that_sends_without_end_ends_no_call() {
    fn again(socket: &bellwire_core::WebSocket) {
        let next = socket.clone();
        socket.send_with("again", move |outcome| {
            if outcome.is_ok() {
                again(&next);
            }
        });
    }
    let mut client = testing::connect(|_: &Request| Response::websocket(listener().on_open(again))).unwrap();
    assert_eq!(client.try_recv().unwrap(), "again");
    assert!(client.take_received().len() > 1000);
    assert_eq!(client.try_recv().unwrap(), "again", "it goes on with the next call");
    assert!(client.close().is_some() || client.close().is_some());
}
