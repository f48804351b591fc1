//! What Ring's own tests assert over a connection (J1 to J11 in `docs/contract.md`), and keepalive (K1 to K3).

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::{Config, Message, Response, Role, WebSocket, listener, request_protocols};
use bellwire_tests::{
    Backend, Connect, Event, Frame, Ours, PING, PONG, Raw, Setup, TEXT, Theirs, backends, echo, http, next, quiet,
    request,
};
use tungstenite::Message as Their;

backends! {
    server {
        j7_their_client_knows_the_subprotocol_that_we_choose,
        k2_k1_pings_go_out_whether_the_handler_answers_at_once_or_later,
        k3_a_response_that_is_no_upgrade_is_left_alone,
        d17_the_limits_of_one_upgrade_take_the_place_of_the_servers,
    }
    client {
        j7_we_know_the_subprotocol_that_their_server_chooses,
    }
    pair {
        j7_both_sides_know_the_chosen_subprotocol,
    }
    both {
        j1_text_pong_and_close_are_logged_in_order,
        j2_text_and_binary_keep_their_types_and_their_order,
        j3_a_ping_from_on_open_comes_back_as_a_pong,
        j4_a_ping_is_answered_without_a_listener_for_it,
        j5_a_listener_with_on_ping_sends_the_only_pong,
        j6_d1_a_close_in_on_open_is_seen_at_once_and_reported_later,
        j8_a_message_sent_from_the_completion_of_another_follows_it,
        j9_d17_i6_a_silent_peer_is_closed_after_the_idle_timeout,
        j10_d18_text_above_the_limit_closes_with_1009,
        j11_d18_binary_above_the_limit_closes_with_1009,
        k1_d17_pings_go_out_at_each_period_and_none_after_the_close,
        d17_i6_a_peer_that_never_answers_a_ping_is_dropped,
    }
}

fn j1_text_pong_and_close_are_logged_in_order<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener());
    peer.send_text("foo");
    peer.send(Their::Pong("bar".into()));
    peer.close(1000, "Normal close");
    assert_eq!(peer.read_close(), Some((1000, "Normal close".into())));
    log.ends_with([Event::Open, Event::text("foo"), Event::Pong(b"bar".into()), Event::close(1000, "Normal close")]);
}

fn j2_text_and_binary_keep_their_types_and_their_order<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = listener()
        .on_open(|socket| {
            socket.send("Hello")?;
            socket.send(b"World")
        })
        .on_message(|socket, message| match message {
            Message::Text(text) => socket.send(format!("t: {text}")),
            Message::Binary(bytes) => socket.send(format!("b: {}", String::from_utf8_lossy(bytes))),
        });
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener);
    peer.send_text("one");
    peer.send(Their::binary(b"two".as_slice()));
    assert_eq!(peer.read(), Their::text("Hello"));
    assert_eq!(peer.read(), Their::binary(b"World".as_slice()));
    assert_eq!(peer.read(), Their::text("t: one"));
    assert_eq!(peer.read(), Their::text("b: two"));
    log.expect([Event::Open, Event::text("one"), Event::Binary(b"two".into())]);
}

fn j3_a_ping_from_on_open_comes_back_as_a_pong<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } =
        Ours::theirs(&backend, role, quiet(), listener().on_open(|socket| socket.ping("foo")));
    assert_eq!(peer.read(), Their::Ping("foo".into()));
    peer.socket.flush().unwrap();
    peer.close(1000, "");
    peer.read_close();
    log.ends_with([Event::Open, Event::Pong(b"foo".into()), Event::close(1000, "")]);
}

fn j4_a_ping_is_answered_without_a_listener_for_it<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener());
    peer.send(Their::Ping("foo".into()));
    assert_eq!(peer.read(), Their::Pong("foo".into()));
    log.expect([Event::Open, Event::Ping(b"foo".into())]);
}

fn j5_a_listener_with_on_ping_sends_the_only_pong<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = echo().on_ping(|socket, data| socket.pong(data));
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::new(PING, "foo"), Frame::text("end")]);
    peer.expect([Frame::new(PONG, "foo"), Frame::text("end")]);
    log.expect([Event::Open, Event::Ping(b"foo".into())]);
}

fn j6_d1_a_close_in_on_open_is_seen_at_once_and_reported_later<B: Backend>(role: Role) {
    let backend = B::start();
    let (opens, open) = mpsc::channel();
    let listener = listener().on_open(move |socket| {
        opens.send(socket.is_open()).unwrap();
        let closed = socket.close();
        opens.send(socket.is_open()).unwrap();
        closed
    });
    let Ours { log, peer, .. } = Ours::theirs(&backend, role, quiet(), listener);
    assert_eq!(peer.read_close(), Some((1000, "Normal Closure".into())));
    assert!(next(&open), "before the close");
    assert!(!next(&open), "after the close");
    log.ends_with([Event::Open, Event::close(1000, "Normal Closure")]);
}

fn j7_their_client_knows_the_subprotocol_that_we_choose<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        assert_eq!(request_protocols(request), ["soap", "mqtt"]);
        Response::websocket(listener()).protocol("mqtt")
    });
    let client = Theirs::connect_with(server.addr, "/", &[], &["soap", "mqtt"]);
    assert_eq!(client.header("Sec-WebSocket-Protocol"), Some("mqtt"));
}

fn j7_we_know_the_subprotocol_that_their_server_chooses<B: Backend>() {
    let backend = B::start();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listening.local_addr().unwrap());
    let server = thread::spawn(move || {
        let server = Theirs::accept(&listening, &[("sec-websocket-protocol", "mqtt")]);
        server.header("Sec-WebSocket-Protocol").map(String::from)
    });
    let connect = Connect { protocols: vec!["soap", "mqtt"], ..Connect::to(url) };
    let client = backend.connect(connect, listener()).unwrap();
    assert_eq!(client.response.protocol(), Some("mqtt"));
    assert_eq!(server.join().unwrap().as_deref(), Some("soap, mqtt"));
}

fn j7_both_sides_know_the_chosen_subprotocol<B: Backend>() {
    let backend = B::start();
    let (offers, offered) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |request| {
        let protocols = request_protocols(request).into_iter().map(String::from).collect::<Vec<_>>();
        offers.send(protocols).unwrap();
        Response::websocket(listener()).protocol("mqtt")
    });
    let connect = Connect { protocols: vec!["soap", "mqtt"], ..Connect::to(server.url("/")) };
    let client = backend.connect(connect, listener()).unwrap();
    assert_eq!(client.response.protocol(), Some("mqtt"));
    assert_eq!(next(&offered), ["soap", "mqtt"]);
}

fn j8_a_message_sent_from_the_completion_of_another_follows_it<B: Backend>(role: Role) {
    let backend = B::start();
    let (outcomes, outcome) = mpsc::channel();
    let listener = listener().on_open(move |socket: &WebSocket| {
        let (outcomes, again) = (outcomes.clone(), socket.clone());
        socket.send_with("Hello", move |first| {
            again.send_with("World", move |second| outcomes.send((first, second)).unwrap());
        });
    });
    let Ours { mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener);
    assert_eq!(peer.read(), Their::text("Hello"));
    assert_eq!(peer.read(), Their::text("World"));
    assert_eq!(next(&outcome), (Ok(()), Ok(())));
}

fn j9_d17_i6_a_silent_peer_is_closed_after_the_idle_timeout<B: Backend>(role: Role) {
    let backend = B::start();
    let config = quiet().idle_timeout(Duration::from_millis(100));
    let Ours { log, peer, .. } = Ours::theirs(&backend, role, config, listener());
    let (error, text) = ("connection idle timeout", "Connection Idle Timeout");
    assert_eq!(peer.read_close(), Some((1001, text.into())));
    log.ends_with([Event::Open, Event::error(error), Event::close(1001, text)]);
}

fn j10_d18_text_above_the_limit_closes_with_1009<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet().max_text(5), listener());
    peer.send(Their::binary(b"binary is free".as_slice()));
    peer.send_text("five5");
    peer.send_text("foobar");
    let (error, text) = ("text message too large: 6 > 5", "Text message too large: 6 > 5");
    assert_eq!(peer.read_close(), Some((1009, text.into())));
    log.ends_with([
        Event::Open,
        Event::Binary(b"binary is free".into()),
        Event::text("five5"),
        Event::error(error),
        Event::close(1009, text),
    ]);
}

fn j11_d18_binary_above_the_limit_closes_with_1009<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet().max_binary(5), listener());
    peer.send_text("text is free");
    peer.send(Their::binary(b"foobar".as_slice()));
    let (error, text) = ("binary message too large: 6 > 5", "Binary message too large: 6 > 5");
    assert_eq!(peer.read_close(), Some((1009, text.into())));
    log.ends_with([Event::Open, Event::text("text is free"), Event::error(error), Event::close(1009, text)]);
}

/// So often that a test can wait for several.
fn often() -> Config {
    Config::default().keepalive_interval(Duration::from_millis(20))
}

/// Answers this many pings.
fn answer_pings(peer: &mut Raw, count: usize) {
    for _ in 0..count {
        peer.expect([Frame::new(PING, "")]);
        peer.send([Frame::new(PONG, "")]);
    }
}

fn k1_d17_pings_go_out_at_each_period_and_none_after_the_close<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, often(), listener());
    answer_pings(&mut peer, 3);
    peer.send([Frame::close(1000, "")]);
    // Another ping may have crossed the close.
    while peer.read() != Frame::close(1000, "") {}
    peer.hang_up();
    let pong = Event::Pong(Vec::new());
    log.ends_with([Event::Open, pong.clone(), pong.clone(), pong, Event::close(1000, "")]);
}

fn k2_k1_pings_go_out_whether_the_handler_answers_at_once_or_later<B: Backend>() {
    let backend = B::start();
    let at_once = backend.serve(Setup::new(often()), |_| Response::websocket(listener()));
    let later = backend.serve_with(Setup::new(often()), |_, responder| {
        thread::spawn(move || responder.respond(Response::websocket(listener())));
    });
    for addr in [at_once.addr, later.addr] {
        answer_pings(&mut Raw::open(addr), 3);
    }
}

fn k3_a_response_that_is_no_upgrade_is_left_alone<B: Backend>() {
    /// More than fits on the way: it takes a while.
    const LARGE: usize = 8 * 1024 * 1024;
    let backend = B::start();
    let at_once = backend.serve(Setup::new(often()), |_| Response::text("x".repeat(LARGE)));
    let (waiting, waits) = mpsc::channel();
    let later = backend.serve_with(Setup::new(often()), move |_, responder| waiting.send(responder).unwrap());
    let get = |addr: SocketAddr| thread::spawn(move || http(addr, &request("GET / HTTP/1.1", &["Host: localhost"])));

    let answer = get(later.addr);
    let responder = next(&waits);
    // Somebody else has pings meanwhile: the period has passed more than once.
    let other = backend.serve(Setup::new(often()), |_| Response::websocket(listener()));
    answer_pings(&mut Raw::open(other.addr), 3);
    responder.respond(Response::text("x".repeat(LARGE)));

    for answer in [answer, get(at_once.addr)] {
        let answer = answer.join().unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body == "x".repeat(LARGE), "{} bytes", answer.body.len());
    }
}

fn d17_i6_a_peer_that_never_answers_a_ping_is_dropped<B: Backend>(role: Role) {
    let backend = B::start();
    let timeout = Duration::from_millis(50);
    let config = Config::default().keepalive_interval(timeout).pong_timeout(timeout);
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, config, listener());
    let (error, text) = ("keepalive ping timeout", "Keepalive Ping Timeout");
    peer.expect([Frame::new(PING, ""), Frame::close(1011, text)]);
    // In either role: it has failed the connection, and leaves first.
    peer.expect_end();
    log.ends_with([Event::Open, Event::error(error), Event::close(1011, text)]);
}

fn d17_the_limits_of_one_upgrade_take_the_place_of_the_servers<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::new(quiet().max_message(5)), |request| {
        let response = Response::websocket(echo());
        if request.path() == "/large" { response.config(quiet().max_message(6)) } else { response }
    });
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("foobar")]);
    client.expect([Frame::close(1009, "Text message too large: 6 > 5")]);
    let mut client = Raw::open_with(server.addr, &bellwire_tests::upgrade_request("/large", &[]));
    client.send([Frame::new(TEXT, "foobar")]);
    client.expect([Frame::text("foobar")]);
}
