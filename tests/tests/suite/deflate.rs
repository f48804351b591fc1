//! Compressed messages over real sockets: what was agreed on, every size, and what a peer must not send.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bellwire::config::Deflate;
use bellwire::{Closed, ClosedBy, Config, Response, Role, listener};
use bellwire_tests::{
    Backend, Connect, Event, Frame, Log, Raw, Setup, TEXT, backends, echo, logged, logged_handler, quiet,
    upgrade_request,
};

backends! {
    pair {
        compressed_messages_of_every_size_come_back,
        many_compressed_messages_in_a_row_come_back_in_order,
        d17_deflate_is_of_one_upgrade,
        d19_nothing_is_compressed_unless_both_sides_say_so,
    }
    both {
        messages_are_compressed_on_the_wire_and_refer_to_earlier_ones,
        d18_a_message_that_becomes_too_long_is_refused,
        what_is_no_deflate_is_refused,
    }
}

const SIZES: [usize; 9] = [0, 1, 63, 64, 125, 126, 65_536, 300_000, 1024 * 1024];

/// "Hello" as RFC 7692 §7.2.3.1 prints it, and a reference to an earlier "Hello" (§7.2.3.2).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";

const EXTENSION: &str = "Sec-WebSocket-Extensions: permessage-deflate";

/// A text of this many bytes that repeats itself, and not all of them ASCII.
fn text(size: usize) -> String {
    let mut text = "größer, 世界 🦀 ".repeat(size / 20 + 1);
    text.truncate((0..=size).rev().find(|&end| text.is_char_boundary(end)).unwrap());
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text
}

/// Bytes that get no shorter.
fn noise(size: usize) -> Vec<u8> {
    let mut state = size as u32 | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn compressed(deflate: Deflate) -> Config {
    quiet().deflate(deflate)
}

fn d17_deflate_is_of_one_upgrade<B: Backend>() {
    let backend = B::start();
    for (default, own) in [(quiet(), compressed(Deflate::default())), (compressed(Deflate::default()), quiet())] {
        let own_too = own.clone();
        let server = backend.serve(Setup::new(default.clone()), move |request| {
            let response = Response::websocket(listener());
            if request.path() == "/own" { response.config(own_too.clone()) } else { response }
        });
        for (path, config) in [("/", &default), ("/own", &own)] {
            let client = Connect::to(server.url(path)).config(compressed(Deflate::default()));
            let client = backend.connect(client, listener()).unwrap();
            assert_eq!(client.socket.compression().is_some(), config.deflate.is_some(), "{path}");
        }
    }
}

fn compressed_messages_of_every_size_come_back<B: Backend>() {
    let backend = B::start();
    for (deflate, agreed) in [
        (Deflate::default(), "permessage-deflate; client_max_window_bits=12"),
        (
            Deflate::default().no_context_takeover().threshold(0),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",
        ),
        (
            Deflate::default().own_compressor(true).server_max_window_bits(10),
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12",
        ),
    ] {
        let server = backend.serve(Setup::new(compressed(deflate)), |_| {
            Response::websocket(echo().on_open(|socket| socket.send(socket.compression().unwrap().to_string())))
        });
        let (ours, log) = logged(listener());
        let client = backend.connect(Connect::to(server.url("/")).config(compressed(deflate)), ours).unwrap();
        assert_eq!(client.socket.compression().unwrap().to_string(), agreed);
        log.expect([Event::Open, Event::text(agreed)]);
        for size in SIZES {
            client.socket.send(text(size)).unwrap();
            log.expect([Event::text(text(size))]);
            for bytes in [text(size).into_bytes(), noise(size)] {
                client.socket.send(bytes.as_slice()).unwrap();
                log.expect([Event::Binary(bytes)]);
            }
        }
        client.socket.close().unwrap();
        assert_eq!(client.closed(), Closed::clean(1000, "Normal Closure", ClosedBy::Local));
    }
}

fn many_compressed_messages_in_a_row_come_back_in_order<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::new(compressed(Deflate::default())), |_| Response::websocket(echo()));
    let (ours, log) = logged(listener());
    let config = compressed(Deflate::default());
    let client = backend.connect(Connect::to(server.url("/")).config(config), ours).unwrap();
    let record = |number| format!(r#"{{"number":{number},"kind":"a message like all the others","flag":true}}"#);
    for number in 0..500 {
        client.socket.send(record(number)).unwrap();
    }
    log.expect([Event::Open]);
    log.expect((0..500).map(|number| Event::text(record(number))));
    client.socket.close().unwrap();
    client.closed();
}

fn d19_nothing_is_compressed_unless_both_sides_say_so<B: Backend>() {
    let backend = B::start();
    for (at_server, at_client) in [(true, false), (false, true), (false, false)] {
        let config = |on| if on { compressed(Deflate::default()) } else { quiet() };
        let server = backend.serve(Setup::new(config(at_server)), |_| {
            Response::websocket(echo().on_open(|socket| socket.send(format!("{:?}", socket.compression()))))
        });
        let (ours, log) = logged(listener());
        let client = backend.connect(Connect::to(server.url("/")).config(config(at_client)), ours).unwrap();
        assert_eq!(client.socket.compression(), None);
        assert_eq!(client.response.header("Sec-WebSocket-Extensions"), None);
        log.expect([Event::Open, Event::text("None")]);
        client.socket.send(text(1000)).unwrap();
        log.expect([Event::text(text(1000))]);
        client.socket.close().unwrap();
        client.closed();
    }
}

/// A connection of ours that echoes, and its peer, which is made of bytes.
fn opened<B: Backend>(backend: &B, role: Role, config: Config) -> (Log, TcpStream) {
    match role {
        Role::Server => {
            let (handler, logs) = logged_handler(|_| echo());
            let server = backend.serve(Setup::new(config), handler);
            let peer = Raw::open_with(server.addr, &upgrade_request("/", &[EXTENSION]));
            assert!(peer.head.contains(&format!("{EXTENSION}\r\n")), "{}", peer.head);
            (logs.next(), peer.into_inner())
        }
        Role::Client => {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/", server.local_addr().unwrap());
            let peer = thread::spawn(move || {
                let mut peer = Raw::accept(&server);
                assert!(peer.head.contains(EXTENSION), "{}", peer.head);
                peer.write(&peer.switching(&[EXTENSION]));
                peer.into_inner()
            });
            let (ours, log) = logged(echo());
            backend.connect(Connect::to(url).config(config), ours).map(drop).unwrap();
            (log, peer.join().unwrap())
        }
    }
}

/// A compressed text message, from the peer of such a role.
fn message(role: Role, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Frame::new(TEXT, payload).encode(role == Role::Server);
    bytes[0] |= 0x40;
    bytes
}

/// The first byte of a short frame, and how long its payload is, which is read.
fn read_short(role: Role, peer: &mut TcpStream) -> (u8, usize) {
    let mut head = [0; 2];
    peer.read_exact(&mut head).unwrap();
    let length = usize::from(head[1] & 0x7f);
    let mask = if role == Role::Client { 4 } else { 0 };
    peer.read_exact(&mut vec![0; mask + length]).unwrap();
    (head[0], length)
}

fn messages_are_compressed_on_the_wire_and_refer_to_earlier_ones<B: Backend>(role: Role) {
    let backend = B::start();
    let deflate = Deflate::default().threshold(0).client_max_window_bits(15);
    let (log, mut peer) = opened(&backend, role, compressed(deflate));
    log.expect([Event::Open]);
    peer.write_all(&message(role, HELLO)).unwrap();
    log.expect([Event::text("Hello")]);
    let first = read_short(role, &mut peer);
    peer.write_all(&message(role, HELLO_AGAIN)).unwrap();
    log.expect([Event::text("Hello")]);
    let second = read_short(role, &mut peer);
    assert_eq!((first.0, second.0), (0xc1, 0xc1));
    assert!(second.1 < first.1, "{first:?} {second:?}");
}

/// The close frame that comes is what our listener is told.
fn fails<B: Backend>(role: Role, config: Config, payload: &[u8], error: &str, code: u16, reason: &str) {
    let backend = B::start();
    let (log, mut peer) = opened(&backend, role, config);
    peer.write_all(&message(role, payload)).unwrap();
    log.ends_with([Event::Open, Event::error(error), Event::close(code, reason)]);
    assert_eq!(read_short(role, &mut peer), (0x88, 2 + reason.len()));
}

fn d18_a_message_that_becomes_too_long_is_refused<B: Backend>(role: Role) {
    let config = compressed(Deflate::default().client_max_window_bits(15)).max_message(4);
    let reason = "Text message too large: 5 > 4";
    fails::<B>(role, config, HELLO, "text message too large: 5 > 4", 1009, reason);
}

fn what_is_no_deflate_is_refused<B: Backend>(role: Role) {
    let config = compressed(Deflate::default().client_max_window_bits(15));
    let reason = "Compressed message not DEFLATE";
    fails::<B>(role, config, HELLO_AGAIN, "compressed message not DEFLATE", 1007, reason);
}
