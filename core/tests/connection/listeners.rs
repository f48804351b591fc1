//! Closures as a listener, and wrappers of listeners and sockets.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bellwire_core::listener::{IntoListener, ListenerBuilder};
use bellwire_core::testing::{Recorder, Sent};
use bellwire_core::{
    CloseCode, Error, Listener, Message, Outcome, OwnedMessage, Response, Role, SendError, Socket, SocketId, WebSocket,
    listener,
};

use crate::common::*;
use crate::logging::*;

#[test]
fn c7_each_event_reaches_its_closure_with_exactly_its_arguments() {
    let log = Log::default();
    let recorder = Recorder::new();
    let note = |name: &'static str| {
        let (log, expected) = (log.clone(), recorder.socket());
        move |socket: &WebSocket, arguments: String| {
            assert_eq!(socket, &expected);
            log.add(format!("{name} {arguments}"));
        }
    };
    let (open, message, ping, pong, error, close) =
        (note("open"), note("message"), note("ping"), note("pong"), note("error"), note("close"));
    let mut listener = listener()
        .on_open(move |socket| open(socket, String::new()))
        .on_message(move |socket, text| message(socket, format!("{text:?}")))
        .on_ping(move |socket, bytes| ping(socket, data(bytes)))
        .on_pong(move |socket, bytes| pong(socket, data(bytes)))
        .on_error(move |socket, why| error(socket, why.to_string()))
        .on_close(move |socket, code, reason| close(socket, format!("{code} {reason}")))
        .into_listener();
    let socket = recorder.socket();
    listener.on_open(&socket).unwrap();
    listener.on_message(&socket, Message::Text("text")).unwrap();
    listener.on_message(&socket, Message::Binary(&[1])).unwrap();
    listener.on_ping(&socket, b"ping").unwrap();
    listener.on_pong(&socket, b"pong").unwrap();
    listener.on_error(&socket, &Error::Vanished);
    listener.on_close(&socket, CloseCode(1000), "reason");
    assert_eq!(
        log.take(),
        [
            "open ",
            "message Text(\"text\")",
            "message Binary([1])",
            "ping ping",
            "pong pong",
            "error the peer ended the transport without a close frame",
            "close 1000 reason"
        ]
    );
}

#[test]
fn c7_the_value_of_a_closure_is_passed_back() {
    let socket = Recorder::new().socket();
    let mut fails = listener()
        .on_open(|_| Err("open"))
        .on_message(|_, _| Err("message"))
        .on_ping(|_, _| Err("ping"))
        .on_pong(|_, _| Err("pong"))
        .into_listener();
    assert_eq!(fails.on_open(&socket).unwrap_err().to_string(), "open");
    assert_eq!(fails.on_message(&socket, Message::Text("")).unwrap_err().to_string(), "message");
    assert_eq!(fails.on_ping(&socket, b"").unwrap_err().to_string(), "ping");
    assert_eq!(fails.on_pong(&socket, b"").unwrap_err().to_string(), "pong");
}

#[test]
fn with_a_state_each_event_reaches_its_closure_with_it_and_exactly_its_arguments() {
    let recorder = Recorder::new();
    let log = Log::default();
    let note = |name: &'static str| {
        let (log, expected) = (log.clone(), recorder.socket());
        move |count: &mut u32, socket: &WebSocket, arguments: String| {
            assert_eq!(socket, &expected);
            *count += 1;
            log.add(format!("{count} {name} {arguments}"));
        }
    };
    let (open, message, ping, pong, error, close) =
        (note("open"), note("message"), note("ping"), note("pong"), note("error"), note("close"));
    let mut listener = listener()
        .with_state(0)
        .on_open(move |count, socket| open(count, socket, String::new()))
        .on_message(move |count, socket, text| message(count, socket, format!("{text:?}")))
        .on_ping(move |count, socket, bytes| ping(count, socket, data(bytes)))
        .on_pong(move |count, socket, bytes| pong(count, socket, data(bytes)))
        .on_error(move |count, socket, why| error(count, socket, why.to_string()))
        .on_close(move |count, socket, code, reason| close(count, socket, format!("{code} {reason}")))
        .into_listener();
    all_events(&mut *listener, &recorder.socket());
    let error = "5 error the peer ended the transport without a close frame";
    let message = "2 message Text(\"quiet\")";
    assert_eq!(log.take(), ["1 open ", message, "3 ping p", "4 pong q", error, "6 close 1001 bye"]);
    assert_eq!(recorder.sent(), []);
}

#[test]
fn with_a_state_the_value_of_a_closure_is_passed_back() {
    let socket = Recorder::new().socket();
    let mut fails = listener()
        .with_state("state")
        .on_open(|state, _| Err(format!("{state} open")))
        .on_message(|state, _, _| Err(format!("{state} message")))
        .on_ping(|state, _, _| Err(format!("{state} ping")))
        .on_pong(|state, _, _| Err(format!("{state} pong")))
        .into_listener();
    assert_eq!(fails.on_open(&socket).unwrap_err().to_string(), "state open");
    assert_eq!(fails.on_message(&socket, Message::Text("")).unwrap_err().to_string(), "state message");
    assert_eq!(fails.on_ping(&socket, b"").unwrap_err().to_string(), "state ping");
    assert_eq!(fails.on_pong(&socket, b"").unwrap_err().to_string(), "state pong");
}

#[test]
fn with_a_state_but_no_closures_pings_are_answered_and_the_rest_is_ignored() {
    let recorder = Recorder::new();
    all_events(&mut *listener().with_state(()).into_listener(), &recorder.socket());
    assert_eq!(recorder.sent(), [Sent::Pong(b"p".to_vec())]);
}

#[test]
fn closures_that_were_set_before_the_state_stay_until_they_are_set_again() {
    let log = Log::default();
    let before = || {
        let note = |name: &'static str| {
            let log = log.clone();
            move || log.add(name)
        };
        let (open, message, ping, pong, error, close) =
            (note("open"), note("message"), note("ping"), note("pong"), note("error"), note("close"));
        listener()
            .on_open(move |_| open())
            .on_message(move |_, _| message())
            .on_ping(move |_, _| ping())
            .on_pong(move |_, _| pong())
            .on_error(move |_, _| error())
            .on_close(move |_, _, _| close())
            .with_state(log.clone())
    };
    let recorder = Recorder::new();
    all_events(&mut *before().into_listener(), &recorder.socket());
    assert_eq!(log.take(), ["open", "message", "ping", "pong", "error", "close"]);
    assert_eq!(recorder.sent(), [], "the choice about pings is kept, too");
    let again = before().on_message(|log, _, _| log.add("message again"));
    all_events(&mut *again.into_listener(), &recorder.socket());
    assert_eq!(log.take(), ["open", "message again", "ping", "pong", "error", "close"]);
}

#[test]
fn a_room_is_shared_by_its_clones_and_each_is_dropped_with_its_listener() {
    let room = Arc::new(Mutex::new(HashSet::new()));
    let member = || {
        listener()
            .with_state(room.clone())
            .on_open(|room, socket| {
                room.lock().unwrap().insert(socket.clone());
            })
            .on_message(|room, _, message| -> Outcome {
                let members = room.lock().unwrap().clone();
                Ok(members.iter().try_for_each(|member| member.send(message))?)
            })
            .on_close(|room, socket, _, _| {
                room.lock().unwrap().remove(socket);
            })
    };
    let mut drivers = [(); 2].map(|()| started(Role::Server, &timeless(), member().into_listener()));
    assert_eq!((room.lock().unwrap().len(), Arc::strong_count(&room)), (2, 3));
    receive(&mut drivers[0], Role::Server, &[Frame::text("all")]);
    for driver in &mut drivers {
        assert_eq!(written(driver), Frame::text("all").sent_by(Role::Server));
    }
    receive(&mut drivers[0], Role::Server, &[Frame::close(1000, "")]);
    assert_eq!(*room.lock().unwrap(), HashSet::from([drivers[1].socket().unwrap().clone()]));
    drop(drivers);
    assert_eq!((room.lock().unwrap().len(), Arc::strong_count(&room)), (0, 1));
}

#[test]
fn c8_a_listener_without_closures_answers_pings_and_ignores_the_rest() {
    let recorder = Recorder::new();
    let mut empty = listener().into_listener();
    let socket = recorder.socket();
    empty.on_open(&socket).unwrap();
    empty.on_message(&socket, Message::Text("x")).unwrap();
    empty.on_pong(&socket, b"x").unwrap();
    empty.on_error(&socket, &Error::Vanished);
    empty.on_close(&socket, CloseCode(1000), "");
    assert_eq!(recorder.take_sent(), []);
    empty.on_ping(&socket, b"data").unwrap();
    assert_eq!(recorder.sent(), [Sent::Pong(b"data".to_vec())]);
}

#[test]
fn c9_a_listener_with_on_ping_owns_the_pong() {
    let recorder = Recorder::new();
    let log = Log::default();
    let own = log.clone();
    let mut quiet = listener().on_ping(move |_, bytes| own.add(data(bytes))).into_listener();
    quiet.on_ping(&recorder.socket(), b"data").unwrap();
    assert_eq!((log.take(), recorder.sent()), (vec!["data".to_string()], vec![]));
}

#[test]
fn j4_j5_pings_are_answered_exactly_once_by_the_driver_or_by_the_listener() {
    let listeners: [fn() -> ListenerBuilder; 2] = [listener, || listener().on_ping(|socket, bytes| socket.pong(bytes))];
    for make in listeners {
        for role in ROLES {
            let mut driver = started(role, &timeless(), make().into_listener());
            receive(&mut driver, role, &[Frame::ping("foo"), Frame::ping("")]);
            assert_eq!(written(&mut driver), wire(&[Frame::pong("foo"), Frame::pong("")], role));
        }
    }
    let mut driver = started(Role::Server, &timeless(), listener().on_ping(|_, _| ()).into_listener());
    receive(&mut driver, Role::Server, &[Frame::ping("foo")]);
    assert_eq!(written(&mut driver), b"");
}

#[test]
fn d9_a_ping_that_crosses_a_close_is_no_failure() {
    for role in ROLES {
        let log = Log::default();
        let own = log.clone();
        let closes = listener()
            .on_open(|socket| socket.close())
            .on_error(move |_, error| own.add(error.to_string()))
            .into_listener();
        let mut driver = started(role, &timeless(), closes);
        receive(&mut driver, role, &[Frame::ping("x"), Frame::close(1000, "")]);
        assert_eq!(log.take(), [""; 0]);
        assert_eq!(written(&mut driver), Frame::close(1000, "Normal Closure").sent_by(role));
    }
}

/// Changes messages, and nothing else.
struct Shouting<L>(L);

impl<L: Listener> Listener for Shouting<L> {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.0)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let text = message.as_text().unwrap_or_default().to_uppercase();
        self.0.on_message(socket, Message::Text(&text))
    }
}

fn all_events(listener: &mut dyn Listener, socket: &WebSocket) {
    listener.on_open(socket).unwrap();
    listener.on_message(socket, Message::Text("quiet")).unwrap();
    listener.on_ping(socket, b"p").unwrap();
    listener.on_pong(socket, b"q").unwrap();
    listener.on_error(socket, &Error::Vanished);
    listener.on_close(socket, CloseCode(1001), "bye");
}

#[test]
fn x3_a_wrapper_forwards_what_it_does_not_change() {
    for layers in 0..3 {
        let log = Log::default();
        let mut wrapped = logging(&log, |_, _| Ok(()));
        for _ in 0..layers {
            wrapped = Box::new(Shouting(wrapped));
        }
        let recorder = Recorder::new();
        all_events(&mut *wrapped, &recorder.socket());
        let text = if layers > 0 { "text QUIET" } else { "text quiet" };
        let error = "error the peer ended the transport without a close frame";
        assert_eq!(log.take(), ["open", text, "ping p", "pong q", error, "close 1001 bye"]);
        assert_eq!(recorder.sent(), [], "the inner listener chose not to answer pings");
    }
}

#[test]
fn a_wrapper_cannot_forget_the_pong_nor_send_one_too_many() {
    struct Plain;
    impl Listener for Plain {}
    struct PingListener;
    impl Listener for PingListener {
        fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
            Ok(socket.pong([b"own ", data].concat())?)
        }
    }
    let plain: [Box<dyn Listener>; 6] = [
        Box::new(Plain),
        Box::new(Shouting(Plain)),
        Box::new(Shouting(Box::new(Plain) as Box<dyn Listener>)),
        Box::new(Shouting(Shouting(Plain))),
        Box::new(Box::new(Shouting(Box::new(Shouting(Plain))))),
        Box::new(Shouting(listener().into_listener())),
    ];
    for mut wrapped in plain {
        let recorder = Recorder::new();
        wrapped.on_ping(&recorder.socket(), b"x").unwrap();
        assert_eq!(recorder.sent(), [Sent::Pong(b"x".to_vec())]);
    }
    let own: [Box<dyn Listener>; 4] = [
        Box::new(PingListener),
        Box::new(Shouting(PingListener)),
        Box::new(Box::new(Shouting(Box::new(Shouting(PingListener))))),
        Box::new(Shouting(listener().on_ping(|socket, data| socket.pong([b"own ", data].concat())).into_listener())),
    ];
    for mut wrapped in own {
        let recorder = Recorder::new();
        wrapped.on_ping(&recorder.socket(), b"x").unwrap();
        assert_eq!(recorder.sent(), [Sent::Pong(b"own x".to_vec())]);
    }
}

// Wrapped sockets.

/// Encodes messages on their way out, and changes nothing else.
struct Encoding(WebSocket);

impl Socket for Encoding {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.0.as_socket())
    }

    fn send(&self, message: bellwire_core::Outgoing<'_>) -> Result<bellwire_core::proto::StreamOffset, SendError> {
        let encoded = [b"<", message.as_bytes(), b">"].concat();
        self.0.as_socket().send(String::from_utf8(encoded).unwrap().into())
    }
}

#[test]
fn x2_a_wrapped_socket_passes_on_what_it_does_not_change() {
    let (mut driver, log) = logged(Role::Server);
    let inner = driver.socket().unwrap().clone();
    let outer = WebSocket::new(Encoding(WebSocket::new(Encoding(inner.clone()))));
    let completed = Log::default();
    let own = completed.clone();
    outer.send_with("x", move |result| own.add(format!("{result:?}")));
    outer.ping(b"ping").unwrap();
    outer.pong(b"pong").unwrap();
    outer.as_socket().answer_ping(b"answer");
    assert!(outer.is_open() && outer.buffered() == inner.buffered() && outer.buffered() > 0);
    assert_eq!(completed.take(), [""; 0]);
    let frames = [Frame::text("<<x>>"), Frame::ping("ping"), Frame::pong("pong"), Frame::pong("answer")];
    assert_eq!(written(&mut driver), wire(&frames, Role::Server));
    assert_eq!(completed.take(), ["Ok(())"]);
    outer.close_with(3000, "bye").unwrap();
    assert!(!inner.is_open() && !outer.is_open());
    receive(&mut driver, Role::Server, &[Frame::close(3000, "bye")]);
    assert_eq!(outer.closed(), inner.closed());
    assert_eq!(outer.closed().unwrap().reason, "bye");
    assert_eq!(log.take(), ["open", "close 3000 bye"]);

    let (mut driver, log) = logged(Role::Server);
    WebSocket::new(Encoding(driver.socket().unwrap().clone())).abort();
    driver.receive(START, &mut []);
    assert_eq!(log.take(), ["open", "close 1006 "]);
}

#[test]
fn a_wrapped_socket_is_the_same_in_a_set_of_sockets() {
    let (one, two) = (logged(Role::Server).0, logged(Role::Server).0);
    let (one, two) = (one.socket().unwrap().clone(), two.socket().unwrap().clone());
    let wrapped = WebSocket::new(Encoding(WebSocket::new(Encoding(one.clone()))));
    assert!(wrapped == one && wrapped.id() == one.id() && one != two);
    let ids: HashSet<SocketId> = [&one, &two, &wrapped].map(WebSocket::id).into();
    assert_eq!(ids.len(), 2);
    let mut sockets = HashSet::from([one.clone(), two.clone()]);
    assert!(!sockets.insert(wrapped.clone()));
    assert!(sockets.remove(&wrapped) && !sockets.contains(&one) && sockets.contains(&two));
    assert_eq!(one, one.clone());
}

/// Shows its inner listener a socket that encodes: made once, and put in place of the plain one in every event.
struct EncodingListener<L> {
    socket: Option<WebSocket>,
    inner: L,
}

impl<L: Listener> EncodingListener<L> {
    fn parts(&mut self, socket: &WebSocket) -> (&mut L, &WebSocket) {
        let socket = self.socket.get_or_insert_with(|| WebSocket::new(Encoding(socket.clone())));
        (&mut self.inner, socket)
    }
}

impl<L: Listener> Listener for EncodingListener<L> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        let (inner, socket) = self.parts(socket);
        inner.on_open(socket)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let (inner, socket) = self.parts(socket);
        inner.on_message(socket, message)
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (inner, socket) = self.parts(socket);
        inner.on_ping(socket, data)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (inner, socket) = self.parts(socket);
        inner.on_pong(socket, data)
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        let (inner, socket) = self.parts(socket);
        inner.on_error(socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        let (inner, socket) = self.parts(socket);
        inner.on_close(socket, code, reason);
    }
}

/// Two layers of each kind around the listener of a response.
fn wrapped(response: Response) -> Box<dyn Listener> {
    let encoding =
        |inner: Box<dyn Listener>| -> Box<dyn Listener> { Box::new(EncodingListener { socket: None, inner }) };
    let shouting = |inner: Box<dyn Listener>| -> Box<dyn Listener> { Box::new(Shouting(inner)) };
    let response = response.map_listener(encoding).map_listener(shouting).map_listener(encoding).map_listener(shouting);
    response.into_upgrade().unwrap().listener
}

#[test]
fn the_ping_choice_is_kept_through_wrapped_listeners_and_sockets_of_a_response() {
    let answers = listener().on_message(|socket, message| socket.send(message));
    let own = listener().on_ping(|socket, data| socket.pong([b"own ", data].concat()));
    let quiet = listener().on_ping(|_, _| ());
    let cases = [(answers, vec![Frame::pong("x")]), (own, vec![Frame::pong("own x")]), (quiet, vec![])];
    for (listener, pongs) in cases {
        let mut driver = started(Role::Server, &timeless(), wrapped(Response::websocket(listener)));
        receive(&mut driver, Role::Server, &[Frame::ping("x")]);
        assert_eq!(written(&mut driver), wire(&pongs, Role::Server));
    }
}

#[test]
fn the_identity_is_kept_through_wrapped_listeners_and_sockets_of_a_response() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, own) = (Log::default(), seen.clone());
    let keeps = move |socket: &WebSocket, _: &str| {
        own.lock().unwrap().push(socket.clone());
        Ok(())
    };
    let mut driver = started(Role::Server, &timeless(), wrapped(Response::websocket(logging(&log, keeps))));
    receive(&mut driver, Role::Server, &[Frame::text("x"), Frame::ping(""), Frame::pong(""), Frame::new(3, "")]);
    assert_eq!(log.take()[1], "text X");
    let plain = driver.socket().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|socket| socket == plain && socket.id() == plain.id()));
    assert_eq!(HashSet::<&WebSocket>::from_iter(&*seen), HashSet::from([plain]));
}

#[test]
fn a_message_sent_through_wrapped_listeners_and_sockets_of_a_response_is_encoded_by_each() {
    let echo = listener().on_message(|socket, message| socket.send(message));
    let mut driver = started(Role::Server, &timeless(), wrapped(Response::websocket(echo)));
    receive(&mut driver, Role::Server, &[Frame::text("x")]);
    assert_eq!(written(&mut driver), Frame::text("<<X>>").sent_by(Role::Server));
}

#[test]
fn the_socket_of_every_event_is_the_driver_s() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let log = Log::default();
    let keeps = move |socket: &WebSocket, _: &str| {
        own.lock().unwrap().push(socket.clone());
        Ok(())
    };
    let mut driver = started(Role::Server, &timeless(), logging(&log, keeps));
    let frames = [Frame::text(""), Frame::ping(""), Frame::pong(""), Frame::new(3, "")];
    receive(&mut driver, Role::Server, &frames);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|socket| socket == driver.socket().unwrap()));
}

#[test]
fn a_message_may_be_kept_and_sent_to_others() {
    let kept = Arc::new(Mutex::new(None));
    let own = kept.clone();
    let keeps = listener().on_message(move |_, message| *own.lock().unwrap() = Some(message.into_owned()));
    let mut driver = started(Role::Server, &timeless(), keeps.into_listener());
    receive(&mut driver, Role::Server, &[Frame::text("kept")]);
    let kept = kept.lock().unwrap().take().unwrap();
    assert_eq!(kept, OwnedMessage::Text("kept".into()));
    let mut other = logged(Role::Server).0;
    other.socket().unwrap().send(&kept).unwrap();
    assert_eq!(written(&mut other), Frame::text("kept").sent_by(Role::Server));
}
