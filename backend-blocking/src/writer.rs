//! The second thread of a connection: writes what other threads send, and what a slow peer does not take
//! at once. It is started when it is first needed.
//!
//! It calls no listener, and judges no deadline: what arrives is read by the first thread. To hand something over
//! (another thread has aborted the connection, or has closed it and the peer's time is up, or a write has failed), it
//! closes the reading side of the transport, which is the one portable way to wake a thread that is parked in a read.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant};

use bellwire_core::backend::Shared;
use bellwire_core::backend::limits::gather;
use bellwire_core::proto::{Output, Time};
use bellwire_core::{Socket, SocketId, WebSocket};

use crate::drive::SHORTEST;
use crate::owner::Owner;
use crate::pause::Pause;
use crate::stream::Stream;

/// How long a write may be stuck before the thread that writes looks around: the first thread then leaves
/// the rest to the second and reads on, the second looks at the deadlines.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_millis(100);

/// A thread that knows its deadline wakes by itself.
const HEAD_START: Duration = Duration::from_millis(20);

pub(crate) struct Writer<S> {
    stream: Arc<S>,
    start: Instant,
    /// Whom its connection belongs to.
    owner: Owner,
    shared: OnceLock<Arc<Shared>>,
    state: Mutex<State>,
    /// There is news for the first thread.
    first: Condvar,
    /// There is work for the second.
    second: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether the second thread was started.
    started: bool,
    /// The connection has something to do: output, an event, another deadline.
    woken: bool,
    /// Output that the first thread could not write at once.
    left: Option<Output>,
    /// What a write has failed with.
    failure: Option<io::Error>,
    /// How often something has happened that the first thread may wait for: the second got on, say.
    news: u64,
    /// The peer has had its time to answer a close. The reading side was closed to say so.
    late: bool,
    /// The connection is over.
    ended: bool,
}

std::thread_local! {
    /// The connection that this thread writes for.
    static WRITES_FOR: Cell<Option<SocketId>> = const { Cell::new(None) };
}

/// Returns `true` if this is the second thread of that connection: it runs completions.
pub(crate) fn is_writer_of(socket: &WebSocket) -> bool {
    WRITES_FOR.get() == Some(socket.id())
}

enum Work {
    Write(Output),
    Look,
}

impl<S> Writer<S> {
    /// The connection is over.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.second.notify_all();
    }

    /// Changes the state, and lets the first thread know.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.news += 1;
        drop(state);
        self.first.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Stream> Writer<S> {
    pub(crate) fn new(stream: Arc<S>, start: Instant) -> Arc<Self> {
        let (first, second, owner) = (Condvar::new(), Condvar::new(), Owner::of_this_thread());
        Arc::new(Self { stream, start, owner, shared: OnceLock::new(), state: Mutex::default(), first, second })
    }

    /// Which connection's output this writes.
    pub(crate) fn set_shared(&self, shared: &Arc<Shared>) {
        self.shared.get_or_init(|| shared.clone());
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Leaves output that was taken and could not be written at once to the second thread. Gives it back if
    /// there can be none.
    pub(crate) fn leave(self: &Arc<Self>, output: Output) -> Option<Output> {
        self.lock().left = Some(output);
        if self.wake_thread() { None } else { self.lock().left.take() }
    }

    /// Returns `true` if the end of the input is not the peer's: a deadline is to be judged.
    pub(crate) fn is_late(&self) -> bool {
        self.lock().late
    }

    /// What the second thread's write has failed with.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    /// Waits until there is news since `seen`, at the latest until `deadline`.
    pub(crate) fn wait(&self, seen: &mut u64, deadline: Option<Time>) {
        let mut state = self.lock();
        if state.news == *seen && state.failure.is_none() {
            state = match deadline {
                None => self.first.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_since(self.now()).max(SHORTEST);
                    self.first.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *seen = state.news;
    }

    /// Waits for a wake-up, before there is a second thread. False if none has come by then.
    pub(crate) fn wait_woken(&self, timeout: Duration) -> bool {
        let waited = self.first.wait_timeout_while(self.lock(), timeout, |state| !state.woken);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::take(&mut state.woken)
    }

    /// Returns `true` if there is a second thread. Before there is a connection it would have nothing to do: then the
    /// first is woken.
    fn wake_thread(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        state.woken = true;
        state.news += 1;
        if !state.started && self.shared.get().is_some() {
            let writer = self.clone();
            let thread = thread::Builder::new().name("bellwire-writer".into()).spawn(move || writer.run());
            // Out of threads: what was queued leaves when the first thread wakes for the next time.
            state.started = thread.is_ok();
        }
        self.first.notify_all();
        self.second.notify_all();
        state.started
    }

    fn run(&self) {
        let Some(shared) = self.shared.get() else { return };
        WRITES_FOR.set(Some(shared.id()));
        self.owner.adopt_this_thread();
        let _unwinds = Unwinds(self);
        while let Some(work) = self.next_work(shared) {
            match work {
                Work::Write(output) => self.write(shared, output),
                Work::Look => self.look_around(shared),
            }
            while let Some(output) = shared.take_output() {
                self.write(shared, output);
            }
            self.look_around(shared);
        }
    }

    /// Waits for something to do; `None` when the connection is over.
    fn next_work(&self, shared: &Shared) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(output) = state.left.take() {
                return Some(Work::Write(output));
            }
            if std::mem::take(&mut state.woken) {
                return Some(Work::Look);
            }
            let due = if state.late { None } else { self.close_due_in(shared) };
            state = match due {
                Some(Duration::ZERO) => return Some(Work::Look),
                Some(timeout) => self.second.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0,
                None => self.second.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write(&self, shared: &Shared, mut output: Output) {
        let mut pause = Pause::default();
        while !output.is_empty() {
            let asked = self.now();
            let result = write_some(&*self.stream, &output);
            let now = self.now();
            pause.watch(&result, Some(WRITE_PATIENCE), || now.saturating_since(asked));
            match result {
                Ok(count) => {
                    output.advance(count);
                    shared.wrote(now, count);
                    self.tell(|_| ());
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return self.fail(error),
            }
            // Also while the peer takes some: a connection that was aborted says no more.
            self.look_around(shared);
            if self.lock().ended {
                return;
            }
        }
    }

    /// Returns how long the peer may still take to answer a close that the first thread may not know of, and that one
    /// to judge it if it does.
    fn close_due_in(&self, shared: &Shared) -> Option<Duration> {
        let now = self.now();
        shared.parked_close(now).map(|deadline| (deadline + HEAD_START).saturating_since(now))
    }

    fn look_around(&self, shared: &Shared) {
        if self.close_due_in(shared) == Some(Duration::ZERO) && !std::mem::replace(&mut self.lock().late, true) {
            let _ = self.stream.shutdown(Shutdown::Read);
            self.tell(|_| ());
        }
        if shared.is_awaited() {
            // With nothing left to say to the peer, a write that is stuck is ended as well.
            let how = if shared.discards_output() { Shutdown::Both } else { Shutdown::Read };
            let _ = self.stream.shutdown(how);
            self.tell(|_| ());
        }
    }

    fn fail(&self, error: io::Error) {
        self.tell(|state| state.failure = Some(error));
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

/// A transport that panics in a write has failed: the first thread would wait for it for as long as the peer is silent.
struct Unwinds<'a, S: Stream>(&'a Writer<S>);

impl<S: Stream> Drop for Unwinds<'_, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(io::Error::other("the transport has panicked in a write"));
        }
    }
}

impl<S: Stream> Wake for Writer<S> {
    fn wake(self: Arc<Self>) {
        self.wake_thread();
    }
}

/// Wakes the first thread alone, for a callback that it waits for. Before there is a connection the handler is what it
/// waits for.
pub(crate) struct Resume<S>(pub(crate) Arc<Writer<S>>);

impl<S: Stream> Wake for Resume<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.0.shared.get() {
            // There is no second thread yet.
            None => _ = self.0.wake_thread(),
            Some(_) => self.0.tell(|_| ()),
        }
    }
}

/// Writes as much of `output` as the transport takes in one call.
pub(crate) fn write_some(stream: &impl Stream, output: &Output) -> io::Result<usize> {
    loop {
        let written = gather(output, |slices| match slices {
            [slice] => stream.write(slice),
            _ => stream.write_vectored(slices),
        });
        return match written {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result,
        };
    }
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::task::Waker;

    use bellwire_core::proto::Connection;

    use super::*;

    #[test]
    fn a_wake_before_there_is_a_connection_is_not_lost_and_starts_no_thread() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        let writer = Writer::new(Arc::new(stream), Instant::now());
        Waker::from(writer.clone()).wake();
        assert!(!writer.lock().started);
        let (waits, waited) = mpsc::channel();
        thread::spawn(move || {
            waits.send(writer.wait_woken(Duration::from_secs(10))).unwrap();
        });
        assert!(waited.recv_timeout(Duration::from_secs(20)).unwrap());
    }

    #[test]
    fn what_resumes_the_first_thread_wakes_it_alone_and_is_not_lost() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        let writer = Writer::new(Arc::new(stream), Instant::now());
        let config = Arc::new(bellwire_core::Config::default());
        writer.set_shared(&Arc::new(Shared::new(Connection::server(config, Time::ZERO))));
        let resume = Waker::from(Arc::new(Resume(writer.clone())));
        let (mut seen, before) = (0, 0);
        resume.wake_by_ref();
        // With no deadline at all: it has come before.
        writer.wait(&mut seen, None);
        assert!(seen > before);
        let waiting = thread::spawn({
            let writer = writer.clone();
            move || {
                writer.wait(&mut seen, None);
                seen
            }
        });
        resume.wake();
        assert_eq!(waiting.join().unwrap(), seen + 1);
        assert!(!writer.lock().started && !writer.lock().woken);
    }
}
