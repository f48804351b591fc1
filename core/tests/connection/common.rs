//! What all tests here share: frames as a peer writes them, events that can be compared, and a run of the
//! same bytes in every way in which they can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bellwire_core::backend::{Busy, Driver, Step};
use bellwire_core::proto::{Connection, Event, Time};
use bellwire_core::{CloseCode, Closed, ClosedBy, Config, Error, Role};

pub(crate) const ROLES: [Role; 2] = [Role::Server, Role::Client];
pub(crate) const START: Time = Time::ZERO;

/// The mask key of RFC 6455 §5.7's examples; here the only one that clients use.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A point in time, from the start of a test.
pub(crate) const fn at(elapsed: Duration) -> Time {
    Time::from_start(elapsed)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn peer_of(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

/// No deadlines: for tests that are not about time.
pub(crate) fn timeless() -> Config {
    Config::default().keepalive_interval(None).close_timeout(None)
}

pub(crate) fn open(role: Role, config: &Config) -> Connection {
    let config = Arc::new(config.clone());
    match role {
        Role::Server => Connection::server(config, START),
        Role::Client => Connection::client(config, Box::new(fixed_key), START),
    }
}

/// The entropy of a client that masks everything with [`KEY`].
pub(crate) fn fixed_key(bytes: &mut [u8]) {
    for (byte, key) in bytes.iter_mut().zip(KEY.iter().cycle()) {
        *byte = *key;
    }
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A good request to upgrade, with these header lines besides.
pub(crate) fn request(more: &str) -> Vec<u8> {
    format!("{REQUEST}{more}\r\n").into_bytes()
}

/// Counts how often its waker is called.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn waker() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (wakes.clone(), wakes.into())
}

/// A frame, written by hand: nothing here uses the encoder that is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    first: u8,
    payload: Vec<u8>,
    /// In place of the payload's length: what the header claims, and in how many bytes.
    claim: Option<(u8, Vec<u8>)>,
}

impl Frame {
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x80 | opcode, payload: payload.as_ref().to_vec(), claim: None }
    }

    pub(crate) fn continuation(payload: impl AsRef<[u8]>) -> Self {
        Self::new(0, payload)
    }

    pub(crate) fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(1, payload)
    }

    pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Self {
        Self::new(2, payload)
    }

    pub(crate) fn close_with(payload: impl AsRef<[u8]>) -> Self {
        Self::new(8, payload)
    }

    pub(crate) fn close(code: u16, reason: &str) -> Self {
        Self::close_with([&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Self {
        Self::new(9, payload)
    }

    pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Self {
        Self::new(10, payload)
    }

    /// The same frame without the FIN bit.
    pub(crate) fn not_final(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// The same frame with reserved bits set.
    pub(crate) fn reserved_bits(mut self, bits: u8) -> Self {
        self.first |= bits << 4;
        self
    }

    /// A header that claims a length in 16 bits, whatever comes.
    pub(crate) fn claiming_16(mut self, length: u16) -> Self {
        self.claim = Some((126, length.to_be_bytes().to_vec()));
        self
    }

    /// A header that claims a length in 64 bits, whatever comes.
    pub(crate) fn claiming_64(mut self, length: u64) -> Self {
        self.claim = Some((127, length.to_be_bytes().to_vec()));
        self
    }

    /// The bytes as this end sends them.
    pub(crate) fn sent_by(&self, sender: Role) -> Vec<u8> {
        let (short, long) = self.claim.clone().unwrap_or_else(|| match self.payload.len() {
            length @ 0..126 => (length as u8, vec![]),
            length @ 126..0x1_0000 => (126, (length as u16).to_be_bytes().to_vec()),
            length => (127, (length as u64).to_be_bytes().to_vec()),
        });
        match sender {
            Role::Server => [&[self.first, short], &long[..], &self.payload].concat(),
            Role::Client => [&[self.first, 0x80 | short], &long[..], &KEY, &masked(&self.payload)].concat(),
        }
    }
}

pub(crate) fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

pub(crate) fn wire(frames: &[Frame], sender: Role) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.sent_by(sender)).collect()
}

/// An event that can be compared and kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The error as `Debug` shows it.
    Error(String),
    Closed(Closed),
}

impl Seen {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn binary(bytes: impl AsRef<[u8]>) -> Self {
        Self::Binary(bytes.as_ref().to_vec())
    }

    pub(crate) fn ping(data: impl AsRef<[u8]>) -> Self {
        Self::Ping(data.as_ref().to_vec())
    }

    pub(crate) fn pong(data: impl AsRef<[u8]>) -> Self {
        Self::Pong(data.as_ref().to_vec())
    }

    pub(crate) fn error(error: impl Into<Error>) -> Self {
        Self::Error(format!("{:?}", error.into()))
    }

    /// The peer's close frame ended it; `by` began.
    pub(crate) fn clean(code: u16, reason: &str, by: ClosedBy) -> Self {
        Self::Closed(Closed::clean(CloseCode(code), reason, by))
    }

    /// This side failed it.
    pub(crate) fn failed(code: u16, reason: &str) -> Self {
        Self::Closed(Closed::failed(CloseCode(code), reason))
    }

    /// It ended without a close frame.
    pub(crate) fn abnormal(by: ClosedBy) -> Self {
        Self::Closed(Closed::abnormal(by))
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(data) => Self::Ping(data.into_owned()),
            Event::Pong(data) => Self::Pong(data.into_owned()),
            Event::Error(error) => Self::Error(format!("{error:?}")),
            Event::Closed(closed) => Self::Closed(closed),
            other => panic!("an event that these tests do not know: {other:?}"),
        }
    }
}

/// All events that come of these bytes; no bytes: those that wait.
pub(crate) fn feed(connection: &mut Connection, now: Time, bytes: &[u8]) -> Vec<Seen> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut seen = Vec::new();
    while let Some(event) = connection.next_event(now, &mut input) {
        seen.push(event.into());
    }
    assert!(input.is_empty(), "all input is taken, always");
    seen
}

pub(crate) fn waiting(connection: &mut Connection) -> Vec<Seen> {
    feed(connection, START, b"")
}

/// The bytes to be written, without writing them.
pub(crate) fn output(connection: &Connection) -> Vec<u8> {
    connection.output().pieces().flatten().copied().collect()
}

/// Writes all there is.
pub(crate) fn write_all(connection: &mut Connection, now: Time) -> Vec<u8> {
    let mut written = Vec::new();
    // Writing makes room for a pong that waited.
    while !connection.output().is_empty() {
        let bytes = output(connection);
        connection.wrote(now, bytes.len());
        written.extend(bytes);
    }
    written
}

/// What a connection made of some bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) events: Vec<Seen>,
    pub(crate) output: Vec<u8>,
}

/// Feeds the bytes piece by piece, and writes all output after each.
pub(crate) fn run<'a>(mut connection: Connection, pieces: impl IntoIterator<Item = &'a [u8]>) -> Run {
    let (mut events, mut output) = (Vec::new(), Vec::new());
    for piece in pieces {
        events.extend(feed(&mut connection, START, piece));
        output.extend(write_all(&mut connection, START));
    }
    Run { events, output }
}

/// Runs the bytes whole, cut in two at each place, and byte by byte: all must come to the same.
pub(crate) fn run_in_every_way(make: impl Fn() -> Connection, bytes: &[u8]) -> Run {
    let whole = run(make(), [bytes]);
    for at in cuts(bytes.len()) {
        let (left, right) = bytes.split_at(at);
        assert_eq!(run(make(), [left, right]), whole, "cut at {at}: {:02x?}", &bytes[..bytes.len().min(64)]);
    }
    assert_eq!(run(make(), bytes.chunks(1)), whole, "byte by byte: {:02x?}", &bytes[..bytes.len().min(64)]);
    whole
}

/// Each place, but of a long payload's middle only some.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let near_an_end = move |at: usize| at < 300 || length - at < 300;
    (0..=length).filter(move |at| length < 2_000 || near_an_end(*at) || at % 7_919 == 0)
}

/// For either role: the peer sends these frames, these events come, these frames are sent.
#[track_caller]
pub(crate) fn both_roles(config: &Config, incoming: &[Frame], events: &[Seen], outgoing: &[Frame]) {
    for role in ROLES {
        let run = run_in_every_way(|| open(role, config), &wire(incoming, peer_of(role)));
        assert_eq!(run.events, events, "{role:?}, {incoming:?}");
        assert_eq!(run.output, wire(outgoing, role), "{role:?}, {incoming:?}");
    }
}

/// Nothing more is to be read: the sending side is closed, and then the transport.
#[track_caller]
pub(crate) fn leaves(driver: &mut Driver, now: Time) {
    assert_eq!([driver.step(now), driver.step(now)], [Step::Shutdown, Step::Done]);
}

/// What a backend does with a driver between two reads.
pub(crate) trait Drive {
    /// The next step. What is to be shut down is.
    fn step(&mut self, now: Time) -> Step;

    /// Polls what is pending, and settles the turn.
    fn park(&mut self, now: Time, waker: &Waker) -> Result<Option<Time>, Busy>;
}

impl Drive for Driver {
    fn step(&mut self, now: Time) -> Step {
        let step = self.next_step(now);
        assert_eq!(self.next_step(now), step, "asking changes nothing");
        if step == Step::Shutdown {
            self.shut_down();
        }
        step
    }

    fn park(&mut self, now: Time, waker: &Waker) -> Result<Option<Time>, Busy> {
        self.poll_pending(now, waker)?;
        self.settle(waker)
    }
}
