//! How connections end: the invariant 1.13, whatever dies. Every [`Log`] checks the order of its events
//! besides; that it ends means that the driver is gone, so that nothing can come any more.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::listener::ListenerBuilder;
use bellwire::{CloseCode, ClosedBy, Outcome, Role, SendError, WebSocket, listener};
use bellwire_tests::{
    Backend, CLOSE, Connect, Event, Fault, Frame, Log, Ours, Over, PATIENCE, PING, PONG, Raw, Script, Server, backends,
    echo, logged, next, quiet,
};

backends! {
    server {
        d8_t3_i2_a_panic_in_on_close_is_reported_and_the_server_goes_on,
        t14_i5_shutdown_closes_everybody_with_1001,
        t14_i5_shutdown_drops_those_who_do_not_answer,
        shutdown_cuts_those_who_have_not_asked_for_anything,
        shutdown_wakes_an_idle_server,
        t14_i5_shutdown_reaches_a_connection_with_a_stalled_peer,
        e9_a_drain_tells_everybody_1012_and_drops_who_does_not_answer,
        e9_a_drain_tells_one_after_the_other_and_a_shutdown_the_rest_at_once,
        a_drain_stops_listening_while_those_who_were_not_told_go_on,
    }
    pair {
        t14_i5_d4_shutdown_is_a_clean_1001_on_both_sides,
    }
    both {
        d3_t8_a_close_without_a_code_is_answered_by_one_and_is_1005,
        d3_t8_an_answer_without_a_code_is_1005,
        d4_a_local_close_ends_with_the_code_that_the_peer_answers,
        d4_t2_i4_a_peer_that_vanishes_after_a_local_close_is_1006_by_this_side,
        d5_what_was_sent_before_a_close_leaves_before_it,
        d5_i12_an_abort_drops_the_connection_without_a_word,
        d5_d10_i12_an_abort_in_a_callback_ends_the_connection_behind_it,
        d6_t4_i6_a_silent_peer_is_dropped_after_the_close_timeout,
        d6_t4_i6_i12_a_silent_peer_is_dropped_after_a_close_in_a_callback,
        d6_t19_a_close_is_not_stuck_behind_a_stalled_writer,
        d7_messages_after_a_local_close_are_not_delivered,
        d7_a_setting_delivers_messages_after_a_local_close,
        d7_messages_after_a_local_close_are_checked,
        d8_t3_i2_a_callback_that_fails_closes_with_1011_and_tells_only_the_listener,
        d8_t3_i2_on_close_comes_although_on_error_and_on_close_panic,
        d9_a_ping_that_crosses_a_close_is_no_failure,
        d10_t5_a_socket_that_is_closed_says_so,
        d10_a_send_that_comes_too_late_is_no_failure_of_the_callback,
        d11_a_code_that_must_not_be_sent_is_an_error_and_changes_nothing,
        d11_a_long_reason_is_cut_at_a_character,
        d21_a_failure_is_told_at_once_and_its_close_frame_leaves_behind_what_was_queued,
        t2_i4_a_peer_that_vanishes_is_one_error_and_one_1006,
        t2_i4_a_peer_that_vanishes_inside_a_frame_is_one_error_and_one_1006,
        e5_i4_a_peer_that_resets_has_vanished,
        e5_a_reset_behind_the_closing_handshake_changes_nothing,
        i11_a_transport_that_fails_is_one_error_and_one_1006,
        a_violation_closes_with_1002_and_ends_at_once,
        t19_the_transport_ends_behind_the_peers_close,
        t19_i12_the_transport_ends_behind_a_local_close,
        i7_a_close_races_with_sends_and_all_that_was_accepted_arrives,
    }
}

/// Half of it is more than any buffer on the way takes.
const LARGE: usize = 64 * 1024 * 1024;

const VANISHED: &str = "the peer ended the transport without a close frame";

/// What a connection ends with whose peer has vanished.
fn vanished() -> [Event; 2] {
    [Event::error(VANISHED), Event::close(1006, "")]
}

fn d3_t8_a_close_without_a_code_is_answered_by_one_and_is_1005<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    peer.send([Frame::new(CLOSE, "")]);
    peer.expect([Frame::new(CLOSE, "")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(1005, "")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (true, ClosedBy::Peer));
}

fn d3_t8_an_answer_without_a_code_is_1005<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    socket.close().unwrap();
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.send([Frame::new(CLOSE, "")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(1005, "")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (true, ClosedBy::Local));
}

fn d4_a_local_close_ends_with_the_code_that_the_peer_answers<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    socket.close_with(4000, "enough").unwrap();
    peer.expect([Frame::close(4000, "enough")]);
    peer.send([Frame::close(4001, "as you wish")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(4001, "as you wish")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (true, ClosedBy::Local));
}

fn d4_t2_i4_a_peer_that_vanishes_after_a_local_close_is_1006_by_this_side<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    socket.close_with(4000, "enough").unwrap();
    peer.expect([Frame::close(4000, "enough")]);
    drop(peer);
    log.ends_with([Event::Open].into_iter().chain(vanished()));
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (false, ClosedBy::Local));
}

fn d5_what_was_sent_before_a_close_leaves_before_it<B: Backend>(role: Role) {
    let backend = B::start();
    let large = vec![7; 300_000];
    let listener = listener().on_open({
        let large = large.clone();
        move |socket| {
            socket.send("first")?;
            socket.send(large.clone())?;
            socket.ping("x")?;
            socket.send("last")?;
            socket.close_with(1001, "leaving")
        }
    });
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener);
    assert_eq!(peer.read(), "first".into());
    assert_eq!(peer.read(), large.into());
    assert!(peer.read().is_ping());
    assert_eq!(peer.read(), "last".into());
    assert_eq!(peer.read_close(), Some((1001, "leaving".into())));
    // The peer's pong came after the close, and control frames are still delivered.
    let events = log.rest();
    assert_eq!(events.last(), Some(&Event::close(1001, "leaving")));
}

fn d5_i12_an_abort_drops_the_connection_without_a_word<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, peer } = Ours::raw(&backend, role, quiet(), listener());
    socket.abort();
    assert!(!socket.is_open());
    // No frame.
    peer.expect_end();
    log.ends_with([Event::Open, Event::close(1006, "")]);
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (false, ClosedBy::Local));
}

fn d5_d10_i12_an_abort_in_a_callback_ends_the_connection_behind_it<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = listener().on_message(|socket, _| {
        socket.abort();
        // D10: late is not wrong.
        socket.send("never seen")
    });
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("1"), Frame::text("2")]);
    peer.expect_end();
    log.ends_with([Event::Open, Event::text("1"), Event::close(1006, "")]);
}

fn d6_t4_i6_a_silent_peer_is_dropped_after_the_close_timeout<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().close_timeout(Duration::from_millis(50));
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, config, listener());
    socket.close_with(3000, "answer me").unwrap();
    peer.expect([Frame::close(3000, "answer me")]);
    peer.expect_end();
    log.ends_with([Event::Open, Event::error("close timeout"), Event::close(1006, "")]);
}

fn d6_t4_i6_i12_a_silent_peer_is_dropped_after_a_close_in_a_callback<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().close_timeout(Duration::from_millis(50));
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, config, listener().on_open(|socket| socket.close()));
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.expect_end();
    log.ends_with([Event::Open, Event::error("close timeout"), Event::close(1006, "")]);
}

fn d6_t19_a_close_is_not_stuck_behind_a_stalled_writer<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().close_timeout(Duration::from_millis(100)).max_queued(LARGE);
    let Ours { socket, log, peer } = Ours::raw(&backend, role, config, listener());
    socket.send(vec![0; LARGE / 2]).unwrap();
    peer.wait_unread();
    socket.close().unwrap();
    assert!(!socket.is_open());
    log.ends_with([Event::Open, Event::error("close timeout"), Event::close(1006, "")]);
    drop(peer);
}

/// Closes when the first message comes.
fn closing() -> ListenerBuilder {
    listener().on_message(|socket, message| if message == "1" { socket.close() } else { Ok(()) })
}

fn d7_messages_after_a_local_close_are_not_delivered<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), closing());
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "done")]);
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("1"), Event::close(1000, "done")]);
}

fn d7_a_setting_delivers_messages_after_a_local_close<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet().deliver_after_close(true), closing());
    peer.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "done")]);
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("1"), Event::text("2"), Event::close(1000, "done")]);
}

fn d7_messages_after_a_local_close_are_checked<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), closing());
    peer.send([Frame::text("1"), Frame::text("2"), Frame::text(b"\xff"), Frame::close(1000, "too late")]);
    // And there is no second close frame.
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.expect_end();
    let events = log.rest();
    let [Event::Open, Event::Text(_), Event::Error(_), Event::Close(1007, _)] = events.as_slice() else {
        panic!("{events:?}")
    };
}

fn d8_t3_i2_a_callback_that_fails_closes_with_1011_and_tells_only_the_listener<B: Backend>(role: Role) {
    let backend = B::start();
    let cases: [(Failing, _, _); 4] = [
        (|fail| listener().on_open(move |_| fail()), None, None),
        (|fail| listener().on_message(move |_, _| fail()), Some(Frame::text("x")), Some(Event::text("x"))),
        (|fail| listener().on_ping(move |_, _| fail()), Some(Frame::new(PING, "x")), Some(Event::Ping(b"x".into()))),
        (|fail| listener().on_pong(move |_, _| fail()), Some(Frame::new(PONG, "x")), Some(Event::Pong(b"x".into()))),
    ];
    let failures: [(fn() -> Outcome, _); 2] =
        [(|| Err("secret".into()), "a callback failed: secret"), (|| panic!("secret"), "a callback panicked: secret")];
    for (listener, frame, event) in cases {
        for (fail, error) in failures {
            let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener(fail));
            if let Some(frame) = frame.clone() {
                // What follows in the same read is not delivered any more.
                peer.send([frame, Frame::text("more"), Frame::new(PING, "more")]);
            }
            peer.expect([Frame::close(1011, "Unexpected Error")]);
            peer.expect_end();
            let end = [Event::error(error), Event::close(1011, "Unexpected Error")];
            log.ends_with([Event::Open].into_iter().chain(event.clone()).chain(end));
        }
    }
}

/// A listener of which one callback does this.
type Failing = fn(fn() -> Outcome) -> ListenerBuilder;

fn d8_t3_i2_on_close_comes_although_on_error_and_on_close_panic<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = listener()
        .on_message(|_, _| Err::<(), _>("first"))
        .on_error(|_, _| -> () { panic!("second") })
        .on_close(|_, _, _| -> () { panic!("third") });
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("x")]);
    peer.expect([Frame::close(1011, "Unexpected Error")]);
    peer.expect_end();
    log.ends_with([
        Event::Open,
        Event::text("x"),
        Event::error("a callback failed: first"),
        Event::close(1011, "Unexpected Error"),
    ]);
    assert_eq!(socket.closed().unwrap().code, 1011);
}

fn d8_t3_i2_a_panic_in_on_close_is_reported_and_the_server_goes_on<B: Backend>() {
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

fn d9_a_ping_that_crosses_a_close_is_no_failure<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), closing());
    peer.send([Frame::text("1"), Frame::new(PING, "x"), Frame::close(1000, "")]);
    // And no pong.
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("1"), Event::Ping(b"x".into()), Event::close(1000, "")]);
}

fn d10_t5_a_socket_that_is_closed_says_so<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    assert!(socket.is_open());
    assert_eq!(socket.closed(), None);
    peer.send([Frame::close(4000, "bye")]);
    peer.expect([Frame::close(4000, "bye")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(4000, "bye")]);
    assert!(!socket.is_open());
    assert_eq!(socket.send("late"), Err(SendError::Closed));
    assert_eq!(socket.ping("late"), Err(SendError::Closed));
    assert_eq!(socket.close(), Err(SendError::Closed));
    let (outcomes, outcome) = mpsc::channel();
    socket.send_with("late", move |result| outcomes.send(result).unwrap());
    assert_eq!(next(&outcome), Err(SendError::Closed));
    let closed = socket.closed().unwrap();
    assert_eq!((closed.code.0, closed.reason.as_str(), closed.clean, closed.by), (4000, "bye", true, ClosedBy::Peer));
    assert_eq!(socket.buffered(), 0);
    socket.abort();
}

fn d10_a_send_that_comes_too_late_is_no_failure_of_the_callback<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = listener().on_message(|socket, message| {
        socket.close_with(3000, "bye")?;
        socket.send(message)
    });
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("x")]);
    peer.expect([Frame::close(3000, "bye")]);
    peer.send([Frame::close(3000, "bye")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("x"), Event::close(3000, "bye")]);
}

fn d11_a_code_that_must_not_be_sent_is_an_error_and_changes_nothing<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(socket.close_with(code, "wrong"), Err(SendError::CloseCode(CloseCode(code))));
        assert!(socket.is_open(), "{code}");
    }
    socket.close_with(4999, "right").unwrap();
    peer.expect([Frame::close(4999, "right")]);
    peer.send([Frame::close(4999, "right")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(4999, "right")]);
}

fn d11_a_long_reason_is_cut_at_a_character<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener());
    // Of two bytes each, of which 123 is no multiple.
    socket.close_with(3000, &"ü".repeat(100)).unwrap();
    peer.expect([Frame::close(3000, &"ü".repeat(61))]);
}

fn d21_a_failure_is_told_at_once_and_its_close_frame_leaves_behind_what_was_queued<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().max_queued(LARGE);
    for (frame, code) in [(Frame::text("x"), 1011), (Frame::text(b"\xff"), 1007)] {
        let listener = listener().on_message(|_, _| Err::<(), _>("failed"));
        let Ours { socket, log, mut peer } = Ours::raw(&backend, role, config.clone(), listener);
        socket.send(vec![7; LARGE / 2]).unwrap();
        peer.wait_unread();
        peer.send([frame]);
        // The peer has not read anything yet.
        while !matches!(log.next(), Event::Close(..)) {}
        assert_eq!(socket.closed().unwrap().code, code);
        assert!(peer.read() == Frame::new(bellwire_tests::BINARY, vec![7; LARGE / 2]), "all of it");
        let close = peer.read();
        assert_eq!((close.opcode, &close.payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        peer.expect_end();
        log.ends_with([]);
    }
}

fn t2_i4_a_peer_that_vanishes_is_one_error_and_one_1006<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, peer } = Ours::raw(&backend, role, quiet(), echo());
    drop(peer);
    log.ends_with([Event::Open].into_iter().chain(vanished()));
    let closed = socket.closed().unwrap();
    assert_eq!((closed.clean, closed.by), (false, ClosedBy::Peer));

    // It says that no more comes, and stays.
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    peer.send([Frame::text("last words")]);
    peer.shutdown_write();
    log.ends_with([Event::Open, Event::text("last words")].into_iter().chain(vanished()));
}

fn t2_i4_a_peer_that_vanishes_inside_a_frame_is_one_error_and_one_1006<B: Backend>(role: Role) {
    let backend = B::start();
    let whole = Frame::text("whole").encode(role == Role::Server);
    for end in 1..whole.len() {
        let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
        peer.send([Frame::text("x")]);
        peer.expect([Frame::text("x")]);
        peer.write(&whole[..end]);
        drop(peer);
        log.ends_with([Event::Open, Event::text("x")].into_iter().chain(vanished()));
    }
}

fn e5_i4_a_peer_that_resets_has_vanished<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, peer, .. } = Ours::raw(&backend, role, quiet(), listener().on_open(|socket| socket.send("unread")));
    // What is closed with something unread in it is reset.
    peer.wait_unread();
    drop(peer);
    assert_eq!(log.rest(), [&[Event::Open][..], &vanished()].concat());
}

fn e5_a_reset_behind_the_closing_handshake_changes_nothing<B: Backend>(role: Role) {
    let backend = B::start();
    // Closed by the peer, and by us: it has read our close frame, and leaves something else unread.
    let Ours { socket, log, mut peer } =
        Ours::raw(&backend, role, quiet(), listener().on_open(|socket| socket.send("1")));
    peer.wait_unread();
    peer.send([Frame::close(4000, "bye")]);
    drop(peer);
    log.ends_with([Event::Open, Event::close(4000, "bye")]);
    assert!(socket.closed().unwrap().clean);

    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    socket.close_with(4001, "enough").unwrap();
    peer.wait_unread();
    peer.send([Frame::close(4001, "enough")]);
    drop(peer);
    log.ends_with([Event::Open, Event::close(4001, "enough")]);
    assert!(socket.closed().unwrap().clean);
}

fn i11_a_transport_that_fails_is_one_error_and_one_1006<B: Backend>(role: Role) {
    let backend = B::start();
    let script = Script::new([]).fault(0, Fault::Zero);
    let (ours, log) = logged(listener().on_open(|socket| socket.send("hello")));
    let driven = backend.upgraded(Over::Scripted(script.transport()), Vec::new(), role, quiet(), ours);
    driven.wait();
    let failed = format!("the transport failed: {}", std::io::Error::from(std::io::ErrorKind::WriteZero));
    log.ends_with([Event::Open, Event::error(failed), Event::close(1006, "")]);
}

fn a_violation_closes_with_1002_and_ends_at_once<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    let (masked, error, text) = match role {
        Role::Server => (true, "client frame not masked", "Client frame not masked"),
        Role::Client => (false, "server frame masked", "Server frame masked"),
    };
    let mut bytes = Frame::text("good").encode(masked);
    bytes.extend(Frame::text("wrong").encode(!masked));
    bytes.extend([b'x'; 100 * 1024]);
    peer.write(&bytes);
    peer.expect([Frame::text("good"), Frame::close(1002, text)]);
    peer.expect_end();
    log.ends_with([Event::Open, Event::text("good"), Event::error(error), Event::close(1002, text)]);
}

fn t19_the_transport_ends_behind_the_peers_close<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), echo());
    // The peer closes, and goes on talking: its close is answered all the same, and no reset destroys the answer.
    let mut bytes = Frame::close(1000, "bye").encode(role == Role::Server);
    bytes.extend([b'x'; 100 * 1024]);
    peer.write(&bytes);
    peer.expect([Frame::close(1000, "bye")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(1000, "bye")]);
}

fn t19_i12_the_transport_ends_behind_a_local_close<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), echo());
    socket.close().unwrap();
    peer.expect([Frame::close(1000, "Normal Closure")]);
    peer.send([Frame::close(1000, "Normal Closure")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(1000, "Normal Closure")]);
}

fn i7_a_close_races_with_sends_and_all_that_was_accepted_arrives<B: Backend>(role: Role) {
    let backend = B::start();
    for round in 0..10 {
        // Who reads slowly may answer late.
        let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet().close_timeout(None), listener());
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
            let frame = peer.read();
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
        peer.send([Frame::close(3000, "raced")]);
        peer.hang_up();
        assert_eq!(closing.join().unwrap(), Ok(()));
        assert_eq!(arrived, senders.map(|sender| sender.join().unwrap()), "what was accepted before the close");
        log.ends_with([Event::Open, Event::close(3000, "raced")]);
    }
}

const SHUTDOWN: &str = "Server Shutdown";

fn open<B: Backend>(_: &B, server: &Server) -> (Raw, Log) {
    let client = Raw::open(server.addr);
    let log = server.log();
    log.expect([Event::Open]);
    (client, log)
}

fn t14_i5_shutdown_closes_everybody_with_1001<B: Backend>() {
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
    assert_eq!(server.shutdown(PATIENCE), 0);
    server.wait();
    for client in clients {
        client.join().unwrap();
    }
    for log in logs {
        log.ends_with([Event::close(1001, SHUTDOWN)]);
    }
    assert!(TcpStream::connect(server.addr).is_err(), "it does not listen any more");
    assert_eq!(server.shutdown(PATIENCE), 0, "there is nothing left");
}

fn t14_i5_shutdown_drops_those_who_do_not_answer<B: Backend>() {
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

    assert_eq!(server.shutdown(PATIENCE), 0, "they do not count");
    server.wait();
    for stream in [silent, slow] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
    assert_eq!(server.shutdown(PATIENCE), 0);
    server.wait();
    assert!(TcpStream::connect(server.addr).is_err(), "it does not listen any more");
}

fn t14_i5_shutdown_reaches_a_connection_with_a_stalled_peer<B: Backend>() {
    let backend = B::start();
    let (sockets, socket) = mpsc::channel::<WebSocket>();
    let server = backend.serve_logged(quiet().max_queued(LARGE), move || {
        let sockets = sockets.clone();
        listener().on_open(move |socket| sockets.send(socket.clone()).unwrap())
    });
    let (client, log) = open(&backend, &server);
    let socket = next(&socket);
    let (outcomes, outcome) = mpsc::channel();
    socket.send_with(vec![0; LARGE / 2], move |result| outcomes.send(result).unwrap());
    client.wait_unread();
    assert_eq!(server.shutdown(Duration::from_millis(100)), 1);
    server.wait();
    log.ends_with([Event::close(1006, "")]);
    assert_eq!(next(&outcome), Err(SendError::Closed));
    drop(client);
}

const RESTART: &str = "Service Restart";

fn e9_a_drain_tells_everybody_1012_and_drops_who_does_not_answer<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (clients, logs): (Vec<_>, Vec<_>) = (0..8).map(|_| open(&backend, &server)).unzip();
    let clients: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                client.expect([Frame::close(1012, RESTART)]);
                client.send([Frame::close(1012, RESTART)]);
                client.expect_end();
            })
        })
        .collect();
    let (mut silent, silent_log) = open(&backend, &server);
    assert_eq!(server.drain(Duration::from_millis(400), Duration::from_millis(500)), 1);
    server.wait();
    for client in clients {
        client.join().unwrap();
    }
    for log in logs {
        log.ends_with([Event::close(1012, RESTART)]);
    }
    silent.expect([Frame::close(1012, RESTART)]);
    silent_log.ends_with([Event::close(1006, "")]);
    assert_eq!(server.drain(PATIENCE, PATIENCE), 0, "there is nothing left");
}

fn e9_a_drain_tells_one_after_the_other_and_a_shutdown_the_rest_at_once<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (heard, hear) = mpsc::channel();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, log) = open(&backend, &server);
            // Its `on_open` is over: one that is still opening is told at once.
            client.send([Frame::text("open")]);
            client.expect([Frame::text("open")]);
            let heard = heard.clone();
            thread::spawn(move || {
                let close = client.read();
                heard.send(close.clone()).unwrap();
                client.send([close]);
                client.expect_end();
                drop(log);
            })
        })
        .collect();
    let drain = server.drainer();
    // The next one would never be told, and those that are left not be dropped.
    let draining = thread::spawn(move || drain(Duration::MAX, Duration::MAX));
    assert_eq!(next(&hear), Frame::close(1012, RESTART));
    assert!(hear.try_recv().is_err(), "the others were not told");
    assert_eq!(server.shutdown(PATIENCE), 0);
    assert_eq!([(); 3].map(|()| next(&hear)), [(); 3].map(|()| Frame::close(1001, SHUTDOWN)));
    assert_eq!(bellwire_tests::within("draining", move || draining.join().unwrap()), 0);
    server.wait();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

fn a_drain_stops_listening_while_those_who_were_not_told_go_on<B: Backend>() {
    let backend = B::start();
    let (opened, opens) = mpsc::channel::<WebSocket>();
    let server = backend.serve_logged(quiet(), move || {
        let opened = opened.clone();
        echo().on_open(move |socket| opened.send(socket.clone()).unwrap())
    });
    let clients = [(); 2].map(|()| open(&backend, &server));
    let sockets = [(); 2].map(|()| next(&opens));
    let drain = server.drainer();
    let draining = thread::spawn(move || drain(Duration::from_secs(3_600), PATIENCE));
    let addr = server.addr;
    bellwire_tests::within("one is told, and nobody is accepted any more", move || {
        while sockets.iter().all(WebSocket::is_open) || TcpStream::connect(addr).is_ok() {
            thread::yield_now();
        }
    });
    let mut told = 0;
    for (mut client, log) in clients {
        client.send([Frame::text("still here?")]);
        match client.read() {
            close if close == Frame::close(1012, RESTART) => {
                told += 1;
                client.send([close]);
            }
            answer => {
                assert_eq!(answer, Frame::text("still here?"));
                log.expect([Event::text("still here?")]);
                client.send([Frame::close(1000, "")]);
                client.expect([Frame::close(1000, "")]);
            }
        }
        client.expect_end();
    }
    assert_eq!(told, 1);
    assert_eq!(bellwire_tests::within("draining", move || draining.join().unwrap()), 0);
    server.wait();
}

fn t14_i5_d4_shutdown_is_a_clean_1001_on_both_sides<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open]);
    assert_eq!(server.shutdown(PATIENCE), 0);
    let closed = client.closed();
    assert_eq!((closed.clean, closed.by), (true, ClosedBy::Peer));
    log.ends_with([Event::close(1001, SHUTDOWN)]);
    server.log().ends_with([Event::Open, Event::close(1001, SHUTDOWN)]);
}
