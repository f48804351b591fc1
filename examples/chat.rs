//! A chat room for browsers and WebSocket clients, on one node or on many. Its tests are at the end
//! (`cargo test --features rooms --example chat`).

#[path = "common/broker.rs"]
mod broker;
mod common;
#[path = "common/room.rs"]
mod room;
#[path = "common/signals.rs"]
mod signals;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bellwire::{Config, Request, Response, ServerTls, is_upgrade_request};
use broker::Broker;
use common::{Backend, BoxError};
use lexopt::prelude::*;
use room::{MAX_MESSAGE, Room, member};

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
  --nats URL      share the room with all servers that are given the same broker, a NATS server:
                  nats://127.0.0.1 (needs --features rooms-nats)
  --redis URL     the same with Redis: redis://127.0.0.1 (needs --features rooms-redis)
  --help          this text

Told to end, by Ctrl-C or SIGTERM, it closes the connections with 1012 over two seconds, so that clients
go to another server one after the other, and ends.";

/// The time over which members are sent away when the program is told to end. With very many of them it is a minute.
const DRAIN: Duration = Duration::from_secs(2);

/// How long those that are left then have to close.
const GRACE: Duration = Duration::from_secs(5);

struct Options {
    listen: String,
    backend: Backend,
    tick: Duration,
    config: Config,
    tls: Option<ServerTls>,
    broker: Option<Broker>,
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
    let room = match &options.broker {
        Some(broker) => Room::over(|builder| broker.connect(builder))?,
        None => Room::default(),
    };
    start_timer(room.clone(), options.tick);
    let (rooms, end) = (room.rooms.clone(), signals::to_end()?);
    let app = move |request: &Request| app(&room, request);
    match options.backend {
        #[cfg(feature = "blocking")]
        Backend::Blocking => {
            let mut server = bellwire::blocking::Server::bind(&options.listen).map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            let handle = server.handle();
            thread::spawn(move || end.recv_blocking().map(|()| handle.drain(DRAIN, GRACE)));
            server.config(config).run(app)?;
        }
        #[cfg(feature = "tokio")]
        Backend::Tokio => tokio::runtime::Runtime::new()?.block_on(async {
            let mut server = bellwire::tokio::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            if let Some(tls) = options.tls {
                server = server.tls(tls);
            }
            let handle = server.handle();
            tokio::spawn(async move {
                if end.recv().await.is_ok() {
                    handle.drain(DRAIN, GRACE).await;
                }
            });
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
            let handle = server.handle();
            smol::spawn(async move {
                if end.recv().await.is_ok() {
                    handle.drain(DRAIN, GRACE).await;
                }
            })
            .detach();
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
            let handle = server.handle();
            async_std::task::spawn(async move {
                if end.recv().await.is_ok() {
                    handle.drain(DRAIN, GRACE).await;
                }
            });
            server.config(config).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
    }
    // All members have left. What they said last goes to the broker, and the other servers are told at once.
    rooms.close().wait();
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
        broker: None,
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
            Long("nats") => broker::set(&mut options.broker, Broker::Nats(parser.value()?.string()?))?,
            Long("redis") => broker::set(&mut options.broker, Broker::Redis(parser.value()?.string()?))?,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use bellwire::backend::AtEnd;
    use bellwire::listener::IntoListener;
    use bellwire::proto::StreamOffset;
    use bellwire::testing::{Recorder, Sent};
    use bellwire::{Listener, Message, Outgoing, SendError, Socket, WebSocket};

    use super::room::{MAX_LISTED, MAX_NAME, ROOM, Told};
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
        assert_eq!(room.rooms.members(ROOM), []);
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
        assert_eq!(a.heard(), ["* guest 3 left", "guest 1: hello"]);
        assert_eq!(b.heard(), ["* guest 3 left", "guest 1: hello"]);
        slow.recorder.set_full(false);
        a.say("still there?");
        assert_eq!(slow.heard(), ["guest 1: still there?"]);
        assert_eq!(gone.heard(), [""; 0]);
    }

    #[test]
    fn what_is_not_delivered_is_told_to_the_speaker_alone() {
        let (_room, mut a, b) = two();
        a.say(&"x".repeat(1 << 17));
        let heard = a.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("* not delivered: "), "{heard:?}");
        assert_eq!(b.heard(), [""; 0]);
    }

    #[test]
    fn somebody_with_a_new_name_has_neither_come_nor_left_in_whatever_order_that_is_known() {
        let who = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<_>>();
        let mut told = Told::default();
        let mut compare =
            |present: &[&str], joined: &[&str], left: &[&str]| told.compare(&who(present), &who(joined), &who(left));
        assert_eq!(compare(&["1 Ann", "2 Bo"], &["1 Ann", "2 Bo"], &[]), ["* Ann joined", "* Bo joined"]);
        // The old name goes with the new one, or later.
        assert_eq!(compare(&["1 Zoë", "2 Bo"], &["1 Zoë"], &["1 Ann"]), ["* Ann is now Zoë"]);
        assert_eq!(compare(&["1 Zoë", "2 Al"], &["2 Al"], &[]), ["* Bo is now Al"]);
        assert_eq!(compare(&["1 Zoë", "2 Al"], &[], &["2 Bo"]), [""; 0]);
        // There and back again, before it was known that the old name had gone.
        assert_eq!(compare(&["1 Zoë", "2 Bo"], &["2 Bo"], &["2 Al"]), ["* Al is now Bo"]);
        assert_eq!(compare(&["1 Zoë"], &[], &["2 Bo"]), ["* Bo left"]);
        // A name that somebody else has taken by then is still there.
        assert_eq!(compare(&["3 Zoë"], &["3 Zoë"], &[]), ["* Zoë joined"]);
        assert_eq!(compare(&["3 Zoë"], &[], &["1 Zoë"]), [""; 0]);
        // Gone before it was known to have come.
        assert_eq!(compare(&["3 Zoë"], &["4 Cy"], &["4 Cy"]), [""; 0]);
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
                assert!(self.0.names.try_lock().is_ok(), "the room is locked");
                Ok(StreamOffset::new(0))
            }
            fn is_open(&self) -> bool {
                true
            }
            fn when_closed(&self, _: AtEnd) {}
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
