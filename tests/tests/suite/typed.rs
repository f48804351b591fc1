//! Typed messages (X1 to X4 in `docs/contract.md`): a codec between a listener and its connection.

use std::sync::mpsc::{self, Receiver, Sender};

use bellwire::listener::{IntoListener, TypedSendError};
use bellwire::{
    BoxError, CloseCode, Codec, Error, Listener, Message, Outcome, OwnedMessage, Response, Role, TypedListener,
    TypedSocket, typed, typed_listener,
};
use bellwire_tests::{
    BINARY, Backend, CONTINUATION, Connect, Event, Frame, Ours, PING, PONG, Raw, Setup, TEXT, backends, next, quiet,
};

backends! {
    pair {
        x1_values_go_from_one_typed_end_to_the_other,
    }
    both {
        x1_values_are_sent_encoded_and_messages_received_decoded,
        x1_a_completion_is_told_when_the_value_was_written,
        x1_a_value_from_another_thread_leaves_at_once,
        x2_the_other_functions_of_the_socket_pass_through,
        x3_pings_pongs_and_errors_pass_through,
        x3_a_typed_listener_without_a_choice_answers_pings,
        x4_what_cannot_be_decoded_goes_to_on_error_and_the_connection_stays_open,
        x4_a_listener_may_close_on_what_cannot_be_decoded,
        what_cannot_be_encoded_is_told_and_not_sent,
    }
}

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

/// What a typed listener was told, in words.
#[derive(Clone)]
struct Told(Sender<String>);

impl Told {
    fn new() -> (Self, Receiver<String>) {
        let (sender, told) = mpsc::channel();
        (Self(sender), told)
    }

    fn tell(&self, line: String) {
        // A test may lose interest.
        let _ = self.0.send(line);
    }
}

/// Greets with 0, answers a number with its square, and decides about pings itself.
impl TypedListener<Numbers> for Told {
    fn on_open(&mut self, socket: &TypedSocket<Numbers>) -> Outcome {
        self.tell("open".into());
        Ok(socket.send(&0)?)
    }

    fn on_message(&mut self, socket: &TypedSocket<Numbers>, number: i64) -> Outcome {
        self.tell(format!("message {number}"));
        Ok(socket.send(&number.pow(2))?)
    }

    fn on_ping(&mut self, socket: &TypedSocket<Numbers>, data: &[u8]) -> Outcome {
        self.tell(format!("ping {}", data.escape_ascii()));
        Ok(socket.pong([b"own ", data].concat())?)
    }

    fn on_pong(&mut self, _: &TypedSocket<Numbers>, data: &[u8]) -> Outcome {
        self.tell(format!("pong {}", data.escape_ascii()));
        Ok(())
    }

    fn on_error(&mut self, _: &TypedSocket<Numbers>, error: &Error) {
        self.tell(format!("error {error}"));
    }

    fn on_close(&mut self, _: &TypedSocket<Numbers>, code: CloseCode, reason: &str) {
        self.tell(format!("close {code} {reason}"));
    }
}

/// The same as closures.
fn as_closures(told: &Told) -> Box<dyn Listener> {
    let [open, message, ping, pong, error, close] = std::array::from_fn(|_| told.clone());
    typed_listener(Numbers)
        .on_open(move |socket| {
            open.tell("open".into());
            socket.send(&0)
        })
        .on_message(move |socket, number| {
            message.tell(format!("message {number}"));
            socket.send(&number.pow(2))
        })
        .on_ping(move |socket, data| {
            ping.tell(format!("ping {}", data.escape_ascii()));
            socket.pong([b"own ", data].concat())
        })
        .on_pong(move |_, data| pong.tell(format!("pong {}", data.escape_ascii())))
        .on_error(move |_, why| error.tell(format!("error {why}")))
        .on_close(move |_, code, reason| close.tell(format!("close {code} {reason}")))
        .into_listener()
}

/// Both forms of that listener, and what each is told.
fn both_forms() -> [(Box<dyn Listener>, Receiver<String>); 2] {
    let ((one, first), (two, second)) = (Told::new(), Told::new());
    [(Box::new(typed(Numbers, one)), first), (as_closures(&two), second)]
}

/// Checks that this is all that a listener was told, up to its end.
#[track_caller]
fn ends_with<const N: usize>(told: &Receiver<String>, lines: [&str; N]) {
    assert_eq!(std::array::from_fn::<_, N, _>(|_| next(told)), lines);
    assert_eq!(told.recv(), Err(mpsc::RecvError), "no more than that");
}

/// Closes from the peer's side, and sees that through.
#[track_caller]
fn close(mut peer: Raw) {
    peer.send([Frame::close(3000, "bye")]);
    peer.expect([Frame::close(3000, "bye")]);
    peer.hang_up();
}

fn x1_values_are_sent_encoded_and_messages_received_decoded<B: Backend>(role: Role) {
    let backend = B::start();
    for (listener, told) in both_forms() {
        let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        peer.expect([Frame::text("0")]);
        let pieces = [Frame::unfinished(TEXT, "1"), Frame::new(CONTINUATION, "1")];
        peer.send([Frame::text("7")].into_iter().chain(pieces));
        peer.expect([Frame::text("49"), Frame::text("121")]);
        close(peer);
        ends_with(&told, ["open", "message 7", "message 11", "close 3000 bye"]);
        log.ends_with([Event::Open, Event::text("7"), Event::text("11"), Event::close(3000, "bye")]);
    }
}

fn x1_a_completion_is_told_when_the_value_was_written<B: Backend>(role: Role) {
    let backend = B::start();
    let (outcomes, outcome) = mpsc::channel();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), typed_listener(Numbers));
    let socket = TypedSocket::new(socket, Numbers);
    for number in [1, -1, 2] {
        let outcomes = outcomes.clone();
        socket.send_with(&number, move |result| {
            outcomes.send((number, result.map_err(|error| error.to_string()))).unwrap();
        });
    }
    let mut told = [next(&outcome), next(&outcome), next(&outcome)];
    told.sort();
    let refused = "the message could not be encoded: negative".to_owned();
    assert_eq!(told, [(-1, Err(refused)), (1, Ok(())), (2, Ok(()))]);
    peer.expect([Frame::text("1"), Frame::text("2")]);
    close(peer);
    drop(outcomes);
    assert!(outcome.recv().is_err(), "no more than once");
}

fn x1_a_value_from_another_thread_leaves_at_once<B: Backend>(role: Role) {
    let backend = B::start();
    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), typed_listener(Numbers));
    let socket = TypedSocket::new(socket, Numbers);
    for number in 0..100 {
        socket.send(&number).unwrap();
        peer.expect([Frame::text(number.to_string())]);
    }
}

fn x1_values_go_from_one_typed_end_to_the_other<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| {
        Response::websocket(typed_listener(Numbers).on_message(|socket, number| socket.send(&(number - 1))))
    });
    let (numbers, number) = mpsc::channel();
    let countdown = typed_listener(Numbers).on_open(|socket| socket.send(&3)).on_message(move |socket, left| {
        numbers.send(left).unwrap();
        if left > 0 { socket.send(&left) } else { Ok(socket.close()?) }
    });
    let client = backend.connect(Connect::to(server.url("/")), countdown).unwrap();
    let closed = client.closed();
    assert!(closed.clean, "{closed:?}");
    assert_eq!(number.iter().collect::<Vec<_>>(), [2, 1, 0]);
}

fn x2_the_other_functions_of_the_socket_pass_through<B: Backend>(role: Role) {
    let backend = B::start();
    let (counts, count) = mpsc::channel();
    let listener = typed_listener(Numbers).on_open(move |socket| {
        socket.ping("first")?;
        // Nothing leaves before the callback returns.
        counts.send((socket.buffered(), socket.socket().buffered())).unwrap();
        Ok::<_, TypedSendError>(())
    });
    let Ours { socket: plain, mut peer, log } = Ours::raw(&backend, role, quiet(), listener);
    peer.expect([Frame::new(PING, "first")]);
    let (buffered, plain_buffered) = next(&count);
    assert!(buffered > 0 && buffered == plain_buffered, "{buffered} {plain_buffered}");

    let socket = TypedSocket::new(plain.clone(), Numbers);
    assert!(socket.is_open());
    assert!(*socket.socket() == plain && socket.id() == plain.id());
    socket.ping("ping").unwrap();
    socket.pong("pong").unwrap();
    socket.close_with(3000, "bye").unwrap();
    assert!(!socket.is_open());
    peer.expect([Frame::new(PING, "ping"), Frame::new(PONG, "pong"), Frame::close(3000, "bye")]);
    assert_eq!(socket.closed(), None);
    peer.send([Frame::close(3001, "bye, too")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::close(3001, "bye, too")]);
    assert_eq!(socket.closed(), plain.closed());
    assert_eq!(socket.closed().unwrap().reason, "bye, too");

    let Ours { socket, mut peer, .. } = Ours::raw(&backend, role, quiet(), typed_listener(Numbers));
    TypedSocket::new(socket, Numbers).close().unwrap();
    peer.expect([Frame::close(1000, "Normal Closure")]);

    let Ours { socket, peer, log } = Ours::raw(&backend, role, quiet(), typed_listener(Numbers));
    TypedSocket::new(socket, Numbers).abort();
    peer.expect_end();
    log.ends_with([Event::Open, Event::close(1006, "")]);
}

fn x3_pings_pongs_and_errors_pass_through<B: Backend>(role: Role) {
    let backend = B::start();
    for (listener, told) in both_forms() {
        let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        peer.expect([Frame::text("0")]);
        peer.send([Frame::new(PING, "p"), Frame::new(PONG, "q"), Frame::new(3, "")]);
        let (error, text) = ("reserved opcode: 0x3", "Reserved opcode: 0x3");
        // Its own pong, and no other.
        peer.expect([Frame::new(PONG, "own p"), Frame::close(1002, text)]);
        peer.expect_end();
        ends_with(&told, ["open", "ping p", "pong q", &format!("error {error}"), &format!("close 1002 {text}")]);
    }
}

fn x3_a_typed_listener_without_a_choice_answers_pings<B: Backend>(role: Role) {
    struct Plain;
    impl TypedListener<Numbers> for Plain {}
    let backend = B::start();
    let forms: [Box<dyn Listener>; 2] = [Box::new(typed(Numbers, Plain)), typed_listener(Numbers).into_listener()];
    for listener in forms {
        let Ours { mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
        peer.send([Frame::new(PING, "p"), Frame::text("not its business")]);
        peer.expect([Frame::new(PONG, "p")]);
        close(peer);
    }
}

fn x4_what_cannot_be_decoded_goes_to_on_error_and_the_connection_stays_open<B: Backend>(role: Role) {
    let backend = B::start();
    for (listener, told) in both_forms() {
        let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), listener);
        peer.expect([Frame::text("0")]);
        peer.send([Frame::text("four"), Frame::new(BINARY, "4"), Frame::text("4")]);
        peer.expect([Frame::text("16")]);
        assert!(socket.is_open());
        close(peer);
        let digit = "error a message could not be decoded: invalid digit found in string";
        let binary = "error a message could not be decoded: a number is text";
        ends_with(&told, ["open", digit, binary, "message 4", "close 3000 bye"]);
        // The connection itself has not failed.
        let messages = [Event::text("four"), Event::Binary(b"4".into()), Event::text("4")];
        log.ends_with([Event::Open].into_iter().chain(messages).chain([Event::close(3000, "bye")]));
    }
}

fn x4_a_listener_may_close_on_what_cannot_be_decoded<B: Backend>(role: Role) {
    let backend = B::start();
    let listener = typed_listener(Numbers).on_error(|socket, error| match error {
        Error::Decode(_) => socket.close_with(1007, "Not a number"),
        error => unreachable!("{error}"),
    });
    let Ours { log, mut peer, .. } = Ours::raw(&backend, role, quiet(), listener);
    peer.send([Frame::text("four"), Frame::text("4")]);
    peer.expect([Frame::close(1007, "Not a number")]);
    peer.send([Frame::close(1007, "Not a number")]);
    peer.hang_up();
    log.ends_with([Event::Open, Event::text("four"), Event::close(1007, "Not a number")]);
}

fn what_cannot_be_encoded_is_told_and_not_sent<B: Backend>(role: Role) {
    let backend = B::start();
    let negative = typed_listener(Numbers).on_message(|socket, number| socket.send(&-number));
    let Ours { socket, log, mut peer } = Ours::raw(&backend, role, quiet(), negative);
    let error = TypedSocket::new(socket.clone(), Numbers).send(&-1).unwrap_err();
    assert!(matches!(error, TypedSendError::Encode(_)), "{error}");
    assert!(socket.is_open(), "that is the sender's affair");
    // A callback that passes it on has failed.
    peer.send([Frame::text("1")]);
    peer.expect([Frame::close(1011, "Unexpected Error")]);
    peer.expect_end();
    let text = "a callback failed: the message could not be encoded: negative";
    log.ends_with([Event::Open, Event::text("1"), Event::error(text), Event::close(1011, "Unexpected Error")]);
}
