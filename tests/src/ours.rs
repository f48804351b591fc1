//! One connection of ours, in either role, to a peer that is not bellwire: so a test of what both roles promise is
//! written once.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use bellwire::listener::IntoListener;
use bellwire::{Config, Listener, Outcome, Response, Role, WebSocket};

use crate::{Backend, Connect, Log, Raw, Setup, Theirs, logged, next};

/// A connection that has opened.
pub struct Ours<P> {
    /// Our handle.
    pub socket: WebSocket,
    /// What our listener was told.
    pub log: Log,
    /// The other end.
    pub peer: P,
}

impl Ours<Raw> {
    /// To a peer made of bytes. Returns when `on_open` has begun.
    ///
    /// # Panics
    /// If the handshake fails.
    #[track_caller]
    pub fn raw(backend: &impl Backend, role: Role, config: Config, listener: impl IntoListener) -> Self {
        open(backend, role, config, listener)
    }
}

impl Ours<Theirs> {
    /// To tungstenite. Returns when `on_open` has begun.
    ///
    /// # Panics
    /// If the handshake fails.
    #[track_caller]
    pub fn theirs(backend: &impl Backend, role: Role, config: Config, listener: impl IntoListener) -> Self {
        open(backend, role, config, listener)
    }
}

/// A peer in either role.
trait Peer: Send + 'static {
    fn connect(addr: SocketAddr) -> Self;
    fn accept(listener: &TcpListener) -> Self;
}

impl Peer for Raw {
    fn connect(addr: SocketAddr) -> Self {
        Self::open(addr)
    }

    fn accept(listener: &TcpListener) -> Self {
        let mut raw = Self::accept(listener);
        raw.write(&raw.switching(&[]));
        raw
    }
}

impl Peer for Theirs {
    fn connect(addr: SocketAddr) -> Self {
        Self::connect(addr)
    }

    fn accept(listener: &TcpListener) -> Self {
        Self::accept(listener, &[])
    }
}

#[track_caller]
fn open<P: Peer>(backend: &impl Backend, role: Role, config: Config, listener: impl IntoListener) -> Ours<P> {
    let (listener, log) = logged(listener);
    let (listener, sockets) = Telling::new(listener);
    let peer = match role {
        Role::Server => {
            // The handler could be called again, and is not.
            let listener = Mutex::new(Some(listener));
            let handler = move |_: &_| Response::websocket(listener.lock().unwrap().take().expect("a second request"));
            P::connect(backend.serve(Setup::new(config), handler).addr)
        }
        Role::Client => {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/", server.local_addr().unwrap());
            let peer = thread::spawn(move || P::accept(&server));
            // The connection lives on without it.
            backend.connect(Connect::to(url).config(config), listener).map(drop).unwrap();
            peer.join().unwrap()
        }
    };
    Ours { socket: next(&sockets), log, peer }
}

/// Tells the socket when it opens.
struct Telling {
    inner: Box<dyn Listener>,
    sockets: Sender<WebSocket>,
}

impl Telling {
    fn new(inner: Box<dyn Listener>) -> (Self, Receiver<WebSocket>) {
        let (sockets, receiver) = mpsc::channel();
        (Self { inner, sockets }, receiver)
    }
}

impl Listener for Telling {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.inner)
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        // The test may have given up.
        let _ = self.sockets.send(socket.clone());
        self.inner.on_open(socket)
    }
}
