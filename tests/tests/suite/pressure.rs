//! Peers that never pause, output that never ends, callbacks that take long: deadlines and reading go on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire::proto::client::HandshakeError;
use bellwire::{ConnectError, Response, Role, SendError, WebSocket, listener};
use bellwire_tests::{
    BINARY, Backend, Connect, Event, Frame, Ours, PATIENCE, Raw, Setup, backends, echo, next, quiet, within,
};

backends! {
    server {
        a_half_close_behind_a_close_frame_loses_nothing,
        d5_i12_an_abort_stops_what_is_being_written,
    }
    client {
        t1_i1_a_refusal_that_breaks_off_is_still_told,
    }
    pair {
        two_of_us_move_much_without_waiting_for_each_other,
        d17_a_deadline_of_any_length_is_taken,
    }
    both {
        d6_t4_the_close_timeout_holds_against_a_flood,
        d17_the_linger_timeout_holds_against_a_flood,
        completions_that_send_without_end_let_messages_through,
        d17_keepalive_spares_a_peer_while_a_callback_takes_long,
    }
}

/// Sends the same bytes until the other side has had enough.
fn flood(stream: TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    thread::spawn(move || while (&stream).write_all(&bytes).is_ok() {})
}

fn d6_t4_the_close_timeout_holds_against_a_flood<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().close_timeout(Duration::from_millis(200));
    let listener = listener().on_message(|socket, _| socket.close());
    let Ours { log, peer, .. } = Ours::raw(&backend, role, config, listener);
    let message = Frame::new(BINARY, vec![0; 1000]).encode(role == Role::Server);
    let flood = flood(peer.into_inner(), message.repeat(50));
    let events = log.rest();
    assert!(events.ends_with(&[Event::error("close timeout"), Event::close(1006, "")]), "{events:?}");
    within("the end of the flood", || flood.join().unwrap());
}

fn d17_the_linger_timeout_holds_against_a_flood<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().linger_timeout(Duration::from_millis(200));
    let Ours { mut peer, .. } = Ours::raw(&backend, role, config, listener());
    // A reserved bit.
    peer.write(b"\xc1\x80\0\0\0\0");
    let flood = flood(peer.into_inner(), vec![0; 50_000]);
    within("the end of the flood", || flood.join().unwrap());
}

fn completions_that_send_without_end_let_messages_through<B: Backend>(role: Role) {
    fn go_on(socket: &WebSocket) {
        let next = socket.clone();
        socket.send_with(vec![b'x'; 1000], move |result| {
            if result.is_ok() {
                go_on(&next);
            }
        });
    }
    let backend = B::start();
    let (messages, message) = mpsc::channel();
    let listener = listener().on_open(go_on).on_message(move |socket, _| {
        socket.abort();
        messages.send(()).unwrap();
    });
    let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    let mut reader = peer.twin().into_inner();
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(reader.read(&mut buffer), Ok(1..)) {}
    });
    peer.send([Frame::text("stop")]);
    next(&message);
    within("the end of the output", || reading.join().unwrap());
}

fn two_of_us_move_much_without_waiting_for_each_other<B: Backend>() {
    const COUNT: usize = 1000;
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let received = Arc::new(AtomicUsize::new(0));
    let (all, done) = mpsc::channel();
    let counter = received.clone();
    let client = backend.connect(
        Connect::to(server.url("/")),
        listener().on_message(move |_, _| {
            if counter.fetch_add(1, Ordering::SeqCst) + 1 == COUNT {
                all.send(()).unwrap();
            }
        }),
    );
    let socket = client.unwrap().socket;
    for _ in 0..COUNT {
        // As much as there is room for, whatever comes back meanwhile.
        while let Err(error) = socket.send(vec![7; 50_000]) {
            assert_eq!(error, SendError::Full, "{} came back", received.load(Ordering::SeqCst));
            thread::yield_now();
        }
    }
    next(&done);
}

fn d17_keepalive_spares_a_peer_while_a_callback_takes_long<B: Backend>(role: Role) {
    let backend = B::start();
    let short = Duration::from_millis(100);
    let config = quiet().keepalive_interval(short).pong_timeout(short);
    let listener = listener().on_message(|socket, message| {
        // What is tested is that this takes longer than all deadlines.
        thread::sleep(Duration::from_millis(600));
        socket.send(message)
    });
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, config, listener);
    // With this the blocking backend has its second thread.
    socket.send("from elsewhere").unwrap();
    peer.expect([Frame::text("from elsewhere")]);
    peer.send([Frame::text("work")]);
    loop {
        match peer.read() {
            frame if frame == Frame::text("work") => break,
            frame if frame.opcode == bellwire_tests::PING => {
                peer.send([Frame::new(bellwire_tests::PONG, frame.payload)]);
            }
            frame => panic!("{frame:?}"),
        }
    }
    peer.send([Frame::close(1000, "")]);
    let events = log.rest();
    assert!(events.ends_with(&[Event::close(1000, "")]), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Error(_))), "{events:?}");
}

fn d17_a_deadline_of_any_length_is_taken<B: Backend>() {
    let backend = B::start();
    let config = || {
        quiet()
            .open_timeout(Duration::MAX)
            .close_timeout(Duration::MAX)
            .keepalive_interval(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .linger_timeout(Duration::MAX)
    };
    let server = backend.serve_logged(config(), echo);
    let (messages, message) = mpsc::channel();
    let client = backend.connect(
        Connect::to(server.url("/")).config(config()),
        listener().on_message(move |_, message| messages.send(message.into_owned()).unwrap()),
    );
    let client = client.unwrap();
    for text in ["a", "b", "c"] {
        client.socket.send(text).unwrap();
        assert_eq!(next(&message), text);
    }
    client.socket.close().unwrap();
    assert!(client.closed().clean);
}

fn a_half_close_behind_a_close_frame_loses_nothing<B: Backend>() {
    const LARGE: usize = 16 * 1024 * 1024;
    let backend = B::start();
    // So that the close frame is read while the answer is on its way.
    let config = quiet().max_queued(2 * LARGE).watermarks(LARGE, 2 * LARGE);
    let server = backend.serve_logged(config, || listener().on_message(|socket, _| socket.send(vec![1; LARGE])));
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("much"), Frame::close(1000, "")]);
    client.shutdown_write();
    let log = server.log();
    log.expect([Event::Open, Event::text("much"), Event::close(1000, "")]);
    assert!(client.read() == Frame::new(BINARY, vec![1; LARGE]), "all of it");
    client.expect([Frame::close(1000, "")]);
    client.expect_end();
    assert_eq!(log.rest(), []);
}

fn d5_i12_an_abort_stops_what_is_being_written<B: Backend>() {
    const LARGE: usize = 256 * 1024 * 1024;
    let backend = B::start();
    let (sockets, socket) = mpsc::channel::<WebSocket>();
    let server = backend.serve(Setup::default(), move |_| {
        let sockets = sockets.clone();
        Response::websocket(
            listener()
                .on_open(move |socket| sockets.send(socket.clone()).unwrap())
                .on_message(|socket, _| socket.send(vec![1; LARGE])),
        )
    });
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("much")]);
    let mut stream = client.into_inner();
    let mut buffer = vec![0; 64 * 1024];
    stream.read_exact(&mut buffer).unwrap();
    next(&socket).abort();
    let mut rest = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        rest += count;
    }
    assert!(rest < LARGE / 2, "{rest} bytes came behind the abort");
}

fn t1_i1_a_refusal_that_breaks_off_is_still_told<B: Backend>() {
    let backend = B::start();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listening.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listening.accept().unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno").unwrap();
        // What it does not read of the request makes its end a reset, behind what it has sent.
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
    });
    let result = backend.connect(Connect::to(format!("ws://{addr}/")), listener());
    server.join().unwrap();
    match result.map(|client| client.socket) {
        Err(ConnectError::Handshake(HandshakeError::Refused(response))) => {
            assert_eq!((response.status(), response.body()), (403, &b"no"[..]));
        }
        other => panic!("{other:?}"),
    }
}
