//! What becomes of messages: each that was accepted was written once, in order, or was handed back once. What was written
//! is known from the bytes that left.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire::reconnect::{EndReason, Event, Offline, Policy, Reconnecting};
use bellwire::{Bytes, OwnedMessage, Request, Response, SendError, WebSocket, async_listener, done, listener};
use tokio::time::sleep;

use crate::network::{Network, Try};
use crate::{client, obedient, paused};

const KEEP: Offline = Offline::Keep { messages: 20, bytes: 4000 };

/// Numbers that look random, and are the same in each run (SplitMix64).
#[derive(Clone)]
pub(crate) struct Random(Arc<AtomicU64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    /// Less than that.
    pub(crate) fn below(&self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn entropy(&self) -> impl FnMut(&mut [u8]) + Send + 'static {
        let random = self.clone();
        move |bytes| {
            bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]))
        }
    }
}

/// What was accepted, and what was handed back.
#[derive(Clone, Default)]
struct Ledger {
    accepted: Arc<Mutex<Vec<String>>>,
    /// By a `Disconnected` each, and at last by the `Ended`.
    returned: Arc<Mutex<Vec<Vec<String>>>>,
    refused: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Ledger {
    fn sent(&self, text: String, outcome: Result<(), SendError>) {
        match outcome {
            Ok(()) => self.accepted.lock().unwrap().push(text),
            Err(_) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn returned(&self, messages: &[OwnedMessage]) {
        let texts = messages.iter().map(|message| message.as_text().unwrap().into()).collect();
        self.returned.lock().unwrap().push(texts);
    }

    /// Everything was written once or handed back once, and each sender's messages left in their order. Returns how many
    /// were handed back.
    #[track_caller]
    fn check(&self, written: &[Vec<String>], what: &str) -> usize {
        let (accepted, returned) = (self.accepted.lock().unwrap(), self.returned.lock().unwrap());
        let mut seen = BTreeSet::new();
        for message in written.iter().chain(&*returned).flatten() {
            assert!(seen.insert(message), "{what}: twice: {}", name(message));
        }
        let expected: BTreeSet<_> = accepted.iter().collect();
        let missing: Vec<_> = expected.difference(&seen).map(|message| name(message)).collect();
        let unasked: Vec<_> = seen.difference(&expected).map(|message| name(message)).collect();
        assert!(missing.is_empty() && unasked.is_empty(), "{what}: missing {missing:?}, unasked {unasked:?}");
        in_order(written.iter().flatten(), what);
        returned.iter().for_each(|messages| in_order(messages, what));
        returned.iter().map(Vec::len).sum()
    }
}

/// Each sender's numbers rise.
#[track_caller]
pub(crate) fn in_order<'a>(messages: impl IntoIterator<Item = &'a String>, what: &str) {
    let mut last = std::collections::BTreeMap::new();
    for message in messages {
        let (sender, number) = name(message).split_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        if let Some(before) = last.insert(sender, number) {
            assert!(before < number, "{what}: {sender} {number} after {before}");
        }
    }
}

/// "sender number" without what follows.
fn name(message: &str) -> &str {
    message.split_once(':').unwrap().0
}

fn message(sender: &str, number: usize, length: usize) -> String {
    format!("{sender} {number}:{}", "x".repeat(length))
}

/// A server that closes, vanishes, refuses, or echoes.
fn moody(random: &Random) -> impl Fn(&Request) -> Response + Send + Sync + 'static {
    let random = random.clone();
    move |_| {
        if random.below(5) == 0 {
            return Response::new([429, 500, 502, 503, 504][random.below(5)]);
        }
        let (random, mut patience) = (random.clone(), random.below(60));
        Response::websocket(listener().on_message(move |socket: &WebSocket, message| {
            if patience > 0 {
                patience -= 1;
                // Some of its last words.
                let _ = socket.send(message);
            } else if random.below(2) == 0 {
                socket.abort();
            } else {
                let _ = socket.close_with([1001, 1011, 1012, 1013, 1014][random.below(5)], "");
            }
        }))
    }
}

/// What goes wrong: nobody listens, or a transport fails somewhere.
fn troubles(random: &Random) -> Vec<Try> {
    let somewhere = || if random.below(3) == 0 { usize::MAX } else { random.below(6000) };
    (0..10 + random.below(20))
        .map(|_| match random.below(4) {
            0 => Try::Refused,
            _ => Try::Connected { writes: somewhere(), reads: somewhere() },
        })
        .collect()
}

/// Sends, at its own pace, by the handle, and now and then by the connection's own socket.
async fn send_all(client: &Reconnecting, ledger: &Ledger, random: &Random, count: usize) {
    for number in 0..count {
        let length = if random.below(10) == 0 { random.below(3000) } else { random.below(50) };
        match client.socket().filter(|_| random.below(8) == 0) {
            Some(socket) => {
                let text = message("own", number, length);
                let sent = socket.send(&text);
                assert!(matches!(sent, Ok(()) | Err(SendError::Closed)), "{sent:?}");
                ledger.sent(text, sent);
            }
            None => {
                let text = message("handle", number, length);
                let sent = client.send(&text);
                ledger.sent(text, sent);
            }
        }
        if random.below(3) == 0 {
            sleep(Duration::from_millis(random.below(20) as u64)).await;
        }
    }
}

/// One run. Returns how often a connection or a try was lost, and how many messages were handed back.
async fn run(seed: u64, offline: Offline, streams: bool) -> (u64, usize) {
    let (random, ledger) = (Random::new(seed), Ledger::default());
    let network = Network::new(moody(&random)).capacity([20, 300, 5000][random.below(3)]);
    network.plan(troubles(&random));
    let policy = Policy::new()
        .first_delay(Duration::from_millis(20))
        .max_delay(Duration::from_millis(100))
        .reset_after(Duration::from_millis(50))
        .offline(offline);
    let builder = client(&network, policy).entropy(random.entropy());
    let handle = if streams {
        let mut stream = builder.stream();
        let (handle, ledger, random) = (stream.handle().clone(), ledger.clone(), random.clone());
        tokio::spawn(async move {
            while let Some(event) = stream.recv().await {
                if let Event::Disconnected(disconnected) = event {
                    ledger.lost.fetch_add(1, Ordering::Relaxed);
                    ledger.returned(&disconnected.unsent);
                }
                if random.below(20) == 0 {
                    sleep(Duration::from_millis(random.below(30) as u64)).await;
                }
            }
        });
        handle
    } else {
        let (lost, pauses) = (ledger.clone(), random.clone());
        builder
            .on_disconnected(move |disconnected| {
                lost.lost.fetch_add(1, Ordering::Relaxed);
                lost.returned(&disconnected.unsent);
            })
            .listen(move |_| {
                let pauses = pauses.clone();
                // What was kept waits for `on_open`.
                async_listener().on_open(move |_| {
                    let pause = Duration::from_millis(pauses.below(10) as u64);
                    sleep(pause)
                })
            })
    };
    send_all(&handle, &ledger, &random, 300).await;
    sleep(Duration::from_secs(10)).await;
    let ended = handle.close().await;
    assert_eq!(ended.reason, EndReason::Closed);
    // The stream's reader may have to take what was handed back at last.
    sleep(Duration::from_secs(1)).await;
    ledger.returned(&ended.unsent);
    let returned = ledger.check(&network.messages(), &format!("seed {seed}, {offline:?}, streams: {streams}"));
    if offline != Offline::Refuse {
        // What was sent by the handle was sent by the next connection.
        let lost = ledger.returned.lock().unwrap();
        assert!(lost.iter().flatten().all(|message| message.starts_with("own")), "{lost:?}");
    } else {
        assert!(ledger.refused.load(Ordering::Relaxed) > 0, "seed {seed}");
    }
    (ledger.lost.load(Ordering::Relaxed), returned)
}

#[test]
fn thousands_of_faults_lose_nothing_and_send_nothing_twice() {
    let (mut lost, mut returned) = (0, 0);
    for seed in 0..60 {
        for offline in [Offline::Refuse, KEEP] {
            for streams in [false, true] {
                let run = paused(run(seed, offline, streams));
                (lost, returned) = (lost + run.0, returned + run.1);
            }
        }
    }
    assert!(lost > 4000 && returned > 1000, "{lost} losses, {returned} messages handed back");
}

fn keeping(messages: usize, bytes: usize) -> Policy {
    Policy::new().offline(Offline::Keep { messages, bytes })
}

/// Lets everything happen that takes no time, and some that does.
async fn a_while() {
    sleep(Duration::from_secs(100)).await;
}

fn texts(messages: &[OwnedMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.as_text().unwrap()).collect()
}

#[test]
fn what_was_kept_follows_what_on_open_sends() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::Refused]);
        let client = client(&network, keeping(10, 100)).listen(|_| {
            async_listener().on_open(async |socket| {
                sleep(Duration::from_secs(1)).await;
                socket.send_and_wait("login").await
            })
        });
        client.send("1").unwrap();
        client.send("2").unwrap();
        while client.socket().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        // It is open, and its `on_open` is not done.
        client.send("3").unwrap();
        a_while().await;
        client.send("4").unwrap();
        client.close().await;
        assert_eq!(network.messages(), [["login", "1", "2", "3", "4"]]);
    });
}

#[test]
fn what_would_be_kept_waits_for_on_open_and_what_would_be_refused_does_not() {
    for (policy, order) in [(keeping(10, 100), ["login", "soon"]), (Policy::new(), ["soon", "login"])] {
        paused(async {
            let network = Network::new(obedient);
            let client = client(&network, policy).listen(|_| {
                async_listener().on_open(async |socket| {
                    sleep(Duration::from_secs(1)).await;
                    socket.send_and_wait("login").await
                })
            });
            while client.socket().is_none() {
                sleep(Duration::from_millis(100)).await;
            }
            client.send("soon").unwrap();
            a_while().await;
            client.close().await;
            assert_eq!(network.messages(), [order]);
        });
    }
}

#[test]
fn what_was_kept_follows_what_a_streams_reader_sends_before_it_reads_on() {
    paused(async {
        let network = Network::new(obedient);
        let mut stream = client(&network, keeping(10, 100)).stream();
        stream.send("1").unwrap();
        let Some(Event::Connected { socket, .. }) = stream.recv().await else { panic!() };
        stream.send("2").unwrap();
        socket.send("login").unwrap();
        a_while().await;
        assert_eq!(network.messages(), [["login"]]);
        let Some(Event::Message(_)) = stream.recv().await else { panic!() };
        stream.send("3").unwrap();
        assert_eq!(stream.close().await.reason, EndReason::Closed);
        assert_eq!(network.messages(), [["login", "1", "2", "3"]]);
    });
}

#[test]
fn without_a_connection_messages_are_refused_or_kept_up_to_both_bounds() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::Refused; 3]);
        let refusing = client(&network, Policy::new()).listen(|_| listener());
        assert_eq!(refusing.send("now"), Err(SendError::Offline));
        let ended = refusing.close().await;
        assert_eq!((refusing.send("late"), ended.unsent.len()), (Err(SendError::Closed), 0));

        for (messages, bytes, accepted) in [(2, 100, 2), (10, 7, 3), (0, 100, 0), (10, 1, 0)] {
            let keeping = client(&network, keeping(messages, bytes)).listen(|_| listener());
            for number in 0..5 {
                let expected = if number < accepted { Ok(()) } else { Err(SendError::Full) };
                assert_eq!(keeping.send(format!("n{number}")), expected, "{number} of {messages}, {bytes}");
            }
            let ended = keeping.close().await;
            assert_eq!(texts(&ended.unsent), &["n0", "n1", "n2"][..accepted]);
        }
    });
}

#[test]
fn room_comes_back_with_the_connection() {
    paused(async {
        let network = Network::new(obedient);
        network.plan([Try::GOOD, Try::Refused]);
        let client = client(&network, keeping(1, 10)).listen(|_| listener());
        for round in ["a", "b"] {
            client.send(round).unwrap();
            assert_eq!(client.send("too much"), Err(SendError::Full));
            a_while().await;
            for _ in 0..10 {
                client.send(round).unwrap();
            }
            client.send("close 1012").unwrap();
            while client.is_connected() {
                sleep(Duration::from_millis(1)).await;
            }
        }
        client.close().await;
        let written = network.messages();
        assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [12, 12]);
    });
}

#[test]
fn what_was_not_written_is_handed_back_or_sent_again_before_all_that_is_newer() {
    for (offline, again) in [(Offline::Refuse, false), (KEEP, true)] {
        paused(async {
            let network = Network::new(obedient).capacity(100);
            network.plan([Try::Connected { writes: 400, reads: usize::MAX }]);
            let returned = Arc::new(Mutex::new(Vec::new()));
            let lost = returned.clone();
            let client = client(&network, Policy::new().offline(offline))
                .on_disconnected(move |disconnected| lost.lock().unwrap().extend(disconnected.unsent))
                .listen(|_| listener());
            a_while().await;
            // The head of the handshake has taken half of the 400 bytes.
            let sent: Vec<String> = (0..20).map(|number| format!("number {number:02}")).collect();
            for text in &sent {
                client.send(text).unwrap();
            }
            client.socket().unwrap().send("for this one").unwrap();
            while client.is_connected() {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(client.send("newer"), if again { Ok(()) } else { Err(SendError::Offline) });
            a_while().await;
            client.close().await;

            let (written, returned) = (network.messages(), returned.lock().unwrap());
            let first = written[0].len();
            assert!((1..20).contains(&first), "{written:?}");
            assert_eq!(written[0], sent[..first]);
            if again {
                assert_eq!(written[1][..20 - first], sent[first..]);
                assert_eq!(written[1][20 - first..], ["newer"]);
                assert_eq!(texts(&returned), ["for this one"]);
            } else {
                assert!(written[1].is_empty());
                assert_eq!(texts(&returned)[..20 - first], sent[first..]);
                assert_eq!(texts(&returned)[20 - first..], ["for this one"]);
            }
        });
    }
}

#[test]
fn what_on_close_sends_follows_what_was_not_written() {
    paused(async {
        let network = Network::new(obedient).capacity(100);
        network.plan([Try::Connected { writes: 300, reads: usize::MAX }]);
        let handle = Arc::new(Mutex::new(None::<Reconnecting>));
        let client = client(&network, keeping(10, 100)).listen({
            let handle = handle.clone();
            move |_| {
                let handle = handle.clone();
                // What the connection has not written is not among what is kept yet.
                listener().on_close(move |_, _, _| {
                    let _ = handle.lock().unwrap().as_ref().unwrap().send("newer");
                })
            }
        });
        *handle.lock().unwrap() = Some(client.clone());
        a_while().await;
        for number in 0..9 {
            client.send(format!("number {number:030}")).unwrap();
        }
        a_while().await;
        let [first, second] = &network.messages()[..] else { panic!() };
        assert!(first.len() < 9 && second.len() == 10 - first.len(), "{first:?} {second:?}");
        assert_eq!(second.last().unwrap(), "newer");
        client.close().await;
    });
}

#[test]
fn what_was_kept_waits_for_a_connection_that_on_open_does_not_close() {
    paused(async {
        let network = Network::new(obedient);
        let client = client(&network, keeping(10, 100)).listen(|connected| {
            let is_first = connected.number == 1;
            listener().on_open(move |socket| match is_first {
                true => socket.close_with(1012, "the wrong one"),
                false => socket.send("login"),
            })
        });
        client.send("1").unwrap();
        client.send("2").unwrap();
        a_while().await;
        client.close().await;
        assert_eq!(network.messages(), [vec![], vec!["login", "1", "2"]]);
    });
}

/// Its owner's code runs when the last share of it is dropped, and sends.
struct Sending(Reconnecting, Arc<AtomicU64>);

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        b"binary"
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        let _ = self.0.send("dropped");
    }
}

#[test]
fn a_payload_is_given_up_when_it_is_written_and_its_owner_may_send_then() {
    paused(async {
        let network = Network::new(obedient);
        let (client, dropped) = (client(&network, Policy::new()).listen(|_| listener()), Arc::new(AtomicU64::new(0)));
        a_while().await;
        client.send(Bytes::from_owner(Sending(client.clone(), dropped.clone()))).unwrap();
        a_while().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        // The same with one that is never written, and one that is handed over to nobody.
        network.mute();
        let stuck = Bytes::from_owner(Sending(client.clone(), dropped.clone()));
        client.send("x".repeat(4000)).unwrap();
        client.send(stuck).unwrap();
        client.socket().unwrap().abort();
        a_while().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        // And with one that the next connection writes.
        client.send(Bytes::from_owner(Sending(client.clone(), dropped.clone()))).unwrap();
        a_while().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        client.close().await;
        assert_eq!(network.messages()[0], ["dropped"]);
    });
}

#[test]
fn typed_and_prepared_and_large_messages_come_back_as_they_were() {
    paused(async {
        let network = Network::new(obedient);
        let client = client(&network, keeping(10, 1_000_000)).listen(|_| listener());
        let large = "€".repeat(100_000);
        client.send(bellwire::Prepared::new("prepared")).unwrap();
        client.send(vec![1, 2, 3]).unwrap();
        client.send(large.clone()).unwrap();
        client.send(Bytes::from_static(b"shared")).unwrap();
        let ended = client.close().await;
        let expected: [OwnedMessage; 4] =
            ["prepared".into(), vec![1, 2, 3].into(), large.into(), Bytes::from_static(b"shared").into()];
        assert_eq!(ended.unsent, expected);
    });
}

/// Real threads, and a real clock: handles that send while connections come and go.
#[test]
fn handles_on_several_threads_lose_nothing_and_send_nothing_twice() {
    const SENDERS: usize = 4;
    for offline in [Offline::Refuse, KEEP] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            let (random, ledger) = (Random::new(7), Ledger::default());
            let network = Network::new(moody(&random)).capacity(300);
            network.plan(troubles(&random));
            let policy =
                Policy::new().first_delay(Duration::ZERO).max_delay(Duration::from_millis(10)).offline(offline);
            let lost = ledger.clone();
            let client = client(&network, policy)
                .on_disconnected(move |disconnected| lost.returned(&disconnected.unsent))
                .listen(|_| listener());
            let senders = (0..SENDERS).map(|sender| {
                let (client, ledger, random, network) =
                    (client.clone(), ledger.clone(), random.clone(), network.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        if network.tries() > 20 {
                            break;
                        }
                        let text = message(&format!("sender{sender}"), number, random.below(100));
                        let sent = client.send(&text);
                        ledger.sent(text, sent);
                        if sent == Err(SendError::Offline) {
                            let _ = client.connected().await.unwrap();
                        }
                        if random.below(5) == 0 {
                            sleep(Duration::from_millis(1)).await;
                        }
                    }
                })
            });
            for sender in senders.collect::<Vec<_>>() {
                sender.await.unwrap();
            }
            let ended = client.close().await;
            ledger.returned(&ended.unsent);
            ledger.check(&network.messages(), "on threads");
        });
    }
}

#[test]
fn a_task_waits_for_a_connection_that_sends_or_for_the_end() {
    for policy in [Policy::new(), keeping(10, 100)] {
        paused(async {
            let network = Network::new(obedient);
            network.plan([Try::Refused; 2]);
            let client = client(&network, policy).listen(|_| {
                async_listener().on_open(async |socket| {
                    socket.send("login")?;
                    done()
                })
            });
            let waits = client.clone();
            let waiting = tokio::spawn(async move {
                for number in 0..3 {
                    let socket = waits.connected().await?;
                    waits.send(format!("{number}"))?;
                    socket.send("close 1012")?;
                    while socket.is_open() {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                waits.connected().await?;
                // Not a second one.
                std::future::pending::<Result<(), SendError>>().await
            });
            a_while().await;
            a_while().await;
            let expected =
                ["login", "0", "close 1012", "login", "1", "close 1012", "login", "2", "close 1012", "login"];
            assert_eq!(network.messages().concat(), expected);
            waiting.abort();
            client.socket().unwrap().close_with(1012, "").unwrap();
            network.plan([Try::Refused; 10]);
            sleep(Duration::from_secs(1)).await;
            let waits = client.clone();
            let waiting = tokio::spawn(async move { waits.connected().await.err() });
            sleep(Duration::from_millis(1)).await;
            client.close().await;
            assert_eq!(waiting.await.unwrap(), Some(SendError::Closed));
            assert_eq!(client.connected().await.err(), Some(SendError::Closed));
        });
    }
}
