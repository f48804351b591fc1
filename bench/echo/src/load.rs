//! The load: one thread, one event loop.
//!
//! `closed` sends the next messages of a connection as soon as the last came back: what the server can do, and what a
//! message costs it. `paced` sends each message when it is due, whether or not the server is behind, and counts its
//! time from then: a server that stops for a while makes all late that were due meanwhile.

use std::io;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{self, Connection, PATIENCE};
use crate::deflate::Context;
use crate::frames::Batch;
use crate::wire::{Address, Wire};

const BUFFER: usize = 256 * 1024;

/// Connections to one server.
pub struct Load<'a> {
    poll: Poll,
    events: Events,
    connections: Vec<Connection<'a, Wire<TcpStream>>>,
    buffer: Vec<u8>,
    wait: Duration,
}

/// What came back in a window of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Echoed {
    pub batches: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    pub time: Duration,
}

impl<'a> Load<'a> {
    /// `wait`: how long it sleeps at most while there is nothing to read.
    pub fn open(
        address: &Address,
        raw: bool,
        deflate: Option<Context>,
        count: usize,
        batches: &'a [Batch],
        wait: Duration,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connect = |at| {
            let stream = connection::open(address, raw, deflate)?.nonblocking(|tcp| {
                let mut tcp = TcpStream::from_std(tcp);
                poll.registry().register(&mut tcp, Token(at), Interest::READABLE | Interest::WRITABLE)?;
                Ok(tcp)
            })?;
            Ok(Connection::new(stream, batches, at, deflate.filter(|_| !raw)))
        };
        let connections = (0..count).map(connect).collect::<io::Result<_>>()?;
        Ok(Self { poll, events: Events::with_capacity(count.max(8)), connections, buffer: vec![0; BUFFER], wait })
    }

    /// Warms up, and then measures for a while. `begin` is called between the two, and `end` at the end: before what
    /// is still on its way is awaited.
    pub fn closed<B>(
        &mut self,
        warm: Duration,
        window: Duration,
        begin: impl FnOnce() -> io::Result<B>,
        end: impl FnOnce(B) -> io::Result<()>,
    ) -> io::Result<Echoed> {
        let start = Instant::now();
        self.connections.iter_mut().try_for_each(|connection| connection.send(start))?;
        self.repeat(warm)?;
        let (before, came) = (begin()?, self.came());
        let start = Instant::now();
        let batches = self.repeat(window)?;
        let time = start.elapsed();
        end(before)?;
        let bytes = self.came() - came;
        self.drain()?;
        Ok(Echoed { batches, bytes, time })
    }

    /// Goes on until so many batches came back, or for as long as one may take.
    pub fn fill(&mut self, mut batches: u64) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        self.connections.iter_mut().try_for_each(|connection| connection.send(until))?;
        while batches > 0 && Instant::now() < until {
            let came = self.turn(|connection, came| (0..came).try_for_each(|_| connection.send(until)))?;
            batches = batches.saturating_sub(came);
        }
        self.drain()
    }

    /// Sends on each connection once, and waits for what comes back.
    pub fn once(&mut self) -> io::Result<()> {
        self.fill(0)
    }

    fn came(&self) -> u64 {
        self.connections.iter().map(Connection::came).sum()
    }

    /// Each connection that has its echo sends again, for a while, and until there was an echo. How many came.
    fn repeat(&mut self, window: Duration) -> io::Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        let mut last = start;
        while last < start + window || count == 0 {
            if last > start + window + PATIENCE {
                return Err(too_late());
            }
            let came = self.turn(|connection, came| (0..came).try_for_each(|_| connection.send(last)))?;
            count += came;
            last = Instant::now();
        }
        Ok(count)
    }

    /// Waits for what is on its way.
    fn drain(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.connections.iter().all(Connection::idle) {
            if Instant::now() > until {
                return Err(too_late());
            }
            self.turn(|_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Sends so many batches in a second, for a while. How long each took in nanoseconds since it was due, sorted; one
    /// that has not come at the end of another window has what it took so far.
    pub fn paced(&mut self, rate: f64, window: Duration) -> io::Result<Vec<u64>> {
        let schedule = Schedule { start: Instant::now(), interval: 1.0 / rate };
        let count = (rate * window.as_secs_f64()).ceil() as u64;
        let (mut sent, mut times) = (0, Vec::with_capacity(count as usize));
        while times.len() < count as usize && schedule.start.elapsed() < 2 * window {
            while sent < count && schedule.due(sent) <= Instant::now() {
                let at = sent as usize % self.connections.len();
                self.connections[at].send(schedule.due(sent))?;
                sent += 1;
            }
            // Without waiting: a thread that sleeps is late itself.
            self.turn_timed(&mut times)?;
        }
        let end = Instant::now();
        times.extend(self.connections.iter().flat_map(Connection::outstanding).map(|due| nanoseconds(end - due)));
        times.extend((sent..count).map(|number| nanoseconds(end.saturating_duration_since(schedule.due(number)))));
        times.sort_unstable();
        Ok(times)
    }

    fn turn_timed(&mut self, times: &mut Vec<u64>) -> io::Result<()> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            connection.write()?;
            connection.read(&mut self.buffer, |due| times.push(nanoseconds(due.elapsed())))?;
        }
        Ok(())
    }

    /// Waits for events, and calls `then` for each connection with how many batches came. How many came in all.
    fn turn(
        &mut self,
        mut then: impl FnMut(&mut Connection<'a, Wire<TcpStream>>, u64) -> io::Result<()>,
    ) -> io::Result<u64> {
        self.poll.poll(&mut self.events, Some(self.wait))?;
        let mut all = 0;
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            connection.write()?;
            let mut came = 0;
            connection.read(&mut self.buffer, |_| came += 1)?;
            then(connection, came)?;
            all += came;
        }
        Ok(all)
    }
}

/// When messages are due, one after the other at the same distance.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    /// Seconds.
    interval: f64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 * self.interval)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

fn too_late() -> io::Error {
    io::Error::other(format!("no echo within {PATIENCE:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Content, Shape};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Echoes the bytes of one connection; `change` sees each part before it is sent back.
    fn server(mut change: impl FnMut(&mut [u8]) + Send + 'static) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, mut buffer) = (listener.accept().unwrap().0, [0; 4096]);
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                change(&mut buffer[..count]);
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        });
        Address { at: address, tls: None }
    }

    fn batches() -> Vec<Batch> {
        Shape { content: Content::Binary, length: 500, fragments: 1, depth: 2, deflate: None }.batches(true)
    }

    const SHORT: Duration = Duration::from_millis(30);

    #[test]
    fn a_closed_load_counts_what_came_in_its_window() {
        let batches = batches();
        let mut load = Load::open(&server(|_| ()), true, None, 1, &batches, SHORT).unwrap();
        let mut ended = false;
        let end = |seven| {
            ended = seven == 7;
            Ok(())
        };
        let echoed = load.closed(SHORT, SHORT, || Ok(7), end).unwrap();
        assert!(ended && echoed.batches > 0 && echoed.time >= SHORT);
        let batch = batches[0].wire.len() as u64;
        assert!(echoed.bytes.abs_diff(echoed.batches * batch) < batch);
        assert!(load.connections.iter().all(Connection::idle));
    }

    #[test]
    fn a_wrong_echo_ends_it() {
        let batches = batches();
        let mut all = 0;
        let address = server(move |bytes| {
            all += bytes.len();
            if all > 50_000 {
                bytes[0] ^= 0x20;
            }
        });
        let mut load = Load::open(&address, true, None, 1, &batches, SHORT).unwrap();
        let error = load.closed(SHORT, 100 * SHORT, || Ok(()), |()| Ok(())).unwrap_err().to_string();
        assert!(error.contains("a wrong echo"), "{error}");
    }

    #[test]
    fn messages_that_were_due_while_a_server_slept_are_late() {
        let batches = batches();
        let mut slept = false;
        let address = server(move |_| {
            if !std::mem::replace(&mut slept, true) {
                thread::sleep(Duration::from_millis(200));
            }
        });
        let mut load = Load::open(&address, true, None, 1, &batches, SHORT).unwrap();
        let times = load.paced(1000.0, Duration::from_millis(400)).unwrap();
        assert_eq!(times.len(), 400);
        // Only the first message waited for the server; but each of the 100 after it was due at least 100 ms before
        // the server went on.
        assert!(times.iter().filter(|time| **time >= 99_000_000).count() >= 100);
        assert!(times.is_sorted());
    }

    #[test]
    fn what_never_comes_counts_as_late() {
        let batches = batches();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { at: listener.local_addr().unwrap(), tls: None };
        let mut load = Load::open(&address, true, None, 1, &batches, SHORT).unwrap();
        let times = load.paced(1000.0, SHORT).unwrap();
        assert_eq!(times.len(), 30);
        assert!(times[0] >= nanoseconds(SHORT));
    }
}
