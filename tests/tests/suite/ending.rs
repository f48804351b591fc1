//! How connections end: the invariant 1.13, whatever dies. Every [`Log`] checks the order of its events
//! besides; that it ends means that the driver is gone, so that nothing can come any more.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::{Closures, Outcome, Request, SendError, Side, WebSocket, listener};
use bellwire_tests::{
    Backend, Connect, Event, Frame, Log, PING, PONG, Raw, Server, Setup, Theirs, backends, echo, logged,
    logged_handler, next, quiet, upgrade_request,
};

backends! {
    d8_a_callback_that_fails_closes_with_1011_and_tells_only_the_listener,
    d8_a_clients_callback_that_fails_closes_with_1011,
    d8_on_close_comes_although_on_error_panics,
    d8_a_panic_in_on_close_is_reported_and_the_server_goes_on,
    a_peer_that_vanishes_is_one_error_and_one_1006,
    a_peer_that_vanishes_inside_a_frame_is_one_error_and_one_1006,
    a_peer_that_resets_is_one_error_and_one_1006,
    a_server_that_vanishes_is_one_error_and_one_1006,
    a_violation_closes_with_1002_and_ends_at_once,
    d4_a_peer_that_vanishes_after_a_local_close_is_1006_by_this_side,
    d5_what_was_sent_before_a_close_leaves_before_it,
    d6_a_silent_peer_is_dropped_after_the_close_timeout,
    d6_a_silent_server_is_dropped_after_the_close_timeout,
    d6_a_close_is_not_stuck_behind_a_stalled_writer,
    d7_messages_after_a_local_close_are_not_delivered,
    d10_a_socket_that_is_closed_says_so,
    abort_drops_the_connection_without_a_word,
    abort_in_a_callback_ends_the_connection_behind_it,
    the_transport_ends_behind_the_closing_handshake,
    a_close_races_with_sends_and_all_that_was_accepted_arrives,
    shutdown_closes_everybody_with_1001,
    shutdown_drops_those_who_do_not_answer,
    shutdown_cuts_those_who_have_not_asked_for_anything,
    shutdown_wakes_an_idle_server,
    shutdown_reaches_a_connection_with_a_stalled_peer,
}

/// A server whose connections give their sockets to the test.
fn with_sockets<B: Backend>(backend: &B, make: fn() -> Closures) -> (Server, mpsc::Receiver<WebSocket>) {
    with_sockets_and(backend, quiet(), make)
}

fn with_sockets_and<B: Backend>(
    backend: &B,
    config: bellwire::Config,
    make: fn() -> Closures,
) -> (Server, mpsc::Receiver<WebSocket>) {
    let (sockets, receiver) = mpsc::channel();
    let server = backend.serve_logged(config, move || {
        let sockets = sockets.clone();
        make().on_open(move |socket| sockets.send(socket.clone()).unwrap())
    });
    (server, receiver)
}

fn error_or_panic(request: &Request) -> impl Fn() -> Outcome + Send + 'static {
    let panics = request.query() == Some("panic");
    move || if panics { panic!("secret") } else { Err("secret".into()) }
}

fn d8_a_callback_that_fails_closes_with_1011_and_tells_only_the_listener<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|request| {
        let fail = error_or_panic(request);
        match request.path() {
            "/open" => listener().on_open(move |_| fail()),
            "/message" => listener().on_message(move |_, _| fail()),
            "/ping" => listener().on_ping(move |_, _| fail()),
            "/pong" => listener().on_pong(move |_, _| fail()),
            path => unreachable!("{path}"),
        }
    });
    let server = backend.serve(Setup::default(), handler);
    for (path, frame, event) in [
        ("/open", None, None),
        ("/message", Some(Frame::text("x")), Some(Event::text("x"))),
        ("/ping", Some(Frame::new(PING, "x")), Some(Event::Ping(b"x".into()))),
        ("/pong", Some(Frame::new(PONG, "x")), Some(Event::Pong(b"x".into()))),
    ] {
        for (query, error) in [("error", "A callback failed: secret"), ("panic", "A callback panicked: secret")] {
            let mut bytes = upgrade_request(&format!("{path}?{query}"), &[]);
            // What follows in the same read is not delivered any more.
            for frame in frame.iter().chain([&Frame::text("more"), &Frame::new(PING, "more")]) {
                bytes.extend(frame.encode(true));
            }
            let mut client = Raw::open_with(server.addr, &bytes);
            client.expect([Frame::close(1011, "Unexpected Error")]);
            client.expect_end();
            let end = [Event::error(error), Event::close(1011, "Unexpected Error")];
            logs.next().ends_with([Event::Open].into_iter().chain(event.clone()).chain(end));
        }
    }
}

fn d8_a_clients_callback_that_fails_closes_with_1011<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || listener().on_open(|socket| socket.send("x")));
    let (listener, log) = logged(listener().on_message(|_, _| Err::<(), _>("secret")));
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    assert_eq!(client.closed().code, 1011);
    let end = Event::close(1011, "Unexpected Error");
    log.ends_with([Event::Open, Event::text("x"), Event::error("A callback failed: secret"), end.clone()]);
    server.log().ends_with([Event::Open, end]);
}

fn d8_on_close_comes_although_on_error_panics<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || {
        listener().on_message(|_, _| Err::<(), _>("first")).on_error(|_, _| -> () { panic!("second") })
    });
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("x")]);
    client.expect([Frame::close(1011, "Unexpected Error")]);
    client.expect_end();
    server.log().ends_with([
        Event::Open,
        Event::text("x"),
        Event::error("A callback failed: first"),
        Event::close(1011, "Unexpected Error"),
    ]);
    assert!(next(&server.reports).text.contains("second"));
}

fn d8_a_panic_in_on_close_is_reported_and_the_server_goes_on<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || echo().on_close(|_, _, _| -> () { panic!("at the end") }));
    for _ in 0..2 {
        let mut client = Raw::open(server.addr);
        client.send([Frame::text("x"), Frame::close(1000, "")]);
        client.expect([Frame::text("x"), Frame::close(1000, "")]);
        client.expect_end();
        server.log().ends_with([Event::Open, Event::text("x"), Event::close(1000, "")]);
        assert!(next(&server.reports).text.contains("at the end"));
    }
}

/// Half of it is more than any buffer on the way takes.
const LARGE: usize = 128 * 1024 * 1024;

const VANISHED: &str = "The peer ended the transport without a close frame";

fn a_peer_that_vanishes_is_one_error_and_one_1006<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    drop(Raw::open(server.addr));
    server.log().ends_with([Event::Open, Event::error(VANISHED), Event::close(1006, "")]);

    // It says that no more comes, and stays.
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("last words")]);
    client.shutdown_write();
    let vanished = [Event::error(VANISHED), Event::close(1006, "")];
    server.log().ends_with([Event::Open, Event::text("last words")].into_iter().chain(vanished));
}

fn a_peer_that_vanishes_inside_a_frame_is_one_error_and_one_1006<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let whole = Frame::text("whole").encode(true);
    for end in 1..whole.len() {
        let mut client = Raw::open(server.addr);
        client.send([Frame::text("x")]);
        client.expect([Frame::text("x")]);
        client.write(&whole[..end]);
        drop(client);
        let vanished = [Event::error(VANISHED), Event::close(1006, "")];
        server.log().ends_with([Event::Open, Event::text("x")].into_iter().chain(vanished));
    }
}

fn a_peer_that_resets_is_one_error_and_one_1006<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || listener().on_open(|socket| socket.send("unread")));
    let client = Raw::open(server.addr);
    // What is closed with something unread in it is reset.
    client.wait_unread();
    drop(client);
    let events = server.log().rest();
    let [Event::Open, Event::Error(error), Event::Close(1006, reason)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert!(error.starts_with("The transport failed: "), "{error}");
    assert_eq!(reason, "");
}

fn a_server_that_vanishes_is_one_error_and_one_1006<B: Backend>() {
    let backend = B::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let mut raw = Raw::accept(&server);
        raw.write(&raw.switching(&[]));
    });
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(url), listener).unwrap();
    let closed = client.closed();
    assert_eq!((closed.code.0, closed.clean, closed.by), (1006, false, Side::Peer));
    log.ends_with([Event::Open, Event::error(VANISHED), Event::close(1006, "")]);
    peer.join().unwrap();
}

fn a_violation_closes_with_1002_and_ends_at_once<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let mut client = Raw::open(server.addr);
    let mut bytes = Frame::text("good").encode(true);
    bytes.extend(Frame::text("not masked").encode(false));
    bytes.extend([b'x'; 100 * 1024]);
    client.write(&bytes);
    client.expect([Frame::text("good"), Frame::close(1002, "Client frame not masked")]);
    client.expect_end();
    let text = "Client frame not masked";
    server.log().ends_with([Event::Open, Event::text("good"), Event::error(text), Event::close(1002, text)]);
}

fn d4_a_peer_that_vanishes_after_a_local_close_is_1006_by_this_side<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets(&backend, listener);
    let mut client = Raw::open(server.addr);
    let socket = next(&sockets);
    socket.close_with(4000, "enough").unwrap();
    client.expect([Frame::close(4000, "enough")]);
    drop(client);
    server.log().ends_with([Event::Open, Event::error(VANISHED), Event::close(1006, "")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (false, Side::Local));
}

fn d5_what_was_sent_before_a_close_leaves_before_it<B: Backend>() {
    let backend = B::start();
    let large = vec![7; 300_000];
    let server = backend.serve_logged(quiet(), {
        let large = large.clone();
        move || {
            let large = large.clone();
            listener().on_open(move |socket| {
                socket.send("first")?;
                socket.send(large.clone())?;
                socket.ping("x")?;
                socket.send("last")?;
                socket.close_with(1001, "leaving")
            })
        }
    });
    let mut client = Theirs::connect(server.addr);
    assert_eq!(client.read(), "first".into());
    assert_eq!(client.read(), large.into());
    assert!(client.read().is_ping());
    assert_eq!(client.read(), "last".into());
    assert_eq!(client.read_close(), Some((1001, "leaving".into())));
    // The peer's pong came after the close, and control frames are still delivered.
    let events = server.log().rest();
    assert_eq!(events.last(), Some(&Event::close(1001, "leaving")));
}

fn d6_a_silent_peer_is_dropped_after_the_close_timeout<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets_and(&backend, quiet().close_timeout(Duration::from_millis(50)), listener);
    let mut client = Raw::open(server.addr);
    next(&sockets).close_with(3000, "answer me").unwrap();
    client.expect([Frame::close(3000, "answer me")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::error("Close Timeout"), Event::close(1006, "")]);

    // From inside of a callback, too.
    let server = backend
        .serve_logged(quiet().close_timeout(Duration::from_millis(50)), || listener().on_open(|socket| socket.close()));
    let mut client = Raw::open(server.addr);
    client.expect([Frame::close(1000, "Normal Closure")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::error("Close Timeout"), Event::close(1006, "")]);
}

fn d6_a_silent_server_is_dropped_after_the_close_timeout<B: Backend>() {
    let backend = B::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let mut raw = Raw::accept(&server);
        raw.write(&raw.switching(&[]));
        raw.expect([Frame::close(1000, "Normal Closure")]);
        raw.expect_end();
    });
    let (listener, log) = logged(listener());
    let connect = Connect::to(url).config(quiet().close_timeout(Duration::from_millis(50)));
    let client = backend.connect(connect, listener).unwrap();
    client.socket.close().unwrap();
    assert_eq!(client.closed().code, 1006);
    log.ends_with([Event::Open, Event::error("Close Timeout"), Event::close(1006, "")]);
    peer.join().unwrap();
}

fn d6_a_close_is_not_stuck_behind_a_stalled_writer<B: Backend>() {
    let backend = B::start();
    let (server, sockets) =
        with_sockets_and(&backend, quiet().close_timeout(Duration::from_millis(100)).max_queued(LARGE), listener);
    let client = Raw::open(server.addr);
    let socket = next(&sockets);
    socket.send(vec![0; LARGE / 2]).unwrap();
    client.wait_unread();
    socket.close().unwrap();
    assert!(!socket.is_open());
    server.log().ends_with([Event::Open, Event::error("Close Timeout"), Event::close(1006, "")]);
    drop(client);
}

fn d7_messages_after_a_local_close_are_not_delivered<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || listener().on_message(|socket, _| socket.close()));
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "done")]);
    client.expect([Frame::close(1000, "Normal Closure")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::text("1"), Event::close(1000, "done")]);
}

fn d10_a_socket_that_is_closed_says_so<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets(&backend, listener);
    let mut client = Raw::open(server.addr);
    let socket = next(&sockets);
    assert!(socket.is_open());
    assert_eq!(socket.closed(), None);
    client.send([Frame::close(4000, "bye")]);
    client.expect([Frame::close(4000, "bye")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::close(4000, "bye")]);
    assert!(!socket.is_open());
    assert_eq!(socket.send("late"), Err(SendError::Closed));
    assert_eq!(socket.ping("late"), Err(SendError::Closed));
    assert_eq!(socket.close(), Err(SendError::Closed));
    let (outcomes, outcome) = mpsc::channel();
    socket.send_with("late", move |result| outcomes.send(result).unwrap());
    assert_eq!(next(&outcome), Err(SendError::Closed));
    let closed = socket.closed().unwrap();
    assert_eq!((closed.code.0, closed.reason.as_str(), closed.clean, closed.by), (4000, "bye", true, Side::Peer));
    assert_eq!(socket.buffered(), 0);
    socket.abort();
}

fn abort_drops_the_connection_without_a_word<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets(&backend, listener);
    let client = Raw::open(server.addr);
    let socket = next(&sockets);
    socket.abort();
    assert!(!socket.is_open());
    // No frame.
    client.expect_end();
    server.log().ends_with([Event::Open, Event::close(1006, "")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (false, Side::Local));
}

fn abort_in_a_callback_ends_the_connection_behind_it<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || {
        listener().on_message(|socket, _| {
            socket.abort();
            // D10: late is not wrong.
            socket.send("never seen")
        })
    });
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("1"), Frame::text("2")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::text("1"), Event::close(1006, "")]);
}

fn the_transport_ends_behind_the_closing_handshake<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets(&backend, echo);
    // The peer closes, and goes on talking: its close is answered all the same, and no reset destroys the answer.
    let mut client = Raw::open(server.addr);
    let mut bytes = Frame::close(1000, "bye").encode(true);
    bytes.extend([b'x'; 100 * 1024]);
    client.write(&bytes);
    client.expect([Frame::close(1000, "bye")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::close(1000, "bye")]);
    next(&sockets);

    // This side closes, and the peer answers.
    let mut client = Raw::open(server.addr);
    next(&sockets).close().unwrap();
    client.expect([Frame::close(1000, "Normal Closure")]);
    client.send([Frame::close(1000, "Normal Closure")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::close(1000, "Normal Closure")]);
}

fn a_close_races_with_sends_and_all_that_was_accepted_arrives<B: Backend>() {
    let backend = B::start();
    // Who reads slowly may answer late.
    let (server, sockets) = with_sockets_and(&backend, quiet().close_timeout(None), listener);
    for round in 0..10 {
        let mut client = Raw::open(server.addr);
        let socket = next(&sockets);
        let (first, firsts) = mpsc::channel();
        let senders = [0, 1].map(|sender| {
            let (socket, first) = (socket.clone(), first.clone());
            thread::spawn(move || {
                let mut index = 0;
                loop {
                    match socket.send(format!("{sender}:{index}")) {
                        Ok(()) => index += 1,
                        // The closing thread may be slow, and the queue has an end.
                        Err(SendError::Full) => thread::yield_now(),
                        Err(SendError::Closed) => return index,
                        Err(other) => panic!("{other}"),
                    }
                    if index == 1 {
                        first.send(()).unwrap();
                    }
                }
            })
        });
        let closing = thread::spawn({
            let socket = socket.clone();
            move || {
                next(&firsts);
                next(&firsts);
                socket.close_with(3000, "raced")
            }
        });
        let mut arrived = [0; 2];
        loop {
            let frame = client.read();
            if frame == Frame::close(3000, "raced") {
                break;
            }
            // No frame is torn, and each sender's messages come in order.
            let text = String::from_utf8(frame.payload).unwrap();
            let (sender, index) = text.split_once(':').unwrap();
            let count = &mut arrived[sender.parse::<usize>().unwrap()];
            assert_eq!(index, count.to_string(), "round {round}, sender {sender}");
            *count += 1;
        }
        client.send([Frame::close(3000, "raced")]);
        client.expect_end();
        assert_eq!(closing.join().unwrap(), Ok(()));
        assert_eq!(arrived, senders.map(|sender| sender.join().unwrap()), "what was accepted before the close");
        server.log().ends_with([Event::Open, Event::close(3000, "raced")]);
    }
}

const SHUTDOWN: &str = "Server Shutdown";

fn open<B: Backend>(_: &B, server: &Server) -> (Raw, Log) {
    let client = Raw::open(server.addr);
    let log = server.log();
    log.expect([Event::Open]);
    (client, log)
}

fn shutdown_closes_everybody_with_1001<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (clients, logs): (Vec<_>, Vec<_>) = (0..3).map(|_| open(&backend, &server)).unzip();
    let clients: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                client.expect([Frame::close(1001, SHUTDOWN)]);
                client.send([Frame::close(1001, SHUTDOWN)]);
                client.expect_end();
            })
        })
        .collect();
    assert_eq!(server.shutdown(bellwire_tests::PATIENCE), 0);
    server.wait();
    for client in clients {
        client.join().unwrap();
    }
    for log in logs {
        log.ends_with([Event::close(1001, SHUTDOWN)]);
    }
    assert!(TcpStream::connect(server.addr).is_err(), "it does not listen any more");
    assert_eq!(server.shutdown(bellwire_tests::PATIENCE), 0, "there is nothing left");
}

fn shutdown_drops_those_who_do_not_answer<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (mut first, first_log) = open(&backend, &server);
    let (mut second, second_log) = open(&backend, &server);
    let (mut polite, polite_log) = open(&backend, &server);
    let polite = thread::spawn(move || {
        polite.expect([Frame::close(1001, SHUTDOWN)]);
        polite.send([Frame::close(4001, "as you wish")]);
        polite.expect_end();
    });
    assert_eq!(server.shutdown(Duration::from_millis(200)), 2);
    server.wait();
    polite.join().unwrap();
    polite_log.ends_with([Event::close(4001, "as you wish")]);
    for (client, log) in [(&mut first, first_log), (&mut second, second_log)] {
        client.expect([Frame::close(1001, SHUTDOWN)]);
        assert!(client.try_read().is_ok_and(|frame| frame.is_none()), "the end");
        log.ends_with([Event::close(1006, "")]);
    }
}

fn shutdown_cuts_those_who_have_not_asked_for_anything<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let silent = TcpStream::connect(server.addr).unwrap();
    let mut slow = TcpStream::connect(server.addr).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    // Those who come first are accepted first.
    let (mut client, log) = open(&backend, &server);
    client.send([Frame::close(1000, "")]);
    client.expect([Frame::close(1000, "")]);
    client.expect_end();
    log.ends_with([Event::close(1000, "")]);

    assert_eq!(server.shutdown(bellwire_tests::PATIENCE), 0, "they do not count");
    server.wait();
    for stream in [silent, slow] {
        stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
        let mut raw = Raw::upgraded(stream, true);
        match raw.try_read() {
            Ok(None) => {}
            // What it had sent may not have been read yet.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
}

fn shutdown_wakes_an_idle_server<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    assert_eq!(server.shutdown(bellwire_tests::PATIENCE), 0);
    server.wait();
    assert!(TcpStream::connect(server.addr).is_err(), "it does not listen any more");
}

fn shutdown_reaches_a_connection_with_a_stalled_peer<B: Backend>() {
    let backend = B::start();
    let (server, sockets) = with_sockets_and(&backend, quiet().max_queued(LARGE), listener);
    let (client, log) = open(&backend, &server);
    let socket = next(&sockets);
    let (outcomes, outcome) = mpsc::channel();
    socket.send_with(vec![0; LARGE / 2], move |result| outcomes.send(result).unwrap());
    client.wait_unread();
    assert_eq!(server.shutdown(Duration::from_millis(100)), 1);
    server.wait();
    log.ends_with([Event::close(1006, "")]);
    assert_eq!(next(&outcome), Err(SendError::Closed));
    drop(client);
}
