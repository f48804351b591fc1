//! What only happens to threads. Nobody can drop a connection that a thread drives, but its transport, which somebody
//! else may have written, can panic: then the driver is dropped while the stack unwinds. And only here a stream can be in
//! a mode in which nobody waits.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::net::TcpListener;
#[cfg(target_os = "linux")]
use std::os::{fd::AsRawFd, unix::net::UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use bellwire::Response;
#[cfg(target_os = "linux")]
use bellwire::blocking::Acceptor;
use bellwire::blocking::{Client, Stream, connect, connect_over, upgraded};
use bellwire::listener::IntoListener;
use bellwire::{BoxError, Config, ConnectError, Listener, Outcome, Role, Target, WebSocket, listener};
#[cfg(target_os = "linux")]
use bellwire_tests::{Backend, Blocking, Setup, echo, logged_handler};
use bellwire_tests::{Event, Frame, MemoryEnd, PATIENCE, Raw, logged, next, quiet};

mod blocking {
    mod server {
        #[test]
        fn i3_a_transport_that_panics_is_one_error_and_one_1006() {
            super::super::i3_a_transport_that_panics_is_one_error_and_one_1006(bellwire::Role::Server);
        }
    }
    mod client {
        #[test]
        fn i3_a_transport_that_panics_is_one_error_and_one_1006() {
            super::super::i3_a_transport_that_panics_is_one_error_and_one_1006(bellwire::Role::Client);
        }
    }
}

/// Panics when it is read after its first bytes.
struct Panicking {
    stream: MemoryEnd,
    was_read: AtomicBool,
}

impl Stream for Panicking {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.was_read.swap(true, Ordering::SeqCst), "as this test wants it");
        Stream::read(&self.stream, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(&self.stream, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}

fn i3_a_transport_that_panics_is_one_error_and_one_1006(role: Role) {
    let (stream, peer) = MemoryEnd::pair(4096);
    let (listener, log) = logged(listener());
    let mut peer = Raw::upgraded(peer, role == Role::Server);
    peer.send([Frame::text("x")]);
    let stream = Panicking { stream, was_read: AtomicBool::new(false) };
    assert!(thread::spawn(move || upgraded(stream, [], role, quiet(), listener)).join().is_err());
    let error = Event::error("the connection's driver was dropped");
    log.ends_with([Event::Open, Event::text("x"), error, Event::close(1006, "")]);
    peer.expect_end();
}

/// Never ready, and never waits: as a non-blocking socket whose peer is silent and does not read.
#[derive(Default)]
struct Impatient {
    calls: Arc<AtomicUsize>,
    /// Its reading side was closed.
    shut: AtomicBool,
    writes: bool,
}

impl Stream for Impatient {
    fn read(&self, _: &mut [u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.shut.load(Ordering::SeqCst) { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.writes { Ok(bytes.len()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shut.fetch_or(how != Shutdown::Write, Ordering::SeqCst);
        Ok(())
    }
}

/// Far fewer than a loop makes that does not pause, in a time in which it would make very many.
const FEW: usize = 500;
const WHILE: Duration = Duration::from_millis(500);

#[test]
fn e7_a_stream_that_never_waits_is_not_read_without_end() {
    for role in [Role::Server, Role::Client] {
        let stream = Impatient { writes: true, ..Impatient::default() };
        let calls = stream.calls.clone();
        let (listener, log) = logged(listener());
        let (sockets, socket) = mpsc::channel();
        let listener = Told(listener, sockets);
        let driving = thread::spawn(move || upgraded(stream, [], role, quiet(), listener));
        let socket = next(&socket);
        thread::sleep(WHILE);
        assert!(calls.load(Ordering::SeqCst) < FEW, "{calls:?}");
        // What others send leaves at once all the same, and an end is seen.
        let (done, outcome) = mpsc::channel();
        socket.send_with("x", move |result| done.send(result).unwrap());
        assert_eq!(next(&outcome), Ok(()));
        socket.abort();
        driving.join().unwrap();
        log.ends_with([Event::Open, Event::close(1006, "")]);
    }
}

#[test]
fn e7_a_stream_that_never_waits_is_not_written_without_end() {
    for role in [Role::Server, Role::Client] {
        let stream = Impatient::default();
        let calls = stream.calls.clone();
        let (listener, log) = logged(listener().on_open(|socket| socket.send("x")));
        let (sockets, socket) = mpsc::channel();
        let listener = Told(listener, sockets);
        let driving = thread::spawn(move || upgraded(stream, [], role, quiet(), listener));
        let socket = next(&socket);
        thread::sleep(WHILE);
        assert!(calls.load(Ordering::SeqCst) < FEW, "{calls:?}");
        socket.abort();
        driving.join().unwrap();
        log.ends_with([Event::Open, Event::close(1006, "")]);
    }
}

#[test]
fn e7_a_handshake_over_a_stream_that_never_waits_does_not_spin() {
    for writes in [false, true] {
        let stream = Impatient { writes, ..Impatient::default() };
        let calls = stream.calls.clone();
        let target = Target::new("ws://localhost/").unwrap().config(quiet().open_timeout(WHILE));
        let late = connect_over(target, stream, listener());
        assert!(matches!(late, Err(ConnectError::Timeout(_))), "{late:?}");
        assert!(calls.load(Ordering::SeqCst) < FEW, "{calls:?}");
    }
}

/// Whether a socket is in non-blocking mode: what the system says of its descriptor.
#[cfg(target_os = "linux")]
fn is_nonblocking(socket: &impl AsRawFd) -> bool {
    const O_NONBLOCK: u32 = 0o4000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", socket.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & O_NONBLOCK != 0
}

#[cfg(target_os = "linux")]
#[test]
fn e7_sockets_in_non_blocking_mode_are_put_into_the_other() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listening.local_addr().unwrap();
    let theirs = thread::spawn(move || Raw::open(addr));
    let tcp = listening.accept().unwrap().0;
    tcp.set_nonblocking(true).unwrap();
    let twin = tcp.try_clone().unwrap();
    assert!(is_nonblocking(&twin));
    let (handler, logs) = logged_handler(|_| echo());
    let accepted = thread::spawn(move || Acceptor::new(handler).accept(tcp, None));
    let mut peer = theirs.join().unwrap();
    assert!(!is_nonblocking(&twin));
    peer.send([Frame::close(1000, "")]);
    peer.expect([Frame::close(1000, "")]);
    drop((peer, twin));
    accepted.join().unwrap();
    logs.next().ends_with([Event::Open, Event::close(1000, "")]);

    let (ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let twin = ours.try_clone().unwrap();
    let server = thread::spawn(move || {
        let mut raw = Raw::server_over(peer);
        raw.write(&raw.switching(&[]));
        raw
    });
    let client = connect_over("ws://localhost/", ours, listener()).unwrap();
    assert!(!is_nonblocking(&twin));
    client.socket().abort();
    drop(server.join().unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn e7_a_listener_in_non_blocking_mode_is_put_into_the_other() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    listening.set_nonblocking(true).unwrap();
    let twin = listening.try_clone().unwrap();
    let backend = Blocking::start();
    let setup = Setup { listener: Some(listening), ..Setup::default() };
    let server = backend.serve(setup, |_| Response::websocket(echo()));
    let mut peer = Raw::open(server.addr);
    assert!(!is_nonblocking(&twin));
    peer.send([Frame::text("x")]);
    peer.expect([Frame::text("x")]);
    assert!(server.reports.try_recv().is_err(), "an accept has failed");
}

/// Hands its socket on when it is open.
struct Told(Box<dyn Listener>, Sender<WebSocket>);

impl Listener for Told {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut *self.0)
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        let outcome = self.0.on_open(socket);
        self.1.send(socket.clone())?;
        outcome
    }
}

/// A client whose peer reads nothing but its request.
fn client_of_a_deaf_peer(config: Config, listener: impl IntoListener) -> (Client, Raw) {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(format!("ws://{}/", listening.local_addr().unwrap())).unwrap().config(config);
    let deaf = thread::spawn(move || {
        let mut raw = Raw::accept(&listening);
        raw.write(&raw.switching(&[]));
        raw
    });
    let client = connect(target, listener).unwrap();
    (client, deaf.join().unwrap())
}

/// More than all the buffers in between hold.
const LARGE: usize = 64 * 1024 * 1024;

#[test]
fn e2_dropping_a_client_waits_no_longer_than_the_close_timeout() {
    let timeout = Duration::from_millis(300);
    let (client, _deaf) = client_of_a_deaf_peer(quiet().close_timeout(timeout).max_queued(2 * LARGE), listener());
    client.socket().send(vec![0; LARGE]).unwrap();
    let start = Instant::now();
    drop(client);
    assert!((timeout..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn e2_dropping_a_client_after_an_abort_waits_for_nothing() {
    let (client, _deaf) = client_of_a_deaf_peer(quiet().close_timeout(PATIENCE * 6), listener());
    client.socket().send(vec![0; LARGE]).unwrap();
    client.socket().abort();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn e2_a_client_that_its_own_callback_drops_waits_for_nothing() {
    let place: Arc<Mutex<Option<Client>>> = Arc::default();
    let (ends, ended) = mpsc::channel();
    let listener = listener().with_state(place.clone()).on_message(move |place, socket, _| {
        socket.send("last words")?;
        drop(place.lock().unwrap().take());
        ends.send(()).map_err(BoxError::from)
    });
    let (client, mut peer) = client_of_a_deaf_peer(quiet().close_timeout(PATIENCE * 6), listener);
    *place.lock().unwrap() = Some(client);
    peer.send([Frame::text("go")]);
    next(&ended);
    peer.expect([Frame::text("last words")]);
}

/// Does this with a client in a completion that runs on the second thread, with more output behind it: how long that took.
fn in_a_completion(act: impl FnOnce(Client) + Send + 'static) -> Duration {
    let config = quiet().close_timeout(PATIENCE * 6).max_queued(2 * LARGE);
    let (client, mut peer) = client_of_a_deaf_peer(config, listener());
    let socket = client.socket().clone();
    let place = Arc::new(Mutex::new(Some(client)));
    let (ends, ended) = mpsc::channel();
    let (sender, completed) = (socket.clone(), place.clone());
    socket.send_with(vec![0; LARGE], move |outcome| {
        outcome.unwrap();
        sender.send(vec![0; LARGE]).unwrap();
        let client = completed.lock().unwrap().take().unwrap();
        let start = Instant::now();
        act(client);
        ends.send(start.elapsed()).unwrap();
    });
    thread::spawn(move || {
        // Until then nothing is taken, and what is left is the second thread's.
        thread::sleep(Duration::from_millis(300));
        peer.drain();
    });
    let took = next(&ended);
    // Its transport is closed, its threads end.
    socket.abort();
    took
}

#[test]
fn e2_a_client_that_a_completion_drops_waits_for_nothing() {
    let took = in_a_completion(drop);
    assert!(took < PATIENCE / 2, "{took:?}");
}

#[test]
fn e1_a_client_that_a_completion_closes_waits_for_nothing() {
    let took = in_a_completion(|mut client| drop(client.close()));
    assert!(took < PATIENCE / 2, "{took:?}");
}
