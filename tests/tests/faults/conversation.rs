//! What is said, and what must come of it.

use std::io::{Cursor, ErrorKind};
use std::iter;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use bellwire::{Listener, Message, Outcome, Role, SendError, WebSocket};
use bellwire_tests::{
    BINARY, CLOSE, CONTINUATION, Event, Frame, Line, PING, PONG, Raw, Script, TEXT, What, When, upgrade_request,
};

/// The message at which this side closes.
const BYE: &str = "bye";

/// From here on a payload that its sender owns leaves as a piece of its own.
const LARGE: usize = 16 * 1024;

/// A conversation: the messages are always the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversation {
    /// Which end this side is.
    pub(crate) role: Role,
    pub(crate) start: Start,
    pub(crate) pace: Pace,
    pub(crate) closer: Closer,
}

/// How it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the opening handshake.
    Handshake,
    /// Somebody has made that, and has read a little of what was behind it.
    Upgraded,
}

/// When the peer says the next thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// When what was said before is answered.
    InTurn,
    /// At once, cut anywhere.
    AtOnce,
}

/// Who begins the closing handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closer {
    Peer,
    Us,
}

/// How far the closing handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Closing,
    Closed,
}

/// What must come of frames that the peer has sent.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) events: Vec<Event>,
    pub(crate) replies: Vec<Frame>,
    /// How many of the replies are messages.
    pub(crate) echoes: usize,
    pub(crate) state: State,
}

impl Conversation {
    /// The peer's side of it, of which these are the [`lines`](Self::lines). With a transport that holds back what
    /// is not flushed, when this side closes.
    pub(crate) fn script(&self, lines: &[Line], can_flush: bool) -> Script {
        let mut script = Script::new(lines.iter().cloned());
        if self.start == Start::Handshake {
            script = script.behind_a_head();
        }
        if can_flush && self.closer == Closer::Us {
            script = script.holding_back();
        }
        script
    }

    /// How many bytes were read before this side begins.
    pub(crate) fn leftover(&self) -> usize {
        if self.start == Start::Upgraded { 4 } else { 0 }
    }

    /// What the peer says, and when.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = self.head();
        match self.pace {
            Pace::InTurn => lines.extend(self.in_turn()),
            Pace::AtOnce => {
                let bytes: Vec<u8> = self.turns().iter().flatten().flat_map(|frame| self.peers(frame)).collect();
                lines.extend(pieces(&bytes).map(|bytes| line(When::AtOnce, bytes)));
            }
        }
        // RFC 6455 §7.1.1: the server closes first.
        let end = if self.role == Role::Server { When::Shutdown } else { self.answered(&self.turns().concat()) };
        lines.push(Line { when: end, what: What::End });
        lines
    }

    fn head(&self) -> Vec<Line> {
        match (self.start, self.role) {
            (Start::Upgraded, _) => Vec::new(),
            (Start::Handshake, Role::Client) => vec![Line { when: When::Written(0), what: What::Switching }],
            (Start::Handshake, Role::Server) => {
                upgrade_request("/", &[]).chunks(60).map(|bytes| line(When::AtOnce, bytes)).collect()
            }
        }
    }

    fn in_turn(&self) -> Vec<Line> {
        let (mut lines, mut said) = (Vec::new(), Vec::new());
        for turn in self.turns() {
            let when = self.answered(&said);
            let bytes: Vec<u8> = turn.iter().flat_map(|frame| self.peers(frame)).collect();
            // A large message takes more than one read.
            lines.extend(bytes.chunks(7000).map(|bytes| line(when, bytes)));
            said.extend(turn);
        }
        lines
    }

    /// When all this is answered.
    fn answered(&self, said: &[Frame]) -> When {
        let replies = Replay::of(said).replies;
        When::Written(replies.iter().map(|frame| frame.encode(self.role == Role::Client).len()).sum())
    }

    fn peers(&self, frame: &Frame) -> Vec<u8> {
        frame.encode(self.role == Role::Server)
    }

    /// What the peer says, cut where it waits for an answer.
    fn turns(&self) -> Vec<Vec<Frame>> {
        let binary = |bytes: &[u8]| Frame::new(BINARY, bytes);
        let mut turns = vec![
            vec![Frame::text("hello")],
            vec![binary(b"")],
            vec![Frame::text("")],
            vec![Frame::new(PING, "are you there?")],
            vec![Frame::text("Grüße, 世界")],
            vec![Frame::unfinished(TEXT, "in "), Frame::new(PING, "in between")],
            vec![Frame::unfinished(CONTINUATION, "three "), Frame::new(CONTINUATION, "pieces")],
            vec![Frame::text("one"), binary(&[1, 2, 3]), Frame::text("three at once")],
            vec![Frame::new(PONG, "nobody asked"), binary(&[0x81; 126])],
            vec![Frame::text("x".repeat(125)), Frame::new(PING, "")],
            vec![binary(&(0..17_000).map(|n: u32| (n * n) as u8).collect::<Vec<_>>())],
        ];
        turns.extend((12..=19).map(|number| vec![Frame::text(format!("message {number}"))]));
        match self.closer {
            Closer::Peer => turns.push(vec![Frame::text("the last"), Frame::close(1000, "that was all")]),
            Closer::Us => {
                turns.push(vec![Frame::text(BYE)]);
                turns.push(vec![Frame::text("too late"), Frame::close(1000, "Normal Closure")]);
            }
        }
        turns
    }
}

/// Cuts bytes into pieces of all kinds of sizes.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut sizes = [4, 1, 30, 1, 100, 7, 2000].into_iter().cycle();
    iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(sizes.next()?.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn line(when: When, bytes: &[u8]) -> Line {
    Line { when, what: What::Bytes(bytes.to_vec()) }
}

impl Replay {
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let mut replay = Self { events: Vec::new(), replies: Vec::new(), echoes: 0, state: State::Open };
        let mut message: Option<Frame> = None;
        for frame in frames {
            match frame.opcode {
                PING => replay.ping(frame),
                PONG => replay.events.push(Event::Pong(frame.payload.clone())),
                CLOSE => replay.close(frame),
                _ => {
                    let mut whole = message.take().unwrap_or_else(|| Frame::new(frame.opcode, ""));
                    whole.payload.extend_from_slice(&frame.payload);
                    if frame.fin { replay.message(whole) } else { message = Some(whole) }
                }
            }
        }
        replay
    }

    fn message(&mut self, message: Frame) {
        if self.state != State::Open {
            return;
        }
        let payload = message.payload.clone();
        let closes = payload == BYE.as_bytes();
        self.events.push(match message.opcode {
            TEXT => Event::Text(String::from_utf8(payload).unwrap()),
            _ => Event::Binary(payload),
        });
        self.replies.push(message);
        self.echoes += 1;
        if closes {
            self.replies.push(Frame::close(1000, "Normal Closure"));
            self.state = State::Closing;
        }
    }

    fn ping(&mut self, ping: &Frame) {
        self.events.push(Event::Ping(ping.payload.clone()));
        if self.state == State::Open {
            self.replies.push(Frame::new(PONG, &ping.payload));
        }
    }

    fn close(&mut self, close: &Frame) {
        if self.state == State::Open {
            self.replies.push(close.clone());
        }
        let (code, reason) = close.payload.split_at(2);
        let code = u16::from_be_bytes(code.try_into().unwrap());
        self.events.push(Event::close(code, std::str::from_utf8(reason).unwrap()));
        self.state = State::Closed;
    }
}

/// The frames in these bytes, and whether the last is cut off.
pub(crate) fn frames(bytes: &[u8], masked: bool) -> (Vec<Frame>, bool) {
    let mut raw = Raw::upgraded(Cursor::new(bytes.to_vec()), !masked);
    let mut frames = Vec::new();
    loop {
        match raw.try_read() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, false),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                return (frames, true);
            }
        }
    }
}

/// Echoes, and closes where it is told to.
pub(crate) struct Echo {
    /// Where it leaves its socket.
    pub(crate) socket: Arc<OnceLock<WebSocket>>,
    /// What became of each echo.
    pub(crate) outcomes: Sender<(usize, Result<(), SendError>)>,
    pub(crate) count: usize,
}

impl Listener for Echo {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.socket.set(socket.clone()).map_err(|_| "opened twice")?;
        Ok(())
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let (number, outcomes) = (self.count, self.outcomes.clone());
        self.count += 1;
        let done = move |outcome| outcomes.send((number, outcome)).unwrap();
        match message {
            Message::Binary(bytes) if bytes.len() >= LARGE => socket.send_with(bytes.to_vec(), done),
            _ => socket.send_with(message, done),
        }
        if message == BYE { Ok(socket.close()?) } else { Ok(()) }
    }
}
