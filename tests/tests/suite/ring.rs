//! What Ring's own tests assert over a connection (J1 to J11 in `docs/contract.md`), and keepalive.

use std::sync::mpsc;
use std::time::Duration;

use bellwire::{Config, Message, Response, listener, request_protocols};
use bellwire_tests::{
    Backend, Connect, Event, Frame, PING, PONG, Raw, Setup, TEXT, Theirs, backends, echo, logged, next, quiet,
};
use tungstenite::Message as Their;

backends! {
    j1_text_pong_and_close_are_logged_in_order,
    j2_text_and_binary_keep_their_types_and_their_order,
    j3_a_ping_from_on_open_comes_back_as_a_pong,
    j4_a_ping_is_answered_without_a_listener_for_it,
    j5_a_listener_with_on_ping_sends_the_only_pong,
    j6_a_close_in_on_open_is_seen_at_once_and_reported_later,
    j7_both_sides_know_the_chosen_subprotocol,
    j8_a_message_sent_from_the_completion_of_another_follows_it,
    j9_a_silent_client_is_closed_after_the_idle_timeout,
    j10_text_above_the_limit_closes_with_1009,
    j11_binary_above_the_limit_closes_with_1009,
    d17_a_server_pings_a_quiet_client_as_long_as_it_answers,
    d17_a_client_pings_a_quiet_server,
    d17_a_peer_that_never_answers_a_ping_is_dropped,
    d17_the_limits_of_one_upgrade_take_the_place_of_the_servers,
}

fn j1_text_pong_and_close_are_logged_in_order<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), listener);
    let mut client = Theirs::connect(server.addr);
    client.send_text("foo");
    client.send(Their::Pong("bar".into()));
    client.close(1000, "Normal close");
    assert_eq!(client.read_close(), Some((1000, "Normal close".into())));
    server.log().ends_with([
        Event::Open,
        Event::text("foo"),
        Event::Pong(b"bar".into()),
        Event::close(1000, "Normal close"),
    ]);
}

fn j2_text_and_binary_keep_their_types_and_their_order<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || {
        listener()
            .on_open(|socket| {
                socket.send("Hello")?;
                socket.send(b"World")
            })
            .on_message(|socket, message| match message {
                Message::Text(text) => socket.send(format!("t: {text}")),
                Message::Binary(bytes) => socket.send(format!("b: {}", String::from_utf8_lossy(bytes))),
            })
    });
    let mut client = Theirs::connect(server.addr);
    client.send_text("one");
    client.send(Their::binary(b"two".as_slice()));
    assert_eq!(client.read(), Their::text("Hello"));
    assert_eq!(client.read(), Their::binary(b"World".as_slice()));
    assert_eq!(client.read(), Their::text("t: one"));
    assert_eq!(client.read(), Their::text("b: two"));
    server.log().expect([Event::Open, Event::text("one"), Event::Binary(b"two".into())]);
}

fn j3_a_ping_from_on_open_comes_back_as_a_pong<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || listener().on_open(|socket| socket.ping("foo")));
    let mut client = Theirs::connect(server.addr);
    assert_eq!(client.read(), Their::Ping("foo".into()));
    client.socket.flush().unwrap();
    client.close(1000, "");
    client.read_close();
    server.log().ends_with([Event::Open, Event::Pong(b"foo".into()), Event::close(1000, "")]);
}

fn j4_a_ping_is_answered_without_a_listener_for_it<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), listener);
    let mut client = Theirs::connect(server.addr);
    client.send(Their::Ping("foo".into()));
    assert_eq!(client.read(), Their::Pong("foo".into()));
    server.log().expect([Event::Open, Event::Ping(b"foo".into())]);
}

fn j5_a_listener_with_on_ping_sends_the_only_pong<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || echo().on_ping(|socket, data| socket.pong(data)));
    let mut client = Raw::open(server.addr);
    client.send([Frame::new(PING, "foo"), Frame::text("end")]);
    client.expect([Frame::new(PONG, "foo"), Frame::text("end")]);
    server.log().expect([Event::Open, Event::Ping(b"foo".into())]);
}

fn j6_a_close_in_on_open_is_seen_at_once_and_reported_later<B: Backend>() {
    let backend = B::start();
    let (opens, open) = mpsc::channel();
    let server = backend.serve_logged(quiet(), move || {
        let opens = opens.clone();
        listener().on_open(move |socket| {
            opens.send(socket.is_open()).unwrap();
            let closed = socket.close();
            opens.send(socket.is_open()).unwrap();
            closed
        })
    });
    let client = Theirs::connect(server.addr);
    assert_eq!(client.read_close(), Some((1000, "Normal Closure".into())));
    assert!(next(&open), "before the close");
    assert!(!next(&open), "after the close");
    server.log().ends_with([Event::Open, Event::close(1000, "Normal Closure")]);
}

fn j7_both_sides_know_the_chosen_subprotocol<B: Backend>() {
    let backend = B::start();
    let (offers, offered) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |request| {
        let protocols = request_protocols(request).into_iter().map(String::from).collect::<Vec<_>>();
        offers.send(protocols).unwrap();
        Response::websocket(listener()).protocol("mqtt")
    });

    let client = Theirs::connect_with(server.addr, "/", &[], &["soap", "mqtt"]);
    assert_eq!(client.header("Sec-WebSocket-Protocol"), Some("mqtt"));
    assert_eq!(next(&offered), ["soap", "mqtt"]);

    let connect = Connect { protocols: vec!["soap", "mqtt"], ..Connect::to(server.url("/")) };
    let client = backend.connect(connect, listener()).unwrap();
    assert_eq!(client.response.protocol(), Some("mqtt"));
    assert_eq!(next(&offered), ["soap", "mqtt"]);
}

fn j8_a_message_sent_from_the_completion_of_another_follows_it<B: Backend>() {
    let backend = B::start();
    let (outcomes, outcome) = mpsc::channel();
    let server = backend.serve_logged(quiet(), move || {
        let outcomes = outcomes.clone();
        listener().on_open(move |socket| {
            let (outcomes, again) = (outcomes.clone(), socket.clone());
            socket.send_with("Hello", move |first| {
                again.send_with("World", move |second| outcomes.send((first, second)).unwrap());
            });
        })
    });
    let mut client = Theirs::connect(server.addr);
    assert_eq!(client.read(), Their::text("Hello"));
    assert_eq!(client.read(), Their::text("World"));
    assert_eq!(next(&outcome), (Ok(()), Ok(())));
}

fn j9_a_silent_client_is_closed_after_the_idle_timeout<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet().idle_timeout(Duration::from_millis(100)), listener);
    let client = Theirs::connect(server.addr);
    assert_eq!(client.read_close(), Some((1001, "Connection Idle Timeout".into())));
    server.log().ends_with([
        Event::Open,
        Event::error("Connection Idle Timeout"),
        Event::close(1001, "Connection Idle Timeout"),
    ]);
}

fn j10_text_above_the_limit_closes_with_1009<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet().max_text(5), listener);
    let mut client = Theirs::connect(server.addr);
    client.send(Their::binary(b"binary is free".as_slice()));
    client.send_text("five5");
    client.send_text("foobar");
    let text = "Text message too large: 6 > 5";
    assert_eq!(client.read_close(), Some((1009, text.into())));
    server.log().ends_with([
        Event::Open,
        Event::Binary(b"binary is free".into()),
        Event::text("five5"),
        Event::error(text),
        Event::close(1009, text),
    ]);
}

fn j11_binary_above_the_limit_closes_with_1009<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet().max_binary(5), listener);
    let mut client = Theirs::connect(server.addr);
    client.send_text("text is free");
    client.send(Their::binary(b"foobar".as_slice()));
    let text = "Binary message too large: 6 > 5";
    assert_eq!(client.read_close(), Some((1009, text.into())));
    server.log().ends_with([Event::Open, Event::text("text is free"), Event::error(text), Event::close(1009, text)]);
}

fn d17_a_server_pings_a_quiet_client_as_long_as_it_answers<B: Backend>() {
    let backend = B::start();
    let config = Config::default().keepalive_interval(Duration::from_millis(20));
    let server = backend.serve_logged(config, listener);
    let mut client = Raw::open(server.addr);
    for _ in 0..3 {
        client.expect([Frame::new(PING, "")]);
        client.send([Frame::new(PONG, "")]);
    }
    client.send([Frame::close(1000, "")]);
    // Another ping may have crossed the close.
    while client.read() != Frame::close(1000, "") {}
    client.expect_end();
    let pong = Event::Pong(Vec::new());
    server.log().ends_with([Event::Open, pong.clone(), pong.clone(), pong, Event::close(1000, "")]);
}

fn d17_a_client_pings_a_quiet_server<B: Backend>() {
    let backend = B::start();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let mut raw = Raw::accept(&server);
        raw.write(&raw.switching(&[]));
        raw.expect([Frame::new(PING, ""), Frame::close(1011, "Keepalive Ping Timeout")]);
        // It has failed the connection, and leaves first.
        raw.expect_end();
    });
    let timeout = Duration::from_millis(50);
    let config = Config::default().keepalive_interval(timeout).pong_timeout(timeout);
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(url).config(config), listener).unwrap();
    assert_eq!(client.closed().code, 1011);
    let text = "Keepalive Ping Timeout";
    log.ends_with([Event::Open, Event::error(text), Event::close(1011, text)]);
    peer.join().unwrap();
}

fn d17_a_peer_that_never_answers_a_ping_is_dropped<B: Backend>() {
    let backend = B::start();
    let timeout = Duration::from_millis(50);
    let config = Config::default().keepalive_interval(timeout).pong_timeout(timeout);
    let server = backend.serve_logged(config, listener);
    let mut client = Raw::open(server.addr);
    let text = "Keepalive Ping Timeout";
    client.expect([Frame::new(PING, ""), Frame::close(1011, text)]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::error(text), Event::close(1011, text)]);
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
