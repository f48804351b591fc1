//! What is seen of connections over real sockets, on every backend: their numbers, and the spans and events that a subscriber
//! of `tracing` gets. A program of its own, since that subscriber is the process's.
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "the core's tests use more of it")]
#[path = "../../core/tests/seeing/collector.rs"]
mod collector;

use std::any::type_name;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::time::SystemTime;

use bellwire::listener::ListenerBuilder;
use bellwire::{CloseCode, ConnectError, Request, Response, Stats, WebSocket, listener};
use bellwire_tests::{Backend, Connect, Setup, backends, echo, next};

use socket2::{Domain, Socket, Type};

use crate::collector::Collector;

backends! {
    pair {
        the_numbers_of_both_ends_are_those_of_the_wire,
        both_ends_have_a_span_with_what_happens_in_it,
        a_try_that_fails_says_where_it_led,
    }
}

/// What must not be seen, wherever it stands.
const SECRET: &str = "s3cr3t";

/// The process's subscriber.
fn seen() -> &'static Collector {
    static SEEN: OnceLock<Collector> = OnceLock::new();
    SEEN.get_or_init(|| {
        let collector = Collector::default();
        tracing::subscriber::set_global_default(collector.clone()).unwrap();
        collector
    })
}

/// Tells each message, and the numbers at the end.
fn telling(said: Sender<()>, ended: Sender<Stats>) -> ListenerBuilder {
    let pongs = said.clone();
    listener()
        .on_message(move |_, _| said.send(()).unwrap())
        .on_pong(move |_, _| pongs.send(()).unwrap())
        .on_close(move |socket: &WebSocket, _, _| ended.send(socket.stats()).unwrap())
}

fn the_numbers_of_both_ends_are_those_of_the_wire<B: Backend>() {
    let backend = B::start();
    let (at_server, server_ended) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |_: &Request| {
        let at_server = at_server.clone();
        Response::websocket(echo().on_close(move |socket: &WebSocket, _, _| at_server.send(socket.stats()).unwrap()))
    });
    let ((said, hears), (ended, client_ended)) = (mpsc::channel(), mpsc::channel());
    let client = backend.connect(Connect::to(server.url("/")), telling(said, ended)).unwrap();
    for text in ["hello", "", "hello"] {
        client.socket.send(text).unwrap();
        next(&hears);
    }
    // One that is answered before it is known to have left is not measured.
    let mut pings = 0;
    while client.socket.stats().round_trip.is_none() {
        assert!(pings < 1000, "no ping is measured");
        pings += 1;
        client.socket.ping("?").unwrap();
        next(&hears);
    }
    client.socket.close_with(CloseCode::NORMAL, "bye").unwrap();
    let (at_server, at_client) = (next(&server_ended), next(&client_ended));

    // Headers of two bytes, mask keys of four from the client: three messages, the pings or pongs, a close with its code.
    let (texts, close) = ([5, 0, 5].map(|length| 2 + length).iter().sum::<u64>(), 2 + 2 + 3);
    let (of_server, masked) = (texts + pings * (2 + 1) + close, 3 + pings + 1);
    let of_client = of_server + masked * 4;
    assert_eq!((at_server.received.messages, at_server.received.bytes), (3, of_client));
    assert_eq!((at_client.received.messages, at_client.received.bytes), (3, of_server));
    // On threads its close may not be known to have left when the answer is read.
    assert_eq!(at_client.sent.messages, 3);
    assert!([of_client, of_client - close - 4].contains(&at_client.sent.bytes), "{}", at_client.sent.bytes);
    // Its answer to the close leaves behind `on_close`.
    assert_eq!((at_server.sent.messages, at_server.sent.bytes), (3, of_server - close));
    assert!(at_client.round_trip.is_some() && at_server.round_trip.is_none());
    for stats in [at_server, at_client] {
        let opened = stats.opened.expect("the backends have a clock");
        assert!(opened <= SystemTime::now() && opened.elapsed().is_ok());
    }
}

fn both_ends_have_a_span_with_what_happens_in_it<B: Backend>() {
    let (seen, backend) = (seen(), B::start());
    // Among those of all tests, this one's connections are known by their path.
    let path = format!("/{}", type_name::<B>().replace(|letter: char| !letter.is_alphanumeric(), "-"));
    let server = backend.serve(Setup::default(), |_: &Request| {
        Response::websocket(listener().on_message(|socket, message| {
            tracing::info!("an event of the user's");
            socket.send(message)
        }))
    });
    let ((said, hears), (ended, has_ended)) = (mpsc::channel(), mpsc::channel());
    let mut connect = Connect::to(server.url(&format!("{path}?token={SECRET}")));
    connect.headers.push(("Cookie", "a=s3cr3t"));
    let client = backend.connect(connect, telling(said, ended)).unwrap();
    client.socket.send(SECRET).unwrap();
    next(&hears);
    client.socket.close().unwrap();
    next(&has_ended);
    for role in ["server", "client"] {
        let of_role = |span: &str| span.contains(&format!("role={role:?}")) && span.contains(&format!("path={path:?}"));
        let events = seen.events().into_iter().filter(|event| event.span.as_deref().is_some_and(of_role));
        let texts: Vec<_> = events.map(|event| event.text).collect();
        let [opened, between @ .., closed] = &texts[..] else { panic!("{texts:?}") };
        assert_eq!(opened, "connection opened");
        assert_eq!(between, if role == "server" { &["an event of the user's"][..] } else { &[] });
        assert!(closed.starts_with("connection closed code=1000 "), "{closed}");
    }
    assert!(!seen.everything().contains(SECRET));
}

fn a_try_that_fails_says_where_it_led<B: Backend>() {
    let (seen, backend) = (seen(), B::start());
    // It has the port, and does not listen.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let Err(error) = backend.connect(Connect::to(format!("ws://{addr}/?{SECRET}")), listener()) else {
        panic!("nobody listens there");
    };
    assert!(matches!(error, ConnectError::Connect(_)), "{error}");
    let there = format!("INFO no connection host=\"127.0.0.1\" port={} path=\"/\" kind=\"connect\"", addr.port());
    let told = seen.texts("bellwire::client").into_iter().filter(|text| text.starts_with(&there)).count();
    assert!(told > 0, "{:?}", seen.texts("bellwire::client"));
    assert!(!seen.everything().contains(SECRET));
}
