//! Each limit and deadline by its effect (D17 in `docs/contract.md`): for one upgrade on a server whose other
//! connections are otherwise, and for one client.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire::config::SlowReader;
use bellwire::listener::IntoListener;
use bellwire::proto::client::HandshakeError;
use bellwire::{Config, ConnectError, Message, Response, Role, WebSocket, listener};
use bellwire_tests::{
    BINARY, Backend, Connect, Event, Frame, Http, Log, Ours, Over, PATIENCE, PING, PONG, Raw, Setup, TEXT, backends,
    echo, http, logged, logged_handler, next, quiet, request, upgrade_request,
};

backends! {
    server {
        d17_open_timeout_is_the_servers_and_bounds_the_wait_for_a_request,
        d17_max_head_is_the_servers_and_bounds_a_request,
        d17_origins_are_listed_or_any_for_one_upgrade,
        d17_trusted_proxies_name_the_host_for_one_upgrade,
        d17_handler_timeout_is_the_servers_and_bounds_the_wait_for_an_answer,
        k3_a_configuration_of_a_plain_response_changes_nothing,
    }
    client {
        d17_open_timeout_of_one_client_bounds_the_wait_for_an_answer,
        d17_max_head_of_one_client_bounds_an_answer,
    }
    both {
        d17_max_text_bounds_text_alone,
        d17_max_binary_bounds_binary_alone,
        d17_high_watermark_says_when_the_reading_stops,
        d17_low_watermark_says_when_the_reading_goes_on,
        d17_max_queued_bounds_what_is_unsent,
        d17_slow_reader_says_what_happens_when_the_queue_is_full,
        d17_close_timeout_bounds_the_wait_for_the_peers_close_frame,
        d17_linger_timeout_bounds_the_wait_for_the_peers_end,
        d17_keepalive_interval_says_when_pings_go_out,
        d17_pong_timeout_bounds_the_wait_for_an_answer_to_a_ping,
        d17_idle_timeout_closes_after_silence,
        d17_deliver_after_close_delivers_what_comes_late,
    }
}

#[test]
fn each_option_has_a_test_here() {
    let config = format!("{:#?}", Config::default());
    let fields: Vec<_> = config
        .lines()
        .filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with([' ', ')'])))
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
        .collect();
    assert!(["max_text", "origins"].iter().all(|name| fields.contains(name)), "{fields:?}");
    for name in fields {
        let tests = [include_str!("config.rs"), include_str!("deflate.rs")];
        assert!(tests.iter().any(|test| test.contains(&format!("fn d17_{name}_"))), "{name} has none");
    }
}

/// So short that a test can wait for it.
const SHORT: Duration = Duration::from_millis(50);

/// A connection of ours, and its peer.
struct Connection<P = Raw> {
    log: Log,
    peer: P,
}

/// Checks an option on a connection that has it, and on one that does not. A server has it for one upgrade alone, and
/// then for all but one.
fn each_way<B: Backend, L: IntoListener + 'static>(
    role: Role,
    without: &Config,
    option: fn(Config) -> Config,
    make: fn() -> L,
    check: fn(Connection, Connection),
) {
    let backend = B::start();
    let with = option(without.clone());
    assert_ne!(with, *without);
    match role {
        Role::Server => {
            let [default, own] = upgrades(&backend, without, &with, make);
            check(own, default);
            let [default, own] = upgrades(&backend, &with, without, make);
            check(default, own);
        }
        Role::Client => {
            let [with, without] = [&with, without].map(|config| {
                let Ours { log, peer, .. } = Ours::raw(&backend, role, config.clone(), make());
                Connection { log, peer }
            });
            check(with, without);
        }
    }
}

/// Two upgrades of one server, the second with a configuration of its own.
fn upgrades<L: IntoListener + 'static>(
    backend: &impl Backend,
    default: &Config,
    own: &Config,
    make: fn() -> L,
) -> [Connection; 2] {
    let (handler, logs) = logged_handler(move |_| make());
    let own = own.clone();
    let server = backend.serve(Setup::new(default.clone()), move |request| {
        let response = handler(request);
        if request.path() == "/own" { response.config(own.clone()) } else { response }
    });
    ["/", "/own"].map(|path| {
        let peer = Raw::open_with(server.addr, &upgrade_request(path, &[]));
        Connection { log: logs.next(), peer }
    })
}

/// Checks that messages come back.
#[track_caller]
fn echoes(peer: &mut Raw) {
    peer.send([Frame::text("x")]);
    peer.expect([Frame::text("x")]);
}

fn d17_max_text_bounds_text_alone<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.max_text(5),
        echo,
        |mut with, mut without| {
            for peer in [&mut with.peer, &mut without.peer] {
                peer.send([Frame::new(BINARY, "foobar"), Frame::text("foobar")]);
                peer.expect([Frame::new(BINARY, "foobar")]);
            }
            with.peer.expect([Frame::close(1009, "Text message too large: 6 > 5")]);
            without.peer.expect([Frame::text("foobar")]);
        },
    );
}

fn d17_max_binary_bounds_binary_alone<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.max_binary(5),
        echo,
        |mut with, mut without| {
            for peer in [&mut with.peer, &mut without.peer] {
                peer.send([Frame::text("foobar"), Frame::new(BINARY, "foobar")]);
                peer.expect([Frame::text("foobar")]);
            }
            with.peer.expect([Frame::close(1009, "Binary message too large: 6 > 5")]);
            without.peer.expect([Frame::new(BINARY, "foobar")]);
        },
    );
}

/// How many messages come of one, and their size with the header of a server's frame.
const MANY: usize = 100;
const SIZE: usize = 1004;

const LOW: usize = 4 * 1024;

/// To "much" it sends much, and to anything else how much of it is unsent: when it has looked, it says so to `looked`, too.
fn much(looked: mpsc::Sender<()>) -> impl IntoListener {
    listener().on_message(move |socket, message| match message {
        Message::Text("much") => (0..MANY).try_for_each(|_| socket.send(vec![1; SIZE - 4])),
        _ => {
            let unsent = socket.buffered();
            let _ = looked.send(());
            socket.send(unsent.to_string())
        }
    })
}

/// A connection through a pipe that holds little, so that nearly all that is unread is unsent, too. Its
/// configuration is that of one upgrade, or of a client.
fn through_a_narrow_pipe<B: Backend>(
    backend: &B,
    role: Role,
    config: Config,
    looked: mpsc::Sender<()>,
) -> Connection<Raw<B::MemoryPeer>> {
    let (stream, peer, _) = backend.memory(2 * SIZE);
    match role {
        Role::Server => {
            let (handler, logs) = logged_handler(move |_| much(looked.clone()));
            let answer = move |request: &_| handler(request).config(config.clone());
            backend.acceptor(Setup::default(), answer).accept(Over::Memory(stream), None);
            let peer = Raw::open_over(peer, &upgrade_request("/", &[]));
            Connection { log: logs.next(), peer }
        }
        Role::Client => {
            let peer = thread::spawn(|| {
                let mut raw = Raw::server_over(peer);
                raw.write(&raw.switching(&[]));
                raw
            });
            let (listener, log) = logged(much(looked));
            let connect = Connect::to("ws://localhost/").config(config);
            backend.connect_over(connect, Over::Memory(stream), listener).map(drop).unwrap();
            Connection { log, peer: peer.join().unwrap() }
        }
    }
}

/// How much is unsent when the reading goes on: asked when that has stopped, or would have. If it goes on while the
/// peer has read only so many messages, that is waited for.
fn asked_how_much<B: Backend>(role: Role, config: Config, goes_on_after: Option<usize>) -> usize {
    let backend = B::start();
    let (looks, looked) = mpsc::channel();
    let Connection { log, mut peer } = through_a_narrow_pipe(&backend, role, config, looks);
    let message = Frame::new(BINARY, vec![1; SIZE - 4]);
    peer.send([Frame::text("much")]);
    // What is sent by a callback leaves behind it.
    peer.expect([message.clone()]);
    log.expect([Event::Open, Event::text("much")]);
    peer.send([Frame::text("how much")]);
    for read in 1..MANY {
        if goes_on_after == Some(read) {
            log.expect([Event::text("how much")]);
            // Nothing is read before that: what is unsent would become less meanwhile.
            looked.recv_timeout(PATIENCE).unwrap();
        }
        assert!(peer.read() == message, "message {read}");
    }
    String::from_utf8(peer.read().payload).unwrap().parse().unwrap()
}

fn d17_high_watermark_says_when_the_reading_stops<B: Backend>(role: Role) {
    let config = |high| quiet().watermarks(LOW, high);
    let stops = asked_how_much::<B>(role, config(MANY * SIZE / 2), None);
    assert!(stops <= LOW, "{stops}");
    // Above all that there is: the question is read while nothing else is.
    let unsent = asked_how_much::<B>(role, config(MANY * SIZE * 2), Some(1));
    assert!(unsent > (MANY - 20) * SIZE, "{unsent}");
}

fn d17_low_watermark_says_when_the_reading_goes_on<B: Backend>(role: Role) {
    let config = |low| quiet().watermarks(low, MANY * SIZE / 2);
    let stops = asked_how_much::<B>(role, config(LOW), None);
    assert!(stops <= LOW, "{stops}");
    let low = MANY * SIZE / 4;
    let unsent = asked_how_much::<B>(role, config(low), Some(MANY * 4 / 5));
    assert!(LOW < unsent && unsent <= low, "{unsent}");
}

/// Sends in one callback more than is to be unsent at once.
fn three_at_once() -> impl IntoListener {
    echo().on_open(|socket| {
        for _ in 0..3 {
            // The last one may be refused.
            let _ = socket.send(vec![0; 600]);
        }
    })
}

fn d17_max_queued_bounds_what_is_unsent<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.max_queued(1000),
        three_at_once,
        |mut with, mut without| {
            let message = Frame::new(BINARY, vec![0; 600]);
            with.peer.expect([message.clone(), message.clone()]);
            echoes(&mut with.peer);
            without.peer.expect([message.clone(), message.clone(), message]);
            echoes(&mut without.peer);
        },
    );
}

fn d17_slow_reader_says_what_happens_when_the_queue_is_full<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet().max_queued(1000),
        |config| config.slow_reader(SlowReader::Close),
        three_at_once,
        |mut with, mut without| {
            let message = Frame::new(BINARY, vec![0; 600]);
            let (error, text) = ("too much unread output", "Too much unread output");
            with.peer.expect([message.clone(), message.clone(), Frame::close(1013, text)]);
            with.peer.hang_up();
            with.log.ends_with([Event::Open, Event::error(error), Event::close(1013, text)]);
            without.peer.expect([message.clone(), message]);
            echoes(&mut without.peer);
        },
    );
}

fn d17_close_timeout_bounds_the_wait_for_the_peers_close_frame<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.close_timeout(SHORT),
        || listener().on_message(|socket, _| socket.close()),
        |mut with, mut without| {
            // The one that waits longer is the first to wait.
            for peer in [&mut without.peer, &mut with.peer] {
                peer.send([Frame::text("x")]);
                peer.expect([Frame::close(1000, "Normal Closure")]);
            }
            with.peer.expect_end();
            let late = [Event::error("close timeout"), Event::close(1006, "")];
            with.log.ends_with([Event::Open, Event::text("x")].into_iter().chain(late));
            without.peer.send([Frame::close(1000, "not late")]);
            without.peer.hang_up();
            without.log.ends_with([Event::Open, Event::text("x"), Event::close(1000, "not late")]);
        },
    );
}

fn d17_linger_timeout_bounds_the_wait_for_the_peers_end<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet().linger_timeout(PATIENCE * 10),
        |config| config.linger_timeout(SHORT),
        listener,
        |mut with, mut without| {
            // The one that waits longer is the first to wait.
            for peer in [&mut without.peer, &mut with.peer] {
                peer.send([Frame::new(3, "")]);
                peer.expect([Frame::close(1002, "Reserved opcode: 0x3")]);
                assert!(peer.try_read().unwrap().is_none(), "the end");
            }
            // Its listener lives as long as somebody waits.
            let waits = thread::spawn(|| without.log.rest());
            // Its peer stays, and yet its listener is dropped.
            assert_eq!(with.log.rest().len(), 3);
            assert!(!waits.is_finished());
            drop(without.peer);
            assert_eq!(waits.join().unwrap().len(), 3);
        },
    );
}

fn d17_keepalive_interval_says_when_pings_go_out<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.keepalive_interval(SHORT / 2),
        echo,
        |mut with, mut without| {
            for _ in 0..3 {
                with.peer.expect([Frame::new(PING, "")]);
                with.peer.send([Frame::new(PONG, "")]);
            }
            echoes(&mut without.peer);
        },
    );
}

fn d17_pong_timeout_bounds_the_wait_for_an_answer_to_a_ping<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet().keepalive_interval(SHORT),
        |config| config.pong_timeout(SHORT),
        echo,
        |mut with, mut without| {
            without.peer.expect([Frame::new(PING, "")]);
            let (error, text) = ("keepalive ping timeout", "Keepalive Ping Timeout");
            with.peer.expect([Frame::new(PING, ""), Frame::close(1011, text)]);
            with.log.expect([Event::Open, Event::error(error), Event::close(1011, text)]);
            // It still waits, and takes any sign of life.
            without.peer.send([Frame::text("x")]);
            while without.peer.read() != Frame::text("x") {}
        },
    );
}

fn d17_idle_timeout_closes_after_silence<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.idle_timeout(SHORT),
        echo,
        |mut with, mut without| {
            let (error, text) = ("connection idle timeout", "Connection Idle Timeout");
            with.peer.expect([Frame::close(1001, text)]);
            with.log.expect([Event::Open, Event::error(error), Event::close(1001, text)]);
            echoes(&mut without.peer);
        },
    );
}

fn d17_deliver_after_close_delivers_what_comes_late<B: Backend>(role: Role) {
    each_way::<B, _>(
        role,
        &quiet(),
        |config| config.deliver_after_close(true),
        || listener().on_message(|socket: &WebSocket, _| socket.close()),
        |mut with, mut without| {
            for peer in [&mut with.peer, &mut without.peer] {
                peer.send([Frame::text("1"), Frame::text("2"), Frame::close(1000, "")]);
                peer.expect([Frame::close(1000, "Normal Closure")]);
            }
            with.peer.hang_up();
            without.peer.hang_up();
            with.log.ends_with([Event::Open, Event::text("1"), Event::text("2"), Event::close(1000, "")]);
            without.log.ends_with([Event::Open, Event::text("1"), Event::close(1000, "")]);
        },
    );
}

fn d17_origins_are_listed_or_any_for_one_upgrade<B: Backend>() {
    const FRIEND: &str = "Origin: https://friend.example";
    const OTHER: &str = "Origin: https://other.example";
    let backend = B::start();
    let (same, list, any) = (quiet(), quiet().origins(["https://friend.example"]), quiet().any_origin());
    let all = [(&same, &[][..]), (&list, &[FRIEND]), (&any, &[FRIEND, OTHER])];
    for (default, (own, friends)) in [&any, &same, &same].into_iter().zip(all) {
        let own = own.clone();
        let server = backend.serve(Setup::new(default.clone()), move |request| {
            let response = Response::websocket(echo());
            if request.path() == "/own" { response.config(own.clone()) } else { response }
        });
        // The server's own keep to the server's.
        let others: &[_] = if default == &any { &[FRIEND, OTHER] } else { &[] };
        for (path, friends) in [("/", others), ("/own", friends)] {
            for origin in ["Origin: http://localhost", FRIEND, OTHER] {
                let bytes = upgrade_request(path, &[origin]);
                if origin.ends_with("localhost") || friends.contains(&origin) {
                    echoes(&mut Raw::open_with(server.addr, &bytes));
                } else {
                    assert_eq!(http(server.addr, &bytes).status, 403, "{path} {origin}");
                }
            }
        }
    }
}

fn serve_echo(backend: &impl Backend, config: Config) -> SocketAddr {
    backend.serve(Setup::new(config), |_| Response::websocket(echo())).addr
}

fn d17_open_timeout_is_the_servers_and_bounds_the_wait_for_a_request<B: Backend>() {
    let backend = B::start();
    let (with, without) = (serve_echo(&backend, quiet().open_timeout(SHORT)), serve_echo(&backend, quiet()));
    let bytes = upgrade_request("/", &[]);
    let (first, rest) = bytes.split_at(20);
    let mut slow = TcpStream::connect(without).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(first).unwrap();
    assert_eq!(http(with, first).status, 408);
    echoes(&mut Raw::open_over(slow, rest));
}

fn d17_trusted_proxies_name_the_host_for_one_upgrade<B: Backend>() {
    let backend = B::start();
    let trusting = quiet().trusted_proxies(["127.0.0.0/8", "::1"]).unwrap();
    let server = backend.serve(Setup::default(), move |request| {
        let response = Response::websocket(echo());
        if request.path() == "/own" { response.config(trusting.clone()) } else { response }
    });
    let headers = ["Origin: https://public.example", "X-Forwarded-Host: public.example"];
    assert_eq!(http(server.addr, &upgrade_request("/", &headers)).status, 403);
    assert_eq!(http(server.addr, &upgrade_request("/own", &headers[..1])).status, 403);
    echoes(&mut Raw::open_with(server.addr, &upgrade_request("/own", &headers)));
}

fn d17_handler_timeout_is_the_servers_and_bounds_the_wait_for_an_answer<B: Backend>() {
    let backend = B::start();
    let (kept, keeps) = mpsc::channel();
    let server = backend.serve_with(Setup::new(quiet().handler_timeout(SHORT)), move |_, responder| {
        kept.send(responder).unwrap();
    });
    let answer = http(server.addr, &upgrade_request("/", &[]));
    assert_eq!(answer.status, 503);
    assert!(!next(&keeps).is_waiting());
}

fn d17_max_head_is_the_servers_and_bounds_a_request<B: Backend>() {
    let backend = B::start();
    let [small, large, default] =
        [quiet().max_head(500), quiet().max_head(32 * 1024), quiet()].map(|config| serve_echo(&backend, config));
    let long = |length| upgrade_request("/", &[&format!("X-Long: {}", "x".repeat(length))]);
    assert_eq!(http(small, &long(500)).status, 431);
    echoes(&mut Raw::open_with(small, &long(10)));
    assert_eq!(http(default, &long(20 * 1024)).status, 431);
    echoes(&mut Raw::open_with(default, &long(500)));
    echoes(&mut Raw::open_with(large, &long(20 * 1024)));

    // What comes before the handler has come when an upgrade brings its own.
    let late = backend.serve(Setup::default(), |_| {
        Response::websocket(echo()).config(quiet().max_head(1).open_timeout(Duration::ZERO))
    });
    echoes(&mut Raw::open_with(late.addr, &long(500)));
}

fn d17_open_timeout_of_one_client_bounds_the_wait_for_an_answer<B: Backend>() {
    let backend = B::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    thread::scope(|scope| {
        let without = scope.spawn(|| backend.connect(Connect::to(&url), listener()));
        let mut peer = Raw::accept(&server);
        let with = backend.connect(Connect::to(&url).config(quiet().open_timeout(SHORT)), listener());
        match with.map(drop) {
            Err(ConnectError::Timeout(_) | ConnectError::Handshake(HandshakeError::Timeout)) => {}
            other => panic!("{other:?}"),
        }
        assert!(!without.is_finished(), "it still waits");
        peer.write(&peer.switching(&[]));
        assert!(without.join().unwrap().unwrap().socket.is_open());
    });
}

fn d17_max_head_of_one_client_bounds_an_answer<B: Backend>() {
    let backend = B::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let serving = thread::spawn(move || {
        for _ in 0..2 {
            let mut peer = Raw::accept(&server);
            peer.write(&peer.switching(&[&format!("X-Long: {}", "x".repeat(500))]));
            peer.drain();
        }
    });
    let [with, without] = [quiet().max_head(500), quiet()].map(|config| {
        backend.connect(Connect::to(&url).config(config), listener()).map(|client| client.socket.abort())
    });
    assert!(matches!(with, Err(ConnectError::Handshake(HandshakeError::TooLarge))), "{with:?}");
    without.unwrap();
    serving.join().unwrap();
}

fn k3_a_configuration_of_a_plain_response_changes_nothing<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        let response = Response::text("plain").with_status(404).header("X-Own", "yes");
        match request.path() {
            "/plain" => response,
            "/own" => response
                .config(quiet().keepalive_interval(Duration::ZERO).idle_timeout(Duration::ZERO).max_message(0))
                .map_listener(|_| unreachable!("there is none"))
                .protocol("mqtt"),
            _ => Response::websocket(echo()),
        }
    });
    let before = Raw::open(server.addr);
    for bytes in [
        |path: &str| request(&format!("GET {path} HTTP/1.1"), &["Host: localhost"]),
        |path: &str| upgrade_request(path, &[]),
    ] {
        let [plain, own]: [Http; 2] = ["/plain", "/own"].map(|path| http(server.addr, &bytes(path)));
        assert_eq!((own.status, &own.head, &own.body), (404, &plain.head, &plain.body));
    }
    for mut client in [before, Raw::open(server.addr)] {
        client.send([Frame::new(TEXT, "x")]);
        client.expect([Frame::text("x")]);
    }
    assert!(server.reports.try_recv().is_err(), "nothing is wrong");
}
