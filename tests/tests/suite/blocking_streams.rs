//! A connection as a stream of messages on threads: N1 to N6 and E3 without async, and what a thread wants besides:
//! timeouts, an iterator, two halves for two threads.

// They are of one backend, and named as those of several are.
#![allow(clippy::extra_unused_type_parameters)]

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::blocking::{MessageStream, accept_stream, connect_stream, connect_stream_over};
use bellwire::proto::client::HandshakeError;
use bellwire::{
    Closed, ClosedBy, Config, ConnectError, OwnedMessage, Request, Response, Role, SendError, StreamError, Target,
};
use bellwire_tests::{
    BINARY, Backend, Frame, PATIENCE, PING, PONG, Raw, Setup, Theirs, http, logged_handler, next, quiet, request,
    roles, upgrade_request, within,
};
use tungstenite::{Error, Message as Their};

mod blocking {
    use super::*;

    roles! {
        bellwire_tests::Blocking;
        server {
            a_stream_that_was_accepted_talks_to_their_client,
            a_bad_request_is_an_error_in_words,
            a_peer_that_leaves_before_or_within_its_request_is_an_error,
            a_peer_that_says_nothing_is_an_error_when_its_time_is_over,
        }
        client {
            a_refused_handshake_is_its_error,
            a_connection_that_is_refused_is_its_error,
            a_stream_over_a_transport_of_the_callers_talks_to_a_server,
            five_lines_are_enough_for_a_question_and_its_answer,
        }
        pair {
            n1_a_stream_on_each_end,
        }
        both {
            n1_messages_go_in_and_come_out_in_order_both_ways_at_once,
            n1_their_echo_gives_every_size_back,
            n2_a_connection_error_and_a_failed_send_are_both_seen,
            n2_a_peer_that_vanishes_is_seen_by_both_halves,
            n3_ending_with_a_code_and_a_reason_closes_with_them,
            n4_closing_waits_for_the_peer_and_says_how_it_ended,
            n4_dropping_the_stream_closes_with_1000,
            n4_dropping_both_halves_closes_with_1000_and_one_does_not,
            n5_an_owner_that_panics_closes_with_1011,
            n6_an_iterator_ends_once_when_the_connection_does,
            e3_a_peer_that_does_not_read_makes_sends_wait,
            e3_a_reader_that_does_not_read_makes_the_peer_wait_and_loses_nothing,
            e3_a_close_is_answered_when_what_came_before_it_was_taken_and_answered,
            e3_a_close_is_answered_in_time_while_the_user_does_nothing,
            e3_a_close_of_ours_ends_while_nobody_takes_what_comes,
            pings_are_answered_while_the_user_only_reads,
            pings_are_answered_while_the_user_only_writes,
            pings_are_answered_while_the_user_does_nothing,
            a_ping_leaves_at_once,
            a_recv_that_times_out_loses_nothing,
            a_try_recv_takes_what_is_there_and_does_not_wait,
            a_send_that_times_out_was_not_sent,
            a_recv_is_woken_by_the_end_whoever_makes_it,
            e2_dropping_a_stream_waits_no_longer_than_the_close_timeout,
            e2_a_stream_that_a_completion_drops_waits_for_nothing,
        }
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn target(addr: SocketAddr, config: Config) -> Target {
    Target::new(format!("ws://{addr}/")).unwrap().config(config)
}

/// Accepts one connection on a thread of its own.
fn accept_one(config: Config) -> (SocketAddr, Receiver<io::Result<MessageStream>>) {
    let (listener, addr) = listen();
    let (sender, accepted) = mpsc::channel();
    thread::spawn(move || sender.send(accept_stream(listener.accept().unwrap().0, config)).unwrap_or_default());
    (addr, accepted)
}

/// A connection of ours in this role that is a stream, and its peer.
#[track_caller]
fn open_with<P: Send + 'static>(
    role: Role,
    config: Config,
    connect: impl FnOnce(SocketAddr) -> P,
    accept: impl FnOnce(&TcpListener) -> P + Send + 'static,
) -> (MessageStream, P) {
    match role {
        Role::Server => {
            let (addr, accepted) = accept_one(config);
            let peer = connect(addr);
            (next(&accepted).unwrap(), peer)
        }
        Role::Client => {
            let (listener, addr) = listen();
            let accepting = thread::spawn(move || accept(&listener));
            let (messages, response) = connect_stream(target(addr, config)).unwrap();
            assert_eq!(response.status(), 101);
            (messages, accepting.join().unwrap())
        }
    }
}

/// To a peer made of bytes.
#[track_caller]
fn open(role: Role, config: Config) -> (MessageStream, Raw) {
    open_with(role, config, Raw::open, |listener| {
        let mut raw = Raw::accept(listener);
        raw.write(&raw.switching(&[]));
        raw
    })
}

/// To tungstenite.
#[track_caller]
fn open_theirs(role: Role) -> (MessageStream, Theirs) {
    open_with(role, quiet(), Theirs::connect, |listener| Theirs::accept(listener, &[]))
}

/// The next message.
#[track_caller]
fn message(messages: &mut MessageStream) -> OwnedMessage {
    messages.recv_timeout(PATIENCE).expect("the end").unwrap()
}

#[track_caller]
fn expect_end(messages: &mut MessageStream, code: u16, reason: &str, by: ClosedBy) {
    for _ in 0..3 {
        assert!(messages.recv_timeout(PATIENCE).is_none(), "the end is the end");
    }
    assert!(messages.try_recv().is_none() && messages.next().is_none());
    assert_eq!(messages.closed(), Some(Closed::clean(code, reason, by)));
}

/// A close of ours comes, and is answered.
#[track_caller]
fn answer_close(mut peer: Raw, code: u16, reason: &str) {
    peer.expect([Frame::close(code, reason)]);
    peer.send([Frame::close(code, reason)]);
    peer.hang_up();
}

fn is_timeout<T>(received: &Option<Result<T, StreamError>>) -> bool {
    matches!(received, Some(Err(StreamError::Timeout)))
}

const NORMAL: (u16, &str) = (1000, "Normal Closure");

/// Around every border of the length's encoding, up to the default limit.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, 100_000, 1024 * 1024];

const SIZE: usize = 16 * 1024;

/// More than all the buffers in between hold.
const MANY: usize = 32 * 1024 * 1024 / SIZE;

/// What is not done by then waits for somebody.
const STALLED: Duration = Duration::from_millis(200);

fn text(index: usize) -> String {
    format!("{index}: {}", "x".repeat(index * 37 % 2000))
}

// Opening.

fn a_stream_that_was_accepted_talks_to_their_client<B: Backend>() {
    let (addr, accepted) = accept_one(quiet());
    let client = thread::spawn(move || {
        let mut client = Theirs::connect_with(addr, "/any/path", &[], &[]);
        client.send_text("hello");
        assert_eq!(client.read(), Their::text("hello"));
        client.close(1000, "bye");
        assert_eq!(client.read_close(), Some((1000, "bye".into())));
    });
    let mut messages = next(&accepted).unwrap();
    assert_eq!(messages.socket().path(), Some("/any/path"));
    let hello = message(&mut messages);
    messages.send(hello).unwrap();
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
    client.join().unwrap();
}

fn a_bad_request_is_an_error_in_words<B: Backend>() {
    for (bytes, status, why) in [
        (request("GET / HTTP/1.1", &["Host: a", "nonsense"]), 400, "HTTP/1.1"),
        (request("POST / HTTP/1.1", &["Host: a"]), 405, "GET"),
        (request("GET / HTTP/1.1", &["Host: a"]), 426, "refused"),
        (upgrade_request("/", &["Origin: https://evil.example"]), 403, "Origin"),
    ] {
        let (addr, accepted) = accept_one(quiet());
        assert_eq!(http(addr, &bytes).status, status);
        let error = next(&accepted).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(why), "{error}");
    }
}

fn a_peer_that_leaves_before_or_within_its_request_is_an_error<B: Backend>() {
    let bytes = upgrade_request("/", &[]);
    for count in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let (addr, accepted) = accept_one(quiet());
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.write_all(&bytes[..count]).unwrap();
        // One that leaves, and one that only says that it does.
        match count % 2 {
            0 => drop(peer),
            _ => peer.shutdown(Shutdown::Write).unwrap(),
        }
        assert_eq!(next(&accepted).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{count} bytes");
    }
}

fn a_peer_that_says_nothing_is_an_error_when_its_time_is_over<B: Backend>() {
    let short = Duration::from_millis(50);
    let (addr, accepted) = accept_one(quiet().open_timeout(short).linger_timeout(short));
    let peer = TcpStream::connect(addr).unwrap();
    let error = next(&accepted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    drop(peer);
}

fn a_refused_handshake_is_its_error<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_: &Request| Response::new(401));
    let error = connect_stream(target(server.addr, quiet())).unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::Refused(_))), "{error}");
    assert_eq!(error.response().unwrap().status(), 401);
}

fn a_connection_that_is_refused_is_its_error<B: Backend>() {
    let (listener, addr) = listen();
    drop(listener);
    let error = connect_stream(target(addr, quiet())).unwrap_err();
    assert!(matches!(error, ConnectError::Connect(_)), "{error}");
}

fn a_stream_over_a_transport_of_the_callers_talks_to_a_server<B: Backend>() {
    let (ours, theirs) = bellwire_tests::MemoryEnd::pair(4096);
    let peer = thread::spawn(move || {
        let mut raw = Raw::server_over(theirs);
        raw.write(&raw.switching(&[]));
        raw.expect([Frame::text("hello"), Frame::close(1000, "Normal Closure")]);
        raw.send([Frame::close(1000, "")]);
    });
    let (mut messages, response) = connect_stream_over("ws://localhost/", ours).unwrap();
    assert_eq!(response.status(), 101);
    messages.send("hello").unwrap();
    assert!(messages.close().clean);
    peer.join().unwrap();
}

fn five_lines_are_enough_for_a_question_and_its_answer<B: Backend>() {
    let backend = B::start();
    let (handler, _logs) = logged_handler(|_| bellwire_tests::echo());
    let server = backend.serve(Setup::default(), handler);
    let url = format!("ws://{}/", server.addr);
    let ask = || -> Result<OwnedMessage, Box<dyn std::error::Error>> {
        let (mut messages, _) = connect_stream(&url)?;
        messages.send("question")?;
        Ok(messages.recv_timeout(PATIENCE).ok_or("it has closed")??)
    };
    assert_eq!(ask().unwrap(), "question");
}

fn n1_a_stream_on_each_end<B: Backend>() {
    let (addr, accepted) = accept_one(quiet());
    let (mut ours, _) = connect_stream(target(addr, quiet())).unwrap();
    let mut theirs = next(&accepted).unwrap();
    let echo = thread::spawn(move || {
        while let Some(message) = theirs.recv() {
            theirs.send(message.unwrap()).unwrap();
        }
        theirs.closed().unwrap()
    });
    for index in 0..100 {
        ours.send(text(index)).unwrap();
        assert_eq!(message(&mut ours), text(index));
    }
    let closed = within("the end", move || ours.close());
    assert_eq!(closed, Closed::clean(NORMAL.0, NORMAL.1, ClosedBy::Local));
    assert_eq!(echo.join().unwrap(), Closed::clean(NORMAL.0, NORMAL.1, ClosedBy::Peer));
}

// Messages.

fn n1_messages_go_in_and_come_out_in_order_both_ways_at_once<B: Backend>(role: Role) {
    const COUNT: usize = 2000;
    let (messages, mut peer) = open(role, quiet());
    let mut peers_writer = peer.twin();
    let (mut sender, receiver) = messages.split();
    let sent = thread::spawn(move || {
        for index in 0..COUNT {
            sender.send(text(index)).unwrap();
        }
        sender
    });
    let received = thread::spawn(move || {
        let mut receiver = receiver;
        for index in 0..COUNT {
            assert_eq!(receiver.next().unwrap().unwrap(), text(index + 1));
        }
        receiver
    });
    let written = thread::spawn(move || {
        for index in 0..COUNT {
            peers_writer.send([Frame::text(text(index + 1))]);
        }
    });
    for index in 0..COUNT {
        peer.expect([Frame::text(text(index))]);
    }
    written.join().unwrap();
    drop((sent.join().unwrap(), received.join().unwrap()));
    answer_close(peer, NORMAL.0, NORMAL.1);
}

/// Sends everything back until the other side closes.
fn their_echo(mut peer: Theirs) {
    loop {
        match peer.socket.read() {
            Ok(message @ (Their::Text(_) | Their::Binary(_))) => peer.send(message),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn n1_their_echo_gives_every_size_back<B: Backend>(role: Role) {
    let (mut messages, peer) = open_theirs(role);
    let peer = thread::spawn(move || their_echo(peer));
    for size in SIZES {
        messages.send("x".repeat(size)).unwrap();
        assert!(message(&mut messages) == "x".repeat(size), "text of {size}");
        messages.send(vec![7; size]).unwrap();
        assert!(message(&mut messages) == vec![7; size], "binary of {size}");
    }
    drop(messages);
    peer.join().unwrap();
}

// Endings.

fn n2_a_connection_error_and_a_failed_send_are_both_seen<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    peer.send([Frame::text("1"), Frame::text([0xff]), Frame::text("2")]);
    assert_eq!(message(&mut messages), "1");
    let Some(Err(StreamError::Connection(error))) = messages.recv_timeout(PATIENCE) else { panic!("no error") };
    assert_eq!(error.to_string(), "text message not UTF-8");
    let refused = messages.send("x");
    assert!(matches!(refused, Err(StreamError::Send(SendError::Closed))), "{refused:?}");
    assert!(messages.recv().is_none() && messages.recv().is_none());
    assert_eq!(messages.closed().unwrap().code, 1007);
    peer.expect([Frame::close(1007, "Text message not UTF-8")]);
}

fn n2_a_peer_that_vanishes_is_seen_by_both_halves<B: Backend>(role: Role) {
    let (messages, peer) = open(role, quiet());
    let (mut sender, mut receiver) = messages.split();
    let sending = thread::spawn(move || {
        // Until it fails, as it must.
        while let Ok(()) = sender.send(vec![0; 100_000]) {}
        sender.send("x").unwrap_err()
    });
    peer.wait_unread();
    drop(peer);
    let Some(Err(StreamError::Connection(_))) = receiver.recv_timeout(PATIENCE) else { panic!("no error") };
    assert!(receiver.recv().is_none());
    assert!(matches!(sending.join().unwrap(), StreamError::Send(SendError::Closed)));
    assert_eq!(receiver.closed().unwrap().code, 1006);
}

fn n3_ending_with_a_code_and_a_reason_closes_with_them<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    messages.send("1").unwrap();
    messages.socket().close_with(4001, "enough").unwrap();
    peer.expect([Frame::text("1")]);
    answer_close(peer, 4001, "enough");
    expect_end(&mut messages, 4001, "enough", ClosedBy::Local);
    assert_eq!(messages.close(), Closed::clean(4001, "enough", ClosedBy::Local));
}

fn n4_closing_waits_for_the_peer_and_says_how_it_ended<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    messages.send("1").unwrap();
    let closing = thread::spawn(move || (messages.close(), messages));
    peer.expect([Frame::text("1")]);
    assert!(!closing.is_finished(), "it has not waited");
    answer_close(peer, NORMAL.0, NORMAL.1);
    let (closed, mut messages) = closing.join().unwrap();
    assert_eq!(closed, Closed::clean(NORMAL.0, NORMAL.1, ClosedBy::Local));
    expect_end(&mut messages, NORMAL.0, NORMAL.1, ClosedBy::Local);
    assert_eq!(messages.close(), closed, "and says it again");
}

fn n4_dropping_the_stream_closes_with_1000<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    let socket = messages.socket().clone();
    messages.send("1").unwrap();
    drop(messages);
    assert!(!socket.is_open());
    assert_eq!(socket.buffered(), 0, "dropping has waited");
    peer.expect([Frame::text("1")]);
    answer_close(peer, NORMAL.0, NORMAL.1);
}

fn n4_dropping_both_halves_closes_with_1000_and_one_does_not<B: Backend>(role: Role) {
    let (messages, mut peer) = open(role, quiet());
    let (sender, mut receiver) = messages.split();
    drop(sender);
    peer.send([Frame::text("1"), Frame::new(PING, "p")]);
    peer.expect([Frame::new(PONG, "p")]);
    assert_eq!(receiver.recv().unwrap().unwrap(), "1");
    drop(receiver);
    answer_close(peer, NORMAL.0, NORMAL.1);

    let (messages, mut peer) = open(role, quiet());
    let (mut sender, receiver) = messages.split();
    drop(receiver);
    // More than a stream holds that is read by nobody.
    peer.send((0..1000).map(|_| Frame::text("unread")).chain([Frame::new(PING, "p")]));
    peer.expect([Frame::new(PONG, "p")]);
    sender.send("1").unwrap();
    peer.expect([Frame::text("1")]);
    drop(sender);
    answer_close(peer, NORMAL.0, NORMAL.1);
}

fn n5_an_owner_that_panics_closes_with_1011<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    let owner = thread::spawn(move || {
        messages.send("1").unwrap();
        messages.recv().unwrap().unwrap();
        panic!("what nobody but the owner may know");
    });
    peer.expect([Frame::text("1")]);
    peer.send([Frame::text("go on")]);
    answer_close(peer, 1011, "Unexpected Error");
    assert!(owner.join().is_err());
}

fn n6_an_iterator_ends_once_when_the_connection_does<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    let ended = thread::spawn(move || {
        let mut came = Vec::new();
        for message in &mut messages {
            came.push(message.unwrap());
        }
        (came, messages)
    });
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(4000, "bye")]);
    peer.expect([Frame::close(4000, "bye")]);
    peer.hang_up();
    let (came, mut messages) = ended.join().unwrap();
    assert_eq!(came, ["1", "2"]);
    expect_end(&mut messages, 4000, "bye", ClosedBy::Peer);
}

fn a_recv_is_woken_by_the_end_whoever_makes_it<B: Backend>(role: Role) {
    type End = fn(MessageStream, Raw) -> Option<Result<OwnedMessage, StreamError>>;
    fn received(mut messages: MessageStream, end: impl FnOnce()) -> Option<Result<OwnedMessage, StreamError>> {
        let receiving = thread::spawn(move || messages.recv());
        thread::sleep(Duration::from_millis(20));
        end();
        receiving.join().unwrap()
    }
    let ends: [End; 3] = [
        |messages, peer| received(messages, || drop(peer)),
        |messages, mut peer| received(messages, || peer.send([Frame::close(1000, "")])),
        |messages, _peer| {
            let socket = messages.socket().clone();
            received(messages, || socket.abort())
        },
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let (messages, peer) = open(role, quiet());
        let ended = within("the end", move || end(messages, peer));
        // Only the peer that vanishes is an error.
        assert!(matches!((index, &ended), (0, Some(Err(StreamError::Connection(_)))) | (1 | 2, None)), "{ended:?}");
    }
}

// When one is faster than the other.

fn e3_a_peer_that_does_not_read_makes_sends_wait<B: Backend>(role: Role) {
    let (messages, mut peer) = open(role, quiet());
    let (mut sender, _receiver) = messages.split();
    let socket = sender.socket().clone();
    let (progress, told) = mpsc::channel();
    let sending = thread::spawn(move || {
        let mut most = 0;
        for index in 0..MANY {
            sender.send(vec![index as u8; SIZE]).unwrap();
            most = most.max(sender.socket().buffered());
            progress.send(()).unwrap();
        }
        sender.flush().unwrap();
        assert_eq!(sender.socket().buffered(), 0);
        most
    });
    let count = std::iter::from_fn(|| told.recv_timeout(STALLED).ok()).count();
    assert!(count < MANY, "nothing has made it wait");
    // One message may go above the high watermark.
    let most = Config::default().high_watermark + SIZE + 64;
    assert!(socket.buffered() <= most, "{}", socket.buffered());
    for index in 0..MANY {
        assert!(peer.read() == Frame::new(BINARY, vec![index as u8; SIZE]), "{index}");
    }
    let queued = sending.join().unwrap();
    assert!(queued <= most, "{queued}");
}

fn e3_a_reader_that_does_not_read_makes_the_peer_wait_and_loses_nothing<B: Backend>(role: Role) {
    let (mut messages, peer) = open(role, quiet());
    let masked = role == Role::Server;
    let mut writer = peer.twin().into_inner();
    let (progress, told) = mpsc::channel();
    let written = thread::spawn(move || {
        for index in 0..MANY {
            writer.write_all(&Frame::new(BINARY, vec![index as u8; SIZE]).encode(masked)).unwrap();
            progress.send(()).unwrap();
        }
    });
    let count = std::iter::from_fn(|| told.recv_timeout(STALLED).ok()).count();
    assert!(count < MANY, "nothing has made the peer wait");
    for index in 0..MANY {
        assert!(message(&mut messages) == vec![index as u8; SIZE], "{index}");
    }
    written.join().unwrap();
    assert!(messages.socket().is_open());
}

fn e3_a_close_is_answered_when_what_came_before_it_was_taken_and_answered<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "bye")]);
    for expected in ["1", "2"] {
        let came = message(&mut messages);
        messages.send(came).unwrap();
        peer.expect([Frame::text(expected)]);
    }
    let ended = thread::spawn(move || (messages.recv().is_none(), messages));
    peer.expect([Frame::close(1000, "bye")]);
    peer.hang_up();
    let (is_end, mut messages) = ended.join().unwrap();
    assert!(is_end);
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
}

fn e3_a_close_is_answered_in_time_while_the_user_does_nothing<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    peer.send([Frame::text("unread"), Frame::close(1000, "bye")]);
    peer.expect([Frame::close(1000, "bye")]);
    assert_eq!(message(&mut messages), "unread");
    expect_end(&mut messages, 1000, "bye", ClosedBy::Peer);
}

fn e3_a_close_of_ours_ends_while_nobody_takes_what_comes<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet().close_timeout(Duration::from_millis(300)));
    // More than waits for the reader, and behind it more than is read at once.
    let mut writer = peer.twin();
    thread::spawn(move || {
        let unread = Frame::new(BINARY, vec![0; SIZE]).encode(role == Role::Server);
        while writer_takes(&mut writer, &unread) {}
    });
    thread::sleep(STALLED);
    let closed = within("the end", move || messages.close());
    assert_eq!((closed.code, closed.clean), (1006.into(), false), "the peer has not answered");
    peer.drain();
}

fn writer_takes(writer: &mut Raw, bytes: &[u8]) -> bool {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    catch_unwind(AssertUnwindSafe(|| writer.write(bytes))).is_ok()
}

// While the user is busy.

fn pings_are_answered_while_the_user_only_reads<B: Backend>(role: Role) {
    let (messages, mut peer) = open(role, quiet());
    let reading = thread::spawn(move || messages.split().1.count());
    // Without a half that sends it lives on.
    for index in 0..50 {
        let data = index.to_string();
        peer.send([Frame::text("x"), Frame::new(PING, &data)]);
        peer.expect([Frame::new(PONG, &data)]);
    }
    peer.send([Frame::close(1000, "")]);
    peer.expect([Frame::close(1000, "")]);
    peer.hang_up();
    assert_eq!(reading.join().unwrap(), 50);
}

/// What is in the way is read until this comes.
#[track_caller]
fn read_up_to(peer: &mut Raw, end: &Frame) {
    for _ in 0..MANY {
        let frame = peer.read();
        if frame == *end {
            return;
        }
        assert_eq!(frame.opcode, BINARY);
    }
    panic!("it does not come");
}

fn pings_are_answered_while_the_user_only_writes<B: Backend>(role: Role) {
    let (messages, mut peer) = open(role, quiet());
    let (mut sender, _receiver) = messages.split();
    let writing = thread::spawn(move || while sender.send(vec![0; SIZE]).is_ok() {});
    for index in 0..5 {
        peer.send([Frame::new(PING, index.to_string())]);
        read_up_to(&mut peer, &Frame::new(PONG, index.to_string()));
    }
    drop(peer);
    writing.join().unwrap();
}

fn pings_are_answered_while_the_user_does_nothing<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    for index in 0..50 {
        let data = index.to_string();
        peer.send([Frame::text(&data), Frame::new(PING, &data)]);
        peer.expect([Frame::new(PONG, &data)]);
    }
    for index in 0..50 {
        assert_eq!(message(&mut messages), index.to_string());
    }
}

fn a_ping_leaves_at_once<B: Backend>(role: Role) {
    let (messages, mut peer) = open(role, quiet());
    messages.ping("p").unwrap();
    peer.expect([Frame::new(PING, "p")]);
    let refused = messages.ping([0; 126]);
    assert!(matches!(refused, Err(StreamError::Send(SendError::ControlTooLong(126)))), "{refused:?}");
}

// Timeouts.

fn a_recv_that_times_out_loses_nothing<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    let timeout = Duration::from_millis(5);
    for index in 0..30 {
        let start = Instant::now();
        assert!(is_timeout(&messages.recv_timeout(timeout)));
        assert!(start.elapsed() >= timeout, "too early");
        peer.send([Frame::text(index.to_string())]);
        assert_eq!(message(&mut messages), index.to_string());
    }
    // For ever is long enough.
    peer.send([Frame::text("end")]);
    assert_eq!(messages.recv_timeout(Duration::MAX).unwrap().unwrap(), "end");
}

fn a_try_recv_takes_what_is_there_and_does_not_wait<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    assert!(is_timeout(&messages.try_recv()));
    for round in 0..30 {
        peer.send((0..round).map(|index| Frame::text(index.to_string())).chain([Frame::new(PING, "p")]));
        // They are there when the ping behind them is answered.
        peer.expect([Frame::new(PONG, "p")]);
        for index in 0..round {
            assert_eq!(messages.try_recv().unwrap().unwrap(), index.to_string());
        }
        assert!(is_timeout(&messages.try_recv()));
    }
}

fn a_send_that_times_out_was_not_sent<B: Backend>(role: Role) {
    let (mut messages, mut peer) = open(role, quiet());
    // Until the transport takes nothing any more.
    let sent =
        |index: usize, messages: &mut MessageStream| match messages.send_timeout(vec![index as u8; SIZE], STALLED) {
            Ok(()) => true,
            Err(StreamError::Timeout) => false,
            Err(error) => panic!("{error}"),
        };
    let count = (0..).take_while(|&index| sent(index, &mut messages)).count();
    for index in 0..count {
        assert!(peer.read() == Frame::new(BINARY, vec![index as u8; SIZE]), "{index} of {count}");
    }
    messages.send_timeout("end", PATIENCE).unwrap();
    peer.expect([Frame::text("end")]);
}

// The end of a program.

/// More than all the buffers in between hold.
const LARGE: usize = 16 * 1024 * 1024;

fn e2_dropping_a_stream_waits_no_longer_than_the_close_timeout<B: Backend>(role: Role) {
    let timeout = Duration::from_millis(300);
    let (mut messages, _deaf) = open(role, quiet().close_timeout(timeout).max_queued(2 * LARGE));
    messages.socket().send(vec![0; LARGE]).unwrap();
    assert!(matches!(messages.flush_timeout(Duration::from_millis(5)), Err(StreamError::Timeout)));
    let start = Instant::now();
    drop(messages);
    assert!((timeout..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

fn e2_a_stream_that_a_completion_drops_waits_for_nothing<B: Backend>(role: Role) {
    let config = quiet().close_timeout(PATIENCE * 6).max_queued(2 * LARGE);
    let (messages, mut peer) = open(role, config);
    let socket = messages.socket().clone();
    let (ends, ended) = mpsc::channel();
    let sender = socket.clone();
    socket.send_with(vec![0; LARGE], move |outcome| {
        outcome.unwrap();
        sender.send(vec![0; LARGE]).unwrap();
        let start = Instant::now();
        drop(messages);
        ends.send(start.elapsed()).unwrap();
    });
    thread::spawn(move || {
        // Until then nothing is taken, and what is left is the second thread's.
        thread::sleep(Duration::from_millis(300));
        peer.drain();
    });
    let took = next(&ended);
    assert!(took < PATIENCE / 2, "{took:?}");
    socket.abort();
}
