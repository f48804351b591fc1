//! What a socket knows of its connection, how a server counts its connections, and how each learns its end.

use std::collections::HashSet;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};

use bellwire::listener::IntoListener;
use bellwire::{
    Closed, ClosedBy, Codec, Config, Listener, Message, OwnedMessage, Response, Role, SocketId, WebSocket, listener,
    typed_listener,
};
use bellwire_tests::{
    Backend, Connect, Frame, Ours, Over, Raw, Setup, backends, echo, http, next, quiet, request, upgrade_request,
};

backends! {
    server {
        u3_a_server_counts_the_connections_that_are_open,
        u3_an_acceptor_counts_the_connections_that_are_open,
        h13_a_trusted_proxy_names_the_client_and_nobody_else_does,
    }
    pair {
        u1_a_socket_knows_its_peer_its_path_and_its_protocol,
        u1_a_socket_over_a_stream_of_the_callers_knows_what_it_was_told,
        u1_wrapped_and_typed_sockets_know_the_same,
        u2_a_number_is_given_once,
    }
    both {
        u1_a_connection_that_somebody_else_has_upgraded_knows_nothing,
        u1_what_a_socket_knows_outlives_its_connection,
        u4_on_close_can_ask_who_closed_and_whether_it_was_clean,
        u23_who_waits_for_the_end_is_told_before_on_close_and_of_one_that_has_ended_at_once,
    }
}

/// What a socket says of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    peer: Option<SocketAddr>,
    path: Option<String>,
    protocol: Option<String>,
}

impl Known {
    fn of(socket: &WebSocket) -> Self {
        let text = |text: Option<&str>| text.map(String::from);
        Self { peer: socket.peer_addr(), path: text(socket.path()), protocol: text(socket.protocol()) }
    }

    fn new(peer: Option<SocketAddr>, path: &str, protocol: Option<&str>) -> Self {
        Self { peer, path: Some(path.into()), protocol: protocol.map(String::from) }
    }
}

/// Tells what its socket knows at each event.
fn telling(known: Sender<Known>) -> impl IntoListener {
    let (message, close) = (known.clone(), known.clone());
    listener()
        .on_open(move |socket| known.send(Known::of(socket)).unwrap())
        .on_message(move |socket, _| message.send(Known::of(socket)).unwrap())
        // The test may be over.
        .on_close(move |socket, _, _| drop(close.send(Known::of(socket))))
}

fn u1_a_socket_knows_its_peer_its_path_and_its_protocol<B: Backend>() {
    let backend = B::start();
    for protocol in [Some("mqtt"), None] {
        let (at_server, served) = mpsc::channel();
        let (asked_by, asked) = mpsc::channel();
        let server = backend.serve(Setup::default(), move |request| {
            asked_by.send(request.peer_addr()).unwrap();
            let response = Response::websocket(telling(at_server.clone()));
            match protocol {
                Some(protocol) => response.protocol(protocol),
                None => response,
            }
        });
        let (at_client, connected) = mpsc::channel();
        let mut connect = Connect::to(server.url("/a%20b/c?query=1"));
        connect.protocols = vec!["soap", "mqtt"];
        let client = backend.connect(connect, telling(at_client)).unwrap();

        let peer = next(&asked);
        assert!(peer.is_some_and(|peer| peer.ip() == server.addr.ip() && peer != server.addr), "{peer:?}");
        let of_server = Known::new(peer, "/a%20b/c", protocol);
        let of_client = Known::new(Some(server.addr), "/a%20b/c", protocol);
        assert_eq!(Known::of(&client.socket), of_client);
        client.socket.send("x").unwrap();
        client.socket.close().unwrap();
        // When it opens, with each message, and when it closes.
        for _ in 0..3 {
            assert_eq!(next(&served), of_server);
        }
        for _ in 0..2 {
            assert_eq!(next(&connected), of_client);
        }
    }
}

fn u1_a_socket_over_a_stream_of_the_callers_knows_what_it_was_told<B: Backend>() {
    let backend = B::start();
    let told: SocketAddr = "192.0.2.1:42".parse().unwrap();
    for peer in [Some(told), None] {
        let (at_server, served) = mpsc::channel();
        let handler = move |_: &_| Response::websocket(telling(at_server.clone()));
        let acceptor = backend.acceptor(Setup::default(), handler);
        // Two ends in memory, joined by two threads.
        let (server_end, server_peer, _) = backend.memory(4096);
        let (client_end, client_peer, _) = backend.memory(4096);
        let _accepted = acceptor.accept(Over::Memory(server_end), peer);
        let (at_client, connected) = mpsc::channel();
        let joined = Joined::new(server_peer, client_peer);
        let connect = Connect { peer_addr: peer, ..Connect::to("ws://example.com/in/memory?x") };
        let client = backend.connect_over(connect, Over::Memory(client_end), telling(at_client)).unwrap();
        assert_eq!(next(&served), Known::new(peer, "/in/memory", None));
        assert_eq!(next(&connected), Known::new(peer, "/in/memory", None));
        client.socket.abort();
        drop(joined);
    }
}

/// Carries the request and the answer from one end in memory to the other.
struct Joined(Option<std::thread::JoinHandle<()>>);

impl Joined {
    fn new<P: std::io::Read + std::io::Write + Send + 'static>(mut server: P, mut client: P) -> Self {
        let carry = move || {
            let mut head = [0; 4096];
            let count = client.read(&mut head).unwrap();
            server.write_all(&head[..count]).unwrap();
            let count = server.read(&mut head).unwrap();
            client.write_all(&head[..count]).unwrap();
        };
        Self(Some(std::thread::spawn(carry)))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.take().unwrap().join().unwrap();
    }
}

/// Text as it is.
struct Plain;

impl Codec for Plain {
    type In = String;
    type Out = str;

    fn decode(&self, message: Message<'_>) -> Result<String, bellwire::BoxError> {
        Ok(message.as_text().ok_or("text")?.into())
    }

    fn encode(&self, value: &str) -> Result<OwnedMessage, bellwire::BoxError> {
        Ok(value.to_owned().into())
    }
}

/// A socket around a socket, which changes nothing.
struct Around(WebSocket);

impl bellwire::Socket for Around {
    fn inner(&self) -> Option<&dyn bellwire::Socket> {
        Some(self.0.as_socket())
    }
}

/// A socket that knows better where its peer is, as behind a proxy.
struct Forwarded(WebSocket);

impl bellwire::Socket for Forwarded {
    fn inner(&self) -> Option<&dyn bellwire::Socket> {
        Some(self.0.as_socket())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some("192.0.2.7:7".parse().unwrap())
    }
}

fn u1_wrapped_and_typed_sockets_know_the_same<B: Backend>() {
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |_| {
        let tell = tell.clone();
        Response::websocket(typed_listener(Plain).on_open(move |socket| {
            let plain = Known::of(socket.socket());
            let typed = Known::new(socket.peer_addr(), socket.path().unwrap(), socket.protocol());
            let around = Known::of(&WebSocket::new(Around(socket.socket().clone())));
            let forwarded = Known::of(&WebSocket::new(Forwarded(socket.socket().clone())));
            tell.send([plain, typed, around, forwarded]).unwrap();
        }))
    });
    let client = backend.connect(Connect::to(server.url("/x")), listener()).unwrap();
    let [plain, typed, around, forwarded] = next(&told);
    assert!(plain.peer.is_some());
    assert_eq!([&typed, &around], [&plain, &plain]);
    assert_eq!(forwarded, Known { peer: Some("192.0.2.7:7".parse().unwrap()), ..plain });
    let around = WebSocket::new(Around(client.socket.clone()));
    assert_eq!(Known::of(&around), Known::new(Some(server.addr), "/x", None));
    assert_eq!((&around, around.id()), (&client.socket, client.socket.id()));
}

fn u1_a_connection_that_somebody_else_has_upgraded_knows_nothing<B: Backend>(role: Role) {
    let backend = B::start();
    let (end, peer, _) = backend.memory(4096);
    let (tell, told) = mpsc::channel();
    let driven = backend.upgraded(Over::Memory(end), Vec::new(), role, quiet(), telling(tell));
    assert_eq!(next(&told), Known { peer: None, path: None, protocol: None });
    drop(peer);
    driven.wait();
}

fn u1_what_a_socket_knows_outlives_its_connection<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener());
    let (known, id) = (Known::of(&socket), socket.id());
    assert!(known.peer.is_some() && known.path.as_deref() == Some("/"), "{known:?}");
    peer.send([Frame::close(1000, "")]);
    peer.expect([Frame::close(1000, "")]);
    peer.hang_up();
    log.rest();
    assert_eq!((Known::of(&socket), socket.id()), (known, id));
}

fn u2_a_number_is_given_once<B: Backend>() {
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |_| {
        let tell = tell.clone();
        Response::websocket(listener().on_open(move |socket| tell.send(socket.id()).unwrap()))
    });
    let mut seen: HashSet<SocketId> = HashSet::new();
    for _ in 0..5 {
        let client = backend.connect(Connect::to(server.url("/")), listener()).unwrap();
        let at_client = client.socket.id();
        client.socket.close().unwrap();
        // All that there was of either connection is gone, and its memory may be used again.
        client.closed();
        for id in [at_client, next(&told)] {
            assert!(seen.insert(id), "{id} comes twice");
            let number: u64 = id.to_string().parse().unwrap();
            assert_eq!((SocketId::from(number), u64::from(id), format!("{id:?}")), (id, number, number.to_string()));
        }
    }
}

/// Says how many connections the server has, from inside of one.
type Count = Receiver<(&'static str, usize)>;

fn counting(counter: &Arc<OnceLock<Counter>>, tell: &Sender<(&'static str, usize)>) -> Counting {
    Counting { counter: counter.clone(), tell: tell.clone() }
}

type Counter = Arc<dyn Fn() -> usize + Send + Sync>;

struct Counting {
    counter: Arc<OnceLock<Counter>>,
    tell: Sender<(&'static str, usize)>,
}

impl Counting {
    fn tell(&self, when: &'static str) {
        let count = self.counter.get().expect("set before anybody connects")();
        // The test may be over.
        let _ = self.tell.send((when, count));
    }
}

impl Listener for Counting {
    fn on_open(&mut self, _: &WebSocket) -> bellwire::Outcome {
        self.tell("open");
        Ok(())
    }

    fn on_close(&mut self, _: &WebSocket, _: bellwire::CloseCode, _: &str) {
        self.tell("close");
    }
}

fn u3_a_server_counts_the_connections_that_are_open<B: Backend>() {
    let backend = B::start();
    let counter = Arc::<OnceLock<Counter>>::default();
    let (tell, told): (_, Count) = mpsc::channel();
    let server = backend.serve(Setup::default(), {
        let counter = Arc::clone(&counter);
        move |request| match request.path() {
            "/ws" => Response::websocket(counting(&counter, &tell)),
            _ => Response::text("hello"),
        }
    });
    let _ = counter.set(server.counter());
    assert_eq!(server.connections(), 0);
    // What is no WebSocket does not count.
    assert_eq!(http(server.addr, &request("GET /page HTTP/1.1", &["Host: x"])).status, 200);
    let idle = std::net::TcpStream::connect(server.addr).unwrap();
    assert_eq!(server.connections(), 0);

    let open = || Raw::open_with(server.addr, &bellwire_tests::upgrade_request("/ws", &[]));
    let (one, mut two) = (open(), open());
    assert_eq!((next(&told), next(&told)), (("open", 1), ("open", 2)), "each is counted in its on_open");
    assert_eq!(server.connections(), 2);
    one.shutdown_write();
    one.expect_end();
    assert_eq!(next(&told), ("close", 2), "and still in its on_close");
    two.send([Frame::close(1000, "")]);
    two.expect([Frame::close(1000, "")]);
    two.expect_end();
    assert_eq!(next(&told), ("close", 1));
    assert_eq!(server.connections(), 0);
    drop(idle);
    server.shutdown(bellwire_tests::PATIENCE);
    server.wait();
    assert_eq!(server.connections(), 0, "also when it has ended");
}

fn u3_an_acceptor_counts_the_connections_that_are_open<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), |_| Response::websocket(echo()));
    assert_eq!(acceptor.connections(), 0);
    let (end, peer, _) = backend.memory(4096);
    let driven = acceptor.accept(Over::Memory(end), None);
    let mut peer = Raw::open_over(peer, &bellwire_tests::upgrade_request("/", &[]));
    peer.send([Frame::text("x")]);
    peer.expect([Frame::text("x")]);
    assert_eq!(acceptor.connections(), 1);
    drop(peer);
    driven.wait();
    assert_eq!(acceptor.connections(), 0);
}

/// What ends a connection, and how that is told.
type End = fn(&WebSocket, Raw);

fn ends() -> [(End, Closed); 5] {
    [
        (
            |_, mut peer| {
                peer.send([Frame::close(4000, "theirs")]);
                peer.expect([Frame::close(4000, "theirs")]);
                peer.hang_up();
            },
            Closed::clean(4000, "theirs", ClosedBy::Peer),
        ),
        (
            |socket, mut peer| {
                socket.close_with(4001, "ours").unwrap();
                peer.expect([Frame::close(4001, "ours")]);
                peer.send([Frame::close(4002, "answered")]);
                peer.hang_up();
            },
            Closed::clean(4002, "answered", ClosedBy::Local),
        ),
        (
            |_, peer| {
                peer.shutdown_write();
                peer.expect_end();
            },
            Closed::abnormal(ClosedBy::Peer),
        ),
        (|socket, _| socket.abort(), Closed::abnormal(ClosedBy::Local)),
        (
            |_, mut peer| {
                peer.send([Frame::text("fail")]);
                peer.drain();
            },
            Closed::failed(1011, "Unexpected Error"),
        ),
    ]
}

fn u4_on_close_can_ask_who_closed_and_whether_it_was_clean<B: Backend>(role: Role) {
    let backend = B::start();
    for (end, expected) in ends() {
        let (tell, told) = mpsc::channel();
        let listener = listener().on_message(|_, _| Err::<(), _>("failed")).on_close(move |socket, code, reason| {
            tell.send((socket.closed(), code, reason.to_owned(), socket.is_open())).unwrap();
        });
        let Ours { socket, peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        assert_eq!(socket.closed(), None);
        end(&socket, peer);
        let (closed, code, reason, open) = next(&told);
        assert_eq!(closed.as_ref(), Some(&expected));
        assert_eq!((code, reason, open), (expected.code, expected.reason, false));
        assert_eq!(socket.closed(), closed);
    }
}

fn h13_a_trusted_proxy_names_the_client_and_nobody_else_does<B: Backend>() {
    let backend = B::start();
    let (asked, asks) = mpsc::channel();
    let (opened, opens) = mpsc::channel();
    let told = |config: Config, peer: Option<&str>, lines: &[&str]| {
        let (asked, opened) = (asked.clone(), opened.clone());
        let acceptor = backend.acceptor(Setup::new(config), move |request| {
            let host = request.client_host().map(|host| host.into_owned());
            asked.send((request.client_ip(), host, request.client_scheme(), request.peer_addr())).unwrap();
            let opened = opened.clone();
            Response::websocket(listener().on_open(move |socket| opened.send(socket.client_ip()).unwrap()))
        });
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        stream.write_all(&upgrade_request("/", lines)).unwrap();
        let peer: Option<SocketAddr> = peer.map(|peer| peer.parse().unwrap());
        let _driven = acceptor.accept(Over::Tcp(tcp.accept().unwrap().0), peer);
        let (ip, host, scheme, seen) = next(&asks);
        assert_eq!(seen, peer, "that of the transport is what it was");
        assert_eq!(next(&opens), ip, "a socket knows what its request knew");
        (ip.map(|ip| ip.to_string()), host, scheme)
    };
    let lines = [
        "X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.8",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a.example",
    ];
    let (text, trusting) = (|text: &str| Some(text.to_string()), || quiet().trusted_proxies(["10.0.0.0/8"]).unwrap());
    let known = (text("192.0.2.1"), text("a.example"), Some("https"));
    assert_eq!(told(trusting(), Some("10.0.0.7:1"), &lines), known);
    assert_eq!(told(trusting(), Some("[::ffff:10.0.0.7]:1"), &lines), known);
    let standard = ["Forwarded: for=192.0.2.1;host=a.example;proto=https, for=\"10.0.0.8:_x\""];
    assert_eq!(told(trusting(), Some("10.0.0.7:1"), &standard), known);
    // From anywhere else they are words of a stranger.
    for peer in [Some("11.0.0.7:1"), Some("[::ffff:11.0.0.7]:1"), Some("[::1]:1"), None] {
        let ip = peer.map(|peer| peer.parse::<SocketAddr>().unwrap().ip().to_canonical().to_string());
        for lines in [&lines[..], &standard] {
            assert_eq!(told(trusting(), peer, lines), (ip.clone(), text("localhost"), None), "{peer:?}");
        }
    }
    assert_eq!(told(quiet(), Some("10.0.0.7:1"), &lines), (text("10.0.0.7"), text("localhost"), None));
    // The proxy itself has asked, to see whether the server is well.
    assert_eq!(told(trusting(), Some("10.0.0.7:1"), &[]), (text("10.0.0.7"), text("localhost"), None));
    // Who has asked it is hidden, or in dispute: it was not the proxy.
    for lines in [&["Forwarded: for=_hidden"][..], &[lines[0], "Forwarded: for=192.0.2.9"]] {
        assert_eq!(told(trusting(), Some("10.0.0.7:1"), lines).0, None, "{lines:?}");
    }
}

fn u23_who_waits_for_the_end_is_told_before_on_close_and_of_one_that_has_ended_at_once<B: Backend>(role: Role) {
    let backend = B::start();
    for (end, expected) in ends() {
        let (tell, told) = mpsc::channel();
        let on_end = move |socket: &WebSocket, when: &'static str| {
            let (socket_then, tell) = (socket.clone(), tell.clone());
            socket.when_closed(move || tell.send((when, socket_then.closed())).unwrap());
        };
        let (inside, closing) = (on_end.clone(), on_end.clone());
        let (opened, opens) = mpsc::channel();
        let listener = listener()
            .on_open(move |socket| {
                inside(socket, "from on_open");
                opened.send(()).unwrap();
            })
            .on_message(|_, _| Err::<(), _>("failed"))
            .on_close(move |socket, _, _| closing(socket, "in on_close"));
        let Ours { socket, peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        next(&opens);
        // From another thread than the connection's.
        on_end(&socket, "from outside");
        end(&socket, peer);
        for when in ["from on_open", "from outside", "in on_close"] {
            assert_eq!(next(&told), (when, Some(expected.clone())), "{role:?}");
        }
        on_end(&socket, "behind the end");
        assert_eq!(told.try_recv(), Ok(("behind the end", Some(expected))));
        assert!(told.try_recv().is_err(), "once");
    }
}
