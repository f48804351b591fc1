//! A runtime that bellwire does not know, with its own sockets and sleeps, and what that takes: the file `runtime`. It
//! uses what the facade has for authors of backends, and nothing else.
#![forbid(unsafe_code)]

mod runtime;

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bellwire::backend::{Acceptor, Runtime, Server, Service, Sockets, connect, connect_stream, connect_stream_over};
use bellwire::listener::ListenerBuilder;
use bellwire::{Config, ConnectError, Request, Response, ServerError, Target, blocking, listener};
use smol::channel::bounded;

use runtime::Mio;

const GRACE: Duration = Duration::from_secs(10);

fn echo() -> ListenerBuilder {
    listener().on_message(|socket, message| socket.send(message))
}

/// Says hello to an echo, and closes when it is back.
fn greeter() -> ListenerBuilder {
    listener().on_open(|socket| socket.send("hello")).on_message(|socket, message| {
        assert_eq!(message, "hello");
        socket.close()
    })
}

#[test]
fn its_server_echoes_what_a_client_on_threads_sends() {
    Mio::block_on(async |runtime| {
        let server = Server::bind_on(runtime.clone(), "127.0.0.1:0").await.unwrap();
        let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
        let ((closes, closed), (ends, ended)) = (bounded(1), bounded(1));
        thread::spawn(move || closes.try_send(blocking::connect(url, greeter()).unwrap().closed()));
        runtime.spawn(async move { ends.try_send(server.run(|_| Response::websocket(echo())).await).unwrap() });
        let closed = closed.recv().await.unwrap();
        assert!(closed.clean && closed.code == 1000, "{closed:?}");
        assert_eq!(handle.shutdown(GRACE).await, 0);
        ended.recv().await.unwrap().unwrap();
    });
}

#[test]
fn its_client_gets_back_what_a_server_on_threads_echoes() {
    let server = blocking::Server::bind("127.0.0.1:0").unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
    let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
    let closed = Mio::block_on(async |runtime| connect(runtime, url, greeter()).await.unwrap().closed().await);
    assert!(closed.clean && closed.code == 1000, "{closed:?}");
    assert_eq!(handle.shutdown(GRACE), 0);
    running.join().unwrap().unwrap();
}

#[test]
fn its_client_takes_the_socket_that_was_set_up() {
    let server = blocking::Server::bind("127.0.0.1:0").unwrap();
    let (target, handle) = (Target::new(format!("ws://{}/", server.local_addr().unwrap())).unwrap(), server.handle());
    let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
    let (set_up, calls) = std::sync::mpsc::channel();
    let target = target.socket(move |socket, addr| {
        set_up.send((addr, socket.tcp_nodelay()?)).unwrap();
        socket.set_tcp_nodelay(false)
    });
    let to = (target.uri().port(), true);
    let closed = Mio::block_on(async |runtime| connect(runtime, target, greeter()).await.unwrap().closed().await);
    assert!(closed.clean && closed.code == 1000, "{closed:?}");
    assert_eq!(calls.recv().map(|(addr, nodelay)| (addr.port(), nodelay)), Ok(to));
    assert_eq!(handle.shutdown(GRACE), 0);
    running.join().unwrap().unwrap();
}

#[test]
fn both_of_its_ends_speak_over_sockets_of_the_caller() {
    Mio::block_on(async |runtime| {
        let listener = runtime.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let addr = runtime.local_addr(&listener).unwrap();
        let (near, _) = runtime.connect(addr, &Sockets::default()).await.unwrap();
        let (far, peer) = runtime.accept(&listener).await.unwrap();
        let service = Service::new(Config::default(), |_: &Request| Response::websocket(echo()), |_: &ServerError| ());
        let acceptor = Acceptor::from_service_on(runtime.clone(), Arc::new(service));
        runtime.spawn(acceptor.accept(far, peer));
        let (mut messages, _) = connect_stream_over(runtime, "ws://localhost/", near).await.unwrap();
        messages.send("x".repeat(1_000_000)).await.unwrap();
        assert_eq!(messages.recv().await.unwrap().unwrap().as_text().map(str::len), Some(1_000_000));
        assert!(messages.close().await.clean);
    });
}

#[test]
fn its_sleeps_end_what_takes_too_long() {
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(format!("ws://{}/", silent.local_addr().unwrap())).unwrap();
    let target = target.config(Config::default().open_timeout(Duration::from_millis(100)));
    let start = Instant::now();
    let error = Mio::block_on(async |runtime| connect_stream(runtime, target).await.unwrap_err());
    assert!(matches!(error, ConnectError::Timeout(_)), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(100));
}
