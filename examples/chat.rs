//! A chat room for browsers and WebSocket clients. Its tests are at the end
//! (`cargo test --example chat`).

mod common;

use std::collections::HashMap;
use std::mem;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bellwire::listener::IntoListener;
use bellwire::{
    Config, Message, Outcome, Request, Response, ServerTls, WebSocket, broadcast, is_upgrade_request, listener,
};
use common::{Backend, BoxError};
use lexopt::prelude::*;

const HELP: &str = "\
A chat room: open its address in two browsers, or connect WebSocket clients.

  /  a page for browsers, and the room itself: text is for everybody in it, \"/name NAME\" changes
     one's name, and what begins with \"* \" comes from the room

Usage: chat [OPTIONS]

  --listen ADDR   where to listen [127.0.0.1:9001]
  --backend B     blocking, tokio, smol or async-std [the first that is compiled in]
  --tick SECONDS  how often the room tells who is in it [60]
  --keepalive SECONDS
                  how long a client may be quiet before it gets a ping [20]
  --deflate       compress messages (needs --features deflate)
  --tls CERT KEY  speak TLS, with a certificate and its private key, files in PEM (needs --features
                  rustls)
  --help          this text";

/// The longest message that is accepted, in bytes. Each is sent to every member, so it is short.
const MAX_MESSAGE: usize = 4096;

/// The longest name, in characters.
const MAX_NAME: usize = 24;

/// The most names in the list of members.
const MAX_LISTED: usize = 100;

struct Options {
    listen: String,
    backend: Backend,
    tick: Duration,
    config: Config,
    tls: Option<ServerTls>,
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<(), BoxError> {
    let Some(options) = parse()? else {
        println!("{HELP}");
        return Ok(());
    };
    let config = options.config.max_message(MAX_MESSAGE);
    let room = Room::default();
    start_timer(room.clone(), options.tick);
    let app = move |request: &Request| app(&room, request);
    match options.backend {
        #[cfg(feature = "blocking")]
        Backend::Blocking => {
            let mut server = bellwire::blocking::Server::bind(&options.listen).map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            server.config(config).run(app)?;
        }
        #[cfg(feature = "tokio")]
        Backend::Tokio => tokio::runtime::Runtime::new()?.block_on(async {
            let mut server = bellwire::tokio::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            server.config(config).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
        #[cfg(feature = "smol")]
        Backend::Smol => smol::block_on(async {
            let mut server = bellwire::smol::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            server.config(config).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
        #[cfg(feature = "async-std")]
        Backend::AsyncStd => async_std::task::block_on(async {
            let mut server = bellwire::async_std::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            server.config(config).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
    }
    Ok(())
}

/// Answers a request. A browser's page comes from the same origin as its WebSocket, so the default for origins
/// will do.
fn app(room: &Room, request: &Request) -> Response {
    match (request.path(), is_upgrade_request(request)) {
        ("/", true) => Response::websocket(member(room)),
        ("/", false) => Response::html(include_str!("chat.html")),
        _ => Response::not_found(),
    }
}

/// The listener of one connection, on any backend.
fn member(room: &Room) -> impl IntoListener + use<> {
    listener()
        .with_state(room.clone())
        .on_open(|room, socket| room.join(socket))
        .on_message(|room, socket, message| match message {
            Message::Text(text) => room.hear(socket, text),
            Message::Binary(_) => Ok(socket.send("* this room takes text only")?),
        })
        .on_close(|room, socket, _, _| room.leave(socket))
}

/// A handle to the room, which all connections share.
///
/// Its lock is held while the members are read or changed, never while something is sent. So two messages that are sent
/// at the same time may reach different members in different orders.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Members>>);

/// The members of the room.
#[derive(Default)]
struct Members {
    names: HashMap<WebSocket, String>,
    /// The number of the newest guest.
    guests: u64,
}

impl Room {
    fn join(&self, socket: &WebSocket) -> Outcome {
        let name = self.members().add(socket);
        socket.send(format!("* you are {name}"))?;
        self.tell(format!("* {name} joined"));
        let here = self.members().list();
        Ok(socket.send(here)?)
    }

    fn leave(&self, socket: &WebSocket) {
        let name = self.members().names.remove(socket);
        if let Some(name) = name {
            self.tell(format!("* {name} left"));
        }
    }

    fn hear(&self, socket: &WebSocket, text: &str) -> Outcome {
        if let Some(name) = text.strip_prefix("/name ") {
            return self.rename(socket, name.trim());
        }
        let name = self.members().name(socket);
        self.tell(format!("{name}: {text}"));
        Ok(())
    }

    fn rename(&self, socket: &WebSocket, name: &str) -> Outcome {
        let renamed = self.members().rename(socket, name);
        match renamed {
            Ok(old) => self.tell(format!("* {old} is now {name}")),
            Err(reason) => socket.send(format!("* {reason}"))?,
        }
        Ok(())
    }

    fn count(&self) {
        let here = self.members().list();
        self.tell(here);
    }

    /// Sends a text to every member. Those that read too slowly or are gone miss it, which does not affect the others.
    fn tell(&self, text: String) {
        broadcast(self.sockets(), text);
    }

    /// Returns copies, so that the lock is not held while something is sent to them.
    fn sockets(&self) -> Vec<WebSocket> {
        self.members().names.keys().cloned().collect()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Members {
    /// Adds a member, and gives it a name.
    fn add(&mut self, socket: &WebSocket) -> String {
        let name = loop {
            self.guests += 1;
            let name = format!("guest {}", self.guests);
            if !self.is_taken(&name) {
                break name;
            }
        };
        self.names.insert(socket.clone(), name.clone());
        name
    }

    /// Lists the members in one line. A name has no comma, so a page can take it apart.
    fn list(&self) -> String {
        let count = self.names.len();
        let mut names: Vec<_> = self.names.values().take(MAX_LISTED).map(String::as_str).collect();
        names.sort_unstable();
        let more = if count > MAX_LISTED { ", …" } else { "" };
        format!("* {count} {} here: {}{more}", if count == 1 { "person" } else { "people" }, names.join(", "))
    }

    fn name(&self, socket: &WebSocket) -> String {
        self.names.get(socket).cloned().unwrap_or_default()
    }

    /// Changes a name, and returns the old one; or says why that is not possible.
    fn rename(&mut self, socket: &WebSocket, name: &str) -> Result<String, String> {
        if !is_name(name) {
            return Err(format!("a name has letters, digits, spaces, \"-\" and \"_\", up to {MAX_NAME} of them"));
        }
        if self.is_taken(name) {
            return Err(format!("somebody is {name} already"));
        }
        let old = self.names.get_mut(socket).ok_or("you are not in the room")?;
        Ok(mem::replace(old, name.into()))
    }

    fn is_taken(&self, name: &str) -> bool {
        self.names.values().any(|other| other == name)
    }
}

/// Checks that a name cannot make a message look like one from the room, or from another member.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count())
        && name.chars().all(|char| char.is_alphanumeric() || " -_".contains(char))
}

/// Announces the members from time to time: sockets can be used from any thread, not only from callbacks.
fn start_timer(room: Room, every: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(every);
            room.count();
        }
    });
}

fn parse() -> Result<Option<Options>, BoxError> {
    let mut options = Options {
        listen: "127.0.0.1:9001".into(),
        backend: Backend::default()?,
        tick: Duration::from_secs(60),
        config: Config::default(),
        tls: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => options.listen = parser.value()?.string()?,
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("tick") => options.tick = parser.value()?.parse_with(common::seconds)?,
            Long("keepalive") => {
                let every = parser.value()?.parse_with(common::seconds)?;
                options.config = options.config.keepalive_interval(every);
            }
            Long("deflate") => options.config = common::compressed(options.config, 64)?,
            Long("tls") => {
                options.tls = Some(common::tls::server(&parser.value()?.string()?, &parser.value()?.string()?)?)
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use bellwire::proto::StreamOffset;
    use bellwire::testing::{Recorder, Sent};
    use bellwire::{Listener, Outgoing, SendError, Socket};

    use super::*;

    /// A member, in a test.
    struct Guest {
        recorder: Recorder,
        listener: Box<dyn Listener>,
    }

    impl Guest {
        fn join(room: &Room) -> Self {
            let mut guest = Self { recorder: Recorder::new(), listener: member(room).into_listener() };
            guest.listener.on_open(&guest.recorder.socket()).unwrap();
            guest
        }

        fn send(&mut self, message: Message<'_>) {
            self.listener.on_message(&self.recorder.socket(), message).unwrap();
        }

        fn say(&mut self, text: &str) {
            self.send(Message::Text(text));
        }

        fn leave(mut self) {
            self.recorder.end();
            self.listener.on_close(&self.recorder.socket(), 1000.into(), "");
        }

        /// Returns what it has received since the last call.
        fn heard(&self) -> Vec<String> {
            let text = |sent| match sent {
                Sent::Message(message) => message.as_text().map(String::from).unwrap(),
                other => panic!("{other:?} is not a message"),
            };
            self.recorder.take_sent().into_iter().map(text).collect()
        }
    }

    /// Returns two members who have been told of each other.
    fn two() -> (Room, Guest, Guest) {
        let room = Room::default();
        let (a, b) = (Guest::join(&room), Guest::join(&room));
        a.heard();
        b.heard();
        (room, a, b)
    }

    #[test]
    fn who_comes_and_who_leaves_is_told_to_all_who_are_there() {
        let room = Room::default();
        let a = Guest::join(&room);
        assert_eq!(a.heard(), ["* you are guest 1", "* guest 1 joined", "* 1 person here: guest 1"]);
        let b = Guest::join(&room);
        assert_eq!(a.heard(), ["* guest 2 joined"]);
        assert_eq!(b.heard(), ["* you are guest 2", "* guest 2 joined", "* 2 people here: guest 1, guest 2"]);
        a.leave();
        assert_eq!(b.heard(), ["* guest 1 left"]);
        b.leave();
        assert_eq!(room.sockets(), []);
    }

    #[test]
    fn what_one_says_all_hear_the_speaker_too() {
        let (_room, mut a, b) = two();
        a.say("hello");
        assert_eq!(a.heard(), ["guest 1: hello"]);
        assert_eq!(b.heard(), ["guest 1: hello"]);
    }

    #[test]
    fn binary_messages_are_refused_and_nobody_else_hears_of_it() {
        let (_room, mut a, b) = two();
        a.send(Message::Binary(b"\x01"));
        assert_eq!(a.heard(), ["* this room takes text only"]);
        assert_eq!(b.heard(), [""; 0]);
    }

    #[test]
    fn a_new_name_is_told_to_all_and_used_from_then_on() {
        let (_room, mut a, b) = two();
        a.say("/name  Zoë ");
        a.say("hello");
        assert_eq!(b.heard(), ["* guest 1 is now Zoë", "Zoë: hello"]);
        a.leave();
        assert_eq!(b.heard(), ["* Zoë left"]);
    }

    #[test]
    fn names_that_are_taken_or_could_deceive_are_refused_to_the_sender_alone() {
        let (_room, mut a, b) = two();
        for name in ["", "guest 2", "* somebody", "guest 2: yes,", "a\nb", "<b>", &"x".repeat(MAX_NAME + 1)] {
            a.say(&format!("/name {name}"));
            let heard = a.heard();
            assert!(heard.len() == 1 && heard[0].starts_with("* "), "{name:?}: {heard:?}");
        }
        a.say("hello");
        assert_eq!(b.heard(), ["guest 1: hello"]);
    }

    #[test]
    fn no_two_have_the_same_name() {
        let room = Room::default();
        let mut a = Guest::join(&room);
        a.say("/name guest 2");
        assert_eq!(Guest::join(&room).heard()[..2], ["* you are guest 3", "* guest 3 joined"]);
    }

    #[test]
    fn a_slow_member_and_one_that_is_gone_miss_what_is_said_and_the_others_do_not() {
        let (room, mut a, slow) = two();
        let gone = Guest::join(&room);
        let b = Guest::join(&room);
        for guest in [&a, &slow, &gone, &b] {
            guest.heard();
        }
        slow.recorder.set_full(true);
        gone.recorder.end();
        a.say("hello");
        assert_eq!(a.heard(), ["guest 1: hello"]);
        assert_eq!(b.heard(), ["guest 1: hello"]);
        slow.recorder.set_full(false);
        a.say("still there?");
        assert_eq!(slow.heard(), ["guest 1: still there?"]);
        assert_eq!(gone.heard(), [""; 0]);
    }

    #[test]
    fn the_room_tells_who_is_in_it() {
        let (room, a, b) = two();
        room.count();
        assert_eq!(a.heard(), ["* 2 people here: guest 1, guest 2"]);
        b.leave();
        a.heard();
        room.count();
        assert_eq!(a.heard(), ["* 1 person here: guest 1"]);
    }

    #[test]
    fn a_list_of_very_many_ends_somewhere() {
        let room = Room::default();
        let guests: Vec<_> = (0..=MAX_LISTED).map(|_| Guest::join(&room)).collect();
        let heard = guests.last().unwrap().heard();
        let list = heard.last().unwrap();
        assert!(list.starts_with("* 101 people here: ") && list.ends_with(", …"), "{list}");
        assert_eq!(list.split(", ").count(), MAX_LISTED + 1);
    }

    #[test]
    fn the_lock_is_free_while_something_is_sent() {
        struct Nosy(Room);
        impl Socket for Nosy {
            fn send(&self, _: Outgoing<'_>) -> Result<StreamOffset, SendError> {
                assert!(self.0.0.try_lock().is_ok(), "the room is locked");
                Ok(StreamOffset::new(0))
            }
        }
        let room = Room::default();
        let nosy = WebSocket::new(Nosy(room.clone()));
        let mut listener = member(&room).into_listener();
        listener.on_open(&nosy).unwrap();
        for text in ["hello", "/name a", "/name b", "/name b"] {
            listener.on_message(&nosy, Message::Text(text)).unwrap();
        }
        let mut a = Guest::join(&room);
        a.say("hello");
        a.leave();
        room.count();
    }

    #[test]
    fn a_browser_gets_the_page_and_the_room_at_the_same_address() {
        let room = Room::default();
        let answer = |request| app(&room, &request);
        assert!(answer(Request::upgrade("/")).is_websocket());
        let page = answer(Request::get("/"));
        assert!(!page.is_websocket());
        assert_eq!(page.status(), 200);
        assert_eq!(answer(Request::get("/elsewhere")).status(), 404);
    }
}
