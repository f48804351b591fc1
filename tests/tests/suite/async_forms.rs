//! What asynchronous listeners can do as plain ones do it: a shared state, wrappers, typed messages (W1 to W3 in
//! `docs/contract.md`). A backend of threads has nobody to poll them.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use bellwire::listener::{BoxAsyncListener, IntoAnyListener, IntoAsyncListener};
use bellwire::stream::TypedStreamError;
use bellwire::{
    AsyncListener, BoxError, Codec, Message, Outcome, OwnedMessage, Role, WebSocket, async_listener, stream,
    typed_async_listener,
};
use bellwire_tests::{Frame, PING, PONG, Raw, Task, Tasks, next, quiet, tasks};

tasks! {
    both {
        w1_asynchronous_closures_share_a_state_across_connections,
        w2_a_wrapper_sees_each_event_and_passes_on_what_it_does_not_override,
        w3_x1_x4_asynchronous_closures_get_and_send_values,
        w3_x1_x4_a_stream_gets_and_sends_values,
    }
}

/// A connection of ours on a task, and its peer.
struct Ours<S> {
    peer: Raw<S>,
    /// Told when the task has ended.
    ended: Receiver<()>,
    /// Some runtimes drop a task together with its handle.
    _task: Task,
}

impl<S: Read + Write> Ours<S> {
    /// Closes from the peer's side, and sees that through.
    #[track_caller]
    fn close(mut self) {
        self.peer.send([Frame::close(3000, "bye")]);
        self.peer.expect([Frame::close(3000, "bye")]);
        self.peer.expect_end();
        next(&self.ended);
    }
}

fn open<B: Tasks>(backend: &B, role: Role, listener: impl IntoAnyListener) -> Ours<impl Read + Write> {
    let (stream, peer, _) = backend.memory(4096);
    let driving = backend.driving(stream, Vec::new(), role, quiet(), listener);
    let (end, ended) = mpsc::channel();
    let task = backend.spawn(async move {
        driving.await;
        // The test may have failed.
        let _ = end.send(());
    });
    Ours { peer: Raw::upgraded(peer, role == Role::Server), ended, _task: task }
}

fn w1_asynchronous_closures_share_a_state_across_connections<B: Tasks>(role: Role) {
    let backend = B::start();
    let total = Arc::new(Mutex::new(0));
    let adder = || {
        async_listener()
            .on_open(async |socket| socket.send_and_wait("0").await)
            .with_state(total.clone())
            .on_message(async |total, socket, message| {
                let number: i32 = message.as_text().ok_or("text").unwrap().parse().unwrap();
                *total.lock().unwrap() += number;
                let sum = *total.lock().unwrap();
                socket.send_and_wait(sum.to_string()).await
            })
            .on_close(|total, _, code, _| *total.lock().unwrap() += i32::from(u16::from(code)))
    };
    let open = || open(&backend, role, adder());
    let mut ends = [open(), open()];
    for (end, number, sum) in [(0, "1", "1"), (1, "20", "21"), (0, "300", "321")] {
        let peer = &mut ends[end].peer;
        if sum != "321" {
            peer.expect([Frame::text("0")]);
        }
        peer.send([Frame::text(number)]);
        peer.expect([Frame::text(sum)]);
    }
    ends.into_iter().for_each(Ours::close);
    assert_eq!(*total.lock().unwrap(), 6321);
    assert_eq!(Arc::strong_count(&total), 1);
}

/// Doubles text, and passes on all else.
struct Doubling(BoxAsyncListener);

impl AsyncListener for Doubling {
    fn inner(&mut self) -> Option<&mut BoxAsyncListener> {
        Some(&mut self.0)
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        let Some(text) = message.as_text() else { return self.0.on_message(socket, message).await };
        socket.send_and_wait("seen").await?;
        self.0.on_message(socket, format!("{text}{text}").into()).await
    }
}

fn w2_a_wrapper_sees_each_event_and_passes_on_what_it_does_not_override<B: Tasks>(role: Role) {
    let backend = B::start();
    let echo = || async_listener().on_message(async |socket, message| socket.send_and_wait(message).await);
    let owns_pings = || echo().on_ping(async |socket, data| socket.pong([b"own ", &data[..]].concat()));
    // A stream whose owner echoes is a listener, too.
    let (listener, opened) = stream();
    let task = backend.spawn(async move {
        let mut messages = opened.await.unwrap();
        while let Some(Ok(message)) = messages.recv().await {
            messages.send(message).await.unwrap();
        }
    });
    let inner = [
        (echo().into_async_listener(), "p"),
        (owns_pings().into_async_listener(), "own p"),
        (listener.into_async_listener(), "p"),
    ];
    for (inner, pong) in inner {
        let mut ours = open(&backend, role, Doubling(inner).into_async_listener());
        // The close waits for the answers to what came before it.
        let frames = [Frame::text("ab"), Frame::new(PING, "p"), Frame::text("c"), Frame::close(3000, "bye")];
        ours.peer.send(frames);
        let mut seen: Vec<_> = (0..6).map(|_| ours.peer.read()).collect();
        assert_eq!(seen.pop(), Some(Frame::close(3000, "bye")));
        let (pongs, texts): (Vec<_>, Vec<_>) = seen.into_iter().partition(|frame| frame.opcode == PONG);
        assert_eq!(pongs, [Frame::new(PONG, pong)]);
        let (notes, echoes): (Vec<_>, Vec<_>) = texts.into_iter().partition(|frame| *frame == Frame::text("seen"));
        assert_eq!((notes.len(), echoes), (2, vec![Frame::text("abab"), Frame::text("cc")]));
        ours.peer.expect_end();
        next(&ours.ended);
    }
    drop(task);
}

/// Numbers as text. A negative one has no text.
struct Numbers;

impl Codec for Numbers {
    type In = i64;
    type Out = i64;

    fn decode(&self, message: Message<'_>) -> Result<i64, BoxError> {
        Ok(message.as_text().ok_or("a number is text")?.parse()?)
    }

    fn encode(&self, number: &i64) -> Result<OwnedMessage, BoxError> {
        if *number < 0 { Err("negative".into()) } else { Ok(number.to_string().into()) }
    }
}

const NO_DIGIT: &str = "a message could not be decoded: invalid digit found in string";

/// Squares come back; what is no number is told, and nothing else comes of it.
fn talk_about_numbers(mut ours: Ours<impl Read + Write>, told: &Receiver<String>) {
    ours.peer.send([Frame::text("7"), Frame::text("seven"), Frame::text("11")]);
    ours.peer.expect([Frame::text("49"), Frame::text("121")]);
    ours.close();
    assert_eq!(told.iter().collect::<Vec<_>>(), [NO_DIGIT, "3000"]);
}

fn w3_x1_x4_asynchronous_closures_get_and_send_values<B: Tasks>(role: Role) {
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let listener = typed_async_listener(Numbers)
        .with_state(tell)
        .on_message(async |_, socket, number| socket.send_and_wait(&(number * number)).await)
        .on_error(|tell, _, error| tell.send(error.to_string()).unwrap())
        .on_close(|tell, _, code, _| tell.send(code.to_string()).unwrap());
    talk_about_numbers(open(&backend, role, listener), &told);
}

fn w3_x1_x4_a_stream_gets_and_sends_values<B: Tasks>(role: Role) {
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let (listener, opened) = stream();
    let task = backend.spawn(async move {
        let mut numbers = opened.await.unwrap().typed(Numbers);
        while let Some(number) = numbers.recv().await {
            match number {
                Ok(number) => numbers.send(&(number * number)).await.unwrap(),
                Err(error @ TypedStreamError::Decode(_)) => tell.send(error.to_string()).unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
        tell.send(numbers.closed().unwrap().code.to_string()).unwrap();
    });
    talk_about_numbers(open(&backend, role, listener), &told);
    drop(task);
}
