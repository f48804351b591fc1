//! Typed messages: a codec between a listener and its connection. Names like `X1` are explained in
//! `docs/contract.md`.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::error::Error as _;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bellwire_core::backend::Driver;
use bellwire_core::listener::{AnyListener, IntoAnyListener, IntoAsyncListener, IntoListener, TypedSendError};
use bellwire_core::stream::TypedStreamError;
use bellwire_core::testing::{Recorder, Sent, now_or_never};
use bellwire_core::{
    BoxError, CloseCode, Codec, Error, Listener, Message, Outcome, OwnedMessage, Prepared, Role, SendError,
    TypedAsyncListener, TypedListener, TypedSocket, WebSocket, async_listener, broadcast, listener, stream, typed,
    typed_async, typed_async_listener, typed_listener,
};
use bytes::Bytes;

use common::*;
use logging::*;

/// Numbers as text. A negative one has no text.
struct Numbers;

impl Codec for Numbers {
    type In = i64;
    type Out = i64;

    fn decode(&self, message: Message<'_>) -> Result<i64, BoxError> {
        let text = message.as_text().ok_or("a number is text")?;
        Ok(text.parse()?)
    }

    fn encode(&self, number: &i64) -> Result<OwnedMessage, BoxError> {
        if *number < 0 {
            return Err("negative".into());
        }
        Ok(number.to_string().into())
    }
}

/// What happened, and with which sockets.
#[derive(Clone)]
struct Events {
    log: Log,
    sockets: Arc<Mutex<Vec<TypedSocket<Numbers>>>>,
}

impl Events {
    fn new() -> Self {
        Self { log: Log::default(), sockets: Arc::default() }
    }

    fn add(&self, socket: &TypedSocket<Numbers>, line: String) {
        self.sockets.lock().unwrap().push(socket.clone());
        self.log.add(line);
    }
}

/// Logs all, and decides about pings itself.
impl TypedListener<Numbers> for Events {
    fn on_open(&mut self, socket: &TypedSocket<Numbers>) -> Outcome {
        self.add(socket, "open".into());
        Ok(())
    }

    fn on_message(&mut self, socket: &TypedSocket<Numbers>, number: i64) -> Outcome {
        self.add(socket, format!("message {number}"));
        Ok(())
    }

    fn on_ping(&mut self, socket: &TypedSocket<Numbers>, bytes: &[u8]) -> Outcome {
        self.add(socket, format!("ping {}", data(bytes)));
        Ok(())
    }

    fn on_pong(&mut self, socket: &TypedSocket<Numbers>, bytes: &[u8]) -> Outcome {
        self.add(socket, format!("pong {}", data(bytes)));
        Ok(())
    }

    fn on_error(&mut self, socket: &TypedSocket<Numbers>, error: &Error) {
        self.add(socket, format!("error {error}"));
    }

    fn on_close(&mut self, socket: &TypedSocket<Numbers>, code: CloseCode, reason: &str) {
        self.add(socket, format!("close {code} {reason}"));
    }
}

/// The same as closures.
fn as_closures(events: &Events) -> Box<dyn Listener> {
    let [open, message, ping, pong, error, close] = std::array::from_fn(|_| events.clone());
    typed_listener(Numbers)
        .on_open(move |socket| open.add(socket, "open".into()))
        .on_message(move |socket, number| message.add(socket, format!("message {number}")))
        .on_ping(move |socket, bytes| ping.add(socket, format!("ping {}", data(bytes))))
        .on_pong(move |socket, bytes| pong.add(socket, format!("pong {}", data(bytes))))
        .on_error(move |socket, why| error.add(socket, format!("error {why}")))
        .on_close(move |socket, code, reason| close.add(socket, format!("close {code} {reason}")))
        .into_listener()
}

/// As closures that have their events as a state; two of them were there before it.
fn stateful(events: &Events) -> Box<dyn Listener> {
    let [open, error] = std::array::from_fn(|_| events.clone());
    typed_listener(Numbers)
        .on_open(move |socket| open.add(socket, "open".into()))
        .on_error(move |socket, why| error.add(socket, format!("error {why}")))
        .on_ping(|_, _| unreachable!("there is another one"))
        .with_state(events.clone())
        .on_message(|events, socket, number| events.add(socket, format!("message {number}")))
        .on_ping(|events, socket, bytes| events.add(socket, format!("ping {}", data(bytes))))
        .on_pong(|events, socket, bytes| events.add(socket, format!("pong {}", data(bytes))))
        .on_close(|events, socket, code, reason| events.add(socket, format!("close {code} {reason}")))
        .into_listener()
}

/// A future that has nothing left to do.
fn later(events: &Events, socket: &TypedSocket<Numbers>, line: String) -> Ready<()> {
    events.add(socket, line);
    ready(())
}

/// As async closures.
fn as_async_closures(events: &Events) -> AnyListener {
    let [open, message, ping, pong, error, close] = std::array::from_fn(|_| events.clone());
    typed_async_listener(Numbers)
        .on_open(move |socket| later(&open, &socket, "open".into()))
        .on_message(move |socket, number| later(&message, &socket, format!("message {number}")))
        .on_ping(move |socket, bytes| later(&ping, &socket, format!("ping {}", data(&bytes))))
        .on_pong(move |socket, bytes| later(&pong, &socket, format!("pong {}", data(&bytes))))
        .on_error(move |socket, why| error.add(socket, format!("error {why}")))
        .on_close(move |socket, code, reason| close.add(socket, format!("close {code} {reason}")))
        .into_any_listener()
}

/// The same with `async` callbacks.
struct AsyncEvents(Events);

impl TypedAsyncListener<Numbers> for AsyncEvents {
    async fn on_open(&mut self, socket: &TypedSocket<Numbers>) -> Outcome {
        self.0.on_open(socket)
    }

    async fn on_message(&mut self, socket: &TypedSocket<Numbers>, number: i64) -> Outcome {
        self.0.on_message(socket, number)
    }

    async fn on_ping(&mut self, socket: &TypedSocket<Numbers>, bytes: Bytes) -> Outcome {
        self.0.on_ping(socket, &bytes)
    }

    async fn on_pong(&mut self, socket: &TypedSocket<Numbers>, bytes: Bytes) -> Outcome {
        self.0.on_pong(socket, &bytes)
    }

    fn on_error(&mut self, socket: &TypedSocket<Numbers>, error: &Error) {
        self.0.on_error(socket, error);
    }

    fn on_close(&mut self, socket: &TypedSocket<Numbers>, code: CloseCode, reason: &str) {
        self.0.on_close(socket, code, reason);
    }
}

/// As async closures with a state; two of them were there before it.
fn async_stateful(events: &Events) -> AnyListener {
    let [open, error] = std::array::from_fn(|_| events.clone());
    typed_async_listener(Numbers)
        .on_open(move |socket| later(&open, &socket, "open".into()))
        .on_error(move |socket, why| error.add(socket, format!("error {why}")))
        .on_ping(async |_, _| unreachable!("there is another one"))
        .with_state(events.clone())
        .on_message(async |events, socket, number| events.add(&socket, format!("message {number}")))
        .on_ping(async |events, socket, bytes| events.add(&socket, format!("ping {}", data(&bytes))))
        .on_pong(async |events, socket, bytes| events.add(&socket, format!("pong {}", data(&bytes))))
        .on_close(|events, socket, code, reason| events.add(socket, format!("close {code} {reason}")))
        .into_any_listener()
}

/// The plain forms of a listener that logs all.
fn plain_forms() -> [(Events, Box<dyn Listener>); 3] {
    let [one, two, three] = std::array::from_fn(|_| Events::new());
    let (listener, closures, state) = (typed(Numbers, one.clone()), as_closures(&two), stateful(&three));
    [(one, Box::new(listener)), (two, closures), (three, state)]
}

/// All forms.
fn all_forms() -> Vec<(Events, AnyListener)> {
    let [four, five, six] = std::array::from_fn(|_| Events::new());
    let asynchronous = typed_async(Numbers, AsyncEvents(six.clone())).into_async_listener().into();
    let (closures, state) = (as_async_closures(&four), async_stateful(&five));
    let plain = plain_forms().map(|(events, listener)| (events, listener.into_any_listener()));
    plain.into_iter().chain([(four, closures), (five, state), (six, asynchronous)]).collect()
}

fn served(listener: impl IntoAnyListener) -> Driver {
    started(Role::Server, &timeless(), listener.into_any_listener())
}

fn get(driver: &mut Driver, frames: &[Frame]) {
    receive(driver, Role::Server, frames);
}

#[test]
fn x1_values_are_sent_encoded_with_and_without_a_callback() {
    let done = Log::default();
    let own = done.clone();
    let mut driver = served(typed_listener(Numbers).on_open(move |socket| {
        let own = own.clone();
        socket.send_with(&2, move |result| own.add(format!("{result:?}")));
        socket.send(&1)
    }));
    assert_eq!(done.take(), [""; 0]);
    assert_eq!(written(&mut driver), wire(&[Frame::text("2"), Frame::text("1")], Role::Server));
    assert_eq!(done.take(), ["Ok(())"]);
}

#[test]
fn w3_x1_messages_are_received_decoded_and_the_close_is_passed_on() {
    for (events, listener) in all_forms() {
        let mut driver = served(listener);
        get(&mut driver, &[Frame::text("40"), Frame::text("2").not_final(), Frame::continuation("0")]);
        get(&mut driver, &[Frame::close(3000, "bye")]);
        assert_eq!(events.log.take(), ["open", "message 40", "message 20", "close 3000 bye"]);
    }
}

#[test]
fn what_is_sent_may_be_unsized_and_another_type_than_what_is_received() {
    /// Words, joined and split.
    struct Words;
    impl Codec for Words {
        type In = Vec<String>;
        type Out = [&'static str];
        fn decode(&self, message: Message<'_>) -> Result<Vec<String>, BoxError> {
            Ok(message.as_text().ok_or("words are text")?.split(' ').map(Into::into).collect())
        }
        fn encode(&self, words: &[&'static str]) -> Result<OwnedMessage, BoxError> {
            Ok(words.join(" ").into_bytes().into())
        }
    }
    let recorder = Recorder::new();
    let mut listener = typed_listener(Words)
        .on_message(|socket, words| if words.len() == 2 { socket.send(&["two", "words"]) } else { Ok(()) })
        .into_listener();
    listener.on_message(&recorder.socket(), Message::Text("a b c")).unwrap();
    listener.on_message(&recorder.socket(), Message::Text("a b")).unwrap();
    assert_eq!(recorder.sent(), [Sent::binary("two words")]);
}

#[test]
fn what_cannot_be_encoded_is_told_and_not_sent() {
    let (recorder, done) = (Recorder::new(), Log::default());
    let socket = TypedSocket::new(recorder.socket(), Numbers);
    let own = done.clone();
    socket.send_with(&-1, move |result| own.add(result.unwrap_err().to_string()));
    assert_eq!(done.take(), ["the message could not be encoded: negative"]);
    let error = socket.send(&-1).unwrap_err();
    assert!(matches!(&error, TypedSendError::Encode(inner) if inner.to_string() == "negative"));
    assert!(error.source().is_none());
    assert_eq!(recorder.sent(), []);

    let events = Events::new();
    let own = events.clone();
    let mut driver = served(
        typed_listener(Numbers)
            .on_message(|socket, number| -> Outcome {
                socket.send(&-number)?;
                unreachable!("it cannot be encoded")
            })
            .on_error(move |socket, error| own.add(socket, error.to_string())),
    );
    get(&mut driver, &[Frame::text("1")]);
    assert_eq!(events.log.take(), ["a callback failed: the message could not be encoded: negative"]);
    assert_eq!(written(&mut driver), Frame::close(1011, "Unexpected Error").sent_by(Role::Server));
}

#[test]
fn what_the_socket_refuses_is_told() {
    let (recorder, done) = (Recorder::new(), Log::default());
    let socket = TypedSocket::new(recorder.socket(), Numbers);
    recorder.set_full(true);
    let error = socket.send(&1).unwrap_err();
    assert!(matches!(error, TypedSendError::Send(SendError::Full)));
    assert_eq!(error.to_string(), SendError::Full.to_string());
    assert!(error.source().is_none());
    recorder.end();
    let own = done.clone();
    socket.send_with(&1, move |result| own.add(format!("{result:?}")));
    assert_eq!(done.take(), ["Err(Send(Closed))"]);
}

/// Closes, and then sends.
fn late(socket: &TypedSocket<Numbers>) -> Outcome {
    let _ = socket.close();
    Ok(socket.send(&1)?)
}

#[test]
fn d10_a_typed_send_that_comes_too_late_is_no_failure_of_the_callback() {
    let cases = [
        (typed_listener(Numbers).on_open(late), None),
        (typed_listener(Numbers).on_message(|socket, _| late(socket)), Some(Frame::text("1"))),
        (typed_listener(Numbers).on_ping(|socket, _| late(socket)), Some(Frame::ping(""))),
        (typed_listener(Numbers).on_pong(|socket, _| late(socket)), Some(Frame::pong(""))),
    ];
    for (listener, event) in cases {
        let log = Log::default();
        let (own, closed) = (log.clone(), log.clone());
        let mut driver = served(
            listener
                .on_error(move |_, error| own.add(error.to_string()))
                .on_close(move |_, code, _| closed.add(code.to_string())),
        );
        get(&mut driver, event.as_slice());
        get(&mut driver, &[Frame::close(1000, "")]);
        assert_eq!(log.take(), ["1000"], "{event:?}");
        assert_eq!(written(&mut driver), Frame::close(1000, "Normal Closure").sent_by(Role::Server), "{event:?}");
    }
}

#[test]
fn d10_nor_is_one_of_a_listener_that_is_not_typed() {
    struct Late(Log);

    impl Listener for Late {
        fn on_message(&mut self, socket: &WebSocket, _: Message<'_>) -> Outcome {
            late(&TypedSocket::new(socket.clone(), Numbers))
        }

        fn on_error(&mut self, _: &WebSocket, error: &Error) {
            self.0.add(error.to_string());
        }

        fn on_close(&mut self, _: &WebSocket, code: CloseCode, _: &str) {
            self.0.add(code.to_string());
        }
    }

    for text in ["type", "plain", "async"] {
        let log = Log::default();
        let end = log.clone();
        let typed = |socket: &WebSocket| TypedSocket::new(socket.clone(), Numbers);
        let listener = match text {
            "type" => Late(end).into_any_listener(),
            "plain" => listener()
                .with_state(end)
                .on_message(move |_, socket, _| late(&typed(socket)))
                .on_error(|log, _, error| log.add(error.to_string()))
                .on_close(|log, _, code, _| log.add(code.to_string()))
                .into_any_listener(),
            _ => async_listener()
                .with_state(end)
                .on_message(move |_, socket, _| ready(late(&typed(&socket))))
                .on_error(|log, _, error| log.add(error.to_string()))
                .on_close(|log, _, code, _| log.add(code.to_string()))
                .into_any_listener(),
        };
        let mut driver = served(listener);
        get(&mut driver, &[Frame::text(text), Frame::close(1000, "")]);
        assert_eq!(log.take(), ["1000"], "{text}");
    }
}

#[test]
fn w3_d10_an_asynchronous_typed_send_that_comes_too_late_is_no_failure_and_another_error_is() {
    let log = Log::default();
    let listener = |log: &Log| {
        typed_async_listener(Numbers)
            .with_state(log.clone())
            .on_message(async |_, socket, number| {
                if number == 0 {
                    socket.close()?;
                }
                socket.send_and_wait(&(1 - number)).await
            })
            .on_error(|log, _, error| log.add(error.to_string()))
            .on_close(|log, _, code, _| log.add(code.to_string()))
    };
    let mut driver = served(listener(&log));
    get(&mut driver, &[Frame::text("0"), Frame::close(1000, "")]);
    assert_eq!(log.take(), ["1000"]);
    let mut driver = served(listener(&log));
    get(&mut driver, &[Frame::text("2")]);
    assert_eq!(log.take(), ["a callback failed: the message could not be encoded: negative", "1011"]);
    drop(driver);
}

#[test]
fn w5_typed_sockets_are_broadcast_to_and_prepared_messages_are_sent_by_value() {
    let (one, two) = (Recorder::new(), Recorder::new());
    let socket = |recorder: &Recorder| TypedSocket::new(recorder.socket(), Numbers);
    let room = HashSet::from([socket(&one), socket(&two)]);
    let message = room.iter().next().unwrap().encode(&42).unwrap();
    assert_eq!(broadcast(&room, message.clone()).sent, 2);
    assert_eq!(broadcast(room.clone(), Prepared::new("now")).sent, 2);
    assert_eq!(broadcast([&socket(&one)], &Prepared::new("ref")).sent, 1);
    one.socket().send(Prepared::new("last")).unwrap();
    assert_eq!(two.sent(), [Sent::text("42"), Sent::text("now")]);
    assert_eq!(one.sent(), ["42", "now", "ref", "last"].map(Sent::text));
    assert!(matches!(socket(&one).encode(&-1), Err(TypedSendError::Encode(_))));
    let untyped: HashSet<WebSocket> = room.iter().map(|socket| socket.socket().clone()).collect();
    assert!(room.iter().all(|socket| untyped.contains::<WebSocket>(socket.borrow())));
    // A client masks it, a server shares it: the same bytes.
    for role in ROLES {
        let mut driver = started(role, &timeless(), listener().into_any_listener());
        driver.socket().unwrap().send(Prepared::new("by value")).unwrap();
        assert_eq!(written(&mut driver), wire(&[Frame::text("by value")], role));
    }
}

#[test]
fn w3_a_stream_of_values_goes_on_behind_what_cannot_be_decoded() {
    for role in ROLES {
        let (listener, opened) = stream();
        let mut driver = started(role, &timeless(), listener.into_any_listener());
        let mut values = now_or_never(opened).unwrap().unwrap().typed(Numbers);
        receive(&mut driver, role, &[Frame::text("1"), Frame::text("one"), Frame::text("2")]);
        let mut next = || now_or_never(values.recv()).unwrap().unwrap();
        assert_eq!(next().unwrap(), 1);
        let error = next().unwrap_err();
        assert!(matches!(&error, TypedStreamError::Decode(_)), "{error}");
        assert_eq!(error.to_string(), "a message could not be decoded: invalid digit found in string");
        assert_eq!(next().unwrap(), 2);
        assert!(now_or_never(values.recv()).is_none());

        let refused = now_or_never(values.send(&-1)).unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "the message could not be encoded: negative");
        assert!(matches!(refused, TypedStreamError::Encode(_)));
        now_or_never(values.send(&3)).unwrap().unwrap();
        let (mut sender, mut receiver) = values.split();
        now_or_never(sender.send(&4)).unwrap().unwrap();
        assert!(now_or_never(sender.flush()).is_none(), "it waits for the transport");
        receiver.socket().send(&5).unwrap();
        assert_eq!(written(&mut driver), wire(&[3, 4, 5].map(|number: i64| Frame::text(number.to_string())), role));
        now_or_never(sender.flush()).unwrap().unwrap();
        receive(&mut driver, role, &[Frame::close(3000, "bye")]);
        assert!(now_or_never(receiver.recv()).is_none_or(|end| end.is_none()));
        settle(&mut driver);
        assert!(now_or_never(receiver.recv()).unwrap().is_none());
        assert_eq!(receiver.closed().map(|closed| closed.reason), Some("bye".into()));
        assert_eq!(sender.closed(), receiver.closed());
        let late = now_or_never(sender.send(&6)).unwrap().unwrap_err();
        assert!(matches!(late, TypedStreamError::Send(SendError::Closed)));
    }
}

/// Does what a backend does until the driver sleeps.
fn settle(driver: &mut Driver) {
    while driver.poll_pending(START, Waker::noop()).is_err() {
        written(driver);
    }
}

#[test]
fn w3_a_failed_connection_is_an_error_of_the_stream_of_values() {
    let (listener, opened) = stream();
    let mut driver = served(listener);
    let mut values = now_or_never(opened).unwrap().unwrap().typed(Numbers);
    driver.receive_eof(START);
    let error = now_or_never(values.recv()).unwrap().unwrap().unwrap_err();
    assert!(matches!(error, TypedStreamError::Connection(Error::Vanished)), "{error}");
    assert!(now_or_never(values.recv()).unwrap().is_none());
}

#[cfg(feature = "stream")]
#[test]
fn w3_values_go_through_stream_and_sink_by_value_and_by_reference() {
    use futures_util::{SinkExt, StreamExt};
    let (listener, opened) = stream();
    let mut driver = served(listener);
    let mut values = now_or_never(opened).unwrap().unwrap().typed(Numbers);
    get(&mut driver, &[Frame::text("7")]);
    assert_eq!(now_or_never(values.next()).unwrap().unwrap().unwrap(), 7);
    now_or_never(SinkExt::feed(&mut values, 1)).unwrap().unwrap();
    now_or_never(SinkExt::feed(&mut values, &2)).unwrap().unwrap();
    assert!(matches!(now_or_never(SinkExt::feed(&mut values, -1)), Some(Err(TypedStreamError::Encode(_)))));
    assert_eq!(written(&mut driver), wire(&[Frame::text("1"), Frame::text("2")], Role::Server));
}

/// What comes is read as an `In`, what goes is written as an `Out`.
#[cfg(feature = "serde")]
#[test]
fn w4_json_reads_and_writes_and_what_is_no_json_leaves_the_connection_open() {
    use bellwire_core::Json;
    use std::collections::BTreeMap;
    type Scores = Json<BTreeMap<String, u32>, str>;
    let log = Log::default();
    let own = log.clone();
    let mut driver = served(
        typed_listener(Scores::new())
            .on_message(|socket, scores| socket.send(&format!("{scores:?}")))
            .on_error(move |_, error| own.add(error.to_string())),
    );
    let bad = ["{\"a\":-1}", "[]", "", "{\"a\":1} x", "{\"a\":"].map(Frame::text);
    get(&mut driver, &[&[Frame::text("{\"a\":1}")][..], &bad, &[Frame::binary(" {} ")]].concat());
    let sent = [Frame::text("\"{\\\"a\\\": 1}\""), Frame::text("\"{}\"")];
    assert_eq!(written(&mut driver), wire(&sent, Role::Server));
    let errors = log.take();
    assert_eq!(errors.len(), bad.len());
    for (error, start) in errors.iter().zip(["invalid value", "invalid type", "EOF", "trailing characters", "EOF"]) {
        assert!(error.starts_with(&format!("a message could not be decoded: {start}")), "{error}");
    }
    assert!(driver.socket().unwrap().is_open());
    // Maps whose keys are no text have no JSON.
    let odd = TypedSocket::new(Recorder::new().socket(), Json::<(), BTreeMap<Vec<u8>, u8>>::default());
    assert!(matches!(odd.send(&BTreeMap::from([(vec![1], 1)])), Err(TypedSendError::Encode(_))));
}

/// As deep as a message may be, the stack is not: serde_json stops at 128.
#[cfg(feature = "serde")]
#[test]
fn w4_json_of_a_peer_that_nests_without_end_is_an_error() {
    use bellwire_core::Json;
    #[derive(Debug)]
    struct Nested(#[allow(dead_code)] Option<Box<Nested>>);
    impl<'de> serde::Deserialize<'de> for Nested {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self(Vec::<Nested>::deserialize(deserializer)?.pop().map(Box::new)))
        }
    }
    let codec = Json::<Nested, ()>::new();
    codec.decode(Message::Text("[[[]]]")).unwrap();
    let error = codec.decode(Message::Text(&"[".repeat(500_000))).unwrap_err();
    assert!(error.to_string().starts_with("recursion limit exceeded"), "{error}");
}

#[test]
fn other_errors_of_a_callback_are_passed_on_as_they_are() {
    let recorder = Recorder::new();
    let mut listener = typed_listener(Numbers)
        .on_open(|socket| socket.send(&1))
        .on_message(|_, _| Err("own"))
        .on_pong(|socket, _| socket.send(&-1))
        .into_listener();
    recorder.set_full(true);
    let full = listener.on_open(&recorder.socket()).unwrap_err();
    assert_eq!(full.downcast_ref(), Some(&SendError::Full));
    let own = listener.on_message(&recorder.socket(), Message::Text("1")).unwrap_err();
    assert_eq!(own.to_string(), "own");
    let encode = listener.on_pong(&recorder.socket(), b"").unwrap_err();
    assert!(matches!(encode.downcast_ref(), Some(TypedSendError::Encode(_))));
}

#[test]
fn x2_the_methods_of_the_socket_are_passed_on() {
    let mut driver = served(typed_listener(Numbers));
    let plain = driver.socket().unwrap().clone();
    let socket = TypedSocket::new(plain.clone(), Numbers);
    assert!(socket.is_open());
    socket.ping("ping").unwrap();
    socket.pong("pong").unwrap();
    assert!(socket.buffered() > 0 && socket.buffered() == plain.buffered());
    assert_eq!(socket.ping([0; 126]), Err(SendError::ControlTooLong(126)));
    assert_eq!(socket.close_with(1006, ""), Err(SendError::CloseCode(CloseCode::ABNORMAL)));
    socket.close_with(3000, "bye").unwrap();
    assert!(!socket.is_open() && socket.closed().is_none());
    assert_eq!(socket.close(), Err(SendError::Closed));
    let frames = [Frame::ping("ping"), Frame::pong("pong"), Frame::close(3000, "bye")];
    assert_eq!(written(&mut driver), wire(&frames, Role::Server));
    let told = Log::default();
    let log = told.clone();
    socket.when_closed(move || log.add("closed"));
    assert_eq!(told.take(), [""; 0]);
    get(&mut driver, &[Frame::close(3000, "bye")]);
    assert_eq!(told.take(), ["closed"]);
    assert_eq!(socket.closed(), plain.closed());
    assert_eq!(socket.closed().unwrap().reason, "bye");

    let recorder = Recorder::new();
    TypedSocket::new(recorder.socket(), Numbers).close().unwrap();
    assert_eq!(recorder.sent(), [Sent::close(1000, "Normal Closure")]);
    let recorder = Recorder::new();
    TypedSocket::new(recorder.socket(), Numbers).abort();
    assert_eq!(recorder.sent(), [Sent::Abort]);
}

#[test]
fn w3_x3_pings_pongs_and_errors_are_passed_on() {
    for (events, listener) in all_forms() {
        let mut driver = served(listener);
        get(&mut driver, &[Frame::ping("p"), Frame::pong("q"), Frame::new(3, "")]);
        assert_eq!(
            events.log.take(),
            ["open", "ping p", "pong q", "error reserved opcode: 0x3", "close 1002 Reserved opcode: 0x3"]
        );
        let close = Frame::close(1002, "Reserved opcode: 0x3").sent_by(Role::Server);
        assert_eq!(written(&mut driver), close, "the listener chose not to answer pings");
    }
}

#[test]
fn x3_a_typed_listener_without_a_choice_answers_pings() {
    struct Plain;
    impl TypedListener<Numbers> for Plain {}
    impl TypedAsyncListener<Numbers> for Plain {}
    let stateful = typed_listener(Numbers).with_state(1).into_listener();
    let listeners: [Box<dyn Listener>; 3] =
        [Box::new(typed(Numbers, Plain)), typed_listener(Numbers).into_listener(), stateful];
    for listener in [
        typed_async(Numbers, Plain).into_async_listener().into(),
        typed_async_listener(Numbers).into_any_listener(),
        typed_async_listener(Numbers).with_state(1).into_any_listener(),
    ] {
        let mut driver = served(listener);
        get(&mut driver, &[Frame::text("1"), Frame::ping("p"), Frame::pong("q"), Frame::text("no number")]);
        assert_eq!(written(&mut driver), Frame::pong("p").sent_by(Role::Server));
    }
    for mut listener in listeners {
        let recorder = Recorder::new();
        all_events(&mut *listener, &recorder.socket());
        assert_eq!(recorder.sent(), [Sent::Pong(b"p".to_vec())]);
        recorder.end();
        listener.on_ping(&recorder.socket(), b"late").unwrap();
    }
}

/// Those that ask for nothing.
fn all_events(listener: &mut dyn Listener, socket: &WebSocket) {
    listener.on_open(socket).unwrap();
    listener.on_message(socket, Message::Text("1")).unwrap();
    listener.on_ping(socket, b"p").unwrap();
    listener.on_pong(socket, b"q").unwrap();
    listener.on_error(socket, &Error::Vanished);
    listener.on_close(socket, CloseCode(1001), "bye");
}

#[test]
fn x4_what_cannot_be_decoded_goes_to_on_error_alone() {
    let recorder = Recorder::new();
    for (events, mut listener) in plain_forms() {
        listener.on_message(&recorder.socket(), Message::Text("four")).unwrap();
        listener.on_message(&recorder.socket(), Message::Binary(b"4")).unwrap();
        assert_eq!(
            events.log.take(),
            [
                "error a message could not be decoded: invalid digit found in string",
                "error a message could not be decoded: a number is text"
            ]
        );
    }
    assert_eq!(recorder.sent(), []);
    assert!(recorder.socket().is_open());
}

#[test]
fn w3_x4_the_connection_stays_open_after_what_cannot_be_decoded() {
    for (events, listener) in all_forms() {
        let mut driver = served(listener);
        get(&mut driver, &[Frame::text("four"), Frame::text("4")]);
        assert!(driver.socket().unwrap().is_open());
        assert_eq!(written(&mut driver), b"");
        get(&mut driver, &[Frame::text("5"), Frame::close(1000, "")]);
        let error = "error a message could not be decoded: invalid digit found in string";
        assert_eq!(events.log.take(), ["open", error, "message 4", "message 5", "close 1000 "]);
        assert_eq!(written(&mut driver), Frame::close(1000, "").sent_by(Role::Server));
    }
}

#[test]
fn x4_a_listener_may_close_on_what_cannot_be_decoded() {
    let mut driver = served(typed_listener(Numbers).on_error(|socket, error| {
        assert!(matches!(error, Error::Decode(why) if why.to_string().starts_with("invalid digit")));
        assert!(error.close_code().is_none());
        socket.close_with(1007, "Not a number")
    }));
    get(&mut driver, &[Frame::text("four")]);
    assert_eq!(written(&mut driver), Frame::close(1007, "Not a number").sent_by(Role::Server));
}

#[test]
fn the_socket_of_every_event_is_one_and_has_the_plain_one_s_identity() {
    for (events, mut listener) in plain_forms() {
        let recorder = Recorder::new();
        all_events(&mut *listener, &recorder.socket());
        let sockets = events.sockets.lock().unwrap();
        assert_eq!(sockets.len(), 6);
        assert!(sockets.iter().all(|socket| *socket == sockets[0]));
        assert!(sockets[0].id() == recorder.socket().id() && *sockets[0].socket() == recorder.socket());
    }
}

#[test]
fn typed_sockets_can_be_kept_in_a_set_whatever_the_codec() {
    let (one, two) = (Recorder::new(), Recorder::new());
    let socket = TypedSocket::new(one.socket(), Numbers);
    let mut sockets = HashSet::from([socket.clone(), TypedSocket::new(two.socket(), Numbers)]);
    assert!(!sockets.insert(TypedSocket::new(one.socket(), Numbers)) && sockets.len() == 2);
    assert!(sockets.remove(&socket) && !sockets.contains(&socket));
    assert_eq!(format!("{socket:?}"), format!("TypedSocket({:?})", socket.id()));
    fn sendable(_: impl Send + Sync + 'static) {}
    sendable(socket);
}
