//! Listeners around listeners, as `Response::map_listener` puts them: what goes through, and what they may change.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use bellwire::listener::{IntoListener, ListenerBuilder};
use bellwire::proto::StreamOffset;
use bellwire::{
    CloseCode, Listener, Message, Outcome, Outgoing, Response, Role, SendError, Socket, WebSocket, listener,
};
use bellwire_tests::{
    Backend, Event, Frame, Log, Ours, PING, PONG, Raw, Setup, backends, echo, logged, logged_handler, next, quiet,
    upgrade_request, within,
};

backends! {
    server {
        a_room_that_a_wrapper_keeps_has_the_sockets_of_its_listeners,
        a_socket_that_a_wrapper_shows_is_encoded_and_is_the_same,
    }
    both {
        every_event_goes_through_a_wrapper_that_counts,
        the_choice_about_pings_is_that_of_the_inner_listener,
        a_wrapper_and_its_inner_listener_see_the_same_socket,
        d8_a_wrapper_that_fails_closes_with_1011_and_keeps_its_message_from_the_inner_listener,
        d8_an_inner_listener_that_fails_closes_with_1011_through_its_wrapper,
    }
}

type Make = fn() -> ListenerBuilder;
type Wrap = Box<dyn Fn(Box<dyn Listener>) -> Box<dyn Listener> + Send + Sync>;

/// A connection of ours whose listener is wrapped, and the log of what is inside.
fn open<L: IntoListener>(
    backend: &impl Backend,
    role: Role,
    make: impl Fn() -> L + Send + Sync + 'static,
    wrap: Wrap,
) -> (Log, Raw) {
    match role {
        Role::Server => {
            let (handler, logs) = logged_handler(move |_| make());
            let server = backend.serve(Setup::default(), move |request| handler(request).map_listener(&wrap));
            let peer = Raw::open(server.addr);
            (logs.next(), peer)
        }
        Role::Client => {
            let (inner, log) = logged(make());
            (log, Ours::raw(backend, role, quiet(), wrap(inner)).peer)
        }
    }
}

/// Counts messages.
struct Counting {
    inner: Box<dyn Listener>,
    count: Arc<AtomicUsize>,
}

impl Counting {
    /// Wraps twice, and counts each message twice.
    fn twice(count: &Arc<AtomicUsize>) -> Wrap {
        let count = count.clone();
        let wrap = move |inner| -> Box<dyn Listener> { Box::new(Self { inner, count: count.clone() }) };
        Box::new(move |inner| wrap(wrap(inner)))
    }
}

impl Listener for Counting {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.inner)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.inner.on_message(socket, message)
    }
}

fn every_event_goes_through_a_wrapper_that_counts<B: Backend>(role: Role) {
    let backend = B::start();
    let count = Arc::default();
    let (log, mut peer) = open(&backend, role, echo, Counting::twice(&count));
    peer.send([Frame::text("1"), Frame::new(PONG, "q"), Frame::text("2"), Frame::new(3, "")]);
    let (error, text) = ("reserved opcode: 0x3", "Reserved opcode: 0x3");
    peer.expect([Frame::text("1"), Frame::text("2"), Frame::close(1002, text)]);
    peer.expect_end();
    let events = [Event::Open, Event::text("1"), Event::Pong(b"q".into()), Event::text("2")];
    log.ends_with(events.into_iter().chain([Event::error(error), Event::close(1002, text)]));
    assert_eq!(count.load(Ordering::SeqCst), 2 * 2);
}

fn the_choice_about_pings_is_that_of_the_inner_listener<B: Backend>(role: Role) {
    let table: [(Make, &[&str]); 3] = [
        (echo, &["x"]),
        (|| echo().on_ping(|socket, data| socket.pong([b"own ", data].concat())), &["own x"]),
        (|| echo().on_ping(|_, _| ()), &[]),
    ];
    let backend = B::start();
    for (make, pongs) in table {
        let (log, mut peer) = open(&backend, role, make, Counting::twice(&Arc::default()));
        peer.send([Frame::new(PING, "x"), Frame::text("end")]);
        peer.expect(pongs.iter().map(|data| Frame::new(PONG, data)));
        peer.expect([Frame::text("end")]);
        log.expect([Event::Open, Event::Ping(b"x".into()), Event::text("end")]);
    }
}

/// Tells the socket of each event.
struct Telling {
    inner: Box<dyn Listener>,
    sockets: Sender<WebSocket>,
}

impl Listener for Telling {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.inner)
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.sockets.send(socket.clone())?;
        self.inner.on_open(socket)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.sockets.send(socket.clone())?;
        self.inner.on_message(socket, message)
    }
}

fn a_wrapper_and_its_inner_listener_see_the_same_socket<B: Backend>(role: Role) {
    let backend = B::start();
    let (outer, inner) = mpsc::channel::<WebSocket>();
    let sockets = outer.clone();
    let make = move || {
        let [open, message] = [sockets.clone(), sockets.clone()];
        listener()
            .on_open(move |socket| open.send(socket.clone()).unwrap())
            .on_message(move |socket, _| message.send(socket.clone()).unwrap())
    };
    let wrap = move |inner| -> Box<dyn Listener> { Box::new(Telling { inner, sockets: outer.clone() }) };
    let (_log, mut peer) = open(&backend, role, make, Box::new(wrap));
    peer.send([Frame::text("x")]);
    let told = [(); 4].map(|()| next(&inner));
    assert!(told.iter().all(|socket| *socket == told[0] && socket.id() == told[0].id()));
    assert_eq!(HashSet::from(told).len(), 1);
}

/// Who is there.
type Room = Arc<Mutex<HashSet<WebSocket>>>;

/// Keeps a room.
struct Joining {
    inner: Box<dyn Listener>,
    room: Room,
}

impl Listener for Joining {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.inner)
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.room.lock().unwrap().insert(socket.clone());
        self.inner.on_open(socket)
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        self.room.lock().unwrap().remove(socket);
        self.inner.on_close(socket, code, reason);
    }
}

fn a_room_that_a_wrapper_keeps_has_the_sockets_of_its_listeners<B: Backend>() {
    let backend = B::start();
    let room = Room::default();
    let shared = room.clone();
    let server = backend.serve(Setup::default(), move |_| {
        let (inside, joined) = (shared.clone(), shared.clone());
        let listener = listener().on_open(|socket| socket.send("welcome")).on_message(move |socket, message| {
            let room = inside.lock().unwrap();
            assert!(room.contains(socket));
            room.iter().filter(|member| *member != socket).try_for_each(|member| member.send(message))
        });
        Response::websocket(listener).map_listener(|inner| Box::new(Joining { inner, room: joined }))
    });
    let [mut one, mut two] = [(); 2].map(|()| {
        let mut client = Raw::open(server.addr);
        client.expect([Frame::text("welcome")]);
        client
    });
    // To everybody but its sender.
    one.send([Frame::text("from one")]);
    two.expect([Frame::text("from one")]);
    two.send([Frame::text("from two")]);
    one.expect([Frame::text("from two")]);
    for (client, left) in [(one, 1), (two, 0)] {
        drop(client);
        let room = room.clone();
        within("leaving", move || {
            while room.lock().unwrap().len() > left {
                thread::yield_now();
            }
        });
    }
}

/// Puts brackets around what is sent.
struct Brackets(WebSocket);

impl Socket for Brackets {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.0.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let text = format!("<{}>", String::from_utf8_lossy(message.as_bytes()));
        self.0.as_socket().send(text.into())
    }
}

/// Shows its inner listener a socket that sends in brackets, in those events where that sends.
struct Bracketing(Box<dyn Listener>);

impl Listener for Bracketing {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.0)
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.0.on_open(&WebSocket::new(Brackets(socket.clone())))
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.0.on_message(&WebSocket::new(Brackets(socket.clone())), message)
    }
}

fn a_socket_that_a_wrapper_shows_is_encoded_and_is_the_same<B: Backend>() {
    let backend = B::start();
    let room = Room::default();
    let shared = room.clone();
    let server = backend.serve(Setup::default(), move |request| {
        let (open, close) = (shared.clone(), shared.clone());
        let listener = echo()
            .on_open(move |socket| {
                open.lock().unwrap().insert(socket.clone());
            })
            // Here the socket is the plain one.
            .on_close(move |socket, _, _| {
                close.lock().unwrap().remove(socket);
            });
        let response = Response::websocket(listener).map_listener(|inner| Box::new(Bracketing(inner)));
        if request.path() == "/twice" { response.map_listener(|inner| Box::new(Bracketing(inner))) } else { response }
    });
    for (path, answer, told) in [("/", "<x>", "<news>"), ("/twice", "<<x>>", "<<news>>")] {
        let mut client = Raw::open_with(server.addr, &upgrade_request(path, &[]));
        client.send([Frame::text("x")]);
        client.expect([Frame::text(answer)]);
        // From another thread: it leaves at once.
        room.lock().unwrap().iter().for_each(|socket| socket.send("news").unwrap());
        client.expect([Frame::text(told)]);
        client.send([Frame::new(PING, "p"), Frame::close(1000, "")]);
        client.expect([Frame::new(PONG, "p"), Frame::close(1000, "")]);
        // `on_close` came before the close frame was answered.
        client.expect_end();
        assert!(room.lock().unwrap().is_empty());
    }
}

/// Lets nothing bad through.
struct Refusing(Box<dyn Listener>);

impl Listener for Refusing {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.0)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        match message {
            Message::Text("error") => Err("refused".into()),
            Message::Text("panic") => panic!("refused"),
            message => self.0.on_message(socket, message),
        }
    }
}

fn refusing() -> Wrap {
    Box::new(|inner| Box::new(Refusing(inner)))
}

fn d8_a_wrapper_that_fails_closes_with_1011_and_keeps_its_message_from_the_inner_listener<B: Backend>(role: Role) {
    let backend = B::start();
    for (bad, error) in [("error", "a callback failed: refused"), ("panic", "a callback panicked: refused")] {
        let (log, mut peer) = open(&backend, role, echo, refusing());
        peer.send([Frame::text("good"), Frame::text(bad), Frame::text("late")]);
        peer.expect([Frame::text("good"), Frame::close(1011, "Unexpected Error")]);
        peer.expect_end();
        let end = [Event::error(error), Event::close(1011, "Unexpected Error")];
        log.ends_with([Event::Open, Event::text("good")].into_iter().chain(end));
    }
}

fn d8_an_inner_listener_that_fails_closes_with_1011_through_its_wrapper<B: Backend>(role: Role) {
    let backend = B::start();
    let make = || listener().on_message(|_, _| Err::<(), _>("inside"));
    let (log, mut peer) = open(&backend, role, make, refusing());
    peer.send([Frame::text("good")]);
    peer.expect([Frame::close(1011, "Unexpected Error")]);
    peer.expect_end();
    let end = [Event::error("a callback failed: inside"), Event::close(1011, "Unexpected Error")];
    log.ends_with([Event::Open, Event::text("good")].into_iter().chain(end));
}
