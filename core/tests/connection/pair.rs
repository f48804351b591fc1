//! Two connections and two queues of bytes between them, in virtual time; and bytes that no connection
//! would send.

use std::collections::VecDeque;

use bellwire_core::proto::{Connection, Time};
use bellwire_core::{ClosedBy, Config, Role};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::*;

struct End {
    connection: Connection,
    /// Bytes on their way here.
    incoming: VecDeque<u8>,
    seen: Vec<Seen>,
    /// What was accepted, as the other end should see it.
    sent: Vec<Seen>,
    has_closed: bool,
}

struct Pair {
    ends: [End; 2],
    now: Time,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self { connection, incoming: VecDeque::new(), seen: vec![], sent: vec![], has_closed: false }
    }

    fn send(&mut self, message: Seen) {
        let accepted = match &message {
            Seen::Text(text) => self.connection.send(text).is_ok(),
            Seen::Binary(bytes) => self.connection.send(bytes.clone()).is_ok(),
            Seen::Ping(data) => self.connection.ping(data).is_ok(),
            other => panic!("nobody sends {other:?}"),
        };
        if accepted {
            self.sent.push(message);
        }
    }

    fn seen_messages(&self) -> Vec<Seen> {
        only(&self.seen, |event| matches!(event, Seen::Text(_) | Seen::Binary(_)))
    }

    fn closed(&self) -> Vec<Seen> {
        only(&self.seen, |event| matches!(event, Seen::Closed(_)))
    }
}

fn only(events: &[Seen], which: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    events.iter().filter(|event| which(event)).cloned().collect()
}

impl Pair {
    fn new(config: &Config) -> Self {
        Self { ends: ROLES.map(|role| End::new(open(role, config))), now: START }
    }

    /// Moves at most so many bytes from an end's output to the other's queue.
    fn write(&mut self, from: usize, most: usize) -> usize {
        let bytes = output(&self.ends[from].connection);
        let count = bytes.len().min(most);
        self.ends[from].connection.wrote(self.now, count);
        self.ends[1 - from].incoming.extend(&bytes[..count]);
        count
    }

    /// Reads at most so many bytes, if the end reads at all.
    fn read(&mut self, at: usize, most: usize) -> usize {
        let end = &mut self.ends[at];
        if !end.connection.wants_read() {
            return 0;
        }
        let bytes: Vec<u8> = end.incoming.drain(..most.min(end.incoming.len())).collect();
        end.seen.extend(feed(&mut end.connection, self.now, &bytes));
        bytes.len()
    }

    /// Lets everything arrive.
    fn settle(&mut self) {
        while [0, 1].iter().map(|&end| self.write(end, usize::MAX) + self.read(end, 10_000)).sum::<usize>() > 0 {}
    }

    fn close(&mut self, at: usize, code: u16) {
        if self.ends[at].connection.close(code, "").is_ok() {
            self.ends[at].has_closed = true;
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send(at, message) => self.ends[at].send(message),
            Act::Close(at, code) => self.close(at, code),
            Act::Write(from, most) => drop(self.write(from, most)),
            Act::Read(at, most) => drop(self.read(at, most)),
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Send(usize, Seen),
    Close(usize, u16),
    Write(usize, usize),
    Read(usize, usize),
}

fn message() -> impl Strategy<Value = Seen> {
    prop_oneof![
        "\\PC{0,20}".prop_map(Seen::Text),
        (0..70_000usize, "[a-zäß€😀]").prop_map(|(length, c)| Seen::Text(c.repeat(length / c.len()))),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Seen::Binary),
        (0..70_000usize, any::<u8>()).prop_map(|(length, byte)| Seen::Binary(vec![byte; length])),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Ping),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let end = 0..2usize;
    let size = || prop_oneof![0..20usize, 0..100_000usize];
    prop_oneof![
        8 => (end.clone(), message()).prop_map(|(at, message)| Act::Send(at, message)),
        1 => (end.clone(), prop::sample::select(&[1000u16, 1001, 3000])).prop_map(|(at, code)| Act::Close(at, code)),
        6 => (end.clone(), size()).prop_map(|(from, most)| Act::Write(from, most)),
        6 => (end, size()).prop_map(|(at, most)| Act::Read(at, most)),
    ]
}

proptest! {
    #[test]
    fn every_message_arrives_once_and_in_order_and_both_sides_end_once(
        acts in prop::collection::vec(act(), 0..40),
        deliver_after_close: bool,
        last in 0..2usize,
    ) {
        let mut pair = Pair::new(&timeless().deliver_after_close(deliver_after_close));
        acts.into_iter().for_each(|act| pair.act(act));
        pair.settle();
        pair.close(last, 1000);
        pair.settle();
        for at in [0, 1] {
            let (end, other) = (&pair.ends[at], &pair.ends[1 - at]);
            let is_ping = |event: &Seen| matches!(event, Seen::Ping(_));
            prop_assert_eq!(only(&end.seen, is_ping), only(&other.sent, is_ping));
            let sent = only(&other.sent, |event| !is_ping(event));
            let seen = end.seen_messages();
            if deliver_after_close || !end.has_closed {
                prop_assert!(seen == sent, "{} of {} messages", seen.len(), sent.len());
            } else {
                // D7: what came after its own close is missing, and nothing else.
                prop_assert!(sent.starts_with(&seen), "{} of {} messages", seen.len(), sent.len());
            }
            let by = if end.has_closed { ClosedBy::Local } else { ClosedBy::Peer };
            prop_assert!(
                matches!(&end.closed()[..], [Seen::Closed(closed)] if closed.clean && closed.by == by),
                "{:?}", end.closed()
            );
            prop_assert!(matches!(end.seen.last(), Some(Seen::Closed(_))));
            prop_assert!(!end.seen.iter().any(|event| matches!(event, Seen::Error(_))));
            prop_assert_eq!(end.connection.buffered(), 0);
        }
    }

    #[test]
    fn both_sides_end_once_wherever_the_line_breaks(
        acts in prop::collection::vec(act(), 0..30),
        fails: bool,
    ) {
        let mut pair = Pair::new(&timeless());
        acts.into_iter().for_each(|act| pair.act(act));
        for end in &mut pair.ends {
            if fails { end.connection.transport_failed("broken") } else { end.connection.receive_eof() }
            end.seen.extend(waiting(&mut end.connection));
            prop_assert_eq!(end.closed().len(), 1);
            prop_assert!(matches!(end.seen.last(), Some(Seen::Closed(_))));
        }
        for at in [0, 1] {
            let sent = only(&pair.ends[1 - at].sent, |event| !matches!(event, Seen::Ping(_)));
            prop_assert!(sent.starts_with(&pair.ends[at].seen_messages()), "nothing is made up");
        }
    }

    #[test]
    fn any_message_round_trips_in_any_fragments(
        role in prop::sample::select(&ROLES),
        message in prop_oneof![
            "\\PC{0,60}".prop_map(Seen::Text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Seen::Binary),
        ],
        cuts in prop::collection::vec((any::<Index>(), prop::option::of(0..=125usize)), 0..10),
        sizes in prop::collection::vec(1..50usize, 1..10),
    ) {
        let (mut next, payload): (fn(Vec<u8>) -> Frame, _) = match &message {
            Seen::Text(text) => (|bytes| Frame::text(bytes), text.clone().into_bytes()),
            Seen::Binary(bytes) => (|bytes| Frame::binary(bytes), bytes.clone()),
            other => panic!("{other:?}"),
        };
        let mut cuts: Vec<_> = cuts.iter().map(|(at, ping)| (at.index(payload.len() + 1), *ping)).collect();
        cuts.sort_unstable();
        let (mut frames, mut pongs, mut start) = (vec![], vec![], 0);
        for (end, control) in cuts {
            frames.push(next(payload[start..end].to_vec()).not_final());
            if let Some(length) = control {
                frames.push(Frame::pong(vec![7; length]));
                pongs.push(Seen::pong(vec![7; length]));
            }
            (next, start) = (|bytes| Frame::continuation(bytes), end);
        }
        frames.push(next(payload[start..].to_vec()));
        let bytes = wire(&frames, peer_of(role));
        let run = run(open(role, &timeless()), chunks(&bytes, &sizes));
        prop_assert_eq!(only(&run.events, |event| matches!(event, Seen::Pong(_))), pongs);
        prop_assert_eq!(run.events.last(), Some(&message));
        prop_assert_eq!(run.output, b"");
    }

    #[test]
    fn what_is_nearly_right_has_the_same_end_however_it_is_cut(
        role in prop::sample::select(&ROLES),
        frames in prop::collection::vec(any_frame(), 0..12),
        sender in prop::sample::select(&[0usize, 0, 0, 0, 1]),
        mutations in prop::collection::vec(mutation(), 0..4),
        sizes in prop::collection::vec(1..40usize, 1..10),
    ) {
        let sender = if sender == 0 { peer_of(role) } else { role };
        let mut bytes = wire(&frames, sender);
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let make = || open(role, &timeless().max_message(2000));
        let whole = run(make(), [&bytes[..]]);
        prop_assert_eq!(&run(make(), chunks(&bytes, &sizes)), &whole);
        prop_assert_eq!(&run(make(), bytes.chunks(1)), &whole);
        let ends = whole.events.iter().filter(|event| matches!(event, Seen::Closed(_))).count();
        prop_assert!(ends <= 1 && whole.events.iter().rev().skip(1).all(|event| !matches!(event, Seen::Closed(_))));
        // Whatever came, what is sent in answer is right.
        let answer = run(open(peer_of(role), &timeless()), [&whole.output[..]]);
        prop_assert!(!answer.events.iter().any(|event| matches!(event, Seen::Error(_))), "{:?}", answer.events);
    }

    #[test]
    fn any_bytes_have_the_same_end_however_they_are_cut(
        role in prop::sample::select(&ROLES),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        sizes in prop::collection::vec(1..20usize, 1..10),
    ) {
        let whole = run(open(role, &timeless()), [&bytes[..]]);
        prop_assert_eq!(run(open(role, &timeless()), chunks(&bytes, &sizes)), whole);
    }
}

/// Cuts into pieces of these sizes, over and over.
fn chunks<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = (*sizes.next()?).min(bytes.len());
        let (piece, rest) = bytes.split_at(size);
        bytes = rest;
        (size > 0).then_some(piece)
    })
    .collect()
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        3 => "[aé€😀]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (120..300usize).prop_map(|length| vec![b'x'; length]),
    ];
    let opcode = prop::sample::select(&[0u8, 0, 0, 1, 1, 2, 9, 10, 3]);
    prop_oneof![
        10 => (opcode, payload, any::<bool>()).prop_map(|(opcode, payload, fin)| {
            let frame = Frame::new(opcode, if opcode >= 8 { &payload[..payload.len().min(125)] } else { &payload });
            if fin || opcode >= 8 { frame } else { frame.not_final() }
        }),
        1 => (990..1020u16).prop_map(|code| Frame::close(code, "reason")),
    ]
}

#[derive(Debug, Clone)]
enum Mutation {
    Change(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Swap(Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Change(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(one, two)| Mutation::Swap(one, two)),
        any::<Index>().prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Change(at, byte) => bytes[at.index(length)] = *byte,
            Self::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Swap(one, two) => bytes.swap(one.index(length), two.index(length)),
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

#[test]
fn two_ends_that_have_nothing_to_say_keep_each_other_alive_for_an_hour() {
    let mut pair = Pair::new(&Config::default());
    let mut wakes = 0;
    while pair.now < at(secs(3600)) {
        // The next deadline of either; the line takes 50 ms.
        pair.now = pair.ends.iter().filter_map(|end| end.connection.poll_timeout()).min().unwrap();
        for end in &mut pair.ends {
            end.connection.handle_timeout(pair.now);
        }
        for from in [0, 1, 0] {
            pair.write(from, usize::MAX);
            pair.now += ms(50);
            pair.read(1 - from, usize::MAX);
        }
        wakes += 1;
        assert!(wakes < 1000, "it spins");
    }
    for end in &pair.ends {
        assert!(end.connection.is_open(), "{:?}", end.seen);
        let pings = only(&end.seen, |event| *event == Seen::ping("")).len();
        let pongs = only(&end.seen, |event| *event == Seen::pong("")).len();
        assert!((170..=200).contains(&(pings + pongs)), "{pings} pings and {pongs} pongs");
    }
}

#[test]
fn an_end_that_is_gone_without_a_word_is_noticed_by_both_within_the_deadlines() {
    let mut pair = Pair::new(&Config::default());
    pair.ends[0].send(Seen::text("into the void"));
    while pair.ends.iter().any(|end| end.closed().is_empty()) {
        pair.now = pair.ends.iter().filter_map(|end| end.connection.poll_timeout()).min().unwrap();
        for end in &mut pair.ends {
            end.connection.handle_timeout(pair.now);
            end.seen.extend(feed(&mut end.connection, pair.now, b""));
            // What is written arrives nowhere.
            write_all(&mut end.connection, pair.now);
        }
    }
    assert_eq!(pair.now, at(secs(40)));
    for end in &pair.ends {
        assert_eq!(end.closed(), [Seen::failed(1011, "Keepalive Ping Timeout")]);
    }
}

#[test]
fn a_flood_in_both_directions_does_not_lock_up() {
    // Both answer each message with a larger one until the queues are full: reading pauses, and goes on.
    let mut pair = Pair::new(&timeless().watermarks(1000, 2000).max_queued(10_000));
    for round in 0..200 {
        for at in [0, 1] {
            pair.ends[at].send(Seen::binary(vec![round as u8; 500]));
        }
        pair.write(round % 2, 700);
        pair.read(round % 2, 700);
        for at in [0, 1] {
            assert!(pair.ends[at].connection.buffered() <= 10_000 + 508);
        }
    }
    pair.settle();
    pair.close(0, 1000);
    pair.settle();
    for at in [0, 1] {
        let sent = pair.ends[1 - at].sent.clone();
        assert!(sent.len() > 20 && pair.ends[at].seen_messages() == sent);
        assert_eq!(pair.ends[at].closed().len(), 1);
    }
}

#[test]
fn an_echo_of_everything_comes_back_as_it_was() {
    let mut pair = Pair::new(&Config::default());
    let messages = [Seen::text("κόσμε"), Seen::binary([0, 255]), Seen::text(""), Seen::binary(vec![1; 70_000])];
    let client = ROLES.iter().position(|role| *role == Role::Client).unwrap();
    for message in &messages {
        pair.ends[client].send(message.clone());
    }
    pair.settle();
    let echo = pair.ends[1 - client].seen_messages();
    echo.into_iter().for_each(|message| pair.ends[1 - client].send(message));
    pair.settle();
    assert_eq!(pair.ends[client].seen_messages(), messages);
}

/// How many pings each of two ends with the defaults has had answered after five minutes, in which the first says
/// something every so many seconds, and the second as well. Zero: never.
fn answered_pings(every: [u64; 2]) -> [usize; 2] {
    let mut pair = Pair::new(&Config::default());
    for second in 1..=300 {
        pair.now = START + secs(second);
        for (at, every) in every.into_iter().enumerate() {
            if every > 0 && second % every == 0 {
                pair.ends[at].send(Seen::text("x"));
            }
        }
        pair.settle();
        for end in &mut pair.ends {
            end.connection.handle_timeout(pair.now);
        }
        pair.settle();
    }
    for end in &pair.ends {
        assert!(end.connection.is_open() && end.closed().is_empty());
    }
    [0, 1].map(|at| only(&pair.ends[at].seen, |event| matches!(event, Seen::Pong(_))).len())
}

#[test]
fn l1_l2_two_ends_with_the_defaults_ping_each_other_no_more_than_every_20_s() {
    assert_eq!(answered_pings([0, 0]), [15, 15]);
    for one_way in [[1, 0], [0, 1], [7, 0], [19, 0]] {
        let pings = answered_pings(one_way);
        assert!(pings.iter().all(|pings| (10..=15).contains(pings)), "{one_way:?}: {pings:?}");
    }
    assert_eq!(answered_pings([1, 1]), [0, 0]);
    assert_eq!(answered_pings([19, 13]), [0, 0]);
    // One that is silent for longer than the other: no more than the one silence asks for.
    let pings = answered_pings([30, 1]);
    assert!(pings.iter().all(|pings| (1..=15).contains(pings)), "{pings:?}");
}
