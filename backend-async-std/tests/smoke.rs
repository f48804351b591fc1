//! That the parts of this backend hold together on async-std itself. What the protocol demands is tested in the
//! core, and what users see of all backends in the workspace's `tests`, where the functions ending in `_on` run.
#![cfg(feature = "async-std")]

use std::io::{ErrorKind, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use async_std::net::{TcpListener, TcpStream};
use async_std::task::{block_on, spawn};
use bellwire_async_std::FuturesIo;
use bellwire_async_std::async_std::{
    Acceptor, Async, AsyncStd, Server, accept_stream, connect, connect_over, connect_stream, connect_stream_over,
    upgraded,
};
use bellwire_core::backend::Service;
use bellwire_core::listener::ListenerBuilder;
use bellwire_core::{
    AsyncResponse, Config, OwnedMessage, Request, Response, Role, ServerError, async_listener, listener,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn echo() -> ListenerBuilder {
    listener().on_message(|socket, message| socket.send(message))
}

/// Says hello to an echo, and closes when it is back.
async fn say_hello(url: &str) {
    let client = listener().on_open(|socket| socket.send("hello")).on_message(|socket, message| {
        assert_eq!(message, "hello");
        socket.close()
    });
    let closed = connect(url, client).await.unwrap().closed().await;
    assert_eq!((closed.code.0, closed.clean), (1000, true));
}

#[test]
fn each_kind_of_handler_serves() {
    block_on(async {
        for kind in 0..3 {
            let server = Server::bind("127.0.0.1:0").await.unwrap();
            let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
            let running = spawn(async move {
                match kind {
                    0 => server.run(|_| Response::websocket(echo())).await,
                    1 => server.run_with(|_, responder| responder.respond(Response::websocket(echo()))).await,
                    _ => {
                        let echo = || async_listener().on_message(async |socket, message| socket.send(message));
                        server.run_async(move |_| async move { AsyncResponse::websocket(echo()) }).await
                    }
                }
            });
            say_hello(&url).await;
            assert_eq!(handle.shutdown(Duration::from_secs(5)).await, 0);
            running.await.unwrap();
        }
    });
}

#[test]
fn a_listener_of_the_caller_serves() {
    let server = Server::from_listener(Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap());
    let url = format!("ws://{}/", server.local_addr().unwrap());
    block_on(async {
        spawn(server.run(|_| Response::websocket(echo())));
        say_hello(&url).await;
    });
}

#[test]
fn the_streams_of_async_std_end_with_a_word_to_the_peer() {
    block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = port.local_addr().unwrap();
        // It would be waited for if the peer were not told that no more bytes come.
        let acceptor = Acceptor::new(|_| Response::websocket(listener().on_open(|socket| socket.close())))
            .config(Config::default().linger_timeout(Duration::from_secs(60)))
            .on_error(|_| ());
        let serving = spawn(async move {
            let (stream, peer) = port.accept().await.unwrap();
            acceptor.accept(stream, Some(peer)).await;
        });
        let start = Instant::now();
        let peer = std::thread::spawn(move || {
            let mut peer = std::net::TcpStream::connect(addr).unwrap();
            peer.write_all(REQUEST).unwrap();
            peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
            let mut said = Vec::new();
            peer.read_to_end(&mut said).unwrap();
            said
        });
        serving.await;
        let said = peer.join().unwrap();
        assert!(said.ends_with(b"\x88\x10\x03\xe8Normal Closure"), "{said:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "the peer read no end");
    });
}

#[test]
fn streams_of_messages_at_both_ends() {
    block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = port.local_addr().unwrap();
        let url = format!("ws://{addr}/");
        let serving = spawn(async move {
            for _ in 0..2 {
                let (stream, _) = port.accept().await.unwrap();
                let mut messages = accept_stream(stream, Config::default()).await.unwrap();
                while let Some(Ok(message)) = messages.recv().await {
                    messages.send(message).await.unwrap();
                }
                assert_eq!(messages.closed().unwrap().code, 1000);
            }
        });
        for over in [false, true] {
            let (mut messages, response) = if over {
                connect_stream_over(&url, TcpStream::connect(addr).await.unwrap()).await.unwrap()
            } else {
                connect_stream(&url).await.unwrap()
            };
            assert_eq!(response.status(), 101);
            messages.send("hello").await.unwrap();
            assert_eq!(messages.recv().await.unwrap().unwrap(), OwnedMessage::from("hello"));
        }
        serving.await;
    });
}

#[test]
fn a_stream_that_somebody_else_upgraded_and_one_that_the_caller_has() {
    block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = port.local_addr().unwrap();
        let client = spawn(async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let greeter = listener().on_open(|socket| socket.send("hello")).on_message(|socket, _| socket.close());
            upgraded(stream, [], Role::Client, Config::default(), greeter).await;
        });
        let (stream, _) = port.accept().await.unwrap();
        upgraded(stream, [], Role::Server, Config::default(), echo()).await;
        client.await;

        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        spawn(server.run(|_| Response::websocket(echo())));
        let stream = TcpStream::connect(addr).await.unwrap();
        let closing = listener().on_open(|socket| socket.close());
        let closed = connect_over(format!("ws://{addr}/"), stream, closing).await.unwrap().closed().await;
        assert!(closed.clean);
    });
}

#[test]
fn a_run_that_is_dropped_lets_go_of_its_handler_though_that_holds_the_servers_handle() {
    let server = block_on(Server::bind("127.0.0.1:0")).unwrap();
    let held = server.handle();
    let token = Arc::new(());
    let weak = Arc::downgrade(&token);
    {
        let run = server.run(move |_| {
            let _ = (&held, &token);
            Response::text("")
        });
        assert!(pin!(run).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(weak.upgrade().is_none(), "it lives on");
}

#[test]
fn a_connection_whose_future_is_polled_late_has_all_its_time() {
    let timeout = Duration::from_millis(300);
    let config = Config::default().open_timeout(timeout).idle_timeout(timeout);
    let service =
        Arc::new(Service::new(config.clone(), |_: &Request| Response::websocket(echo()), |_: &ServerError| ()));
    let acceptor = Acceptor::from_service(service.clone());
    let passed_on = Acceptor::from_service_on(FuturesIo(AsyncStd), service);
    type Connection = Pin<Box<dyn Future<Output = ()>>>;
    type Drive<'a> = &'a dyn Fn(TcpStream) -> Connection;
    let drives: [Drive<'_>; 4] = [
        &|stream| Box::pin(acceptor.accept(stream, None)),
        &|stream| Box::pin(passed_on.accept(stream, None)),
        &|stream| Box::pin(upgraded(stream, [], Role::Server, config.clone(), echo())),
        &|stream| {
            Box::pin(bellwire_async_std::upgraded(
                FuturesIo(AsyncStd),
                stream,
                [],
                Role::Server,
                config.clone(),
                echo(),
            ))
        },
    ];
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connections: Vec<_> = drives
        .iter()
        .map(|drive| {
            let peer = std::net::TcpStream::connect(port.local_addr().unwrap()).unwrap();
            peer.set_nonblocking(true).unwrap();
            (drive(port.accept().unwrap().0.into()), peer)
        })
        .collect();
    // The clock is the system's: time has to pass.
    std::thread::sleep(timeout);
    for (connection, peer) in &mut connections {
        assert!(connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let said = peer.read(&mut [0; 100]);
        assert!(said.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{said:?}");
    }
}

#[test]
fn l12_a_server_with_a_timeout_of_zero_does_not_start() {
    let config = Config::default().keepalive_interval(Duration::ZERO);
    let error = block_on(async {
        let server = Server::bind("127.0.0.1:0").await.unwrap().config(config);
        server.run(|_| Response::new(204)).await.unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("Config::keepalive_interval is 0ns: "), "{error}");
}
