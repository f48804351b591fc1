//! Who is alive: what a peer's silence means, while this side speaks and while it does not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::{Config, ConnectError, Response, Role, listener};
use bellwire_tests::{
    Backend, Connect, Event, Frame, Ours, Over, PING, PONG, Raw, Setup, TEXT, backends, http, next, quiet,
    upgrade_request,
};

backends! {
    server {
        l12_a_server_or_an_upgrade_with_a_timeout_of_zero_is_a_500_that_says_so,
    }
    client {
        l12_a_client_with_a_timeout_of_zero_does_not_connect,
    }
    both {
        l1_a_feed_notices_a_peer_that_takes_everything_and_says_nothing,
        l1_a_feed_pings_and_a_peer_that_answers_stays,
        l2_who_only_listens_pings,
        l10_a_feed_is_idle_when_its_peer_is,
    }
}

const KEEPALIVE: &str = "Keepalive Ping Timeout";

/// A feed says something this often.
const TICK: Duration = Duration::from_millis(50);

fn keepalive() -> Config {
    quiet().keepalive_interval(Duration::from_millis(300)).pong_timeout(Duration::from_millis(300))
}

/// Sends now and then, until it is dropped or the connection has ended.
struct Feed(#[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

impl Feed {
    fn new(mut say: impl FnMut() -> bool + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        thread::spawn(move || while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && say() {});
        Self(stop)
    }
}

/// What a peer reads behind this many ticks and pings.
fn read_feed(peer: &mut Raw, mut each: impl FnMut(&mut Raw, Frame) -> bool) {
    loop {
        let frame = peer.read();
        if !each(peer, frame) {
            return;
        }
    }
}

fn l1_a_feed_notices_a_peer_that_takes_everything_and_says_nothing<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { log, mut peer, socket } = Ours::raw(&backend, role, keepalive(), listener());
    let start = Instant::now();
    let _feed = Feed::new(move || socket.send("tick").is_ok());
    let (mut ticks, mut pings) = (0, 0);
    read_feed(&mut peer, |_, frame| {
        ticks += usize::from(frame.opcode == TEXT);
        pings += usize::from(frame.opcode == PING);
        frame != Frame::close(1011, KEEPALIVE)
    });
    assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
    assert_eq!(pings, 1);
    assert!(ticks > 2, "{ticks}");
    log.ends_with([Event::Open, Event::error("keepalive ping timeout"), Event::close(1011, KEEPALIVE)]);
}

fn l1_a_feed_pings_and_a_peer_that_answers_stays<B: Backend>(role: Role) {
    let backend = B::start();
    let config = keepalive().keepalive_interval(Duration::from_millis(100)).pong_timeout(Duration::from_secs(20));
    let Ours { log, mut peer, socket } = Ours::raw(&backend, role, config, listener());
    let feed = socket.clone();
    let _feed = Feed::new(move || feed.send("tick").is_ok());
    let mut pings = 0;
    read_feed(&mut peer, |peer, frame| {
        if frame.opcode == PING {
            pings += 1;
            peer.send([Frame::new(PONG, "")]);
        }
        pings < 5
    });
    assert!(socket.is_open());
    log.expect([Event::Open, Event::Pong(vec![]), Event::Pong(vec![])]);
}

fn l2_who_only_listens_pings<B: Backend>(role: Role) {
    let backend = B::start();
    let config = keepalive().keepalive_interval(Duration::from_millis(200)).pong_timeout(Duration::from_secs(20));
    let Ours { mut peer, socket, .. } = Ours::raw(&backend, role, config, listener());
    // Without a pong: what comes is a sign of life, and the line is kept open all the same.
    let (mut writer, tick) = (peer.twin().into_inner(), Frame::text("tick").encode(role == Role::Server));
    let _feed = Feed::new(move || writer.write_all(&tick).is_ok());
    for _ in 0..4 {
        peer.expect([Frame::new(PING, "")]);
    }
    assert!(socket.is_open());
}

fn l10_a_feed_is_idle_when_its_peer_is<B: Backend>(role: Role) {
    let backend = B::start();
    let (error, text) = ("connection idle timeout", "Connection Idle Timeout");
    let config = quiet().idle_timeout(Duration::from_millis(300));
    let Ours { log, mut peer, socket } = Ours::raw(&backend, role, config, listener());
    let _feed = Feed::new(move || socket.send("tick").is_ok());
    read_feed(&mut peer, |_, frame| frame != Frame::close(1001, text));
    log.ends_with([Event::Open, Event::error(error), Event::close(1001, text)]);
}

/// Each of them would fail everything at once, or flood its peer.
fn zeros() -> [(&'static str, Config); 3] {
    let zero = Duration::ZERO;
    [
        ("keepalive_interval", Config::default().keepalive_interval(zero)),
        ("pong_timeout", Config::default().pong_timeout(zero)),
        ("idle_timeout", Config::default().idle_timeout(zero)),
    ]
}

fn l12_a_server_or_an_upgrade_with_a_timeout_of_zero_is_a_500_that_says_so<B: Backend>() {
    let backend = B::start();
    for (option, config) in zeros() {
        let own = config.clone();
        let server = backend.serve(Setup::default(), move |_| Response::websocket(listener()).config(own.clone()));
        assert_eq!(http(server.addr, &upgrade_request("/", &[])).status, 500);
        let text = next(&server.reports).text;
        assert_eq!(text, format!("Config::{option} is 0ns: set at least 10 ms, or None to switch it off"));

        let acceptor = backend.acceptor(Setup::new(config), |_| Response::websocket(listener()));
        let (ours, mut peer, _) = backend.memory(4096);
        let _driven = acceptor.accept(Over::Memory(ours), None);
        peer.write_all(&upgrade_request("/", &[])).unwrap();
        let mut answer = [0; 12];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 500");
    }
}

fn l12_a_client_with_a_timeout_of_zero_does_not_connect<B: Backend>() {
    let backend = B::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    for (option, config) in zeros() {
        let error = backend.connect(Connect::to(&url).config(config), listener()).map(drop).unwrap_err();
        assert!(matches!(error, ConnectError::Config(_)), "{error:?}");
        assert!(error.to_string().starts_with(&format!("Config::{option} is 0ns: ")), "{error}");
    }
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err(), "nobody has come");
}
