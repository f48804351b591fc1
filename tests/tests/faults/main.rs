//! A conversation in which one thing goes wrong: every fault at every call of the transport, on every backend and
//! in both roles.
//!
//! What must come of it is told from what the peer has said until then: the [`Replay`] of that. So each run is
//! checked to the last event and the last frame.
//!
//! | file | what it is |
//! |---|---|
//! | `conversation` | what is said, and what must come of it |
//! | `machines` | the backends, each with a clock that costs nothing, or short deadlines |
//! | `virtual_time` | a runtime for futures-io whose time passes when there is nothing else to do |

mod conversation;
mod machines;
mod virtual_time;

use std::fmt;
use std::io::{self, ErrorKind};
use std::iter;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use bellwire::proto::client::HandshakeError;
use bellwire::{ConnectError, Listener, Role, SendError, WebSocket};
use bellwire_tests::{BINARY, CLOSE, Call, Event, Fault, Frame, Line, PING, Script, Scripted, TEXT, logged};

use crate::conversation::{Closer, Conversation, Echo, Pace, Replay, Start, State, frames};

/// A backend, as these tests need it.
trait Machine {
    const NAME: &str;

    /// How many runs go on at once.
    const THREADS: usize;

    /// How often a case is tried that did not happen.
    const ATTEMPTS: usize;

    /// What ends an open connection on which nothing happens.
    const SILENCE: Silence;

    /// Whether transports have a flush.
    const FLUSHES: bool;

    /// What can go wrong at a call.
    fn faults(call: Call) -> &'static [Fault];

    /// Drives a connection to its end. Says how long that took, by the clock that it goes by.
    fn drive(setup: Setup) -> (Result<(), ConnectError>, Duration);
}

/// Shorter than every deadline but the linger timeout, which passes if the peer cannot be told of the end.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What a [`Machine`] drives.
struct Setup {
    conversation: Conversation,
    fault: Option<Fault>,
    script: Script,
    transport: Scripted,
    leftover: Vec<u8>,
    listener: Box<dyn Listener>,
}

/// Which deadline ends a silent connection, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Keepalive,
    Idle,
}

impl Silence {
    fn code(self) -> u16 {
        if self == Self::Keepalive { 1011 } else { 1001 }
    }

    fn text(self) -> &'static str {
        if self == Self::Keepalive { "Keepalive Ping Timeout" } else { "Connection Idle Timeout" }
    }

    fn error(self) -> &'static str {
        if self == Self::Keepalive { "keepalive ping timeout" } else { "connection idle timeout" }
    }

    fn frames(self) -> Vec<Frame> {
        let ping = (self == Self::Keepalive).then(|| Frame::new(PING, ""));
        ping.into_iter().chain([Frame::close(self.code(), self.text())]).collect()
    }
}

/// What a run has come to.
struct Run {
    conversation: Conversation,
    script: Script,
    events: Vec<Event>,
    result: Result<(), ConnectError>,
    elapsed: Duration,
    socket: Option<WebSocket>,
    outcomes: Vec<(usize, Result<(), SendError>)>,
}

/// A run without faults, to which the others are compared.
struct Baseline {
    calls: Vec<Call>,
    events: Vec<Event>,
    frames: Vec<Frame>,
    shut: bool,
}

/// Which fault at which call.
#[derive(Clone, Copy)]
struct Case {
    number: usize,
    call: Call,
    fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at call {}, {:?}", self.fault, self.number, self.call)
    }
}

/// Runs a conversation once without faults, and then once for each fault at each of its calls.
fn every_fault_at_every_call<M: Machine>(conversation: Conversation) {
    let lines = conversation.lines();
    let baseline = baseline::<M>(conversation, &lines);
    let calls = baseline.calls.iter().copied().enumerate();
    let cases: Vec<Case> = calls
        .flat_map(|(number, call)| M::faults(call).iter().map(move |&fault| Case { number, call, fault }))
        .collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..M::THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let checked =
                        panic::catch_unwind(AssertUnwindSafe(|| check::<M>(&baseline, conversation, &lines, *case)));
                    if checked.is_err() {
                        failures.lock().unwrap().push(case.to_string());
                    }
                }
            });
        }
    });
    println!("{}, {conversation:?}: {} calls, {} runs", M::NAME, baseline.calls.len(), cases.len());
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}: {failures:#?}", failures.len(), cases.len());
}

fn run<M: Machine>(conversation: Conversation, lines: &[Line], case: Option<Case>) -> Run {
    let mut script = conversation.script(lines, M::FLUSHES);
    if let Some(case) = case {
        script = script.fault(case.number, case.fault);
    }
    let (socket, (sender, outcomes)) = (Arc::new(OnceLock::new()), mpsc::channel());
    let (listener, log) = logged(Echo { socket: socket.clone(), outcomes: sender, count: 0 });
    let setup = Setup {
        conversation,
        fault: case.map(|case| case.fault),
        leftover: script.leftover(conversation.leftover()),
        transport: script.transport(),
        script: script.clone(),
        listener,
    };
    let (result, elapsed) = M::drive(setup);
    script.wait_for_drop();
    // Waits until the listener is dropped.
    let events = log.rest();
    Run {
        conversation,
        script,
        events,
        result,
        elapsed,
        socket: socket.get().cloned(),
        outcomes: outcomes.into_iter().collect(),
    }
}

fn baseline<M: Machine>(conversation: Conversation, lines: &[Line]) -> Baseline {
    let run = run::<M>(conversation, lines, None);
    run.check::<M>(true);
    let frames = run.frames();
    let messages = |frame: &&Frame| matches!(frame.opcode, TEXT | BINARY);
    assert_eq!(frames.iter().filter(messages).count(), 20);
    assert_eq!(frames.last().map(|frame| frame.opcode), Some(CLOSE));
    Baseline { calls: run.script.calls(), events: run.events, frames, shut: run.script.is_shut() }
}

fn check<M: Machine>(baseline: &Baseline, conversation: Conversation, lines: &[Line], case: Case) {
    // On a slow machine a short deadline may pass before the fault strikes: then again.
    let strikes = |run: &Run| run.script.struck().is_some();
    let mut runs = iter::repeat_with(|| run::<M>(conversation, lines, Some(case))).take(M::ATTEMPTS);
    let run = runs.find(strikes).unwrap_or_else(|| panic!("{case}: did not happen"));
    assert_eq!(run.script.struck(), Some((case.call, case.fault)), "{case}");
    run.check::<M>(false);
    if case.fault.is_harmless() {
        assert_eq!(run.events, baseline.events, "{case}");
        assert_eq!(run.frames(), baseline.frames, "{case}");
        assert_eq!(run.script.is_shut(), baseline.shut, "{case}");
    }
}

impl Run {
    /// Checks everything that can be told from what was said and what went wrong.
    fn check<M: Machine>(&self, is_baseline: bool) {
        let struck = self.script.struck();
        assert_eq!(struck.is_none(), is_baseline);
        assert_eq!(self.script.misuse(), [""; 0], "{struck:?}");
        // Nobody who was woken, or told of the end, waits for a deadline.
        let waits = matches!(struck, Some((_, Fault::Stall)));
        assert!(waits || self.elapsed < AT_ONCE, "{struck:?}: {:?}", self.elapsed);
        self.check_end(struck);
        let said = self.said();
        self.check_opening(said.is_some(), struck);
        let Some(said) = said else { return };
        let replay = Replay::of(&frames(&said, self.conversation.role == Role::Server).0);
        let (echoes, state) = (replay.echoes, replay.state);
        // What the peer had said before its end was noticed is not lost, unless it cannot be read. What was held back
        // leaves with the end of the sending side, and is answered too late.
        let late = matches!(struck, Some((Call::Read, _) | (Call::Flush, Fault::Stall)));
        assert!(!self.script.has_unread() || late, "{struck:?}");
        let mut events = vec![Event::Open];
        events.extend(replay.events);
        events.extend(last_events(state, struck, M::SILENCE));
        assert_eq!(self.events, events, "{struck:?}");
        let mut replies = replay.replies;
        if let (State::Open, Some((_, Fault::Stall))) = (state, struck) {
            replies.extend(M::SILENCE.frames());
        }
        self.check_frames(&replies, struck);
        self.check_sends(echoes, struck);
    }

    /// What the peer said on the open connection; `None` if it did not open.
    fn said(&self) -> Option<Vec<u8>> {
        behind_head(self.script.said(), self.conversation.start)
    }

    /// What was written on the open connection, in frames.
    fn frames(&self) -> Vec<Frame> {
        self.written().0
    }

    fn written(&self) -> (Vec<Frame>, bool) {
        match behind_head(self.script.written(), self.conversation.start) {
            Some(bytes) => frames(&bytes, self.conversation.role == Role::Client),
            None => (Vec::new(), true),
        }
    }

    fn check_opening(&self, opened: bool, struck: Option<(Call, Fault)>) {
        let as_it_must = match (opened, struck) {
            (true, _) | (false, None) => self.result.is_ok(),
            (false, Some((call, fault))) if self.conversation.role == Role::Client => {
                fails_to_connect(&self.result, call, fault)
            }
            // RFC 9110 §15.5.9: a request that does not arrive is answered with 408.
            (false, Some((_, Fault::Stall))) => self.script.written().starts_with(b"HTTP/1.1 408 "),
            (false, Some(_)) => self.script.written().is_empty(),
        };
        assert!(as_it_must, "{struck:?}: {:?}", self.result);
        assert_eq!(self.socket.is_some(), opened, "{struck:?}");
        assert_eq!(self.events.is_empty(), !opened, "{struck:?}");
    }

    /// However it ended, the peer was told that nothing more comes, unless the transport could not do that any more.
    fn check_end(&self, struck: Option<(Call, Fault)>) {
        let cannot = match struck {
            Some((_, Fault::Error | Fault::Zero)) => true,
            Some((call, Fault::Stall)) => call != Call::Read,
            _ => false,
        };
        assert!(cannot || self.script.is_shut(), "{struck:?}: the sending side was not ended");
    }

    fn check_frames(&self, replies: &[Frame], struck: Option<(Call, Fault)>) {
        let (written, cut) = self.written();
        let may_be_cut = matches!(struck, Some((Call::Write, Fault::Error | Fault::Zero | Fault::Stall)));
        assert!(may_be_cut || !cut, "{struck:?}: a frame is cut off");
        if may_be_cut || struck == Some((Call::Flush, Fault::Error)) {
            assert_eq!(written, replies[..written.len().min(replies.len())], "{struck:?}");
        } else {
            assert_eq!(written, replies, "{struck:?}");
        }
    }

    fn check_sends(&self, echoes: usize, struck: Option<(Call, Fault)>) {
        let socket = self.socket.as_ref().unwrap();
        assert!(!socket.is_open());
        assert_eq!(socket.send("after the end"), Err(SendError::Closed));
        let written = self.frames().iter().filter(|frame| matches!(frame.opcode, TEXT | BINARY)).count();
        let outcome = |number| (number, if number < written { Ok(()) } else { Err(SendError::Closed) });
        assert_eq!(self.outcomes, (0..echoes).map(outcome).collect::<Vec<_>>(), "{struck:?}");
    }
}

/// The last events of a connection, unless both sides have closed it.
fn last_events(state: State, struck: Option<(Call, Fault)>, silence: Silence) -> Vec<Event> {
    let (code, error) = match (state, struck) {
        (State::Closed, _) => return Vec::new(),
        (_, Some((_, Fault::Zero))) => {
            (1006, format!("the transport failed: {}", io::Error::from(ErrorKind::WriteZero)))
        }
        // A reset, a broken pipe.
        (_, Some((_, Fault::Eof | Fault::Error))) => {
            (1006, "the peer ended the transport without a close frame".into())
        }
        (State::Open, Some((_, Fault::Stall))) => (silence.code(), silence.error().into()),
        (State::Closing, Some((_, Fault::Stall))) => (1006, "close timeout".into()),
        (State::Open | State::Closing, _) => panic!("ended before it was over: {struck:?}"),
    };
    let reason = if code == 1006 { "" } else { silence.text() };
    vec![Event::error(&*error), Event::close(code, reason)]
}

fn fails_to_connect(result: &Result<(), ConnectError>, call: Call, fault: Fault) -> bool {
    match (result, call, fault) {
        (Err(ConnectError::Timeout(_)), _, Fault::Stall) => true,
        (Err(ConnectError::Handshake(HandshakeError::Eof)), _, Fault::Eof) => true,
        (Err(ConnectError::Io(error)), Call::Read, Fault::Error) => error.kind() == ErrorKind::ConnectionReset,
        (Err(ConnectError::Io(error)), _, Fault::Error) => error.kind() == ErrorKind::BrokenPipe,
        (Err(ConnectError::Io(error)), _, Fault::Zero) => error.kind() == ErrorKind::WriteZero,
        _ => false,
    }
}

/// What is behind the HTTP head; `None` if that is not whole.
fn behind_head(bytes: Vec<u8>, start: Start) -> Option<Vec<u8>> {
    if start == Start::Upgraded {
        return Some(bytes);
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(bytes[end + 4..].to_vec())
}

macro_rules! on {
    ($machine:ident: $($test:ident = $role:ident, $start:ident, $pace:ident, $closer:ident;)*) => {$(
        #[test]
        fn $test() {
            let (role, start) = (Role::$role, Start::$start);
            let conversation = Conversation { role, start, pace: Pace::$pace, closer: Closer::$closer };
            every_fault_at_every_call::<$machine>(conversation);
        }
    )*};
}

macro_rules! machines {
    ($($module:ident: $machine:ident;)*) => {$(
        mod $module {
            use super::*;
            use crate::machines::$machine;

            on! { $machine:
                a_server_in_turn_survives_every_fault_at_every_call = Server, Handshake, InTurn, Peer;
                a_server_at_once_survives_every_fault_at_every_call = Server, Handshake, AtOnce, Us;
                an_upgraded_server_in_turn_survives_every_fault_at_every_call = Server, Upgraded, InTurn, Us;
                an_upgraded_server_at_once_survives_every_fault_at_every_call = Server, Upgraded, AtOnce, Peer;
                a_client_in_turn_survives_every_fault_at_every_call = Client, Handshake, InTurn, Us;
                a_client_at_once_survives_every_fault_at_every_call = Client, Handshake, AtOnce, Peer;
                an_upgraded_client_in_turn_survives_every_fault_at_every_call = Client, Upgraded, InTurn, Peer;
                an_upgraded_client_at_once_survives_every_fault_at_every_call = Client, Upgraded, AtOnce, Us;
            }
        }
    )*};
}

machines! {
    blocking: Blocking;
    tokio: Tokio;
    futures_io: FuturesIo;
}
