//! TLS on threads: the library's own stream, its clients and its servers, against themselves and against rustls by hand.

mod trust;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bellwire_blocking::{
    Acceptor, Server, ServerHandle, Stream, TlsStream, connect_over, connect_stream, connect_stream_over,
};
use bellwire_core::proto::client::Phase;
use bellwire_core::{
    ClientTls, CloseCode, Config, ConnectError, OwnedMessage, Request, Response, ServerError, ServerTls, Target,
    TlsError, listener,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use trust::{shared, trust, trust_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that echoes over TLS.
struct Echo {
    addr: SocketAddr,
    errors: Receiver<String>,
    handle: ServerHandle,
    running: JoinHandle<io::Result<()>>,
}

impl Echo {
    fn start(tls: ServerTls, config: Config) -> Self {
        let (sender, errors) = mpsc::channel();
        let server = Server::bind("127.0.0.1:0").unwrap().tls(tls).config(config);
        let server = server.on_error(move |error: &ServerError| sender.send(error.to_string()).unwrap_or_default());
        let (addr, handle) = (server.local_addr().unwrap(), server.handle());
        let echo = |_: &Request| Response::websocket(listener().on_message(|socket, message| socket.send(message)));
        Self { addr, errors, handle, running: thread::spawn(move || server.run(echo)) }
    }

    fn target(&self, tls: &ClientTls) -> Target {
        Target::new(format!("wss://localhost:{}/", self.addr.port())).unwrap().tls(tls.clone())
    }

    fn error(&self) -> String {
        self.errors.recv_timeout(PATIENCE).unwrap()
    }

    fn stop(self) {
        assert_eq!(self.handle.shutdown(PATIENCE), 0);
        self.running.join().unwrap().unwrap();
        assert_eq!(self.errors.try_recv().ok(), None);
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    (listening.accept().unwrap().0, there)
}

#[test]
fn messages_of_all_sizes_come_back_and_the_end_is_clean() {
    let (client, server) = shared();
    let echo = Echo::start(server, Config::default());
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("wss://{host}:{}/", echo.addr.port());
        let (mut messages, _) = connect_stream(Target::new(url).unwrap().tls(client.clone())).unwrap();
        assert_eq!(messages.socket().peer_addr(), Some(echo.addr));
        for size in [0, 1, 125, 126, 16 * 1024, 65_536, 1024 * 1024] {
            let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
            messages.send(payload.clone()).unwrap();
            assert!(messages.recv_timeout(PATIENCE).unwrap().unwrap() == *payload, "{size}");
        }
        let closed = messages.close();
        assert!(closed.clean && closed.code == CloseCode::NORMAL, "{closed:?}");
    }
    echo.stop();
}

#[test]
fn a_peer_that_is_not_trusted_is_an_error_on_both_sides() {
    let echo = Echo::start(trust_of(trust()).1, Config::default());
    let error = connect_stream(echo.target(&shared().0)).unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
    let told = echo.error();
    assert!(told.starts_with("no TLS with 127.0.0.1:") && told.contains("received fatal alert"), "{told}");
    echo.stop();

    let (client, server) = shared();
    let echo = Echo::start(server, Config::default());
    let url = format!("wss://other.localhost:{}/", echo.addr.port());
    // Its address is the same, whoever resolves that.
    let stream = TlsStream::client(TcpStream::connect(echo.addr).unwrap(), &client, "other.localhost", None);
    let error = TlsError::from_io(stream.unwrap_err()).unwrap();
    assert!(matches!(error, TlsError::Certificate(_)), "{url}: {error:?}");
    echo.error();
    echo.stop();
}

#[test]
fn plain_http_on_the_port_of_tls_and_tls_on_a_plain_one_are_told_as_such() {
    let (client, server) = shared();
    let echo = Echo::start(server, Config::default());
    let error = connect_stream(format!("ws://{}/", echo.addr)).unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_) | ConnectError::Io(_)), "{error:?}");
    assert!(echo.error().contains("does not speak TLS on this port"));
    echo.stop();

    let plain = Server::bind("127.0.0.1:0").unwrap().on_error(|_| ());
    let (addr, handle) = (plain.local_addr().unwrap(), plain.handle());
    let running = thread::spawn(move || plain.run(|_| Response::new(204)));
    let target = Target::new(format!("wss://{addr}/")).unwrap().tls(client);
    let error = connect_stream(target).unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::NotTls)), "{error:?}");
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}

#[test]
fn who_never_agrees_on_tls_ends_with_the_open_timeout_and_holds_up_nobody() {
    let short = Duration::from_millis(200);
    let (client, server) = shared();
    let echo = Echo::start(server, Config::default().open_timeout(short));
    let mut silent = TcpStream::connect(echo.addr).unwrap();
    let mut half = TcpStream::connect(echo.addr).unwrap();
    // The beginning of a record that does not go on.
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let (mut messages, _) = connect_stream(echo.target(&client).config(Config::default())).unwrap();
    messages.send("hello").unwrap();
    assert_eq!(messages.recv_timeout(PATIENCE).unwrap().unwrap(), "hello");
    for stuck in [&mut silent, &mut half] {
        stuck.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        // An alert perhaps, and the end, well before the closing handshake would be over.
        let _ = stuck.read_to_end(&mut bytes);
        assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
        let told = echo.error();
        assert!(told.contains("did not arrive in time"), "{told}");
    }
    assert!(messages.close().clean);
    echo.stop();

    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/", listening.local_addr().unwrap());
    let start = Instant::now();
    let target = Target::new(url).unwrap().tls(client.clone()).config(Config::default().open_timeout(short));
    let error = connect_stream(target).unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Tls)), "{error:?}");
    assert!(start.elapsed() >= short);
    let stream = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    let start = Instant::now();
    let late = TlsStream::client(stream, &client, "localhost", Some(short)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= short);
    for _ in 0..2 {
        let (mut peer, _) = listening.accept().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn a_peer_that_leaves_within_the_handshake_is_an_error_and_one_that_says_nothing_is_none() {
    let (client, server) = shared();
    let echo = Echo::start(server, Config::default());
    drop(TcpStream::connect(echo.addr).unwrap());
    let mut half = TcpStream::connect(echo.addr).unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    drop(half);
    assert!(echo.error().contains("ended the connection within the TLS handshake"));
    echo.stop();

    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://{}/", listening.local_addr().unwrap());
    let leaving = thread::spawn(move || drop(listening.accept().unwrap()));
    let error = connect_stream(Target::new(url).unwrap().tls(client)).unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Eof)), "{error:?}");
    leaving.join().unwrap();
}

/// A client of rustls' own, which has upgraded by hand.
fn upgraded_by_hand(config: Arc<ClientConfig>, tcp: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let mut stream = StreamOwned::new(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap(), tcp);
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream
}

/// A text message from a client, masked with zeros.
fn text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[test]
fn what_comes_is_read_and_answered_while_a_peer_that_takes_nothing_stalls_the_writer() {
    const SIZE: usize = 1 << 20;
    const COUNT: usize = 24;
    let (client, server) = trust();
    let (here, there) = pair();
    let accepting = thread::spawn(move || {
        let (texts, received) = mpsc::channel();
        let (sockets, socket) = mpsc::channel();
        let acceptor = Acceptor::new(move |_: &Request| {
            let (texts, sockets) = (texts.clone(), sockets.clone());
            let listener = listener().on_open(move |socket| sockets.send(socket.clone()));
            Response::websocket(listener.on_message(move |_, message| texts.send(message.into_owned())))
        });
        let acceptor = acceptor.config(Config::default().max_queued(2 * COUNT * SIZE));
        let stream = TlsStream::server(here, &server.into()).unwrap();
        (thread::spawn(move || acceptor.accept(stream, None)), socket, received)
    });
    let (driving, socket, received) = accepting.join().unwrap();
    let mut peer = upgraded_by_hand(client, there);
    let socket = socket.recv_timeout(PATIENCE).unwrap();
    for index in 0..COUNT {
        socket.send(vec![index as u8; SIZE]).unwrap();
    }
    while socket.buffered() > (COUNT - 1) * SIZE {
        thread::yield_now();
    }
    // The writer is stuck by now, or soon is. Each of these wants an answer of TLS.
    for index in 0..20 {
        peer.conn.refresh_traffic_keys().unwrap();
        peer.write_all(&text(&index.to_string())).unwrap();
        let OwnedMessage::Text(came) = received.recv_timeout(PATIENCE).unwrap() else { panic!() };
        assert_eq!(came, index.to_string());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(socket.buffered() > 0, "the peer's buffers have taken all");
    // All of it comes, in its order: the records and the new keys between them.
    for index in 0..COUNT {
        let mut header = [0; 10];
        peer.read_exact(&mut header).unwrap();
        assert_eq!(header, [0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        let mut payload = vec![0; SIZE];
        peer.read_exact(&mut payload).unwrap();
        assert!(payload.iter().all(|byte| *byte == index as u8), "message {index}");
    }
    socket.abort();
    driving.join().unwrap();
}

/// A stream whose writes wait at a gate, once there is one.
struct Gated {
    tcp: TcpStream,
    gate: Mutex<Option<Gate>>,
}

/// Says that a write has come, and when it may go on.
type Gate = (mpsc::Sender<()>, Receiver<()>);

impl Stream for Gated {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &self.tcp, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((came, may_go)) = self.gate.lock().unwrap().take() {
            came.send(()).unwrap();
            may_go.recv().unwrap();
        }
        Write::write(&mut &self.tcp, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.tcp.shutdown(how)
    }
}

#[test]
fn who_reads_does_not_wait_for_a_write_that_is_stuck_and_what_it_has_to_say_leaves_behind_that() {
    let (client, server) = trust();
    let (here, there) = pair();
    let agreeing = thread::spawn(move || {
        let stream = TlsStream::server(Gated { tcp: here, gate: Mutex::default() }, &server.into()).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 1);
        Arc::new(stream)
    });
    let mut peer = StreamOwned::new(ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap(), there);
    peer.write_all(b"x").unwrap();
    let stream = agreeing.join().unwrap();
    let ((comes, came), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    *stream.get_ref().gate.lock().unwrap() = Some((comes, may_go));
    let writing = thread::spawn({
        let stream = stream.clone();
        move || stream.write(b"stuck").unwrap()
    });
    came.recv_timeout(PATIENCE).unwrap();
    let (tells, told) = mpsc::channel();
    let reading = thread::spawn({
        let stream = stream.clone();
        move || {
            for _ in 0..2 {
                let mut buffer = [0; 10];
                tells.send(stream.read(&mut buffer).map(|count| buffer[..count].to_vec())).unwrap();
            }
        }
    });
    peer.conn.refresh_traffic_keys().unwrap();
    peer.write_all(b"a").unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"a");
    // A record that nobody can decrypt: TLS has an alert to say.
    peer.sock
        .write_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
        .unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap_err().kind(), ErrorKind::InvalidData);
    reading.join().unwrap();
    go.send(()).unwrap();
    assert_eq!(writing.join().unwrap(), 5);
    let mut buffer = [0; 5];
    peer.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"stuck");
    peer.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    let alert = peer.read(&mut buffer).unwrap_err();
    assert!(alert.to_string().contains("received fatal alert"), "{alert}");
}

#[test]
fn what_came_before_a_failure_is_read_first() {
    let (client, server) = trust();
    let (here, mut there) = pair();
    let reading = thread::spawn(move || {
        let stream = TlsStream::server(here, &server.into()).unwrap();
        let (mut came, mut buffer) = (Vec::new(), [0; 10]);
        loop {
            match stream.read(&mut buffer) {
                Ok(count) => came.extend_from_slice(&buffer[..count]),
                Err(error) => return (came, error.kind()),
            }
        }
    });
    let mut peer = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    while peer.is_handshaking() {
        peer.complete_io(&mut there).unwrap();
    }
    let mut record = |bytes: &[u8]| {
        let mut record = Vec::new();
        peer.writer().write_all(bytes).unwrap();
        peer.write_tls(&mut record).unwrap();
        record
    };
    // In one read: a good record, and one that nobody can decrypt.
    let (good, mut spoiled) = (record(b"good"), record(b"spoiled"));
    *spoiled.last_mut().unwrap() ^= 1;
    there.write_all(&[good, spoiled].concat()).unwrap();
    let (came, failure) = reading.join().unwrap();
    assert_eq!((&*came, failure), (&b"good"[..], ErrorKind::InvalidData));
}

#[test]
fn tls_goes_through_tls() {
    let (client, server) = shared();
    let (here, there) = pair();
    let (outer, inner) = (trust_of(trust()), server);
    let accepting = thread::spawn(move || {
        let stream = TlsStream::server(TlsStream::server(here, &outer.1).unwrap(), &inner).unwrap();
        let echo = |_: &Request| Response::websocket(listener().on_message(|socket, message| socket.send(message)));
        Acceptor::new(echo).on_error(|error| panic!("{error}")).accept(stream, None);
    });
    let stream = TlsStream::client(there, &outer.0, "localhost", Some(PATIENCE)).unwrap();
    let stream = TlsStream::client(stream, &client, "localhost", Some(PATIENCE)).unwrap();
    let (texts, received) = mpsc::channel();
    let listener = listener().on_message(move |_, message| texts.send(message.into_owned()));
    let mut client = connect_over("wss://localhost/", stream, listener).unwrap();
    for size in [1, 100_000] {
        client.socket().send(vec![7; size]).unwrap();
        assert!(received.recv_timeout(PATIENCE).unwrap() == vec![7; size]);
    }
    assert!(client.close().clean);
    accepting.join().unwrap();
}

/// A stream that takes a part of what it is given, or nothing now, by turns; and brings what it brings in pieces.
struct Whimsical {
    tcp: TcpStream,
    turn: AtomicUsize,
}

impl Whimsical {
    fn piece(&self, length: usize) -> io::Result<usize> {
        const PIECES: [usize; 7] = [1, 0, 7, 1000, 0, 5, 20_000];
        match PIECES[self.turn.fetch_add(1, Ordering::Relaxed) % PIECES.len()] {
            0 => Err(ErrorKind::WouldBlock.into()),
            piece => Ok(piece.min(length)),
        }
    }
}

impl Stream for Whimsical {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.piece(buffer.len())?;
        Read::read(&mut &self.tcp, &mut buffer[..length])
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &self.tcp, &bytes[..self.piece(bytes.len())?])
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.tcp.shutdown(how)
    }
}

/// Until all of it was taken: what did not fit is offered again.
fn write_all(stream: &impl Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        match stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

fn read_exact(stream: &impl Stream, count: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 3000]);
    while all.len() < count {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the end after {}", all.len()),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    all
}

#[test]
fn no_byte_is_lost_or_comes_twice_whatever_the_stream_takes_and_brings() {
    const COUNT: u32 = 300_000;
    let (client, server) = shared();
    let (here, there) = pair();
    let sent: Vec<u8> = (0..COUNT).map(|index| (index.wrapping_mul(index) >> 5) as u8).collect();
    let serving = thread::spawn(move || {
        let stream = TlsStream::server(Whimsical { tcp: here, turn: AtomicUsize::new(3) }, &server).unwrap();
        write_all(&stream, &read_exact(&stream, COUNT as usize));
        stream
    });
    let stream = Whimsical { tcp: there, turn: AtomicUsize::new(0) };
    let stream = TlsStream::client(stream, &client, "localhost", Some(PATIENCE)).unwrap();
    write_all(&stream, &sent);
    assert!(read_exact(&stream, COUNT as usize) == sent);
    drop(serving.join().unwrap());
}

#[test]
fn a_stream_that_was_shut_here_ends_and_one_that_was_cut_off_there_fails() {
    let (client, server) = shared();
    for cut in [false, true] {
        let (here, there) = pair();
        let server = server.clone();
        let serving = thread::spawn(move || {
            let stream = TlsStream::server(here, &server).unwrap();
            let mut buffer = [0; 10];
            assert_eq!(stream.read(&mut buffer).unwrap(), 1);
            (stream.read(&mut buffer).map_err(|error| error.kind()), stream)
        });
        let stream = TlsStream::client(there, &client, "localhost", Some(PATIENCE)).unwrap();
        stream.write(b"x").unwrap();
        if cut {
            stream.get_ref().shutdown(Shutdown::Write).unwrap();
        } else {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let (end, stream_there) = serving.join().unwrap();
        assert_eq!(end, if cut { Err(ErrorKind::UnexpectedEof) } else { Ok(0) });
        // Ours is open, until we close it.
        let stream = Arc::new(stream);
        let reading = thread::spawn({
            let stream = stream.clone();
            move || stream.read(&mut [0; 10])
        });
        thread::sleep(Duration::from_millis(20));
        Stream::shutdown(&*stream, Shutdown::Read).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 0);
        drop(stream_there);
    }
}

#[test]
fn a_conversation_over_streams_that_take_and_bring_what_they_like_loses_nothing() {
    const COUNT: usize = 150;
    let (client, server) = shared();
    let (here, there) = pair();
    let payload = |index: usize| vec![index as u8; index * index * 7 % 20_000];
    let serving = thread::spawn(move || {
        let echo = |_: &Request| Response::websocket(listener().on_message(|socket, message| socket.send(message)));
        let stream = TlsStream::server(Whimsical { tcp: here, turn: AtomicUsize::new(2) }, &server).unwrap();
        Acceptor::new(echo).on_error(|error| panic!("{error}")).accept(stream, None);
    });
    let stream = Whimsical { tcp: there, turn: AtomicUsize::new(0) };
    let stream = TlsStream::client(stream, &client, "localhost", Some(PATIENCE)).unwrap();
    let (messages, _) = connect_stream_over("wss://localhost/", stream).unwrap();
    let (mut sender, mut receiver) = messages.split();
    let sending = thread::spawn(move || {
        (0..COUNT).for_each(|index| sender.send(payload(index)).unwrap());
        sender
    });
    for index in 0..COUNT {
        assert!(receiver.recv_timeout(PATIENCE).unwrap().unwrap() == payload(index), "message {index}");
    }
    let closed = sending.join().unwrap().close();
    assert!(closed.clean, "{closed:?}");
    serving.join().unwrap();
}
