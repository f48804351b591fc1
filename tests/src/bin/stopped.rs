//! A process with connections that wait for their peers: `tests/suite/stopped.rs` stops it meanwhile.
//!
//!     stopped BACKEND          is a server, and prints its address
//!     stopped BACKEND ADDRESS  is a client, with so many connections of each kind
//!
//! Then it prints a line for each connection that has ended: of which kind it was, and its code.
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bellwire::listener::ListenerBuilder;
use bellwire::{Config, Request, Response, listener};
use bellwire_tests::{AsyncStd, Backend, Blocking, Connect, Setup, Smol, Tokio, TokioSingle, quiet};

/// What the peer has for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many connections of each kind there are.
const COUNT: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let backend = args.next().unwrap_or_default();
    let peer = args.next().map(|addr| addr.parse()).transpose()?;
    match &*backend {
        "blocking" => run(Blocking::start(), peer),
        "tokio" => run(Tokio::start(), peer),
        "tokio_single_threaded" => run(TokioSingle::start(), peer),
        "async_std" => run(AsyncStd::start(), peer),
        "smol" => run(Smol::start(), peer),
        other => return Err(format!("which backend is {other:?}?").into()),
    }
    Ok(())
}

fn run<B: Backend>(backend: B, peer: Option<SocketAddr>) {
    let backend = Arc::new(backend);
    match peer {
        None => serve(&*backend),
        Some(peer) => connect(&backend, peer),
    }
    loop {
        // Until it is ended.
        thread::park();
    }
}

fn serve(backend: &impl Backend) {
    let handler = |request: &Request| {
        let kind = request.path().trim_start_matches('/');
        Response::websocket(listening(kind)).config(config(kind))
    };
    let server = backend.serve(Setup::new(config("open")), handler);
    println!("{}", server.addr);
    // Its owner is not told anything.
    std::mem::forget(server);
}

fn connect<B: Backend>(backend: &Arc<B>, peer: SocketAddr) {
    for kind in ["pong", "idle", "close", "open"] {
        for _ in 0..COUNT {
            let backend = backend.clone();
            thread::spawn(move || {
                let target = Connect::to(format!("ws://{peer}/{kind}")).config(config(kind));
                match backend.connect(target, listening(kind)) {
                    Ok(client) => std::mem::forget(client),
                    Err(error) => println!("{kind} {error}"),
                }
            });
        }
    }
}

/// Each kind waits for something else.
fn config(kind: &str) -> Config {
    let quiet = quiet().open_timeout(Duration::from_secs(60)).close_timeout(TIMEOUT);
    match kind {
        "pong" => quiet.keepalive_interval(Duration::from_millis(500)).pong_timeout(TIMEOUT),
        "idle" => quiet.idle_timeout(TIMEOUT),
        "open" => quiet.open_timeout(TIMEOUT),
        _ => quiet,
    }
}

fn listening(kind: &str) -> ListenerBuilder {
    let (kind, closes) = (kind.to_string(), kind == "close");
    listener()
        .on_open(move |socket| {
            let socket = socket.clone();
            // From elsewhere: on threads, each connection has a second one then.
            thread::spawn(move || {
                socket.send("hello").unwrap();
                if closes {
                    socket.close().unwrap();
                }
            });
        })
        .on_message(|socket, message| socket.send(message))
        .on_close(move |_, code, _| println!("{kind} {code}"))
}
