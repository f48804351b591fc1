//! A connection as a stream of messages and a sink for them: N1 to N6, and what users of tokio and of smol expect
//! besides. `blocking_streams` has that of threads.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use async_io::Async;
use bellwire::config::Deflate;
use bellwire::futures_io::{Executor, FuturesIo, Server, accept_stream, connect_stream, connect_stream_over};
use bellwire::proto::client;
use bellwire::proto::client::HandshakeError;
use bellwire::stream::MessageSender;
use bellwire::{
    AsyncResponse, Closed, ClosedBy, Config, ConnectError, MessageStream, OwnedMessage, Request, Response, Role,
    SendError, StreamError, Target, WebSocket, async_listener, stream, stream_listener,
};
use bellwire_tests::{
    BINARY, Flavor, Frame, OnFuturesIo, OnTokio, PATIENCE, PING, PONG, Raw, Tasks, Theirs, http, next, quiet, request,
    tasks, upgrade_request,
};
use futures_util::future::FusedFuture;
use futures_util::stream::FusedStream;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tungstenite::{Error, Message as Their};

tasks! {
    server {
        a_stream_that_was_accepted_talks_to_their_client,
        a_bad_request_is_an_error_in_words,
        a_plain_request_is_an_error_in_words,
        a_peer_that_leaves_before_or_within_its_request_is_an_error,
        a_peer_that_says_nothing_is_an_error_when_its_time_is_over,
        an_accept_that_is_dropped_hangs_up,
        what_waits_for_an_upgrade_that_is_refused_gets_none,
        what_waits_for_an_upgrade_closes_the_connection_when_it_is_dropped,
    }
    client {
        a_refused_handshake_is_its_error,
        a_connection_that_is_refused_is_its_error,
        a_stream_over_a_transport_of_the_callers_talks_to_their_server,
        a_connect_that_is_dropped_hangs_up,
    }
    pair {
        n1_a_stream_on_each_end,
        n1_compressed_messages_come_back_by_each_form,
        n1_a_stream_that_the_connections_own_task_reads_and_writes,
        u1_u2_streams_and_asynchronous_listeners_know_their_connection,
    }
    both {
        n1_messages_go_in_and_come_out_in_order_both_ways_at_once,
        n1_their_echo_gives_every_size_back,
        n2_a_connection_error_and_a_failed_send_are_both_seen,
        n2_a_peer_that_vanishes_is_seen_by_both_halves,
        n3_ending_with_a_code_and_a_reason_closes_with_them,
        n4_closing_the_sink_closes_with_1000,
        n4_dropping_the_stream_closes_with_1000,
        n4_dropping_both_halves_closes_with_1000_and_one_does_not,
        n5_an_owner_that_panics_closes_with_1011,
        n6_the_stream_ends_once_when_the_connection_does,
        an_echo_by_forward_gives_every_size_back,
        any_stream_and_sink_will_do_for_an_echo,
        a_sink_takes_messages_of_more_than_it_queues,
        a_peer_that_does_not_read_makes_sends_wait,
        a_reader_that_does_not_read_makes_the_peer_wait_and_loses_nothing,
        pings_are_answered_while_the_user_only_reads,
        pings_are_answered_while_the_user_only_writes,
        pings_are_answered_while_the_user_does_nothing,
        a_close_is_answered_when_what_came_before_it_was_taken_and_answered,
        a_close_is_answered_in_time_while_the_user_does_nothing,
        a_close_is_answered_while_the_user_only_writes,
        a_recv_that_is_dropped_half_way_loses_nothing,
        a_feed_that_is_dropped_half_way_was_not_sent,
    }
}

/// A backend that has the stream form.
trait Streams: Tasks {
    /// Runs a future on the backend's runtime.
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Receiver<T>;

    fn connect_stream(
        target: Target,
    ) -> impl Future<Output = Result<(MessageStream, client::Response), ConnectError>> + Send;

    fn connect_stream_over(
        target: Target,
        transport: TcpStream,
    ) -> impl Future<Output = Result<(MessageStream, client::Response), ConnectError>> + Send;

    fn accept_stream(transport: TcpStream, config: Config) -> impl Future<Output = io::Result<MessageStream>> + Send;

    /// Serves on a loopback port.
    fn serve_async<F: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> SocketAddr;
}

fn spawned<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    spawn: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>),
) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    // Nobody may care.
    spawn(Box::pin(async move { drop(sender.send(future.await)) }));
    receiver
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

impl<F: Flavor> Streams for OnTokio<F> {
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Receiver<T> {
        spawned(future, |future| drop(self.handle().spawn(future)))
    }

    fn connect_stream(
        target: Target,
    ) -> impl Future<Output = Result<(MessageStream, client::Response), ConnectError>> + Send {
        bellwire::tokio::connect_stream(target)
    }

    async fn connect_stream_over(
        target: Target,
        transport: TcpStream,
    ) -> Result<(MessageStream, client::Response), ConnectError> {
        transport.set_nonblocking(true).unwrap();
        bellwire::tokio::connect_stream_over(target, ::tokio::net::TcpStream::from_std(transport).unwrap()).await
    }

    async fn accept_stream(transport: TcpStream, config: Config) -> io::Result<MessageStream> {
        transport.set_nonblocking(true).unwrap();
        bellwire::tokio::accept_stream(::tokio::net::TcpStream::from_std(transport).unwrap(), config).await
    }

    fn serve_async<H: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> H + Send + Sync + 'static,
    ) -> SocketAddr {
        let (listener, addr) = listen();
        listener.set_nonblocking(true).unwrap();
        self.run(async move {
            let listener = ::tokio::net::TcpListener::from_std(listener).unwrap();
            bellwire::tokio::Server::from_listener(listener).config(config).run_async(handler).await.unwrap();
        });
        addr
    }
}

impl<E: Executor + Default> Streams for OnFuturesIo<E>
where
    Self: Tasks,
{
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Receiver<T> {
        spawned(future, |future| E::default().spawn(future))
    }

    fn connect_stream(
        target: Target,
    ) -> impl Future<Output = Result<(MessageStream, client::Response), ConnectError>> + Send {
        connect_stream(FuturesIo(E::default()), target)
    }

    fn connect_stream_over(
        target: Target,
        transport: TcpStream,
    ) -> impl Future<Output = Result<(MessageStream, client::Response), ConnectError>> + Send {
        connect_stream_over(FuturesIo(E::default()), target, Async::new(transport).unwrap())
    }

    fn accept_stream(transport: TcpStream, config: Config) -> impl Future<Output = io::Result<MessageStream>> + Send {
        accept_stream(FuturesIo(E::default()), Async::new(transport).unwrap(), config)
    }

    fn serve_async<H: Future<Output = AsyncResponse> + Send + 'static>(
        &self,
        config: Config,
        handler: impl Fn(Request) -> H + Send + Sync + 'static,
    ) -> SocketAddr {
        let (listener, addr) = listen();
        let listener = Async::new(listener).unwrap();
        let server = Server::from_listener_on(FuturesIo(E::default()), listener).config(config);
        self.run(async move { server.run_async(handler).await.unwrap() });
        addr
    }
}

/// Waits for a future on this thread, so long at most; then it is dropped. A stream needs no runtime but that of its
/// connection.
fn wait_for<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut future, deadline) = (pin!(future), Instant::now() + time);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

#[track_caller]
fn wait<T>(future: impl Future<Output = T>) -> T {
    wait_for(PATIENCE, future).expect("still not done")
}

/// Whether a future waits when it is polled for the first time. It is dropped.
fn waits(future: impl Future) -> bool {
    wait_for(Duration::ZERO, future).is_none()
}

fn target(addr: SocketAddr) -> Target {
    Target::new(format!("ws://{addr}/")).unwrap().config(quiet())
}

/// A connection of ours in this role that is a stream, and its peer.
#[track_caller]
fn open_with<B: Streams, P>(
    backend: &B,
    role: Role,
    config: Config,
    connect: impl FnOnce(SocketAddr) -> P,
    accept: impl FnOnce(&TcpListener) -> P,
) -> (MessageStream, P) {
    match role {
        Role::Server => {
            let (sender, waiting) = mpsc::channel();
            let addr = backend.serve_async(config, move |_| {
                let (listener, opened) = stream();
                sender.send(opened).unwrap();
                async { AsyncResponse::websocket(listener) }
            });
            let peer = connect(addr);
            (wait(next(&waiting)).expect("refused"), peer)
        }
        Role::Client => {
            let (listener, addr) = listen();
            let connected = backend.run(B::connect_stream(target(addr).config(config)));
            let peer = accept(&listener);
            let (messages, response) = next(&connected).unwrap();
            assert_eq!(response.status(), 101);
            (messages, peer)
        }
    }
}

/// To a peer made of bytes.
#[track_caller]
fn open<B: Streams>(backend: &B, role: Role, config: Config) -> (MessageStream, Raw) {
    open_with(backend, role, config, Raw::open, |listener| {
        let mut raw = Raw::accept(listener);
        raw.write(&raw.switching(&[]));
        raw
    })
}

/// To tungstenite.
#[track_caller]
fn open_theirs<B: Streams>(backend: &B, role: Role) -> (MessageStream, Theirs) {
    open_with(backend, role, quiet(), Theirs::connect, |listener| Theirs::accept(listener, &[]))
}

/// The next message.
#[track_caller]
fn message(messages: &mut MessageStream) -> OwnedMessage {
    wait(messages.recv()).expect("the end").unwrap()
}

#[track_caller]
fn expect_end(messages: &mut MessageStream, code: u16, reason: &str, by: ClosedBy) {
    for _ in 0..3 {
        assert!(wait(messages.recv()).is_none(), "the end is the end");
    }
    let closed = Closed::clean(code, reason, by);
    assert_eq!(messages.closed(), Some(closed));
}

/// A close of ours comes, and is answered.
#[track_caller]
fn answer_close(mut peer: Raw, code: u16, reason: &str) {
    peer.expect([Frame::close(code, reason)]);
    peer.send([Frame::close(code, reason)]);
    peer.hang_up();
}

const NORMAL: (u16, &str) = (1000, "Normal Closure");

/// Around every border of the length's encoding, up to the default limit.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, 100_000, 1024 * 1024];

fn text(index: usize) -> String {
    format!("{index}: {}", "x".repeat(index * 37 % 2000))
}

fn u1_u2_streams_and_asynchronous_listeners_know_their_connection<B: Streams>() {
    fn known(socket: &WebSocket) -> (Option<SocketAddr>, Option<String>, Option<String>, String) {
        let text = |text: Option<&str>| text.map(String::from);
        (socket.peer_addr(), text(socket.path()), text(socket.protocol()), socket.id().to_string())
    }
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let addr = backend.serve_async(quiet(), move |request| {
        let (tell, (streaming, opened)) = (tell.clone(), stream());
        let peer = request.peer_addr();
        let response = match request.path() {
            "/stream" => AsyncResponse::websocket(streaming),
            _ => AsyncResponse::websocket(async_listener().on_open({
                let tell = tell.clone();
                move |socket| {
                    let tell = tell.clone();
                    async move { tell.send((peer, known(&socket))).unwrap() }
                }
            })),
        };
        let streams = request.path() == "/stream";
        std::thread::spawn(move || {
            if streams {
                let messages = wait(opened).unwrap();
                tell.send((peer, known(messages.socket()))).unwrap();
            }
        });
        async move { response.protocol("mqtt") }
    });
    let mut numbers = Vec::new();
    for path in ["/stream", "/listener"] {
        let target = Target::new(format!("ws://{addr}{path}?x")).unwrap().protocol("mqtt").unwrap();
        let (messages, _) = next(&backend.run(B::connect_stream(target))).unwrap();
        let (peer, at_server) = next(&told);
        let (mqtt, path) = (Some("mqtt".to_owned()), Some(path.to_owned()));
        assert!(peer.is_some());
        assert_eq!(at_server, (peer, path.clone(), mqtt.clone(), at_server.3.clone()));
        let at_client = known(messages.socket());
        assert_eq!(at_client, (Some(addr), path, mqtt, at_client.3.clone()));
        numbers.extend([at_server.3, at_client.3]);
    }
    let count = numbers.len();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "each is given once");
}

// Opening.

fn a_stream_that_was_accepted_talks_to_their_client<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    let client = thread::spawn(move || {
        let mut client = Theirs::connect_with(addr, "/any/path", &[], &[]);
        client.send_text("hello");
        assert_eq!(client.read(), Their::text("hello"));
        client.close(1000, "bye");
        assert_eq!(client.read_close(), Some((1000, "bye".into())));
    });
    let accepted = backend.run(B::accept_stream(listener.accept().unwrap().0, quiet()));
    let mut messages = next(&accepted).unwrap();
    let hello = message(&mut messages);
    wait(messages.send(hello)).unwrap();
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
    client.join().unwrap();
}

/// Accepts one connection. The accepting must not need the peer to hang up.
fn accept_one<B: Streams>(backend: &B, config: Config) -> (SocketAddr, Receiver<io::Result<MessageStream>>) {
    let (listener, addr) = listen();
    let (sender, accepted) = mpsc::channel();
    listener.set_nonblocking(true).unwrap();
    let listener = Async::new(listener).unwrap();
    backend.run(async move {
        let (transport, _) = listener.accept().await.unwrap();
        let transport = transport.into_inner().unwrap();
        sender.send(B::accept_stream(transport, config).await).unwrap();
    });
    (addr, accepted)
}

fn a_bad_request_is_an_error_in_words<B: Streams>() {
    let backend = B::start();
    for (bytes, status, why) in [
        (request("GET / HTTP/1.1", &["Host: a", "nonsense"]), 400, "HTTP/1.1"),
        (request("POST / HTTP/1.1", &["Host: a"]), 405, "GET"),
        (upgrade_request("/", &["Origin: https://evil.example"]), 403, "Origin"),
    ] {
        let (addr, accepted) = accept_one(&backend, quiet());
        assert_eq!(http(addr, &bytes).status, status);
        let error = next(&accepted).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(why), "{error}");
    }
}

fn a_plain_request_is_an_error_in_words<B: Streams>() {
    let backend = B::start();
    let (addr, accepted) = accept_one(&backend, quiet());
    assert_eq!(http(addr, &request("GET / HTTP/1.1", &["Host: localhost"])).status, 426);
    let error = next(&accepted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("refused"), "{error}");
}

fn a_peer_that_leaves_before_or_within_its_request_is_an_error<B: Streams>() {
    let backend = B::start();
    let bytes = upgrade_request("/", &[]);
    for count in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let (addr, accepted) = accept_one(&backend, quiet());
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.write_all(&bytes[..count]).unwrap();
        // One that leaves, and one that only says that it does.
        match count % 2 {
            0 => drop(peer),
            _ => peer.shutdown(Shutdown::Write).unwrap(),
        }
        assert_eq!(next(&accepted).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{count} bytes");
    }
}

fn a_peer_that_says_nothing_is_an_error_when_its_time_is_over<B: Streams>() {
    let backend = B::start();
    let short = Duration::from_millis(50);
    let (addr, accepted) = accept_one(&backend, quiet().open_timeout(short).linger_timeout(short));
    let peer = TcpStream::connect(addr).unwrap();
    let error = next(&accepted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    drop(peer);
}

fn an_accept_that_is_dropped_hangs_up<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    // It has not asked for anything yet.
    let peer = TcpStream::connect(addr).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let transport = listener.accept().unwrap().0;
    assert!(next(&backend.run(async move { waits(B::accept_stream(transport, quiet())) })));
    Raw::<TcpStream>::upgraded(peer, true).expect_end();
}

fn what_waits_for_an_upgrade_that_is_refused_gets_none<B: Streams>() {
    let backend = B::start();
    let (sender, waiting) = mpsc::channel();
    let addr = backend.serve_async(quiet(), move |request| {
        let (listener, opened) = stream();
        sender.send(opened).unwrap();
        async move {
            match request.path() {
                "/" => AsyncResponse::websocket(listener),
                _ => Response::not_found().into(),
            }
        }
    });
    for (path, status) in [("/", 426), ("/no", 404)] {
        let peer = thread::spawn(move || http(addr, &request(&format!("GET {path} HTTP/1.1"), &["Host: a"])).status);
        assert!(wait(next(&waiting)).is_none());
        assert_eq!(peer.join().unwrap(), status);
    }
    // A good one that the handler does not like.
    let peer = thread::spawn(move || http(addr, &upgrade_request("/no", &[])).status);
    assert!(wait(next(&waiting)).is_none());
    assert_eq!(peer.join().unwrap(), 404);
}

fn what_waits_for_an_upgrade_closes_the_connection_when_it_is_dropped<B: Streams>() {
    let backend = B::start();
    let (sender, waiting) = mpsc::channel();
    let addr = backend.serve_async(quiet(), move |request| {
        let (listener, opened) = stream();
        // At once, or when it is open.
        match request.path() {
            "/at-once" => drop(opened),
            _ => sender.send(opened).unwrap(),
        }
        async { AsyncResponse::websocket(listener) }
    });
    let client = Raw::open_with(addr, &upgrade_request("/at-once", &[]));
    answer_close(client, NORMAL.0, NORMAL.1);
    let client = Raw::open_with(addr, &upgrade_request("/", &[]));
    drop(next(&waiting));
    answer_close(client, NORMAL.0, NORMAL.1);
}

fn a_refused_handshake_is_its_error<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    let connected = backend.run(B::connect_stream(target(addr)));
    let mut server = Raw::accept(&listener);
    server.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
    let error = next(&connected).unwrap_err();
    let ConnectError::Handshake(HandshakeError::Refused(response)) = error else { panic!("{error}") };
    assert_eq!(response.status(), 404);
    server.expect_end();
}

fn a_connection_that_is_refused_is_its_error<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    drop(listener);
    let error = next(&backend.run(B::connect_stream(target(addr)))).unwrap_err();
    assert!(matches!(error, ConnectError::Connect(_)), "{error}");
}

fn a_stream_over_a_transport_of_the_callers_talks_to_their_server<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    let server = thread::spawn(move || their_echo(Theirs::accept(&listener, &[("sec-websocket-protocol", "chat")])));
    let transport = TcpStream::connect(addr).unwrap();
    let target = target(addr).protocol("chat").unwrap();
    let connected = backend.run(async move { B::connect_stream_over(target, transport).await });
    let (mut messages, response) = next(&connected).unwrap();
    assert_eq!(response.protocol(), Some("chat"));
    wait(messages.send("hello")).unwrap();
    assert_eq!(message(&mut messages), "hello");
    wait(SinkExt::close(&mut messages)).unwrap();
    expect_end(&mut messages, NORMAL.0, NORMAL.1, ClosedBy::Local);
    server.join().unwrap();
}

fn a_connect_that_is_dropped_hangs_up<B: Streams>() {
    let backend = B::start();
    let (listener, addr) = listen();
    let transport = TcpStream::connect(addr).unwrap();
    assert!(next(&backend.run(async move { waits(B::connect_stream_over(target(addr), transport)) })));
    // The request has left, or has not.
    Raw::<TcpStream>::upgraded(listener.accept().unwrap().0, false).drain();
}

// N1 to N6.

fn n1_a_stream_on_each_end<B: Streams>() {
    let backend = B::start();
    let addr = backend.serve_async(quiet(), |_| {
        let (listener, opened) = stream();
        let echo = async {
            let Some(messages) = opened.await else { return };
            let (sender, receiver) = messages.split();
            receiver.forward(sender).await.unwrap();
        };
        // In the handler's place, which may go on behind its answer.
        thread::spawn(|| wait(echo));
        async { AsyncResponse::websocket(listener) }
    });
    let (mut messages, _) = next(&backend.run(B::connect_stream(target(addr)))).unwrap();
    for index in 0..100 {
        wait(messages.send(text(index))).unwrap();
        assert_eq!(message(&mut messages), text(index));
    }
    wait(SinkExt::close(&mut messages)).unwrap();
    expect_end(&mut messages, NORMAL.0, NORMAL.1, ClosedBy::Local);
}

fn n1_compressed_messages_come_back_by_each_form<B: Streams>() {
    let backend = B::start();
    let config = quiet().deflate(Deflate::default());
    let addr = backend.serve_async(config.clone(), |request| {
        let response = match request.path() {
            "/listener" => {
                AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message)))
            }
            "/task" => AsyncResponse::websocket(stream_listener(async |mut messages: MessageStream| {
                echo_of_any(&mut messages).await
            })),
            _ => {
                let (listener, opened) = stream();
                thread::spawn(|| {
                    let (sender, receiver) = wait(opened).unwrap().split();
                    wait(receiver.forward(sender)).unwrap();
                });
                AsyncResponse::websocket(listener)
            }
        };
        async { response }
    });
    for path in ["/listener", "/task", "/stream"] {
        let target = Target::new(format!("ws://{addr}{path}")).unwrap().config(config.clone());
        let (mut messages, _) = next(&backend.run(B::connect_stream(target))).unwrap();
        assert!(messages.socket().compression().is_some());
        // Many that come in one read, and one that comes in many.
        for round in 0..3 {
            let record =
                |number| OwnedMessage::from(format!("record {number} of round {round}, like all the others, and long"));
            for number in 0..100 {
                wait(messages.send(record(number))).unwrap();
            }
            for number in 0..100 {
                assert_eq!(message(&mut messages), record(number));
            }
            let large: Vec<u8> = (0..300_000_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
            wait(messages.send(large.clone())).unwrap();
            assert_eq!(message(&mut messages), OwnedMessage::from(large));
        }
        wait(SinkExt::close(&mut messages)).unwrap();
        expect_end(&mut messages, NORMAL.0, NORMAL.1, ClosedBy::Local);
    }
}

async fn woken_by_a_thread() {
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        thread::spawn(|| waker.wake());
        Poll::Pending
    })
    .await;
}

fn n1_a_stream_that_the_connections_own_task_reads_and_writes<B: Streams>() {
    let backend = B::start();
    let (sender, stages) = mpsc::channel();
    let addr = backend.serve_async(quiet(), move |_| {
        let sender = sender.clone();
        async {
            AsyncResponse::websocket(stream_listener(async move |mut messages: MessageStream| {
                woken_by_a_thread().await;
                messages.send("now").await?;
                let echoed = echo_of_any(&mut messages).await;
                sender.send(messages.close().await).unwrap();
                echoed
            }))
        }
    });
    let mut peer = Theirs::connect(addr);
    assert_eq!(peer.read(), Their::text("now"));
    expect_echo(peer);
    assert_eq!(next(&stages), Closed::clean(1000, "bye", ClosedBy::Peer));
    // What fails is told as a callback's failure.
    let addr = backend.serve_async(quiet(), |_| async {
        AsyncResponse::websocket(stream_listener(async |mut messages: MessageStream| match messages.recv().await {
            Some(Ok(message)) if message == "panic" => panic!("{message:?}"),
            _ => Err(io::Error::other("a secret")),
        }))
    });
    for message in ["panic", "fail"] {
        let mut peer = Raw::open(addr);
        peer.send([Frame::text(message)]);
        answer_close(peer, 1011, "Unexpected Error");
    }
}

fn n1_messages_go_in_and_come_out_in_order_both_ways_at_once<B: Streams>(role: Role) {
    const COUNT: usize = 2000;
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let mut peers_writer = peer.twin();
    let (mut sender, mut receiver) = messages.split();
    let sent = backend.run(async move {
        for index in 0..COUNT {
            sender.send(text(index)).await.unwrap();
        }
        sender
    });
    let received = backend.run(async move {
        for index in 0..COUNT {
            let came = receiver.recv().await.unwrap().unwrap();
            assert_eq!(came, text(index + 1));
        }
        receiver
    });
    let written = thread::spawn(move || {
        for index in 0..COUNT {
            peers_writer.send([Frame::text(text(index + 1))]);
        }
    });
    for index in 0..COUNT {
        peer.expect([Frame::text(text(index))]);
    }
    written.join().unwrap();
    drop((next(&sent), next(&received)));
    answer_close(peer, NORMAL.0, NORMAL.1);
}

/// Sends everything back until the other side closes.
fn their_echo(mut peer: Theirs) {
    loop {
        match peer.socket.read() {
            Ok(message @ (Their::Text(_) | Their::Binary(_))) => peer.send(message),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn n1_their_echo_gives_every_size_back<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, peer) = open_theirs(&backend, role);
    let peer = thread::spawn(move || their_echo(peer));
    for size in SIZES {
        wait(messages.send("x".repeat(size))).unwrap();
        assert!(message(&mut messages) == "x".repeat(size), "text of {size}");
        wait(messages.send(vec![7; size])).unwrap();
        assert!(message(&mut messages) == vec![7; size], "binary of {size}");
    }
    drop(messages);
    peer.join().unwrap();
}

fn n2_a_connection_error_and_a_failed_send_are_both_seen<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    peer.send([Frame::text("1"), Frame::text([0xff]), Frame::text("2")]);
    assert_eq!(message(&mut messages), "1");
    let Some(Err(StreamError::Connection(error))) = wait(messages.recv()) else { panic!("no error") };
    assert_eq!(error.to_string(), "text message not UTF-8");
    let refused = wait(messages.send("x"));
    assert!(matches!(refused, Err(StreamError::Send(SendError::Closed))), "{refused:?}");
    assert!(wait(messages.recv()).is_none() && wait(messages.recv()).is_none());
    assert_eq!(messages.closed().unwrap().code, 1007);
    peer.expect([Frame::close(1007, "Text message not UTF-8")]);
}

fn n2_a_peer_that_vanishes_is_seen_by_both_halves<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, peer) = open(&backend, role, quiet());
    let (mut sender, mut receiver) = messages.split();
    let sending = backend.run(async move {
        // Until it fails, as it must.
        while let Ok(()) = sender.send(vec![0; 100_000]).await {}
        sender.send("x").await.unwrap_err()
    });
    peer.wait_unread();
    drop(peer);
    let Some(Err(StreamError::Connection(_))) = wait(receiver.recv()) else { panic!("no error") };
    assert!(wait(receiver.recv()).is_none());
    assert!(matches!(next(&sending), StreamError::Send(SendError::Closed)));
    assert_eq!(receiver.socket().closed().unwrap().code, 1006);
}

fn n3_ending_with_a_code_and_a_reason_closes_with_them<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    wait(messages.send("1")).unwrap();
    messages.socket().close_with(4001, "enough").unwrap();
    peer.expect([Frame::text("1")]);
    answer_close(peer, 4001, "enough");
    expect_end(&mut messages, 4001, "enough", ClosedBy::Local);
}

fn n4_closing_the_sink_closes_with_1000<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    wait(messages.send("1")).unwrap();
    wait(SinkExt::close(&mut messages)).unwrap();
    assert!(!messages.socket().is_open());
    peer.expect([Frame::text("1")]);
    answer_close(peer, NORMAL.0, NORMAL.1);
    expect_end(&mut messages, NORMAL.0, NORMAL.1, ClosedBy::Local);
}

fn n4_dropping_the_stream_closes_with_1000<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    let socket = messages.socket().clone();
    wait(messages.send("1")).unwrap();
    drop(messages);
    assert!(!socket.is_open());
    peer.expect([Frame::text("1")]);
    answer_close(peer, NORMAL.0, NORMAL.1);
}

fn n4_dropping_both_halves_closes_with_1000_and_one_does_not<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let (sender, mut receiver) = messages.split();
    drop(sender);
    peer.send([Frame::text("1"), Frame::new(PING, "p")]);
    peer.expect([Frame::new(PONG, "p")]);
    assert_eq!(wait(receiver.recv()).unwrap().unwrap(), "1");
    drop(receiver);
    answer_close(peer, NORMAL.0, NORMAL.1);

    let (messages, mut peer) = open(&backend, role, quiet());
    let (mut sender, receiver) = messages.split();
    drop(receiver);
    // More than a stream holds that is read by nobody.
    peer.send((0..1000).map(|_| Frame::text("unread")).chain([Frame::new(PING, "p")]));
    peer.expect([Frame::new(PONG, "p")]);
    wait(sender.send("1")).unwrap();
    peer.expect([Frame::text("1")]);
    drop(sender);
    answer_close(peer, NORMAL.0, NORMAL.1);
}

fn n5_an_owner_that_panics_closes_with_1011<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    let owner = backend.run(async move {
        messages.send("1").await.unwrap();
        messages.recv().await.unwrap().unwrap();
        panic!("what nobody but the owner may know");
    });
    peer.expect([Frame::text("1")]);
    peer.send([Frame::text("go on")]);
    answer_close(peer, 1011, "Unexpected Error");
    assert!(owner.recv().is_err());
}

fn n6_the_stream_ends_once_when_the_connection_does<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    let ended = backend.run(async move {
        let mut came = Vec::new();
        while let Some(message) = messages.next().await {
            assert!(!messages.is_terminated());
            came.push(message.unwrap());
        }
        assert!(messages.is_terminated() && messages.next().is_terminated());
        assert!(messages.next().await.is_none());
        (came, messages)
    });
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(4000, "bye")]);
    peer.expect([Frame::close(4000, "bye")]);
    peer.hang_up();
    let (came, mut messages) = next(&ended);
    assert_eq!(came, ["1", "2"]);
    expect_end(&mut messages, 4000, "bye", ClosedBy::Peer);
}

// As others use it.

/// Sends every size, and gets it back.
fn expect_echo(mut peer: Theirs) {
    for size in SIZES {
        let sent = Their::binary(vec![7; size]);
        peer.send(sent.clone());
        assert!(peer.read() == sent, "{size}");
        peer.send_text("between");
        assert_eq!(peer.read(), Their::text("between"));
    }
    peer.close(1000, "bye");
    assert_eq!(peer.read_close(), Some((1000, "bye".into())));
}

fn an_echo_by_forward_gives_every_size_back<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, peer) = open_theirs(&backend, role);
    let (sender, receiver) = messages.split();
    let forwarded = backend.run(receiver.forward(sender));
    expect_echo(peer);
    next(&forwarded).unwrap();
}

async fn echo_of_any<E>(
    mut messages: impl Stream<Item = Result<OwnedMessage, E>> + Sink<OwnedMessage, Error = E> + Unpin,
) -> Result<(), E> {
    while let Some(message) = messages.next().await {
        SinkExt::send(&mut messages, message?).await?;
    }
    SinkExt::close(&mut messages).await
}

fn any_stream_and_sink_will_do_for_an_echo<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, peer) = open_theirs(&backend, role);
    let echoed = backend.run(echo_of_any(messages));
    expect_echo(peer);
    next(&echoed).unwrap();
}

// When one is faster than the other.

fn a_sink_takes_messages_of_more_than_it_queues<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet().max_queued(100_000));
    let sizes = [300_000, 1, 99_000, 2, 1_000_000, 0, 500_000];
    let fed = backend.run(async move {
        for size in sizes {
            messages.send(vec![9; size]).await.unwrap();
        }
        SinkExt::flush(&mut messages).await.unwrap();
        assert_eq!(messages.socket().buffered(), 0);
        messages
    });
    for size in sizes {
        assert!(peer.read() == Frame::new(BINARY, vec![9; size]), "{size}");
    }
    next(&fed);
}

/// Sends so many messages of 16 KiB, and tells of each. Says how much was queued at most.
async fn send_many(mut sender: MessageSender, count: usize, progress: mpsc::Sender<()>) -> usize {
    let mut most = 0;
    for index in 0..count {
        sender.send(vec![index as u8; SIZE]).await.unwrap();
        most = most.max(sender.socket().buffered());
        progress.send(()).unwrap();
    }
    most
}

const SIZE: usize = 16 * 1024;

/// More than all the buffers in between hold.
const MANY: usize = 32 * 1024 * 1024 / SIZE;

/// What is not done by then waits for somebody.
const STALLED: Duration = Duration::from_millis(200);

fn a_peer_that_does_not_read_makes_sends_wait<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let (sender, _receiver) = messages.split();
    let socket = sender.socket().clone();
    let (progress, told) = mpsc::channel();
    let sent = backend.run(send_many(sender, MANY, progress));
    let count = std::iter::from_fn(|| told.recv_timeout(STALLED).ok()).count();
    assert!(count < MANY, "nothing has made it wait");
    // One message may go above the high watermark.
    let most = Config::default().high_watermark + SIZE + 64;
    assert!(socket.buffered() <= most, "{}", socket.buffered());
    for index in 0..MANY {
        assert!(peer.read() == Frame::new(BINARY, vec![index as u8; SIZE]), "{index}");
    }
    let queued = next(&sent);
    assert!(queued <= most, "{queued}");
}

fn a_reader_that_does_not_read_makes_the_peer_wait_and_loses_nothing<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, peer) = open(&backend, role, quiet());
    let masked = role == Role::Server;
    let mut writer = peer.twin().into_inner();
    let (progress, told) = mpsc::channel();
    let written = thread::spawn(move || {
        for index in 0..MANY {
            writer.write_all(&Frame::new(BINARY, vec![index as u8; SIZE]).encode(masked)).unwrap();
            progress.send(()).unwrap();
        }
    });
    let count = std::iter::from_fn(|| told.recv_timeout(STALLED).ok()).count();
    assert!(count < MANY, "nothing has made the peer wait");
    for index in 0..MANY {
        assert!(message(&mut messages) == vec![index as u8; SIZE], "{index}");
    }
    written.join().unwrap();
    assert!(messages.socket().is_open());
}

// While the user is busy.

fn pings_are_answered_while_the_user_only_reads<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let reading = backend.run(messages.split().1.count());
    // Without a half that sends it lives on.
    for index in 0..50 {
        let data = index.to_string();
        peer.send([Frame::text("x"), Frame::new(PING, &data)]);
        peer.expect([Frame::new(PONG, &data)]);
    }
    peer.send([Frame::close(1000, "")]);
    peer.expect([Frame::close(1000, "")]);
    assert_eq!(next(&reading), 50);
}

/// What is in the way is read until this comes.
#[track_caller]
fn read_up_to(peer: &mut Raw, end: &Frame) {
    for _ in 0..MANY {
        let frame = peer.read();
        if frame == *end {
            return;
        }
        assert_eq!(frame.opcode, BINARY);
    }
    panic!("it does not come");
}

fn pings_are_answered_while_the_user_only_writes<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let (mut sender, _receiver) = messages.split();
    let writing = backend.run(async move { while sender.send(vec![0; SIZE]).await.is_ok() {} });
    for index in 0..5 {
        peer.send([Frame::new(PING, index.to_string())]);
        read_up_to(&mut peer, &Frame::new(PONG, index.to_string()));
    }
    drop(peer);
    next(&writing);
}

fn pings_are_answered_while_the_user_does_nothing<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    for index in 0..50 {
        let data = index.to_string();
        peer.send([Frame::text(&data), Frame::new(PING, &data)]);
        peer.expect([Frame::new(PONG, &data)]);
    }
    for index in 0..50 {
        assert_eq!(message(&mut messages), index.to_string());
    }
}

fn a_close_is_answered_when_what_came_before_it_was_taken_and_answered<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "bye")]);
    for expected in ["1", "2"] {
        let came = message(&mut messages);
        wait(messages.send(came)).unwrap();
        peer.expect([Frame::text(expected)]);
    }
    let ended = backend.run(async move { (messages.recv().await.is_none(), messages) });
    peer.expect([Frame::close(1000, "bye")]);
    peer.hang_up();
    let (is_end, mut messages) = next(&ended);
    assert!(is_end);
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
}

fn a_close_is_answered_in_time_while_the_user_does_nothing<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    peer.send([Frame::text("unread"), Frame::close(1000, "bye")]);
    peer.expect([Frame::close(1000, "bye")]);
    assert_eq!(message(&mut messages), "unread");
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
}

fn a_close_is_answered_while_the_user_only_writes<B: Streams>(role: Role) {
    let backend = B::start();
    let (messages, mut peer) = open(&backend, role, quiet());
    let (mut sender, _receiver) = messages.split();
    let writing = backend.run(async move {
        loop {
            if let Err(error) = sender.send(vec![0; SIZE]).await {
                return error;
            }
        }
    });
    peer.expect([Frame::new(BINARY, vec![0; SIZE])]);
    peer.send([Frame::close(1000, "bye")]);
    read_up_to(&mut peer, &Frame::close(1000, "bye"));
    peer.hang_up();
    assert!(matches!(next(&writing), StreamError::Send(SendError::Closed)));
}

fn a_recv_that_is_dropped_half_way_loses_nothing<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    for index in 0..100 {
        assert!(waits(messages.recv()) && waits(messages.next()));
        peer.send([Frame::text(index.to_string())]);
        assert_eq!(message(&mut messages), index.to_string());
    }
}

fn a_feed_that_is_dropped_half_way_was_not_sent<B: Streams>(role: Role) {
    let backend = B::start();
    let (mut messages, mut peer) = open(&backend, role, quiet());
    // Until the transport takes nothing any more.
    let count = (0..).take_while(|&index| {
        let sent = wait_for(STALLED, messages.send(vec![index as u8; SIZE]));
        sent.is_some_and(|sent| sent.is_ok())
    });
    let count = count.count();
    for index in 0..count {
        assert!(peer.read() == Frame::new(BINARY, vec![index as u8; SIZE]), "{index} of {count}");
    }
    wait(messages.send("end")).unwrap();
    peer.expect([Frame::text("end")]);
}
