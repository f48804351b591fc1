//! The load: connections, what waits for its answer on each, and what is counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::listener::IntoListener;
use bellwire::{Message, OwnedMessage, SendError, WebSocket, listener};
use hdrhistogram::Histogram;

/// Latencies are kept in this many histograms, each behind a lock of its own.
const SHARDS: usize = 8;

/// How many different errors are told apart.
const ERRORS: usize = 16;

/// The longest latency that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Of a latency so many digits are right.
const DIGITS: u8 = 3;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Load {
    message: OwnedMessage,
    expects_echo: bool,
    /// Each answer sends the next message.
    is_loop: bool,
    is_over: AtomicBool,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) different: AtomicU64,
    pub(super) unasked: AtomicU64,
    pub(super) lost: AtomicU64,
    latencies: [Mutex<Histogram<u64>>; SHARDS],
    errors: Mutex<BTreeMap<String, u64>>,
}

/// A connection's end here.
#[derive(Debug)]
pub(super) struct Line {
    load: Arc<Load>,
    shard: usize,
    queue: Mutex<Queue>,
}

/// When messages were due.
#[derive(Debug, Default)]
struct Queue {
    /// Those that have no answer yet.
    waiting: VecDeque<Instant>,
    /// Those that could not be sent yet, since the server takes nothing.
    held: VecDeque<Instant>,
    is_closed: bool,
}

/// A histogram of nanoseconds, which grows as it must.
pub(super) fn histogram() -> Histogram<u64> {
    // Only numbers of digits that there cannot be are refused.
    Histogram::new(DIGITS).unwrap_or_else(|_| unreachable!("three digits"))
}

pub(super) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    // It grows, as far as the longest time goes.
    let _ = histogram.record(u64::try_from(latency.min(LONGEST).as_nanos()).unwrap_or(u64::MAX));
}

impl Load {
    pub(super) fn new(message: OwnedMessage, expects_echo: bool, is_loop: bool) -> Arc<Self> {
        Arc::new(Self {
            message,
            expects_echo,
            is_loop,
            is_over: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            different: AtomicU64::new(0),
            unasked: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            latencies: std::array::from_fn(|_| Mutex::new(histogram())),
            errors: Mutex::default(),
        })
    }

    /// From now on nothing new is sent.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn size(&self) -> usize {
        self.message.as_bytes().len()
    }

    pub(super) fn failed(&self, error: String) {
        let mut errors = lock(&self.errors);
        let text = if errors.len() < ERRORS || errors.contains_key(&error) { error } else { "others".into() };
        *errors.entry(text).or_default() += 1;
    }

    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        lock(&self.errors).clone()
    }

    /// All latencies.
    pub(super) fn latencies(&self) -> Histogram<u64> {
        let mut all = histogram();
        for shard in &self.latencies {
            // One that grows takes every other.
            let _ = all.add(&*lock(shard));
        }
        all
    }
}

impl Line {
    pub(super) fn new(load: &Arc<Load>, number: usize) -> Arc<Self> {
        Arc::new(Self { load: load.clone(), shard: number % SHARDS, queue: Mutex::default() })
    }

    /// Hears what the server says.
    pub(super) fn listener(self: &Arc<Self>) -> impl IntoListener {
        let failed = self.clone();
        listener()
            .on_error(move |_, error| failed.load.failed(error.to_string()))
            .with_state(self.clone())
            .on_message(|line, socket, message| line.answered(socket, &message))
            .on_close(|line, socket, _, _| line.closed(socket))
    }

    /// Sends a message that is due, or was. If the server takes nothing, it is sent as soon as it does: it is due all the
    /// same.
    pub(super) fn send(&self, socket: &WebSocket, due: Instant) {
        self.hold(due);
        self.send_held(socket);
    }

    /// Notes that a message is due.
    pub(super) fn hold(&self, due: Instant) {
        lock(&self.queue).held.push_back(due);
    }

    /// Sends what is due.
    pub(super) fn send_held(&self, socket: &WebSocket) {
        let mut queue = lock(&self.queue);
        while let Some(due) = queue.held.pop_front() {
            // Before it is sent: its answer may be quick.
            queue.waiting.push_back(due);
            match socket.send(&self.load.message) {
                Ok(()) => drop(self.load.sent.fetch_add(1, Ordering::Relaxed)),
                Err(SendError::Closed) => {
                    queue.waiting.pop_back();
                    self.load.lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    queue.waiting.pop_back();
                    queue.held.push_front(due);
                    return;
                }
            }
        }
    }

    fn answered(&self, socket: &WebSocket, message: &Message<'_>) {
        let now = Instant::now();
        let Some(due) = lock(&self.queue).waiting.pop_front() else {
            self.load.unasked.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.record(now.saturating_duration_since(due));
        self.load.answered.fetch_add(1, Ordering::Relaxed);
        if self.load.expects_echo && *message != self.load.message.as_message() {
            self.load.different.fetch_add(1, Ordering::Relaxed);
        }
        if self.load.is_loop && !self.load.is_over() {
            self.send(socket, Instant::now());
        }
    }

    /// What was sent has no answer any more.
    fn closed(&self, socket: &WebSocket) {
        if let Some(closed) = socket.closed().filter(|_| !self.load.is_over()) {
            self.load.failed(format!("the connection ended: {closed}"));
        }
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        let lost = queue.waiting.len() + queue.held.len();
        (queue.waiting, queue.held) = Default::default();
        self.load.lost.fetch_add(lost as u64, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.queue).is_closed
    }

    /// Whether all has its answer that can get one.
    pub(super) fn is_idle(&self) -> bool {
        let queue = lock(&self.queue);
        queue.waiting.is_empty() && queue.held.is_empty()
    }

    /// Waits no longer. What has no answer counts with the time that it has waited: without it, the slowest would be
    /// missing from the result.
    pub(super) fn give_up(&self) {
        let now = Instant::now();
        let (waiting, held) = {
            let mut queue = lock(&self.queue);
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.held))
        };
        for due in waiting.into_iter().chain(held) {
            self.record(now.saturating_duration_since(due));
            self.load.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn record(&self, latency: Duration) {
        record(&mut lock(&self.load.latencies[self.shard]), latency);
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
