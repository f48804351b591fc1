//! The loop of a connection's thread: reads, writes, and sleeps until the core's deadline.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bellwire_core::backend::limits::READ_BUFFER;
use bellwire_core::backend::{Busy, Driver, Step, spare};
use bellwire_core::listener::IntoListener;
use bellwire_core::proto::{Connection, Output, Time};
use bellwire_core::{Config, Role};

use crate::pause::Pause;
use crate::stream::Stream;
use crate::writer::{Resume, WRITE_PATIENCE, Writer, is_timeout, write_some};

/// The shortest read timeout: zero would mean for ever.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// How often a thread that waits for its handler's answer looks whether the peer is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Drives a stream that another library has upgraded, on this thread, until it ends. `leftover` is what was read
/// after the handshake.
///
/// The listener's `on_open` runs first.
pub fn upgraded(
    stream: impl Stream,
    leftover: impl Into<Vec<u8>>,
    role: Role,
    config: Config,
    listener: impl IntoListener,
) {
    let config = Arc::new(config);
    let connection = match role {
        Role::Server => Connection::server(config, Time::ZERO),
        Role::Client => Connection::client(config, Box::new(bellwire_core::proto::SystemEntropy), Time::ZERO),
    };
    let driver = Driver::connected(connection, listener.into_listener());
    Drive::new(Arc::new(stream), driver, Instant::now()).run(&mut leftover.into());
}

/// A driver and its transport.
pub(crate) struct Drive<S> {
    stream: Arc<S>,
    driver: Driver,
    writer: Arc<Writer<S>>,
    waker: Waker,
    /// Wakes this thread alone, for a callback or a handler that is pending.
    resume: Waker,
    /// What the transport's read timeout is set to.
    read_timeout: Option<Duration>,
    /// What a write has failed with: what the peer had sent before is still read.
    failure: Option<io::Error>,
    /// How much of the second thread's news was seen.
    seen: u64,
    pause: Pause,
}

impl<S: Stream> Drive<S> {
    /// `start` is the instant that the driver's time counts from.
    pub(crate) fn new(stream: Arc<S>, driver: Driver, start: Instant) -> Self {
        let writer = Writer::new(stream.clone(), start);
        let waker = Waker::from(writer.clone());
        let resume = Waker::from(Arc::new(Resume(writer.clone())));
        let (failure, pause) = (None, Pause::default());
        Self { stream, driver, writer, waker, resume, read_timeout: None, failure, seen: 0, pause }
    }

    /// Drives the connection to its end. `leftover` was read before.
    pub(crate) fn run(self, leftover: &mut [u8]) {
        self.run_telling(leftover, || ());
    }

    /// The same, and calls `opened` when `on_open` has returned. Should it not come to that, `opened` is dropped.
    pub(crate) fn run_telling(mut self, leftover: &mut [u8], opened: impl FnOnce()) {
        let mut buffer = vec![0; READ_BUFFER];
        if let Err(error) = self.prepare() {
            self.driver.start(self.now());
            return self.driver.transport_failed(self.now(), error);
        }
        self.share();
        self.driver.start(self.now());
        opened();
        self.driver.receive(self.now(), leftover);
        loop {
            let wrote = self.flush();
            let now = wrote.unwrap_or_else(|| self.now());
            match self.driver.next_step(now) {
                Step::Read => self.read(now, &mut buffer),
                Step::Wait => self.wait(),
                Step::Shutdown => {
                    let _ = self.stream.shutdown(Shutdown::Write);
                    self.driver.shut_down();
                }
                Step::Done => return,
            }
        }
    }

    fn prepare(&self) -> io::Result<()> {
        self.stream.set_blocking()?;
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(Some(WRITE_PATIENCE))
    }

    fn now(&self) -> Time {
        self.writer.now()
    }

    /// Lets the second thread know the connection, once there is one.
    fn share(&self) {
        if let Some(shared) = self.driver.shared() {
            self.writer.set_shared(shared);
        }
    }

    /// Writes what there is to write, unless the second thread is about it. A slow peer, or completions that
    /// send without end, must not keep this thread from reading: after a while the second thread goes on. Returns when
    /// the last write was done.
    fn flush(&mut self) -> Option<Time> {
        let (mut began, mut wrote) = (None, None);
        while let Some(mut output) = self.driver.take_output() {
            while !output.is_empty() && self.failure.is_none() {
                let asked = self.now();
                let result = write_some(&*self.stream, &output);
                let now = *wrote.insert(self.now());
                self.pause.watch(&result, Some(WRITE_PATIENCE), || now.saturating_since(asked));
                match result {
                    Ok(count) => {
                        output.advance(count);
                        self.driver.wrote(now, count);
                    }
                    Err(error) if is_timeout(&error) => {}
                    Err(error) => self.write_failed(error),
                }
                // A connection that was aborted says no more.
                if !output.is_empty() && self.driver.discards_output() {
                    return wrote;
                }
                if now.saturating_since(*began.get_or_insert(asked)) >= WRITE_PATIENCE {
                    (output, began) = (self.hand_over(output, asked)?, None);
                }
            }
            spare::keep(output);
        }
        wrote
    }

    /// Leaves the rest to the second thread. Gives it back if this one has to go on by itself: a plain HTTP
    /// response, or no more threads. `asked`: when the last write began.
    fn hand_over(&mut self, output: Output, asked: Time) -> Option<Output> {
        let output = if self.driver.shared().is_some() { self.writer.leave(output)? } else { output };
        self.judge(asked);
        match self.driver.next_step(self.now()) {
            Step::Read | Step::Wait => Some(output),
            // The peer has had its time.
            Step::Shutdown | Step::Done => None,
        }
    }

    /// Nothing is lost: the peer's last words may have arrived before its end was noticed.
    fn write_failed(&mut self, error: io::Error) {
        self.failure = Some(error);
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Polls what is pending, and makes sure that there is nothing to do but to read or to wait.
    fn settle(&mut self, now: Time) -> Result<Option<Time>, Busy> {
        self.driver.poll_pending(now, &self.resume)?;
        self.driver.settle(&self.waker)
    }

    /// `asked`: before the read. What has arrived by then is read before a deadline is judged, whatever happens in
    /// between.
    fn read(&mut self, mut asked: Time, buffer: &mut [u8]) {
        // An answer may have made a connection.
        let Ok(mut deadline) = self.settle(asked) else { return self.share() };
        if self.driver.is_asking() {
            if self.wait_for_answer(deadline) {
                return;
            }
            // A moment for the peer: has it left?
            asked = self.now();
            deadline = Some(asked);
        }
        // The second thread writes the last bytes, and does not say when it has: ask every now and then.
        let patience = self.driver.is_flushing().then(|| asked + WRITE_PATIENCE);
        let until = deadline.into_iter().chain(patience).min();
        if let Err(error) = self.arm(until) {
            return self.driver.transport_failed(self.now(), error);
        }
        let result = self.stream.read(buffer);
        let now = self.now();
        self.pause.watch(&result, self.read_timeout, || now.saturating_since(asked));
        match result {
            Ok(0) if self.writer.is_late() && self.failure.is_none() => self.judge_close(asked),
            Ok(0) => self.end_of_input(None),
            Ok(count) => {
                self.driver.receive(now, &mut buffer[..count]);
                self.share();
                // A peer that never pauses keeps no deadline from passing.
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.driver.handle_timeout_amid(now);
                }
            }
            Err(error) if is_timeout(&error) => self.judge(asked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.end_of_input(Some(error)),
        }
    }

    /// Does what was due then. What has arrived since is perhaps not read.
    fn judge(&mut self, asked: Time) {
        self.driver.handle_timeout_as_of(asked, self.now());
    }

    /// All was read that had arrived when the second thread said that the peer's time is up.
    fn judge_close(&mut self, asked: Time) {
        if let Some(error) = self.writer.take_failure() {
            return self.driver.transport_failed(self.now(), error);
        }
        self.judge(asked);
        if !self.driver.is_ending() {
            // It has taken something in the very moment: more time, but nothing more to read.
            let patience = self.now() + WRITE_PATIENCE;
            self.writer.wait(&mut self.seen, self.driver.poll_timeout().into_iter().chain([patience]).min());
        }
    }

    /// The peer has ended, reading has failed, or the second thread has woken this one.
    fn end_of_input(&mut self, error: Option<io::Error>) {
        match self.failure.take().or_else(|| self.writer.take_failure()).or(error) {
            Some(error) => self.driver.transport_failed(self.now(), error),
            None => self.driver.receive_eof(self.now()),
        }
    }

    /// Waits for the handler, but not for long: a thread that is parked in a read is not woken by an answer, so this
    /// one looks at the peer now and then instead.
    fn wait_for_answer(&self, deadline: Option<Time>) -> bool {
        let timeout = deadline.map_or(LOOK, |deadline| deadline.saturating_since(self.now()).min(LOOK));
        self.writer.wait_woken(timeout)
    }

    /// So much output waits for the peer that it is not read, or so much input for a callback or the handler's answer.
    fn wait(&mut self) {
        let Ok(deadline) = self.settle(self.now()) else { return self.share() };
        if self.driver.is_asking() {
            if !self.wait_for_answer(deadline) {
                self.driver.handle_timeout(self.now());
            }
            return;
        }
        // Before the wait: the second thread may have been stopped with this one.
        let asked = self.now();
        // One that is pending is woken. Who waits for the peer to take output looks every now and then as well.
        let patience = if self.driver.is_suspended() { None } else { Some(asked + WRITE_PATIENCE) };
        self.writer.wait(&mut self.seen, deadline.into_iter().chain(patience).min());
        match self.writer.take_failure() {
            Some(error) => self.failure = Some(error),
            None => self.judge(asked),
        }
        if self.failure.is_some() {
            self.end_of_input(None);
        }
    }

    /// Sets the read timeout so that a read ends by `deadline`, or little later. One that fits is left alone:
    /// most deadlines move on with every message, and a system call for each would be a waste.
    fn arm(&mut self, deadline: Option<Time>) -> io::Result<()> {
        let wanted = deadline.map(|deadline| deadline.saturating_since(self.now()).max(SHORTEST));
        let fits = match (self.read_timeout, wanted) {
            (set, None) => set.is_none(),
            (None, Some(_)) => false,
            (Some(set), Some(wanted)) => set <= wanted.saturating_add(wanted / 8) && wanted <= set.saturating_mul(2),
        };
        if !fits {
            self.stream.set_read_timeout(wanted)?;
            self.read_timeout = wanted;
        }
        Ok(())
    }
}

impl<S> Drop for Drive<S> {
    fn drop(&mut self) {
        self.writer.end();
    }
}
