//! That the parts of this backend hold together. What the protocol demands is tested in the core, and what
//! users see of all backends in the workspace's `tests`.

use std::time::Duration;

use bellwire_core::listener::{IntoListener, ListenerBuilder};
use bellwire_core::proto::client::HandshakeError;
use bellwire_core::{
    ClosedBy, Config, ConnectError, Listener, Message, Outcome, Request, Response, Role, Target, WebSocket, listener,
};
use bellwire_tokio::{Acceptor, Client, Server, ServerHandle, accept_stream, connect, connect_over, upgraded};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Reports its events as lines of text.
struct Log(UnboundedSender<String>);

fn log() -> (Log, UnboundedReceiver<String>) {
    let (sender, receiver) = unbounded_channel();
    (Log(sender), receiver)
}

impl Log {
    fn line(&self, line: String) -> Outcome {
        // Nobody listens any more: fine.
        let _ = self.0.send(line);
        Ok(())
    }
}

impl Listener for Log {
    fn on_open(&mut self, _: &WebSocket) -> Outcome {
        self.line("open".into())
    }

    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        self.line(match message {
            Message::Text(text) => format!("text {text}"),
            Message::Binary(bytes) => format!("binary {}", bytes.len()),
        })
    }

    fn on_error(&mut self, _: &WebSocket, error: &bellwire_core::Error) {
        let _ = self.line(format!("error {error}"));
    }

    fn on_close(&mut self, _: &WebSocket, code: bellwire_core::CloseCode, reason: &str) {
        let _ = self.line(format!("close {code} {reason}"));
    }
}

fn echo() -> ListenerBuilder {
    listener().on_message(|socket, message| if message == "exit" { socket.close() } else { socket.send(message) })
}

fn answer(request: &Request) -> Response {
    if request.path() == "/" { Response::websocket(echo()) } else { Response::not_found() }
}

struct Running {
    url: String,
    addr: std::net::SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(build: impl FnOnce(Server) -> Server) -> Running {
    let server = build(Server::bind("127.0.0.1:0").await.unwrap());
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    Running { url: format!("ws://{addr}/"), addr, handle, task: tokio::spawn(server.run(answer)) }
}

async fn next(log: &mut UnboundedReceiver<String>) -> String {
    log.recv().await.expect("one more event")
}

#[tokio::test]
async fn messages_come_back_and_both_sides_close_cleanly() {
    let server = start(|server| server).await;
    let (listener, mut events) = log();
    let mut client = connect(&server.url, listener).await.unwrap();
    assert_eq!(next(&mut events).await, "open");
    client.socket().send("hello").unwrap();
    client.socket().send(vec![7; 300_000]).unwrap();
    assert_eq!(next(&mut events).await, "text hello");
    assert_eq!(next(&mut events).await, "binary 300000");
    client.socket().send("exit").unwrap();
    assert_eq!(next(&mut events).await, "close 1000 Normal Closure");
    let closed = client.closed().await;
    assert!(closed.clean && closed.by == ClosedBy::Peer && closed.code == 1000, "{closed:?}");
    assert_eq!(client.closed().await, closed);
    assert_eq!(server.handle.shutdown(Duration::from_secs(5)).await, 0);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_says_what_the_server_said() {
    let server = start(|server| server).await;
    let error = connect(&format!("{}nowhere", server.url), echo()).await.unwrap_err();
    let ConnectError::Handshake(HandshakeError::Refused(response)) = error else { panic!("{error:?}") };
    assert_eq!((response.status(), response.body()), (404, &b"Not found\n"[..]));
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let server = start(|server| server).await;
    let Err(error) = Server::bind(server.addr).await else { panic!("the port is busy") };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&server.addr.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let error = connect(&url, echo()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(_)), "{error:?}");
}

async fn over_memory(size: usize, config: Config, listener: impl IntoListener) -> (Client, JoinHandle<()>) {
    let (near, far) = duplex(size);
    let acceptor = Acceptor::new(answer).config(config.clone()).on_error(|_| ());
    let server = tokio::spawn(acceptor.accept(far, None));
    let target = Target::new("wss://example.com/").unwrap().config(config);
    let client = connect_over(target, near, listener).await.unwrap();
    (client, server)
}

#[tokio::test]
async fn a_stream_that_takes_few_bytes_at_a_time_takes_all() {
    let (listener, mut events) = log();
    let (mut client, server) = over_memory(100, Config::default(), listener).await;
    client.socket().send(vec![1; 50_000]).unwrap();
    client.socket().send("exit").unwrap();
    for expected in ["open", "binary 50000", "close 1000 Normal Closure"] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert!(client.closed().await.clean);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_comes_in_time_and_not_earlier() {
    let config = Config::default().idle_timeout(Duration::from_secs(60)).keepalive_interval(None);
    let (listener, mut events) = log();
    let (client, server) = over_memory(1024, config, listener).await;
    assert_eq!(next(&mut events).await, "open");
    tokio::time::sleep(Duration::from_secs(50)).await;
    client.socket().send("still here").unwrap();
    assert_eq!(next(&mut events).await, "text still here");
    let before = tokio::time::Instant::now();
    assert!(next(&mut events).await.ends_with("Connection Idle Timeout"));
    let elapsed = before.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&elapsed), "{elapsed:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_dropped_future_closes_with_1006() {
    let (near, far) = duplex(1024);
    let (listener, mut events) = log();
    let task = tokio::spawn(upgraded(far, Vec::new(), Role::Server, Config::default(), listener));
    assert_eq!(next(&mut events).await, "open");
    task.abort();
    assert_eq!(next(&mut events).await, "error the connection's driver was dropped");
    assert_eq!(next(&mut events).await, "close 1006 ");
    assert_eq!(events.recv().await, None);
    drop(near);
}

#[tokio::test]
async fn an_abort_from_elsewhere_ends_the_task() {
    let (_near, far) = duplex(1024);
    let (sender, mut sockets) = unbounded_channel();
    let listener = listener().on_open(move |socket| sender.send(socket.clone()));
    let task = tokio::spawn(upgraded(far, Vec::new(), Role::Server, Config::default(), listener));
    sockets.recv().await.unwrap().abort();
    task.await.unwrap();
}

#[tokio::test]
async fn bytes_behind_the_handshake_are_messages() {
    let (mut near, far) = duplex(1024);
    let task = tokio::spawn(upgraded(far, *b"\x81\x02hi\x88\x00", Role::Client, Config::default(), echo()));
    // A masked text of two bytes and a masked empty close frame.
    let mut answer = [0; 8 + 6];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[8]), (0x81, 0x88));
    drop(near);
    task.await.unwrap();
}

#[tokio::test]
async fn shutdown_closes_the_open_and_cuts_the_silent() {
    let server = start(|server| server).await;
    let (listener, mut events) = log();
    let _client = connect(&server.url, listener).await.unwrap();
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    assert_eq!(next(&mut events).await, "open");
    assert_eq!(server.handle.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(next(&mut events).await, "close 1001 Server Shutdown");
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn shutdown_drops_those_who_do_not_answer() {
    let server = start(|server| server).await;
    let mut deaf = TcpStream::connect(server.addr).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    deaf.write_all(request.as_bytes()).await.unwrap();
    deaf.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(server.handle.shutdown(Duration::ZERO).await, 1);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn at_the_cap_accepting_pauses() {
    let server = start(|server| server.max_connections(1)).await;
    let (listener, mut events) = log();
    let mut first = connect(&server.url, listener).await.unwrap();
    let second = tokio::spawn({
        let url = server.url.clone();
        async move { connect(&url, echo()).await }
    });
    first.socket().send("still alone").unwrap();
    assert_eq!(next(&mut events).await, "open");
    assert_eq!(next(&mut events).await, "text still alone");
    assert!(!second.is_finished());
    first.socket().close().unwrap();
    first.closed().await;
    assert!(second.await.unwrap().unwrap().socket().is_open());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let (near, far) = duplex(1024);
    let (listener, mut events) = log();
    let before = tokio::time::Instant::now();
    let task = tokio::spawn(upgraded(far, Vec::new(), Role::Server, Config::default(), listener));
    for expected in ["open", "error keepalive ping timeout", "close 1011 Keepalive Ping Timeout"] {
        assert_eq!(next(&mut events).await, expected);
    }
    let elapsed = before.elapsed();
    assert!((Duration::from_secs(40)..Duration::from_secs(41)).contains(&elapsed), "{elapsed:?}");
    task.await.unwrap();
    drop(near);
}

#[tokio::test]
async fn a_handler_that_holds_its_servers_handle_is_dropped_with_it() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let (handle, held) = (server.handle(), server.handle());
    let token = std::sync::Arc::new(());
    let weak = std::sync::Arc::downgrade(&token);
    let running = tokio::spawn(server.run(move |_: &Request| {
        let _ = (&held, &token);
        Response::text("")
    }));
    handle.shutdown(Duration::from_secs(10)).await;
    running.await.unwrap().unwrap();
    assert!(weak.upgrade().is_none(), "it lives on");
}

#[tokio::test]
async fn a_run_that_is_dropped_lets_go_of_its_handler_though_that_holds_the_servers_handle() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let held = server.handle();
    let token = std::sync::Arc::new(());
    let weak = std::sync::Arc::downgrade(&token);
    let run = server.run(move |_: &Request| {
        let _ = (&held, &token);
        Response::text("")
    });
    tokio::time::timeout(Duration::ZERO, run).await.unwrap_err();
    assert!(weak.upgrade().is_none(), "it lives on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_future_is_polled_late_has_all_its_time() {
    let timeout = Duration::from_secs(5);
    let config = Config::default().open_timeout(timeout).idle_timeout(timeout).keepalive_interval(None);
    let (mut peer, stream) = duplex(1024);
    let accepting = Acceptor::new(answer).config(config.clone()).on_error(|_| ()).accept(stream, None);
    let (_other_peer, stream) = duplex(1024);
    let (listener, mut events) = log();
    let upgraded = upgraded(stream, Vec::new(), Role::Server, config, listener);
    tokio::time::sleep(2 * timeout).await;

    let before = tokio::time::Instant::now();
    tokio::spawn(accepting);
    let mut said = String::new();
    peer.read_to_string(&mut said).await.unwrap();
    let elapsed = before.elapsed();
    assert!(said.starts_with("HTTP/1.1 408 ") && elapsed >= timeout, "after {elapsed:?}: {said}");

    let before = tokio::time::Instant::now();
    tokio::spawn(upgraded);
    assert_eq!(next(&mut events).await, "open");
    assert!(next(&mut events).await.ends_with("connection idle timeout"));
    assert!(before.elapsed() >= timeout, "after {:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_itself_holds_back_has_as_long_as_the_rest() {
    let (mut near, far) = duplex(1024);
    let acceptor = Acceptor::new(|_: &Request| Response::text("x".repeat(30_000)));
    let buffered = tokio::io::BufWriter::with_capacity(64 * 1024, far);
    let answering = tokio::spawn(acceptor.accept(buffered, None));
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // Longer than the linger timeout, shorter than the close timeout.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut page = String::new();
    near.read_to_string(&mut page).await.unwrap();
    assert!(page.ends_with(&"x".repeat(30_000)), "{} bytes", page.len());
    drop(near);
    answering.await.unwrap();
}

#[tokio::test]
async fn an_accept_that_is_dropped_takes_its_connection_along() {
    let (stream, mut peer) = duplex(4096);
    let config = Config::default().open_timeout(None);
    let accepting = tokio::time::timeout(Duration::from_millis(20), accept_stream(stream, config));
    assert!(accepting.await.is_err(), "no request has come");
    assert_eq!(peer.read(&mut [0; 64]).await.unwrap(), 0, "the peer is told at once");
}

#[tokio::test]
async fn l12_a_server_with_a_timeout_of_zero_does_not_start() {
    let config = Config::default().keepalive_interval(Duration::ZERO);
    let server = Server::bind("127.0.0.1:0").await.unwrap().config(config);
    let error = server.run(|_: &Request| Response::new(204)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("Config::keepalive_interval is 0ns: "), "{error}");
}
