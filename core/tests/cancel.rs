//! Cancel safety: every future of the core is dropped at each of its polls, over a transport and a clock that are in
//! memory. What is left must be usable, or have failed and said so; nothing is lost in silence, nothing comes twice,
//! and no waker is kept that would keep a task alive.

// Not all of what the connection's tests share is needed here.
#[allow(dead_code)]
#[path = "connection/common.rs"]
mod common;
#[allow(dead_code)]
#[path = "connection/logging.rs"]
mod logging;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::{
    Adopt, Client, Driver, Opening, Registry, Runtime, Service, Shared, Sockets, Task, Timer, Transport, accept_failed,
    upgraded,
};
use bellwire_core::listener::{AnyListener, IntoAsyncListener};
use bellwire_core::proto::{Time, server};
use bellwire_core::{
    AsyncListener, AsyncResponse, CloseCode, Config, Error, Listener, Message, Outcome, OwnedMessage, Request,
    Response, Role, SendError, ServerError, Target, WebSocket,
};

use common::*;
use logging::*;

// The harness.

/// Runs a test again and again: the future that it gives to [`Cut::run`] is dropped before its first poll, after it,
/// when it has been woken, after the second poll, and so on, until once it is done by itself. Returns how many steps
/// that took.
fn dropped_at_each_poll(test: impl Fn(&mut Cut)) -> usize {
    for steps in 0..10_000 {
        let mut cut = Cut { steps, done: false };
        test(&mut cut);
        if cut.done {
            return steps;
        }
    }
    panic!("it is never done");
}

/// Drops a future after so many steps.
struct Cut {
    steps: usize,
    done: bool,
}

impl Cut {
    /// Polls the future, lets the world go on until somebody has woken it, and so on; then drops it. Returns what it
    /// came to, if it was done before.
    fn run<F: Future>(&mut self, world: &World<'_>, future: F) -> Option<F::Output> {
        let (wakes, waker) = waker();
        let mut future = Box::pin(future);
        let (mut output, mut before) = (None, 0);
        for step in 0..self.steps {
            if step % 2 == 1 {
                while wakes.count() == before {
                    world.go_on();
                }
                continue;
            }
            before = wakes.count();
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                output = Some(done);
                break;
            }
        }
        drop((future, waker));
        world.clock.forget();
        assert_eq!(Arc::strong_count(&wakes), 1, "a waker is kept, after {} steps", self.steps);
        self.done = output.is_some();
        output
    }
}

/// What goes on outside of the future.
#[derive(Default)]
struct World<'a> {
    clock: Clock,
    happens: Mutex<VecDeque<Box<dyn FnMut() -> Happens + 'a>>>,
}

/// Whether something has happened.
#[derive(PartialEq, Eq)]
enum Happens {
    /// And may again.
    Something,
    Nothing,
}

impl<'a> World<'a> {
    /// Happens once, when everybody waits and nothing else happens.
    fn then(&self, happens: impl FnOnce() + 'a) {
        let mut happens = Some(happens);
        self.always(move || match happens.take() {
            None => Happens::Nothing,
            Some(happens) => {
                happens();
                Happens::Something
            }
        });
    }

    /// Happens again and again, when everybody waits.
    fn always(&self, happens: impl FnMut() -> Happens + 'a) {
        self.happens.lock().unwrap().push_back(Box::new(happens));
    }

    /// Polls a task whenever it was woken, and drops it when it is done.
    fn runs(&self, task: impl Future<Output = ()> + 'a) {
        let ((wakes, waker), mut seen, mut task) = (waker(), None, Some(Box::pin(task)));
        self.always(move || {
            let Some(running) = task.as_mut().filter(|_| seen != Some(wakes.count())) else { return Happens::Nothing };
            seen = Some(wakes.count());
            if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                task = None;
            }
            Happens::Something
        });
    }

    /// One thing happens; if there is nothing, time goes on.
    fn go_on(&self) {
        if self.happens() == Happens::Nothing {
            self.clock.go_on();
        }
    }

    /// Everything happens that takes no time.
    fn settle(&self) {
        while self.happens() == Happens::Something {}
    }

    fn happens(&self) -> Happens {
        let mut happens = self.happens.lock().unwrap();
        let happened = happens.iter_mut().any(|happens| happens() == Happens::Something);
        if happened { Happens::Something } else { Happens::Nothing }
    }

    /// Runs a future to its end.
    fn finish<F: Future>(&self, future: F) -> F::Output {
        Cut { steps: usize::MAX, done: false }.run(self, future).unwrap()
    }
}

/// Time that goes on when everybody sleeps.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Sleepers>>);

#[derive(Default)]
struct Sleepers {
    now: Time,
    next: usize,
    sleepers: BTreeMap<usize, (Time, Waker)>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.0.lock().unwrap()
    }

    fn timer(&self) -> Sleep {
        let mut clock = self.lock();
        clock.next += 1;
        Sleep { clock: self.clone(), id: clock.next, deadline: START }
    }

    /// Wakes who sleeps until the earliest deadline.
    fn go_on(&self) {
        let mut clock = self.lock();
        let earliest = clock.sleepers.iter().min_by_key(|(_, (deadline, _))| *deadline).map(|(id, _)| *id);
        let (deadline, waker) = clock.sleepers.remove(&earliest.expect("it hangs")).unwrap();
        clock.now = clock.now.max(deadline);
        drop(clock);
        waker.wake();
    }

    /// A timer that lives on may keep the waker.
    fn forget(&self) {
        self.lock().sleepers.clear();
    }
}

struct Sleep {
    clock: Clock,
    id: usize,
    deadline: Time,
}

/// A runtime without a network: streams are given to it.
impl Runtime for Clock {
    type Timer = Sleep;
    type Listener = ();
    type Stream = End;

    fn timer(&self) -> Sleep {
        self.timer()
    }

    fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) {
        unreachable!("whoever calls `upgraded` polls it")
    }

    async fn bind(&self, _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn local_addr(&self, (): &()) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn accept(&self, (): &()) -> io::Result<(End, Option<SocketAddr>)> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn connect(&self, _: SocketAddr, _: &Sockets) -> io::Result<(End, Option<SocketAddr>)> {
        Err(ErrorKind::Unsupported.into())
    }

    fn unix_time() -> Duration {
        Duration::ZERO
    }

    fn print(_: &str) {}
}

impl Adopt<End> for Clock {
    type Transport = End;

    fn adopt(&self, stream: End) -> End {
        stream
    }
}

impl Timer for Sleep {
    fn now(&self) -> Time {
        self.clock.lock().now
    }

    fn set(&mut self, deadline: Time) {
        self.clock.lock().sleepers.remove(&self.id);
        self.deadline = deadline;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.clock.lock();
        if clock.now >= self.deadline {
            return Poll::Ready(());
        }
        clock.sleepers.insert(self.id, (self.deadline, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.id);
    }
}

/// Pending for so many polls, each of which asks for the next.
async fn yields(mut left: usize) {
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn is_ready(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A transport as its peer sees it. Whatever is done with it is pending once, and then done with a few bytes.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<Pipe>>);

#[derive(Default)]
struct Pipe {
    /// What the peer sends, and then the end.
    sent: VecDeque<u8>,
    received: Vec<u8>,
    /// The peer sends no end.
    stays: bool,
    /// How much the peer takes, if not everything.
    room: Option<usize>,
    /// Makes of the request what the peer sends.
    answers: Option<(server::Handshake, Vec<u8>)>,
    hesitated: [bool; 4],
    is_dropped: bool,
}

struct End(Line);

const PIECE: usize = 50;

impl Line {
    /// A peer that sends this and then nothing more.
    fn sending(bytes: impl Into<Vec<u8>>) -> Self {
        let line = Self::default();
        line.lock().sent = VecDeque::from(bytes.into());
        line
    }

    /// A server that accepts the upgrade, and then sends this.
    fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let line = Self::default();
        line.lock().answers = Some((server::Handshake::new(Arc::default(), START), bytes.into()));
        line
    }

    fn end(&self) -> End {
        End(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap()
    }

    /// The whole messages that the peer has got.
    fn messages(&self, role: Role) -> Vec<String> {
        let mut received = self.lock().received.clone();
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            received.drain(..at + 4);
        }
        let seen = feed(&mut open(peer_of(role), &timeless()), START, &received);
        seen.into_iter().filter_map(|seen| if let Seen::Text(text) = seen { Some(text) } else { None }).collect()
    }
}

impl Pipe {
    /// Pending every other time, for each thing that can be done.
    fn hesitate(&mut self, what: usize, cx: &Context<'_>) -> Poll<()> {
        self.hesitated[what] = !self.hesitated[what];
        if !self.hesitated[what] {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn answer(&mut self, mut request: &mut [u8]) {
        let Some((mut handshake, behind)) = self.answers.take() else { return };
        match handshake.receive(&mut request) {
            None => self.answers = Some((handshake, behind)),
            Some(request) => {
                let connection = request.unwrap().accept(&server::Accept::new(), Arc::default(), START).unwrap();
                self.sent.extend(output(&connection));
                self.sent.extend(behind);
            }
        }
    }
}

impl Transport for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock();
        if pipe.stays && pipe.sent.is_empty() {
            return Poll::Pending;
        }
        pipe.hesitate(0, cx).map(|()| {
            let count = PIECE.min(pipe.sent.len()).min(buffer.len());
            buffer.iter_mut().zip(pipe.sent.drain(..count)).for_each(|(to, byte)| *to = byte);
            Ok(count)
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.lock();
        let mut piece = slices[0][..PIECE.min(slices[0].len())].to_vec();
        if let Some(room) = &mut pipe.room {
            if *room == 0 {
                // Whoever waits for that waits for ever.
                return Poll::Pending;
            }
            piece.truncate(*room);
            *room -= piece.len();
        }
        pipe.hesitate(1, cx).map(|()| {
            pipe.received.extend(&piece);
            pipe.answer(&mut piece);
            Ok(piece.len())
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().hesitate(2, cx).map(Ok)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().hesitate(3, cx).map(Ok)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().is_dropped = true;
    }
}

/// A message, and what came of it.
type Sent = (String, Result<(), SendError>);

/// A listener of either kind that greets and echoes, and what it knows of that.
#[derive(Clone, Default)]
struct Talk {
    log: Log,
    socket: Arc<Mutex<Option<WebSocket>>>,
    /// What was sent, what came of it, and what was waited for to its end.
    sent: Log,
    outcomes: Arc<Mutex<Vec<Sent>>>,
    awaited: Log,
}

const GREETING: &str = "greeting";

impl Talk {
    fn say(&self, socket: &WebSocket, text: &str) {
        let (outcomes, owned) = (self.outcomes.clone(), text.to_string());
        self.sent.add(text);
        socket.send_with(text, move |outcome| outcomes.lock().unwrap().push((owned, outcome)));
    }

    async fn say_and_wait(&self, socket: &WebSocket, text: &str) -> Outcome {
        self.say(socket, text);
        yields(2).await;
        let text = format!("{text}, awaited");
        self.sent.add(&text);
        socket.send_and_wait(&text).await?;
        self.awaited.add(text);
        Ok(socket.writable().await?)
    }

    fn opened(&self, socket: &WebSocket) {
        self.log.add("open");
        *self.socket.lock().unwrap() = Some(socket.clone());
    }

    /// The whole connection was dropped, or has ended: what is left?
    fn check(&self, done: bool, line: &Line, role: Role, stalled: bool) {
        assert!(line.lock().is_dropped);
        let log = self.log.take();
        let count = |line: &str| log.iter().filter(|other| other.starts_with(line)).count();
        assert_eq!((count("open"), count("close")), (self.was_open().into(), self.was_open().into()), "{log:?}");
        assert!(count("error") <= 1);
        if let Some(last) = log.last() {
            assert!(log[0] == "open" && last.starts_with("close"), "{log:?}");
        }
        let heard: Vec<_> = log.iter().filter_map(|line| line.strip_prefix("text ")).collect();
        let texts = texts();
        assert_eq!(heard, texts[..heard.len()], "in order, none doubled, none missing in between");
        if done && !stalled {
            assert_eq!((heard.len(), count("error"), count("close 1000 bye")), (texts.len(), 0, 1), "{log:?}");
        }
        if let Some(socket) = self.socket.lock().unwrap().take() {
            assert!(!socket.is_open() && socket.closed().is_some());
            assert_eq!(socket.send("x"), Err(SendError::Closed));
        }
        self.check_sent(&line.messages(role), done && !stalled);
    }

    /// What has arrived and what is reported lost is what was sent.
    fn check_sent(&self, arrived: &[String], all: bool) {
        let (sent, awaited, outcomes) = (self.sent.take(), self.awaited.take(), self.outcomes.lock().unwrap());
        assert_eq!(arrived, &sent[..arrived.len()]);
        assert!(!all || arrived == sent);
        for text in &sent {
            let outcomes: Vec<_> = outcomes.iter().filter(|outcome| outcome.0 == *text).collect();
            let outcome = if arrived.contains(text) { Ok(()) } else { Err(SendError::Closed) };
            match text.strip_suffix(", awaited") {
                None => assert!(matches!(&outcomes[..], [one] if one.1 == outcome), "{text}: {outcomes:?}"),
                // Whoever awaited it may have been dropped after it had arrived.
                Some(_) => assert!(arrived.contains(text) || !awaited.contains(text), "{text}"),
            }
        }
        let to_wait_for = sent.iter().filter(|text| text.ends_with(", awaited")).count();
        assert!(!all || awaited.len() == to_wait_for);
    }

    fn was_open(&self) -> bool {
        self.socket.lock().unwrap().is_some()
    }
}

impl Listener for Talk {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.opened(socket);
        self.say(socket, GREETING);
        Ok(())
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let text = message.as_text().unwrap();
        self.log.add(format!("text {text}"));
        self.say(socket, text);
        Ok(())
    }

    fn on_error(&mut self, _: &WebSocket, error: &Error) {
        self.log.add(format!("error {error}"));
    }

    fn on_close(&mut self, _: &WebSocket, code: CloseCode, reason: &str) {
        self.log.add(format!("close {code} {reason}"));
    }
}

/// The same, asynchronous.
struct Waits(Talk);

impl AsyncListener for Waits {
    async fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.0.opened(socket);
        self.0.say_and_wait(socket, GREETING).await
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        let text = message.as_text().unwrap();
        self.0.log.add(format!("text {text}"));
        self.0.say_and_wait(socket, text).await
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        Listener::on_error(&mut self.0, socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        Listener::on_close(&mut self.0, socket, code, reason);
    }
}

fn texts() -> [String; 3] {
    ["one".into(), "x".repeat(120), "three".into()]
}

/// What the peer says.
fn speech(role: Role) -> Vec<u8> {
    let [one, two, three] = texts().map(Frame::text);
    wire(&[one, Frame::ping("p"), two, three, Frame::close(1000, "bye")], peer_of(role))
}

/// The same listener in both kinds.
const KINDS: [fn(&Talk) -> AnyListener; 2] = [
    |talk| AnyListener::from(Box::new(talk.clone()) as Box<dyn Listener>),
    |talk| Waits(talk.clone()).into_async_listener().into(),
];

const ANSWERS: [fn(Talk) -> AsyncResponse; 2] =
    [|talk| Response::websocket(talk).into(), |talk| AsyncResponse::websocket(Waits(talk))];

// Tasks.

/// The future of a connection is dropped at each poll, with a peer that reads everything, and with one that stops.
fn connection<F: Future<Output = ()>>(
    role: Role,
    sends: &[u8],
    make: impl Fn(&World<'_>, &Line, &Talk, &Arc<Registry>) -> F,
) {
    for room in [None, Some(30), Some(230)] {
        let steps = dropped_at_each_poll(|cut| {
            let (world, line, talk, tasks) = (World::default(), Line::sending(sends), Talk::default(), Arc::default());
            line.lock().room = room;
            let future = make(&world, &line, &talk, &tasks);
            let done = cut.run(&world, future).is_some();
            assert!(is_ready(tasks.wait_for_end()), "nobody is left");
            talk.check(done, &line, role, room.is_some());
        });
        assert!(steps > 5, "{steps}");
    }
}

#[test]
fn a_connection_s_task() {
    for role in ROLES {
        for kind in KINDS {
            connection(role, &speech(role), |world, line, talk, tasks| {
                let driver = Driver::connected(open(role, &Config::default()), kind(talk));
                let mut task = Task::new(line.end(), driver, world.clock.timer(), tasks);
                task.start(&mut []);
                task
            });
        }
    }
}

#[test]
fn the_task_of_a_connection_that_somebody_else_upgraded() {
    for role in ROLES {
        for kind in KINDS {
            connection(role, &speech(role)[20..], |world, line, talk, _| {
                let leftover = speech(role)[..20].to_vec();
                upgraded(world.clock.clone(), line.end(), leftover, role, Config::default(), kind(talk))
            });
        }
    }
}

#[test]
fn the_task_of_a_server_s_connection() {
    let sends = [request(""), speech(Role::Server)].concat();
    type Serve = fn(Talk) -> Service;
    let serves: [Serve; 2] = [
        |talk| Service::new(Config::default(), move |_: &Request| Response::websocket(talk.clone()), |_| ()),
        |talk| {
            let handler = move |_| {
                let talk = talk.clone();
                async move {
                    yields(3).await;
                    AsyncResponse::websocket(Waits(talk))
                }
            };
            Service::asynchronous(Config::default(), handler, |_| ())
        },
    ];
    for serve in serves {
        connection(Role::Server, &sends, |world, line, talk, tasks| {
            let driver = Driver::server(Arc::new(serve(talk.clone())), None, world.clock.lock().now);
            Task::new(line.end(), driver, world.clock.timer(), tasks)
        });
    }
}

// Clients.

const TARGET: &str = "ws://example.com/";

#[test]
fn connecting() {
    let addrs: Vec<SocketAddr> = ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"].map(|addr| addr.parse().unwrap()).into();
    let steps = dropped_at_each_poll(|cut| {
        let (world, line) = (World::default(), Line::default());
        let mut opening = Opening::new(&Target::new(TARGET).unwrap(), world.clock.timer());
        let resolving = || async {
            yields(2).await;
            Ok(addrs.clone())
        };
        // One that refuses, one that never answers, and one that accepts.
        let connecting = |addr: SocketAddr| {
            let line = line.clone();
            async move {
                yields(2).await;
                match addr.port() {
                    1 => Err(ErrorKind::ConnectionRefused.into()),
                    2 => std::future::pending().await,
                    _ => Ok(line.end()),
                }
            }
        };
        let connected = cut.run(&world, opening.connect(resolving(), connecting));
        assert_eq!(connected.is_some(), !line.lock().is_dropped && Arc::strong_count(&line.0) > 1);
        if let Some(connected) = connected {
            assert!(connected.is_ok());
        } else {
            // It may be called again, in the time that is left.
            assert!(world.finish(opening.connect(resolving(), connecting)).is_ok());
        }
        // The one that never answers is not waited for.
        assert!(world.clock.lock().now < Time::from_start(secs(1)));
    });
    assert!(steps > 5, "{steps}");
}

#[test]
fn the_opening_handshake_of_a_client() {
    for kind in KINDS {
        let steps = dropped_at_each_poll(|cut| {
            let (world, line, talk) = (World::default(), Line::answering(speech(Role::Client)), Talk::default());
            let opening = Opening::new(&Target::new(TARGET).unwrap(), world.clock.timer());
            match cut.run(&world, opening.finish(line.end(), kind(&talk))) {
                None => {
                    assert!(!talk.was_open());
                    talk.check(false, &line, Role::Client, false);
                }
                Some(finished) => {
                    let (client, task) = finished.unwrap();
                    assert!(client.socket().is_open() && talk.was_open());
                    world.finish(task);
                    talk.check(true, &line, Role::Client, false);
                }
            }
        });
        assert!(steps > 5, "{steps}");
    }
}

/// A client that is connected, and its task.
fn client(world: &World<'_>, line: &Line, listener: AnyListener) -> (Client, Task<End, Sleep>) {
    let opening = Opening::new(&Target::new(TARGET).unwrap(), world.clock.timer());
    world.finish(opening.finish(line.end(), listener)).unwrap()
}

#[test]
fn a_client_that_waits_until_it_is_closed() {
    let steps = dropped_at_each_poll(|cut| {
        let (world, line, talk) = (World::default(), Line::answering(speech(Role::Client)), Talk::default());
        let (mut client, task) = client(&world, &line, KINDS[0](&talk));
        world.runs(task);
        let closed = cut.run(&world, client.closed());
        // It may be waited for again, also when it has come.
        for _ in 0..2 {
            let again = world.finish(client.closed());
            assert_eq!(closed.as_ref().unwrap_or(&again), &again);
            assert!(again.clean && again.code == 1000);
        }
        talk.check(true, &line, Role::Client, false);
    });
    assert!(steps > 2, "{steps}");
}

// The tasks of a server.

/// A connection of these tasks that does nothing, until it is dropped.
fn idle(world: &World<'_>, tasks: &Arc<Registry>) -> Task<End, Sleep> {
    let driver = Driver::connected(open(Role::Server, &timeless()), KINDS[0](&Talk::default()));
    Task::new(Line::default().end(), driver, world.clock.timer(), tasks)
}

fn service() -> (Arc<Service>, Log) {
    let reports = Log::default();
    let reported = reports.clone();
    let report = move |error: &ServerError| reported.add(error.to_string());
    (Arc::new(Service::new(Config::default(), |_: &Request| Response::not_found(), report)), reports)
}

#[test]
fn a_server_that_accepts() {
    let steps = dropped_at_each_poll(|cut| {
        let (tasks, accepted) = (Registry::default(), Mutex::new(0));
        let world = World::default();
        let accepting = async {
            loop {
                yields(2).await;
                *accepted.lock().unwrap() += 1;
                if *accepted.lock().unwrap() == 3 {
                    // Nobody comes any more.
                    std::future::pending::<()>().await;
                }
            }
        };
        // Somebody stops it.
        let mut stopping = Box::pin(tasks.shutdown(secs(1), world.clock.timer()));
        world.then(move || assert!(stopping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()));
        let done = cut.run(&world, tasks.run(accepting));
        assert!(done.is_none() || *accepted.lock().unwrap() == 3);
        // Whether it was dropped or not it can be stopped.
        assert_eq!(world.finish(tasks.shutdown(secs(1), world.clock.timer())), 0);
    });
    assert!(steps > 5, "{steps}");
}

#[test]
fn a_server_that_waits_for_room_or_for_its_end() {
    fn waiting<'a>(tasks: &'a Registry, what: usize) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        match what {
            0 => Box::pin(tasks.wait_for_end()),
            max => Box::pin(tasks.wait_for_room(max)),
        }
    }
    for what in 0..3 {
        let steps = dropped_at_each_poll(|cut| {
            let (world, tasks) = (World::default(), Arc::new(Registry::default()));
            for _ in 0..2 {
                let leaves = idle(&world, &tasks);
                let mut leaves = Some(leaves);
                world.then(move || drop(leaves.take()));
            }
            let done = cut.run(&world, waiting(&tasks, what));
            // Nobody has lost count.
            assert!(done.is_none() || is_ready(waiting(&tasks, what)));
            world.finish(waiting(&tasks, what));
        });
        assert!(steps > 2, "{steps}");
    }
}

#[test]
fn a_server_that_stops() {
    for answers in [true, false] {
        for answer in ANSWERS {
            let steps = dropped_at_each_poll(|cut| {
                let (world, talk) = (World::default(), Talk::default());
                let listener = talk.clone();
                let handler = move |_| {
                    let talk = listener.clone();
                    async move { answer(talk) }
                };
                let service = Arc::new(Service::asynchronous(Config::default(), handler, |_| ()));
                let tasks = service.registry().clone();
                // The peer hears of it, and answers or does not.
                let line = Line::sending(request(""));
                line.lock().stays = true;
                let driver = Driver::server(service.clone(), None, START);
                world.runs(Task::new(line.end(), driver, world.clock.timer(), &tasks));
                world.settle();
                assert!(talk.was_open());
                if answers {
                    line.lock().sent.extend(Frame::close(1001, "bye").sent_by(Role::Client));
                    line.lock().stays = false;
                }
                let left = cut.run(&world, tasks.shutdown(secs(5), world.clock.timer()));
                let again = world.finish(tasks.shutdown(secs(5), world.clock.timer()));
                let expected = usize::from(!answers);
                assert!(left.is_none_or(|left| left == expected) && again <= expected);
                assert!(cut.steps > 0 || again == expected);
                world.finish(tasks.wait_for_end());
                talk.check(true, &line, Role::Server, true);
            });
            assert!(steps > 2, "{steps}");
        }
    }
}

#[test]
fn a_server_that_cannot_accept() {
    for (kind, pause) in [(ErrorKind::ConnectionReset, START), (ErrorKind::OutOfMemory, Time::from_start(ms(100)))] {
        let steps = dropped_at_each_poll(|cut| {
            let (world, (service, reports)) = (World::default(), service());
            let failed = accept_failed(&service, io::Error::from(kind), world.clock.timer());
            let done = cut.run(&world, failed);
            assert_eq!(reports.take().len(), cut.steps.min(1), "once, as soon as it is polled");
            assert!(done.is_none() || world.clock.lock().now == pause);
        });
        assert_eq!(steps, if pause == START { 1 } else { 3 });
    }
}

// Sockets.

/// Above 1000 unsent bytes a socket is not writable.
fn shared(role: Role) -> (Arc<Shared>, WebSocket) {
    let shared = Arc::new(Shared::new(open(role, &timeless().watermarks(100, 1000))));
    let socket = WebSocket::from_arc(shared.clone());
    (shared, socket)
}

/// Writes some bytes whenever everybody waits: what the peer gets.
fn writes(world: &World<'_>, shared: &Arc<Shared>) -> Arc<Mutex<Vec<u8>>> {
    let received = Arc::new(Mutex::new(Vec::new()));
    let (shared, to, mut output) = (shared.clone(), received.clone(), None);
    world.always(move || {
        output = output.take().or_else(|| shared.take_output());
        let Some(taken) = &mut output else { return Happens::Nothing };
        let bytes: Vec<u8> = taken.first().iter().copied().take(100).collect();
        taken.advance(bytes.len());
        if taken.is_empty() {
            output = None;
        }
        to.lock().unwrap().extend(&bytes);
        shared.wrote(START, bytes.len());
        Happens::Something
    });
    received
}

#[test]
fn a_send_that_is_awaited() {
    for role in ROLES {
        let steps = dropped_at_each_poll(|cut| {
            let (world, (shared, socket)) = (World::default(), shared(role));
            let received = writes(&world, &shared);
            let before = "x".repeat(250);
            socket.send(&before).unwrap();
            let sent = cut.run(&world, socket.send_and_wait("awaited"));
            assert!(sent.is_none_or(|sent| sent.is_ok()) && socket.is_open());
            world.finish(socket.send_and_wait("behind")).unwrap();
            let frames = [Frame::text(before), Frame::text("awaited"), Frame::text("behind")];
            assert_eq!(*received.lock().unwrap(), wire(&frames, role), "all has left, once");
        });
        assert!(steps > 2, "{steps}");
    }
}

#[test]
fn a_socket_that_is_waited_for_until_it_is_writable() {
    for role in ROLES {
        let steps = dropped_at_each_poll(|cut| {
            let (world, (shared, socket)) = (World::default(), shared(role));
            let received = writes(&world, &shared);
            let before = "x".repeat(1200);
            socket.send(&before).unwrap();
            let writable = cut.run(&world, socket.writable());
            assert!(writable.is_none() || socket.buffered() <= 100);
            world.finish(socket.writable()).unwrap();
            world.finish(socket.send_and_wait("behind")).unwrap();
            assert_eq!(*received.lock().unwrap(), wire(&[Frame::text(before), Frame::text("behind")], role));
        });
        assert!(steps > 2, "{steps}");
    }
}
