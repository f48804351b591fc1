//! One peer that sends many small messages without end, and the others on the same thread (L8).

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bellwire::{Config, Response, WebSocket, listener};
use bellwire_tests::{Backend, Event, Frame, PATIENCE, Raw, Server, Setup, backends, echo, next, quiet, within};

backends! {
    server {
        l8_a_flood_of_small_messages_lets_others_through,
        l8_deadlines_and_a_shutdown_hold_against_a_flood_of_small_messages,
    }
}

/// How long a callback of the flood takes.
const WORK: Duration = Duration::from_micros(20);

/// Sends small messages until the other side has had enough.
fn flood(addr: SocketAddr) -> JoinHandle<()> {
    let mut stream = Raw::open_with(addr, &bellwire_tests::upgrade_request("/flood", &[])).into_inner();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let bytes = Frame::text("x").encode(true).repeat(10_000);
    thread::spawn(move || while stream.write_all(&bytes).is_ok() {})
}

/// A server whose callbacks of "/flood" take a moment, are counted, and are told to a listener of the test.
fn serve<B: Backend>(backend: &B, config: Config) -> (Server, Arc<AtomicUsize>, mpsc::Receiver<WebSocket>) {
    let callbacks = Arc::new(AtomicUsize::new(0));
    let (sockets, socket) = mpsc::channel();
    let counter = callbacks.clone();
    let server = backend.serve(Setup::new(config), move |request| {
        let (counter, sockets) = (counter.clone(), sockets.clone());
        Response::websocket(match request.path() {
            "/flood" => {
                listener().on_open(move |socket| sockets.send(socket.clone()).unwrap()).on_message(move |_, _| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let began = Instant::now();
                    while began.elapsed() < WORK {
                        std::hint::spin_loop();
                    }
                })
            }
            _ => echo(),
        })
    });
    (server, callbacks, socket)
}

fn l8_a_flood_of_small_messages_lets_others_through<B: Backend>() {
    const ECHOES: usize = 50;
    let backend = B::start();
    let (server, callbacks, _sockets) = serve(&backend, quiet());
    let mut client = Raw::open(server.addr);
    let flooding = flood(server.addr);
    within("the beginning of the flood", {
        let callbacks = callbacks.clone();
        move || while callbacks.load(Ordering::Relaxed) < 1000 {}
    });
    let mut between: Vec<_> = (0..ECHOES)
        .map(|_| {
            let before = callbacks.load(Ordering::Relaxed);
            client.send([Frame::text("echo")]);
            client.expect([Frame::text("echo")]);
            callbacks.load(Ordering::Relaxed) - before
        })
        .collect();
    between.sort_unstable();
    // The half of them: this test's own thread may have to wait, too.
    let median = between[ECHOES / 2];
    assert!(median <= 4 * 64, "{median} callbacks came between a message and its echo: {between:?}");
    assert_eq!(server.shutdown(Duration::ZERO), 2);
    within("the end of the flood", || flooding.join().unwrap());
}

fn l8_deadlines_and_a_shutdown_hold_against_a_flood_of_small_messages<B: Backend>() {
    let backend = B::start();
    let (server, _, sockets) = serve(&backend, quiet().close_timeout(Duration::from_millis(300)));
    let flooding = flood(server.addr);
    let socket = next(&sockets);
    socket.close().unwrap();
    within("the end of the flood", || flooding.join().unwrap());
    assert!(!socket.closed().unwrap().clean);

    let flooding = flood(server.addr);
    let socket = next(&sockets);
    server.shutdown(PATIENCE);
    within("the end of the flood", || flooding.join().unwrap());
    assert_eq!(Event::close(1006, ""), Event::close(socket.closed().unwrap().code.0, ""));
}
