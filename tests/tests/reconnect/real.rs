//! Servers on the loopback that go away and come back, and clients of each runtime.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire::backend::{ReconnectBuilder, Runtime};
use bellwire::blocking::{Server, ServerHandle};
use bellwire::reconnect::{EndReason, Failure, Offline, Policy};
use bellwire::{CloseCode, ConnectError, listener};
use bellwire_tests::PATIENCE;

use crate::obedient;

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

/// A server restarts, and its client is there again, with what was sent meanwhile.
fn a_server_restarts<R: Runtime>(prepare: impl FnOnce(&str, Policy) -> ReconnectBuilder<R>) {
    let mut server = Serving::start("127.0.0.1:0");
    let addr = server.addr.to_string();
    let ((opens, opened), (losses, lost), (messages, received)) = (channel(), channel(), channel());
    let policy = Policy::new()
        .first_delay(Duration::from_millis(20))
        .max_delay(Duration::from_millis(20))
        .offline(Offline::Keep { messages: 10, bytes: 100 });
    let client = prepare(&format!("ws://{addr}/"), policy)
        .on_disconnected(move |disconnected| losses.send(disconnected.failure).unwrap())
        .listen(move |connected| {
            opens.send(connected.number).unwrap();
            let messages = messages.clone();
            listener().on_message(move |_, message| messages.send(message.as_text().unwrap().to_owned()))
        });
    for round in 1..3 {
        assert_eq!(next(&opened), round);
        client.send("hello").unwrap();
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
        client.send("kept").unwrap();
        server = Serving::start(&addr);
        assert_eq!(next(&received), "kept");
    }
    let ended = smol::block_on(client.close());
    assert_eq!((ended.reason, next(&opened)), (EndReason::Closed, 3));
    server.stop();
}

#[test]
fn tokio() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    a_server_restarts(|url, policy| bellwire::tokio::reconnecting(url, policy).unwrap());
}

#[test]
fn smol() {
    a_server_restarts(|url, policy| bellwire::smol::reconnecting(url, policy).unwrap());
}

#[test]
fn async_std() {
    a_server_restarts(|url, policy| bellwire::async_std::reconnecting(url, policy).unwrap());
}
