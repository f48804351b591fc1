//! What an idle connection holds inside axum, beside one of bellwire's own server: what hyper, tower and axum keep of it. A
//! binary of its own: its allocator counts.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use allocation_counter::measure;
use axum::routing::any;
use axum::{Extension, Router};
use bellwire_core::{Config, Listener, Request, Response};
use bellwire_hyper::axum::{Connections, WebSocketUpgrade};
use bellwire_tokio::Server;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// How many connections are measured, and how many come before them: tables that double as they grow do so before. Each
/// has two descriptors here.
const COUNT: usize = 100;
const WARM: usize = 150;

struct Silent;

impl Listener for Silent {}

fn config() -> Config {
    Config::default().keepalive_interval(None)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns how many bytes a server holds for each of so many connections, when all are idle. `open` says how many are.
fn held(runtime: &Runtime, addr: SocketAddr, open: impl Fn() -> usize) -> f64 {
    let mut clients = Vec::with_capacity(WARM + COUNT);
    let mut connect = |count: usize| {
        let all = clients.len() + count;
        while clients.len() < all {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(REQUEST).unwrap();
            clients.push(client);
            runtime.block_on(async {
                while open() < clients.len() {
                    tokio::task::yield_now().await;
                }
                // What has upgraded it has its last turns.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
            });
        }
    };
    measure(|| connect(WARM));
    measure(|| connect(COUNT)).bytes_current as f64 / COUNT as f64
}

fn in_own_server() -> f64 {
    let runtime = runtime();
    let server = runtime.block_on(Server::bind("127.0.0.1:0")).unwrap().config(config());
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    runtime.spawn(server.run(|_: &Request| Response::websocket(Silent)));
    held(&runtime, addr, || handle.connections())
}

fn in_axum() -> f64 {
    let runtime = runtime();
    let connections = Connections::new().config(config());
    let router = Router::new()
        .route("/", any(async |upgrade: WebSocketUpgrade| upgrade.listener(Silent)))
        .layer(Extension(connections.clone()));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
    held(&runtime, addr, || connections.connections())
}

#[test]
fn hyper_and_axum_keep_nothing_of_an_idle_connection() {
    // The thread keeps buffers for all its connections, until it has enough.
    for _ in 0..4 {
        in_own_server();
    }
    let (own, axum) = (in_own_server(), in_axum());
    println!("{own:.0} bytes in a server of bellwire, {axum:.0} in one of axum");
    assert!(axum <= own, "{axum} bytes in a server of axum, {own} in one of bellwire");
}
