//! A transport in TLS, over one that does what a test wants.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use bellwire::backend::{Tls, Transport};

use super::*;

/// What a transport leads to: a peer that sends back what it hears, in one TLS or in another's.
struct Peer {
    /// From the outside in.
    ends: Vec<End>,
    /// Encrypted bytes for the other side, and how much of them one read gives.
    sends: VecDeque<u8>,
    piece: usize,
    /// After those comes the end.
    leaves: bool,
    /// Nothing can be written to it any more.
    deaf: bool,
    /// How many encrypted bytes it takes until then, or until it is busy.
    takes: usize,
    busy: bool,
    /// Each call that is its turn is not ready at first.
    hesitates: Hesitates,
    calls: usize,
    /// Each kind of call by itself.
    hesitated: [bool; 4],
    shutdowns: usize,
    /// How many encrypted bytes came.
    came: usize,
}

#[derive(Debug, Clone, Copy)]
enum Hesitates {
    Never,
    Always,
    /// At one call.
    At(usize),
}

#[derive(Clone)]
struct Line(Arc<Mutex<Peer>>);

impl Line {
    fn to(sessions: impl IntoIterator<Item = Session>) -> Self {
        let mut peer = Peer {
            ends: sessions.into_iter().map(End::new).collect(),
            sends: VecDeque::new(),
            piece: usize::MAX,
            leaves: false,
            deaf: false,
            takes: usize::MAX,
            busy: false,
            hesitates: Hesitates::Never,
            calls: 0,
            hesitated: [false; 4],
            shutdowns: 0,
            came: 0,
        };
        // If it is the client, it speaks first.
        peer.hear(&[]);
        Self(Arc::new(Mutex::new(peer)))
    }

    fn with(self, piece: usize, hesitates: Hesitates) -> Self {
        let mut peer = self.peer();
        (peer.piece, peer.hesitates) = (piece, hesitates);
        drop(peer);
        self
    }

    fn peer(&self) -> MutexGuard<'_, Peer> {
        self.0.lock().unwrap()
    }

    /// The peer says something, of its own accord, in a record for each.
    fn says(&self, what: &[&[u8]]) {
        let mut peer = self.peer();
        for &what in what {
            let end = &mut peer.ends[0];
            end.says.extend(what);
            assert!(end.speak());
            let output = end.output();
            peer.sends.extend(output);
        }
    }

    fn announces_its_end(&self) {
        let mut peer = self.peer();
        peer.ends[0].session.close();
        let output = peer.ends[0].output();
        peer.sends.extend(output);
    }
}

impl Peer {
    fn hear(&mut self, bytes: &[u8]) {
        let answer = answer(&mut self.ends, bytes);
        self.sends.extend(answer);
    }

    /// Whether this call has to come again.
    fn hesitates(&mut self, kind: usize, cx: &Context<'_>) -> bool {
        let turn = match self.hesitates {
            Hesitates::Never => false,
            Hesitates::Always => true,
            Hesitates::At(call) => call == self.calls,
        };
        if turn && !mem::replace(&mut self.hesitated[kind], true) {
            cx.waker().wake_by_ref();
            return true;
        }
        self.calls += 1;
        self.hesitated[kind] = false;
        false
    }
}

/// What ends that are in each other answer, the innermost with what it has heard.
fn answer(ends: &mut [End], bytes: &[u8]) -> Vec<u8> {
    let Some((end, inner)) = ends.split_first_mut() else { return bytes.into() };
    // An alert is heard of, and its end seen to: the test asks for that.
    let _ = end.hear(bytes);
    let heard = end.take_heard();
    let says = answer(inner, &heard);
    end.says.extend(says);
    end.speak();
    end.output()
}

impl Transport for Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut peer = self.peer();
        if peer.hesitates(0, cx) || (peer.sends.is_empty() && !peer.leaves) {
            return Poll::Pending;
        }
        let count = peer.piece.min(buffer.len()).min(peer.sends.len());
        for (slot, byte) in buffer.iter_mut().zip(peer.sends.drain(..count)) {
            *slot = byte;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut peer = self.peer();
        assert!(slices.iter().all(|slice| !slice.is_empty()) && !slices.is_empty());
        if peer.hesitates(1, cx) {
            return Poll::Pending;
        }
        if peer.busy && peer.takes == 0 {
            return Poll::Pending;
        }
        if peer.deaf || peer.takes == 0 {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let mut bytes = joined(slices);
        bytes.truncate(peer.piece.min(peer.takes));
        peer.takes -= bytes.len();
        peer.came += bytes.len();
        peer.hear(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peer().hesitates(2, cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut peer = self.peer();
        if peer.hesitates(3, cx) {
            return Poll::Pending;
        }
        peer.shutdowns += 1;
        Poll::Ready(Ok(()))
    }
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls for as long as somebody asks for it; `None` if nobody does.
fn run<F: Future>(future: F) -> Option<F::Output> {
    let (woken, mut future) = (Arc::new(Woken(AtomicBool::new(false))), pin!(future));
    let waker = Waker::from(woken.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending if !woken.0.swap(false, Ordering::Relaxed) => return None,
            Poll::Pending => {}
        }
    }
}

async fn read<T: Transport>(tls: &mut Tls<T>, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let count = std::future::poll_fn(|cx| tls.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(count);
    Ok(buffer)
}

async fn read_all<T: Transport>(tls: &mut Tls<T>, size: usize, wanted: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < wanted {
        let read = read(tls, size).await.unwrap();
        assert!(!read.is_empty(), "it ends after {} bytes", all.len());
        all.extend(read);
    }
    all
}

/// Writes all of it, in two slices, as what is framed.
async fn write<T: Transport>(tls: &mut Tls<T>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let (head, body) = bytes.split_at(bytes.len().min(4));
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let slices = if body.is_empty() { &slices[..1] } else { &slices };
        let count = std::future::poll_fn(|cx| tls.poll_write(cx, slices)).await?;
        assert!(count > 0);
        bytes = &bytes[count..];
    }
    std::future::poll_fn(|cx| tls.poll_flush(cx)).await
}

async fn shut_down<T: Transport>(tls: &mut Tls<T>) -> io::Result<()> {
    std::future::poll_fn(|cx| tls.poll_shutdown(cx)).await
}

/// Either side of TLS over a line to the other.
fn both_sides([a, b]: [Library; 2]) -> [(Line, Session); 2] {
    [(Line::to([server(b)]), client(a)), (Line::to([client(a)]), server(b))]
}

/// One that is open.
fn opened(pair: [Library; 2]) -> (Line, Tls<Line>) {
    let line = Line::to([server(pair[1])]);
    let mut tls = Tls::new(line.clone(), client(pair[0]));
    run(tls.handshake()).unwrap().unwrap();
    assert!(!line.peer().ends[0].session.is_handshaking());
    (line, tls)
}

/// Says something, hears it again, and leaves.
async fn conversation<T: Transport>(tls: &mut Tls<T>, says: &[u8], size: usize) {
    tls.handshake().await.unwrap();
    write(tls, says).await.unwrap();
    assert!(read_all(tls, size, says.len()).await == says);
    write(tls, b"bye").await.unwrap();
    assert_eq!(read_all(tls, size, 3).await, b"bye");
    shut_down(tls).await.unwrap();
}

#[test]
fn what_is_said_comes_back_however_little_the_transport_does_at_once() {
    let says = noise(40_000);
    for pair in PAIRS {
        for piece in [1, 7, 3000, usize::MAX] {
            for hesitates in [Hesitates::Never, Hesitates::Always] {
                for size in [1, 1000, 64 * 1024] {
                    for (line, session) in both_sides(pair) {
                        let line = line.with(piece, hesitates);
                        let mut tls = Tls::new(line.clone(), session);
                        run(conversation(&mut tls, &says[..if piece < 1000 { 1000 } else { 40_000 }], size))
                            .unwrap_or_else(|| {
                                panic!("{pair:?}, {piece}, {hesitates:?}, {size}: nobody polls it again")
                            });
                        assert!(line.peer().ends[0].ended && line.peer().shutdowns == 1);
                    }
                }
            }
        }
    }
}

#[test]
fn any_call_may_have_to_wait() {
    for pair in [[Rustls, Rustls], [Native, Native]] {
        for side in [0, 1] {
            let converse = |at| {
                let (line, session) = both_sides(pair).into_iter().nth(side).unwrap();
                let line = line.with(100, Hesitates::At(at));
                let mut tls = Tls::new(line.clone(), session);
                run(conversation(&mut tls, b"hello", 10)).unwrap_or_else(|| panic!("{pair:?}, {side}, {at}"));
                let peer = line.peer();
                assert!(peer.ends[0].ended && peer.shutdowns == 1, "{pair:?}, {side}, {at}");
                peer.calls
            };
            let calls = converse(usize::MAX);
            assert!(calls > 15, "{calls}");
            for at in 0..calls {
                converse(at);
            }
        }
    }
}

#[test]
fn a_handshake_of_its_own_is_over_when_both_sides_know() {
    for pair in PAIRS {
        for piece in [1, usize::MAX] {
            for (line, session) in both_sides(pair) {
                let line = line.with(piece, Hesitates::Always);
                let mut tls = Tls::new(line.clone(), session);
                run(tls.handshake()).unwrap().unwrap();
                assert!(!line.peer().ends[0].session.is_handshaking(), "{pair:?}");
                // Once more is no harm.
                run(tls.handshake()).unwrap().unwrap();
                run(conversation(&mut tls, b"hello", 100)).unwrap();
            }
        }
    }
}

#[test]
fn tls_in_tls_is_the_same() {
    let says = noise(5_000);
    for pair in [[Rustls, Rustls], [Native, Rustls]] {
        for (piece, hesitates) in [(10, Hesitates::Never), (usize::MAX, Hesitates::Never), (999, Hesitates::At(7))] {
            let line = Line::to([server(pair[0]), server(pair[1])]).with(piece, hesitates);
            let mut outer = Tls::new(line.clone(), client(pair[0]));
            run(outer.handshake()).unwrap().unwrap();
            let mut tls = Tls::new(Box::new(outer), client(pair[1]));
            run(conversation(&mut tls, &says, 1000)).unwrap();
            assert!(line.peer().ends.iter().all(|end| end.ended) && line.peer().shutdowns == 1);
        }
    }
}

// Reading.

#[test]
fn one_read_gives_all_that_has_come_and_as_much_as_there_is_room_for() {
    for pair in PAIRS {
        let (line, mut tls) = opened(pair);
        line.says(&[b"one", b"two", b"three"]);
        assert_eq!(run(read(&mut tls, 1000)).unwrap().unwrap(), b"onetwothree", "{pair:?}");
        line.says(&[b"one", b"two", b"three"]);
        for expected in [&b"onet"[..], b"woth", b"ree"] {
            assert_eq!(run(read(&mut tls, 4)).unwrap().unwrap(), expected, "{pair:?}");
        }
        assert!(run(read(&mut tls, 4)).is_none());
    }
}

#[test]
fn what_came_before_the_end_is_read_before_it() {
    for pair in PAIRS {
        for size in [3, 1000] {
            for announced in [true, false] {
                let (line, mut tls) = opened(pair);
                line.says(&[b"one", b"two"]);
                if announced {
                    line.announces_its_end();
                }
                line.peer().leaves = true;
                assert_eq!(run(read_all(&mut tls, size, 6)).unwrap(), b"onetwo");
                for _ in 0..2 {
                    let end = run(read(&mut tls, size)).unwrap();
                    let kind = end.map_err(|error| error.kind());
                    let expected = if announced { Ok(Vec::new()) } else { Err(ErrorKind::UnexpectedEof) };
                    assert_eq!(kind, expected, "{pair:?}, {size}");
                }
            }
        }
    }
}

#[test]
fn what_came_before_a_failure_is_read_before_it() {
    for pair in PAIRS {
        for size in [3, 1000] {
            let (line, mut tls) = opened(pair);
            line.says(&[b"one", b"two"]);
            line.peer().sends.extend(b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345");
            assert_eq!(run(read_all(&mut tls, size, 6)).unwrap(), b"onetwo");
            let error = run(read(&mut tls, size)).unwrap().unwrap_err();
            assert_ne!(error.kind(), ErrorKind::UnexpectedEof, "{pair:?}, {size}: {error}");
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_any_more_is_heard_to_its_end() {
    for pair in PAIRS {
        let (line, mut tls) = opened(pair);
        line.says(&[b"its last"]);
        line.announces_its_end();
        line.peer().deaf = true;
        assert!(run(write(&mut tls, b"hello")).unwrap().is_err());
        assert_eq!(run(read(&mut tls, 1000)).unwrap().unwrap(), b"its last", "{pair:?}");
        assert_eq!(run(read(&mut tls, 1000)).unwrap().unwrap(), b"", "{pair:?}");
    }
}

#[test]
fn a_peer_that_leaves_before_it_says_anything_has_just_left() {
    for library in [Rustls, Native] {
        let line = Line::to([]);
        line.peer().leaves = true;
        let mut tls = Tls::new(line, server(library));
        assert_eq!(run(read(&mut tls, 10)).unwrap().unwrap(), b"", "{library:?}");
    }
}

// Failures.

/// What a client that connects again has not written it sends again: a peer that had it already would have it twice.
#[test]
fn of_a_write_that_fails_nothing_was_heard() {
    for pair in PAIRS {
        for takes in [0, 1000, 16_300, 17_000, 40_000, 90_000] {
            let (line, mut tls) = opened(pair);
            line.peer().takes = takes;
            let (text, mut told) = (vec![b'x'; 100_000], 0);
            let failure = loop {
                let (head, body) = text[told..].split_at(100);
                let slices = [IoSlice::new(head), IoSlice::new(body)];
                match run(std::future::poll_fn(|cx| tls.poll_write(cx, &slices))).unwrap() {
                    Ok(count) => told += count,
                    Err(failure) => break failure,
                }
            };
            assert_eq!(failure.kind(), ErrorKind::BrokenPipe);
            assert_eq!(line.peer().ends[0].says.len(), told, "{pair:?}, {takes}");
            assert!(told <= takes && told + 17_000 > takes, "{pair:?}, {takes}: {told}");
        }
    }
}

/// What was not written is handed back when the connection is lost: what only TLS has was not.
#[test]
fn what_the_transport_has_not_taken_is_not_written() {
    for pair in PAIRS {
        for takes in [0, 1000, 20_000] {
            let (line, mut tls) = opened(pair);
            (line.peer().takes, line.peer().busy) = (takes, true);
            let (text, mut told) = (noise(200_000), 0);
            while told < text.len() {
                let slices = [IoSlice::new(&text[told..])];
                match run(std::future::poll_fn(|cx| tls.poll_write(cx, &slices))) {
                    Some(count) => told += count.unwrap(),
                    None => {
                        assert_eq!(line.peer().ends[0].says.len(), told, "{pair:?}, {takes}");
                        line.peer().takes += 7000;
                    }
                }
            }
            line.peer().takes = usize::MAX;
            assert!(run(read_all(&mut tls, 1000, text.len())).unwrap() == text, "{pair:?}, {takes}");
        }
    }
}

#[test]
fn a_handshake_that_fails_says_why_and_nothing_waits_after_it() {
    for library in [Rustls, Native] {
        for (says, wanted) in
            [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "NotTls"), (b"", "Eof"), (b"\x16\x03\x03", "Eof")]
        {
            for session in [client(library), server(library)] {
                let line = Line::to([]);
                // What it says is not what it hears.
                line.peer().sends.extend(says);
                line.peer().leaves = true;
                let mut tls = Tls::new(Silent(line), session);
                let error = run(tls.handshake()).expect("it waits").unwrap_err();
                let error = TlsError::from_io(error).unwrap();
                assert_eq!(format!("{error:?}"), wanted, "{library:?}");
                let error = run(write(&mut tls, b"hello")).expect("it waits").unwrap_err();
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "{library:?}, {wanted}");
            }
        }
    }
}

/// A line to somebody who does not listen.
struct Silent(Line);

impl Transport for Silent {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer)
    }

    fn poll_write(&mut self, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(joined(slices).len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

#[test]
fn a_server_is_told_why_a_client_does_not_trust_it() {
    let line = Line::to([Session::server(&ends::stranger()).unwrap()]);
    let mut tls = Tls::new(line.clone(), client(Rustls));
    let error = TlsError::from_io(run(tls.handshake()).unwrap().unwrap_err()).unwrap();
    assert!(matches!(error, TlsError::Certificate(_)), "{error}");
    // It has heard of it, and ends.
    let mut peer = line.peer();
    let error = peer.ends[0].session.receive(&mut &b"\x17"[..]).unwrap_err();
    assert!(error.to_string().contains("UnknownCA"), "{error}");
}

// Leaving.

#[test]
fn leaving_is_announced_once_whatever_has_to_wait() {
    for pair in PAIRS {
        for hesitates in [Hesitates::Never, Hesitates::Always] {
            let (line, mut tls) = opened(pair);
            let line = line.with(5, hesitates);
            run(shut_down(&mut tls)).unwrap().unwrap();
            assert!(line.peer().ends[0].ended && line.peer().shutdowns == 1, "{pair:?}");
            let before = line.peer().came;
            run(shut_down(&mut tls)).unwrap().unwrap();
            assert_eq!(line.peer().came, before, "{pair:?}");
            assert_eq!(line.peer().shutdowns, 2, "{pair:?}");
            // What the peer still says is heard.
            line.says(&[b"its last"]);
            line.announces_its_end();
            assert_eq!(run(read_all(&mut tls, 1000, 8)).unwrap(), b"its last", "{pair:?}");
            assert_eq!(run(read(&mut tls, 1000)).unwrap().unwrap(), b"", "{pair:?}");
        }
    }
}

#[test]
fn a_peer_that_says_nothing_of_use_lets_others_run() {
    for pair in PAIRS {
        let (line, mut tls) = opened(pair);
        line.says(&[&noise(16_000)]);
        let left = |line: &Line| line.peer().sends.len();
        // The first byte of a record, and another, and another: each read of the transport is ready.
        line.peer().piece = 1;
        let before = left(&line);
        let (woken, mut buffer) = (Arc::new(Woken(AtomicBool::new(false))), [0; 16_000]);
        let waker = Waker::from(woken.clone());
        assert!(tls.poll_read(&mut Context::from_waker(&waker), &mut buffer).is_pending(), "{pair:?}");
        assert!(before - left(&line) < 100, "{pair:?}: {} reads in one", before - left(&line));
        assert!(woken.0.load(Ordering::Relaxed), "{pair:?}");
        assert!(run(read_all(&mut tls, 16_000, 16_000)).unwrap() == noise(16_000));
    }
}
