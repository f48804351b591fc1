//! Peers that do one thing wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bellwire_tests::PATIENCE;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server that treats everybody in the same way, until it is dropped.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Peer {
    pub(crate) fn new(treat: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, stopped, treat) =
            (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)), Arc::new(treat));
        let ends = stopped.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let treat = treat.clone();
                thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    treat(stream);
                });
            }
        });
        Self { addr, stopped }
    }

    /// Says these bytes when something has come, and then waits for the other side to leave.
    pub(crate) fn says(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut stream| {
            hear(&mut stream);
            say(&mut stream, &bytes);
            drain(&mut stream);
        })
    }

    /// Says these bytes when something has come, and leaves.
    pub(crate) fn says_and_leaves(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |mut stream| {
            hear(&mut stream);
            say(&mut stream, &bytes);
        })
    }

    /// Says these in turn, each when something has come, and waits for the other side to leave.
    pub(crate) fn says_in_turn(all: &[&[u8]]) -> Self {
        let all: Vec<Vec<u8>> = all.iter().map(|bytes| bytes.to_vec()).collect();
        Self::new(move |mut stream| {
            for bytes in &all {
                hear(&mut stream);
                say(&mut stream, bytes);
            }
            drain(&mut stream);
        })
    }

    /// As [`says`](Self::says), over TLS.
    pub(crate) fn says_over_tls(config: Arc<ServerConfig>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::new(move |stream| {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            hear(&mut stream);
            say(&mut stream, &bytes);
            drain(&mut stream);
        })
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://localhost:{}{path}", self.addr.port())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // So that it notices. If nobody listens any more, it has ended.
        let _ = TcpStream::connect(self.addr);
    }
}

/// Waits for a request, or for a part of it.
fn hear(stream: &mut impl Read) {
    // Whoever has left hears nothing, either.
    let _ = stream.read(&mut [0; 4096]);
}

fn say(stream: &mut impl Write, bytes: &[u8]) {
    // Whoever has left does not listen.
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
}

fn drain(stream: &mut impl Read) {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}
