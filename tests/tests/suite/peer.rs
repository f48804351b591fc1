//! A real peer that nobody here wrote, in both roles: tungstenite.

use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use bellwire::{Closed, ClosedBy, Config, Message, Response, Role, listener};
use bellwire_tests::{Backend, Connect, Event, Ours, Setup, Theirs, backends, echo, logged, quiet};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, Message as Their};

backends! {
    server {
        t21_their_client_gets_every_size_back,
        t6_t10_i9_their_clients_fragments_are_joined_with_a_ping_between_them,
        t9_their_client_closes_with_each_code,
        t9_our_server_closes_with_each_code,
        d15_d19_t11_headers_and_subprotocol_are_seen_by_their_client_and_our_server,
    }
    client {
        t21_their_server_gives_every_size_back,
        t6_t10_i9_their_servers_fragments_are_joined_with_a_ping_between_them,
        t9_their_server_closes_with_each_code,
        t9_our_client_closes_with_each_code,
        pings_and_pongs_cross_in_both_directions,
        d15_d19_t11_headers_and_subprotocol_are_seen_by_our_client_and_their_server,
    }
    pair {
        our_client_and_our_server_understand_each_other,
    }
    both {
        d3_t8_a_close_of_theirs_without_a_code_is_1005,
    }
}

/// Around every border of the length's encoding, up to the default limit.
const SIZES: [usize; 8] = [0, 1, 125, 126, 65_535, 65_536, 100_000, 1024 * 1024];

/// Codes that may be sent.
const CODES: [u16; 6] = [1000, 1001, 1011, 1013, 3000, 4999];

/// A text of this many bytes, not all of them ASCII.
fn text(size: usize) -> String {
    let mut text = "Grüße, ".repeat(size / 9 + 1);
    text.truncate((0..=size).rev().find(|&end| text.is_char_boundary(end)).unwrap());
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text
}

fn binary(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 % 251) as u8).collect()
}

/// A server of theirs, at a URL, for one connection.
fn their_server<T: Send + 'static>(
    headers: &'static [(&'static str, &'static str)],
    serve: impl FnOnce(Theirs) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/path?query", listener.local_addr().unwrap());
    (url, thread::spawn(move || serve(Theirs::accept(&listener, headers))))
}

/// Sends everything back until the other side closes.
fn their_echo(mut server: Theirs) {
    loop {
        match server.socket.read() {
            Ok(message @ (Their::Text(_) | Their::Binary(_))) => server.send(message),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn t21_their_client_gets_every_size_back<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let mut client = Theirs::connect(server.addr);
    for size in SIZES {
        client.send(Their::text(text(size)));
        assert_eq!(client.read(), Their::text(text(size)), "text of {size}");
        client.send(Their::binary(binary(size)));
        assert_eq!(client.read(), Their::binary(binary(size)), "binary of {size}");
    }
}

fn t21_their_server_gives_every_size_back<B: Backend>() {
    let backend = B::start();
    let (url, server) = their_server(&[], their_echo);
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(url), listener).unwrap();
    log.expect([Event::Open]);
    for size in SIZES {
        assert_eq!(text(size).len(), size);
        client.socket.send(text(size)).unwrap();
        log.expect([Event::text(text(size))]);
        client.socket.send(text(size).as_str()).unwrap();
        log.expect([Event::text(text(size))]);
        client.socket.send(binary(size)).unwrap();
        log.expect([Event::Binary(binary(size))]);
        client.socket.send(binary(size).as_slice()).unwrap();
        log.expect([Event::Binary(binary(size))]);
    }
    client.socket.close().unwrap();
    let closed = client.closed();
    assert_eq!(closed, Closed::clean(1000, "Normal Closure", ClosedBy::Local));
    server.join().unwrap();
}

fn fragments(first: Data) -> [Their; 4] {
    let frame = |data: &'static [u8], opcode, last| Their::Frame(Frame::message(data, OpCode::Data(opcode), last));
    // The first cuts a character in two.
    [
        frame(b"Gr\xc3", first, false),
        Their::Ping("between".into()),
        frame(b"\xbc\xc3\x9f", Data::Continue, false),
        frame(b"e", Data::Continue, true),
    ]
}

fn t6_t10_i9_their_clients_fragments_are_joined_with_a_ping_between_them<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let mut client = Theirs::connect(server.addr);
    for message in fragments(Data::Text).into_iter().chain(fragments(Data::Binary)) {
        client.send(message);
    }
    assert_eq!(client.read(), Their::Pong("between".into()));
    assert_eq!(client.read(), Their::text("Grüße"));
    assert_eq!(client.read(), Their::Pong("between".into()));
    assert_eq!(client.read(), Their::binary("Grüße"));
    let ping = Event::Ping(b"between".into());
    server.log().expect([Event::Open, ping.clone(), Event::text("Grüße"), ping, Event::Binary("Grüße".into())]);
}

fn t6_t10_i9_their_servers_fragments_are_joined_with_a_ping_between_them<B: Backend>() {
    let backend = B::start();
    let (url, server) = their_server(&[], |mut server| {
        for message in fragments(Data::Text) {
            server.send(message);
        }
        assert_eq!(server.read(), Their::Pong("between".into()));
        server.close(1000, "");
        server.read_close();
    });
    let (listener, log) = logged(listener());
    backend.connect(Connect::to(url), listener).unwrap();
    log.ends_with([Event::Open, Event::Ping(b"between".into()), Event::text("Grüße"), Event::close(1000, "")]);
    server.join().unwrap();
}

fn t9_their_client_closes_with_each_code<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), listener);
    for code in CODES {
        let reason = format!("because of {code}: ünïcödé");
        let mut client = Theirs::connect(server.addr);
        client.close(code, &reason);
        // RFC 6455 §5.5.1: the code is echoed.
        assert_eq!(client.read_close(), Some((code, reason.clone())));
        server.log().ends_with([Event::Open, Event::close(code, &reason)]);
    }
}

fn t9_their_server_closes_with_each_code<B: Backend>() {
    let backend = B::start();
    for code in CODES {
        let (url, server) = their_server(&[], move |mut server| {
            server.close(code, "gone");
            server.read_close()
        });
        let (listener, log) = logged(listener());
        let client = backend.connect(Connect::to(url), listener).unwrap();
        assert_eq!(client.closed(), Closed::clean(code, "gone", ClosedBy::Peer));
        log.ends_with([Event::Open, Event::close(code, "gone")]);
        assert_eq!(server.join().unwrap(), Some((code, "gone".into())));
    }
}

fn t9_our_server_closes_with_each_code<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || {
        listener().on_message(|socket, message| {
            let code: u16 = message.as_text().unwrap().parse().unwrap();
            socket.close_with(code, "as you like")
        })
    });
    for code in CODES {
        let mut client = Theirs::connect(server.addr);
        client.send_text(&code.to_string());
        assert_eq!(client.read_close(), Some((code, "as you like".into())));
        server.log().ends_with([Event::Open, Event::text(code.to_string()), Event::close(code, "as you like")]);
    }
}

fn t9_our_client_closes_with_each_code<B: Backend>() {
    let backend = B::start();
    for code in CODES {
        let (url, server) = their_server(&[], Theirs::read_close);
        let (listener, log) = logged(listener());
        let client = backend.connect(Connect::to(url), listener).unwrap();
        client.socket.close_with(code, "bye").unwrap();
        assert_eq!(client.closed(), Closed::clean(code, "bye", ClosedBy::Local));
        log.ends_with([Event::Open, Event::close(code, "bye")]);
        assert_eq!(server.join().unwrap(), Some((code, "bye".into())));
    }
}

fn d3_t8_a_close_of_theirs_without_a_code_is_1005<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, .. } = Ours::theirs(&backend, role, quiet(), listener());
    peer.socket.close(None).unwrap();
    assert_eq!(peer.read_close(), None);
    log.ends_with([Event::Open, Event::close(1005, "")]);
}

fn pings_and_pongs_cross_in_both_directions<B: Backend>() {
    let backend = B::start();
    let data = vec![0xff; 125];
    let (url, server) = their_server(&[], {
        let data = data.clone();
        move |mut server| {
            server.send(Their::Ping(data.clone().into()));
            // What answers our ping, and what answers theirs, in either order.
            let mut came = [server.read(), server.read(), server.read()];
            came.sort_by_key(|message| message.len());
            let [pong, unasked_or_ping, other] = came;
            assert_eq!(pong, Their::Pong("unasked".into()));
            assert!([&unasked_or_ping, &other].contains(&&Their::Ping(data.clone().into())));
            assert!([&unasked_or_ping, &other].contains(&&Their::Pong(data.into())));
            their_echo(server);
        }
    });
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(url), listener).unwrap();
    client.socket.ping(&data).unwrap();
    client.socket.pong("unasked").unwrap();
    let came = [log.next(), log.next(), log.next()];
    for event in [Event::Open, Event::Ping(data.clone()), Event::Pong(data)] {
        assert!(came.contains(&event), "{event:?} is not in {came:?}");
    }
    client.socket.close().unwrap();
    client.closed();
    server.join().unwrap();
}

fn d15_d19_t11_headers_and_subprotocol_are_seen_by_their_client_and_our_server<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        let token = request.header("x-token").map(|token| token.into_owned()).unwrap_or_default();
        let chosen = request.select_protocol(&["mqtt"]).map(String::from);
        let seen = format!("{} {} {token}", request.path(), request.query().unwrap_or_default());
        let response = Response::websocket(listener().on_open(move |socket| socket.send(seen.as_str())));
        let response = response.header("Set-Cookie", "a=b").header("X-Reply", "yes");
        match chosen {
            Some(protocol) => response.protocol(protocol),
            None => response,
        }
    });
    let mut client = Theirs::connect_with(server.addr, "/a%20b?c=d", &[("X-Token", "secret")], &["soap", "mqtt"]);
    assert_eq!(client.read(), Their::text("/a%20b c=d secret"));
    assert_eq!(client.header("Set-Cookie"), Some("a=b"));
    assert_eq!(client.header("X-Reply"), Some("yes"));
    assert_eq!(client.header("Sec-WebSocket-Protocol"), Some("mqtt"));
    assert_eq!(client.header("Sec-WebSocket-Extensions"), None, "D19");
}

fn d15_d19_t11_headers_and_subprotocol_are_seen_by_our_client_and_their_server<B: Backend>() {
    let backend = B::start();
    let (url, server) = their_server(&[("x-reply", "yes"), ("sec-websocket-protocol", "mqtt")], |server| {
        let host = format!("127.0.0.1:{}", server.socket.get_ref().local_addr().unwrap().port());
        assert_eq!(server.header("Host"), Some(host.as_str()));
        assert_eq!(server.header("Authorization"), Some("Bearer x"));
        assert_eq!(server.header("Sec-WebSocket-Protocol"), Some("soap, mqtt"));
        assert_eq!(server.header("Sec-WebSocket-Extensions"), None, "D19");
        their_echo(server);
    });
    let connect =
        Connect { headers: vec![("Authorization", "Bearer x")], protocols: vec!["soap", "mqtt"], ..Connect::to(url) };
    let client = backend.connect(connect, listener()).unwrap();
    assert_eq!((client.response.status(), client.response.protocol()), (101, Some("mqtt")));
    assert_eq!(client.response.header("X-Reply").as_deref(), Some("yes"));
    client.socket.close().unwrap();
    client.closed();
    server.join().unwrap();
}

fn our_client_and_our_server_understand_each_other<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(Config::default(), || {
        listener()
            .on_open(|socket| socket.send("I will echo your messages"))
            .on_message(|socket, message| if message == "exit" { socket.close() } else { socket.send(message) })
    });
    let (ours, log) = logged(listener().on_message(|socket, message: Message<'_>| {
        if message == "I will echo your messages" { socket.send("exit") } else { socket.send("unexpected") }
    }));
    let client = backend.connect(Connect::to(server.url("/")), ours).unwrap();
    let closed = client.closed();
    assert_eq!(closed, Closed::clean(1000, "Normal Closure", ClosedBy::Peer));
    let end = Event::close(1000, "Normal Closure");
    log.ends_with([Event::Open, Event::text("I will echo your messages"), end.clone()]);
    server.log().ends_with([Event::Open, Event::text("exit"), end]);
}
