//! Servers on the loopback that go away and come back, and clients of each runtime.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire::backend::{ReconnectBuilder, Runtime};
use bellwire::blocking::{self, Elapsed, Server, ServerHandle};
use bellwire::listener::ListenerBuilder;
use bellwire::reconnect::{Connected, Disconnected, EndReason, Ended, Event, Failure, Offline, Policy};
use bellwire::{CloseCode, ConnectError, Request, Response, SendError, Target, TlsError, WebSocket, listener};
use bellwire_tests::{PATIENCE, Trust};

use crate::obedient;
use crate::sending::{Random, in_order};

struct Serving {
    addr: SocketAddr,
    handle: ServerHandle,
    running: JoinHandle<()>,
}

impl Serving {
    /// Serves on this address.
    fn start(addr: &str) -> Self {
        let server = Server::bind(addr).unwrap();
        let (addr, handle) = (server.local_addr().unwrap(), server.handle());
        Self { addr, handle, running: thread::spawn(move || server.run(obedient).unwrap()) }
    }

    /// Its clients are told 1001.
    fn stop(self) {
        self.handle.shutdown(PATIENCE);
        self.running.join().unwrap();
    }
}

#[track_caller]
fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(PATIENCE).unwrap()
}

type Lost = Box<dyn FnMut(Disconnected) + Send>;
type Make = Box<dyn Fn(&Connected) -> ListenerBuilder + Send + Sync>;

/// A server restarts, and its client is there again, with what was sent meanwhile.
fn a_server_restarts<C>(
    start: impl FnOnce(&str, Policy, Lost, Make) -> C,
    send: impl Fn(&C, &str) -> Result<(), SendError>,
    close: impl FnOnce(&C) -> Arc<Ended>,
) {
    let mut server = Serving::start("127.0.0.1:0");
    let addr = server.addr.to_string();
    let ((opens, opened), (losses, lost), (messages, received)) = (channel(), channel(), channel());
    let policy = Policy::new()
        .first_delay(Duration::from_millis(20))
        .max_delay(Duration::from_millis(20))
        .offline(Offline::Keep { messages: 10, bytes: 100 });
    let told = Box::new(move |disconnected: Disconnected| losses.send(disconnected.failure).unwrap());
    let make = Box::new(move |connected: &Connected| {
        assert_eq!(connected.response.status(), 101);
        opens.send(connected.number).unwrap();
        let messages = messages.clone();
        listener().on_message(move |_, message| messages.send(message.as_text().unwrap().to_owned()))
    });
    let client = start(&format!("ws://{addr}/"), policy, told, make);
    for round in 1..3 {
        assert_eq!(next(&opened), round);
        send(&client, "hello").unwrap();
        assert_eq!(next(&received), "hello");
        server.stop();
        let closed = loop {
            // Before that there were perhaps tries that failed.
            if let Failure::Closed(closed) = &*next(&lost) {
                break closed.code;
            }
        };
        assert_eq!(closed, CloseCode::GOING_AWAY);
        let nobody = next(&lost);
        assert!(matches!(&*nobody, Failure::Connect(ConnectError::Connect(_))), "{nobody:?}");
        send(&client, "kept").unwrap();
        server = Serving::start(&addr);
        assert_eq!(next(&received), "kept");
    }
    let ended = close(&client);
    assert_eq!((ended.reason, next(&opened)), (EndReason::Closed, 3));
    server.stop();
}

/// The same on a runtime that polls.
fn a_server_restarts_on<R: Runtime>(prepare: impl FnOnce(&str, Policy) -> ReconnectBuilder<R>) {
    a_server_restarts(
        |url, policy, lost, make| prepare(url, policy).on_disconnected(lost).listen(make),
        |client, text| client.send(text),
        |client| smol::block_on(client.close()),
    );
}

#[test]
fn tokio() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    a_server_restarts_on(|url, policy| bellwire::tokio::reconnecting(url, policy).unwrap());
}

#[test]
fn smol() {
    a_server_restarts_on(|url, policy| bellwire::smol::reconnecting(url, policy).unwrap());
}

#[test]
fn async_std() {
    a_server_restarts_on(|url, policy| bellwire::async_std::reconnecting(url, policy).unwrap());
}

#[test]
fn blocking() {
    a_server_restarts(
        |url, policy, lost, make| {
            blocking::reconnecting(url, policy).unwrap().on_disconnected(lost).listen(make).unwrap()
        },
        |client, text| client.send(text),
        |client| client.close().unwrap(),
    );
}

#[test]
fn a_stream_on_threads() {
    let server = Serving::start("127.0.0.1:0");
    let policy = Policy::new().first_delay(Duration::ZERO).max_delay(Duration::from_millis(10));
    let tried = Arc::new(AtomicUsize::new(0));
    let tries = tried.clone();
    let builder = blocking::reconnecting(format!("ws://{}/", server.addr), policy).unwrap();
    let mut stream = builder
        .before_each(move |target, _| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("not yet"),
            _ => Ok(target),
        })
        .stream()
        .unwrap();
    let Some(Event::Disconnected(disconnected)) = stream.recv() else { panic!() };
    assert!(matches!(&*disconnected.failure, Failure::Hook(_)), "{disconnected:?}");
    let Some(Event::Connected { socket, .. }) = stream.recv() else { panic!() };
    socket.send("one").unwrap();
    assert!(matches!(stream.recv_timeout(PATIENCE), Ok(Some(Event::Message(message))) if message == "one"));
    assert!(matches!(stream.recv_timeout(Duration::ZERO), Err(Elapsed)));
    stream.send("close 1012").unwrap();
    let Some(Event::Disconnected(disconnected)) = stream.next() else { panic!() };
    assert_eq!(disconnected.failure.closed().unwrap().code, 1012);
    assert!(matches!(stream.next(), Some(Event::Connected { .. })));
    stream.handle().send("close 1000").unwrap();
    let Some(Event::Disconnected(disconnected)) = stream.next() else { panic!() };
    assert_eq!(disconnected.retry_in, None);
    assert!(stream.next().is_none() && stream.next().is_none());
    assert_eq!((stream.ended().unwrap().reason, stream.close().reason), (EndReason::Final, EndReason::Final));
    assert_eq!(tried.load(Ordering::Relaxed), 3);
    server.stop();
}

#[test]
fn close_ends_a_wait_on_threads() {
    // A port on which nobody listens any more.
    let url = format!("ws://{}/", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let (losses, lost) = channel();
    let policy = Policy::new().first_delay(Duration::from_secs(1000)).max_delay(Duration::from_secs(1000));
    let client = blocking::reconnecting(url, policy)
        .unwrap()
        .on_disconnected(move |disconnected| losses.send(disconnected.retry_in).unwrap())
        .listen(|_| listener())
        .unwrap();
    assert!(next(&lost).is_some());
    assert!(!client.is_connected() && client.socket().is_none() && client.ended().is_none());
    assert_eq!(client.send("now"), Err(SendError::Offline));
    assert_eq!(client.close().unwrap().reason, EndReason::Closed);
    assert_eq!((client.send("late"), client.wait().unwrap().reason), (Err(SendError::Closed), EndReason::Closed));
}

#[test]
fn a_certificate_that_is_not_trusted_is_final() {
    let server = Server::bind("127.0.0.1:0").unwrap().tls(Trust::new().server()).on_error(|_| {});
    let (url, handle) = (format!("wss://{}/", server.local_addr().unwrap()), server.handle());
    let running = thread::spawn(move || server.run(obedient));
    let target = Target::new(url).unwrap().tls(Trust::shared().client());
    let on_threads = blocking::reconnecting(&target, Policy::new()).unwrap().listen(|_| listener()).unwrap();
    let on_smol = bellwire::smol::reconnecting(&target, Policy::new()).unwrap().listen(|_| listener());
    for ended in [on_threads.wait().unwrap(), smol::block_on(on_smol.wait())] {
        assert_eq!(ended.reason, EndReason::Final);
        let error = ended.failure.as_ref().and_then(|failure| failure.connect_error()).unwrap();
        assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
    }
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}

/// What was handed back never arrived, and nothing arrived twice or in another order.
#[test]
fn on_threads_what_is_handed_back_has_not_arrived() {
    const SENDERS: usize = 3;
    const LOSSES: usize = 30;
    let random = Random::new(11);
    let arrived = Arc::new(Mutex::new(Vec::<String>::new()));
    let server = Server::bind("127.0.0.1:0").unwrap().on_error(|_| {});
    let (url, handle) = (format!("ws://{}/", server.local_addr().unwrap()), server.handle());
    let (moods, arrives) = (random.clone(), arrived.clone());
    let running = thread::spawn(move || {
        server.run(move |_: &Request| {
            let (random, arrives, mut patience) = (moods.clone(), arrives.clone(), moods.below(60));
            Response::websocket(listener().on_message(move |socket: &WebSocket, message| {
                arrives.lock().unwrap().push(message.as_text().unwrap().to_owned());
                patience = patience.saturating_sub(1);
                match (patience, random.below(2)) {
                    (1.., _) => drop(socket.send(message)),
                    (0, 0) => socket.abort(),
                    (0, _) => drop(socket.close_with([1001, 1012][random.below(2)], "")),
                }
            }))
        })
    });
    let (returned, losses) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (returns, lost) = (returned.clone(), losses.clone());
    let policy = Policy::new().first_delay(Duration::ZERO).max_delay(Duration::from_millis(5));
    let client = blocking::reconnecting(url, policy)
        .unwrap()
        .on_disconnected(move |disconnected| {
            lost.fetch_add(1, Ordering::Relaxed);
            returns.lock().unwrap().extend(disconnected.unsent);
        })
        .listen(|_| listener())
        .unwrap();
    let senders = (0..SENDERS).map(|sender| {
        let (client, random, losses) = (client.clone(), random.clone(), losses.clone());
        thread::spawn(move || {
            let mut accepted = 0;
            for number in 0.. {
                if losses.load(Ordering::Relaxed) >= LOSSES {
                    break;
                }
                // Large ones are written in several pieces.
                let length = if random.below(50) == 0 { 100_000 } else { 10 };
                let text = format!("{sender} {number}:{}", "x".repeat(length));
                match client.send(text) {
                    Ok(()) => accepted += 1,
                    // There is none, or one that takes no more.
                    Err(_) => drop(client.connected().unwrap()),
                }
                if random.below(10) == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            accepted
        })
    });
    let accepted: usize = senders.collect::<Vec<_>>().into_iter().map(|sender| sender.join().unwrap()).sum();
    client.close().unwrap();
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();

    let (arrived, returned) = (arrived.lock().unwrap(), returned.lock().unwrap());
    in_order(&*arrived, "arrived");
    let returned: Vec<String> = returned.iter().map(|message| message.as_text().unwrap().to_owned()).collect();
    in_order(&returned, "returned");
    let both: BTreeSet<_> = arrived.iter().chain(&returned).collect();
    assert_eq!(both.len(), arrived.len() + returned.len());
    assert!(both.len() <= accepted);
    assert!(!arrived.is_empty());
}
