//! What becomes of messages: each that was accepted was written once, in order, or was handed back once. What was written
//! is known from the bytes that left.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwire::reconnect::{EndReason, Event, Offline, Policy, Reconnecting};
use bellwire::{OwnedMessage, Request, Response, SendError, WebSocket, async_listener, listener};
use tokio::time::sleep;

use crate::network::{Network, Try};
use crate::{client, paused};

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
fn in_order<'a>(messages: impl IntoIterator<Item = &'a String>, what: &str) {
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
