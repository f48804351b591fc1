//! Streams whose writes take their time, and what the two threads of a connection make of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bellwire_blocking::{Acceptor, Server, Stream, upgraded};
use bellwire_core::config::SlowReader;
use bellwire_core::{Config, Request, Response, Role, SendError, WebSocket, listener};

const PATIENCE: Duration = Duration::from_secs(10);

fn pair() -> (TcpStream, TcpStream) {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (listening.accept().unwrap().0, peer)
}

/// A TCP stream whose writes are decided by a function: how much may be written, or why nothing.
struct Scripted<F> {
    tcp: TcpStream,
    write: Mutex<F>,
    shutdowns: Arc<Mutex<Vec<Shutdown>>>,
}

impl<F: FnMut() -> io::Result<usize> + Send + 'static> Stream for Scripted<F> {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &self.tcp, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let most = (self.write.lock().unwrap())()?;
        Write::write(&mut &self.tcp, &bytes[..bytes.len().min(most)])
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdowns.lock().unwrap().push(how);
        self.tcp.shutdown(how)
    }
}

/// A write that takes longer than the first thread is patient.
fn slowly() -> io::Result<usize> {
    thread::sleep(Duration::from_millis(60));
    Ok(150)
}

#[test]
fn a_plain_response_that_leaves_slowly_ends_with_a_fin() {
    for size in [50, 200, 350] {
        let (here, mut peer) = pair();
        let shutdowns = Arc::new(Mutex::new(Vec::new()));
        let stream = Scripted { tcp: here, write: Mutex::new(slowly), shutdowns: shutdowns.clone() };
        let answering = thread::spawn(move || {
            Acceptor::new(move |_: &Request| Response::text("x".repeat(size))).accept(stream, None);
        });
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut response = String::new();
        peer.read_to_string(&mut response).unwrap();
        assert!(response.ends_with(&"x".repeat(size)), "{response}");
        // Not only dropped when the linger timeout has passed.
        assert_eq!(*shutdowns.lock().unwrap(), [Shutdown::Write]);
        drop(peer);
        answering.join().unwrap();
    }
}

/// The first write waits for the gate, the second finds no room, all others succeed.
fn gated(gate: Receiver<()>) -> impl FnMut() -> io::Result<usize> + Send {
    let mut count = 0;
    move || {
        count += 1;
        match count {
            1 => gate.recv().unwrap(),
            2 => {
                thread::sleep(Duration::from_millis(100));
                return Err(ErrorKind::WouldBlock.into());
            }
            _ => {}
        }
        Ok(usize::MAX)
    }
}

#[test]
fn a_close_frame_that_is_being_written_is_not_cut_off() {
    let (here, mut peer) = pair();
    let (open, gate) = mpsc::channel();
    let stream = Scripted { tcp: here, write: Mutex::new(gated(gate)), shutdowns: Arc::default() };
    let (sockets, socket) = mpsc::channel::<WebSocket>();
    let config = Config::default().max_queued(600).slow_reader(SlowReader::Close);
    let driving = thread::spawn(move || {
        let listener = listener().on_open(move |socket| sockets.send(socket.clone()).unwrap());
        upgraded(stream, Vec::new(), Role::Server, config, listener);
    });
    let socket = socket.recv_timeout(PATIENCE).unwrap();
    socket.send([b'a'; 100].as_slice()).unwrap();
    socket.send([b'b'; 500].as_slice()).unwrap();
    assert_eq!(socket.send([b'c'; 500].as_slice()), Err(SendError::Full));
    open.send(()).unwrap();
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    // Both messages, and the close frame with 1013 behind them.
    assert_eq!(bytes.len(), 102 + 504 + 2 + 2 + "Too much unread output".len());
    assert!(bytes[102 + 504..].starts_with(b"\x88\x18\x03\xf5"), "{:x?}", &bytes[102 + 504..]);
    drop(peer);
    driving.join().unwrap();
}

#[test]
fn a_handler_that_holds_its_servers_handle_is_dropped_with_it() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (handle, held) = (server.handle(), server.handle());
    let token = Arc::new(());
    let weak = Arc::downgrade(&token);
    let (started, start) = mpsc::channel();
    let addr = server.local_addr().unwrap();
    let running = thread::spawn(move || {
        server.run(move |_: &Request| {
            let _ = (&held, &token);
            started.send(()).unwrap();
            Response::text("")
        })
    });
    TcpStream::connect(addr).unwrap().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    start.recv_timeout(PATIENCE).unwrap();
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
    assert!(weak.upgrade().is_none(), "it lives on");
}
