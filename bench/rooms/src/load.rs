//! The load: one thread, one event loop, a publisher and the members of a room.
//!
//! `closed` publishes the next messages when every member has the last: what a delivery costs. `paced` publishes each
//! message when it is due, whether or not the server is behind, and each delivery counts from then.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::dialect::{Delivery, Dialect};
use crate::member::Member;

/// What takes longer does not work.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon it is asked again whether all members hear the publisher, since a broker may have heard of the room late; then
/// after twice as long each time, since a server may be slow.
const ASKING: Duration = Duration::from_millis(50);

const BUFFER: usize = 256 * 1024;

/// A publisher and members.
pub struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Where the publisher stands among them.
    publisher: usize,
    dialect: Dialect,
    length: usize,
    delivery: Delivery,
    buffer: Vec<u8>,
    published: u64,
    frames: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    member: Member,
    /// What its socket had no room for.
    unsent: Vec<u8>,
}

/// What was delivered in a window of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delivered {
    pub deliveries: u64,
    pub time: Duration,
}

impl Load {
    /// Connects so many members, by turns to each address, and the publisher to the first. Waits until all hear it.
    pub fn open(addresses: &[SocketAddr], members: usize, dialect: Dialect, length: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let addresses = addresses.iter().cycle().take(members).map(|address| (*address, false));
        let publisher = addresses.clone().next().map(|(address, _)| (address, true));
        let open = |(at, (address, publishes))| connect(poll.registry(), at, dialect, address, publishes);
        let connections = addresses.chain(publisher).enumerate().map(open).collect::<io::Result<_>>()?;
        let mut load = Self {
            poll,
            events: Events::with_capacity(1024),
            connections,
            publisher: members,
            dialect,
            length,
            delivery: dialect.delivery(length),
            buffer: vec![0; BUFFER],
            published: 0,
            frames: Vec::new(),
        };
        load.ask()?;
        Ok(load)
    }

    fn members(&self) -> &[Connection] {
        &self.connections[..self.publisher]
    }

    /// Publishes what is no message, until each member has heard it.
    fn ask(&mut self) -> io::Result<()> {
        let (until, mut next, mut pause) = (Instant::now() + PATIENCE, Instant::now(), ASKING);
        while !self.members().iter().all(|connection| connection.member.hears) {
            let now = Instant::now();
            if now > until {
                let deaf = self.members().iter().filter(|connection| !connection.member.hears).count();
                return Err(io::Error::other(format!("{deaf} members have heard nothing within {PATIENCE:?}")));
            }
            if now > next {
                (next, pause) = (now + pause, 2 * pause);
                self.dialect.publish(0, self.length, &mut self.frames);
                self.send()?;
            }
            self.turn(|_, _| {})?;
        }
        Ok(())
    }

    /// Warms up, and then measures for a while. `begin` is called between the two, and `end` when all have all.
    /// Publishes `depth` messages at once.
    pub fn closed<B>(
        &mut self,
        depth: usize,
        warm: Duration,
        window: Duration,
        begin: impl FnOnce() -> io::Result<B>,
        end: impl FnOnce(B) -> io::Result<()>,
    ) -> io::Result<Delivered> {
        self.repeat(depth, warm)?;
        let before = begin()?;
        let start = Instant::now();
        let deliveries = self.repeat(depth, window)?;
        let time = start.elapsed();
        end(before)?;
        Ok(Delivered { deliveries, time })
    }

    /// Publishes at least once. How many deliveries there were.
    fn repeat(&mut self, depth: usize, window: Duration) -> io::Result<u64> {
        let (start, mut deliveries) = (Instant::now(), 0);
        loop {
            for _ in 0..depth {
                self.next();
            }
            self.send()?;
            let wanted = self.publisher as u64 * depth as u64;
            self.drain(wanted, |_, _| {})?;
            deliveries += wanted;
            if start.elapsed() >= window {
                return Ok(deliveries);
            }
        }
    }

    /// Publishes so many messages in a second, for a while. How long each delivery took in nanoseconds since its
    /// message was due, sorted.
    pub fn paced(&mut self, rate: f64, window: Duration) -> io::Result<Vec<u64>> {
        let count = (rate * window.as_secs_f64()).ceil().max(1.0) as u64;
        let (start, first, mut sent) = (Instant::now(), self.published, 0);
        let due = |number: u64| start + Duration::from_secs_f64(number as f64 / rate);
        let mut times = Vec::with_capacity(count as usize * self.publisher);
        let mut note = |number: u64, now: Instant| {
            times.push(now.saturating_duration_since(due(number - first - 1)).as_nanos() as u64);
        };
        let (mut wanted, until) = (count * self.publisher as u64, start + window + PATIENCE);
        while wanted > 0 {
            let now = Instant::now();
            if now > until {
                return Err(lost(wanted));
            }
            while sent < count && due(sent) <= now {
                sent += 1;
                self.next();
            }
            self.send()?;
            wanted -= self.turn(&mut note)?;
        }
        times.sort_unstable();
        Ok(times)
    }

    /// Takes so many deliveries.
    fn drain(&mut self, mut wanted: u64, mut seen: impl FnMut(u64, Instant)) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while wanted > 0 {
            let came = self.turn(&mut seen)?;
            wanted -= came;
            if came == 0 && Instant::now() > until {
                return Err(lost(wanted));
            }
        }
        Ok(())
    }

    /// Lays out the next message.
    fn next(&mut self) {
        self.published += 1;
        self.dialect.publish(self.published, self.length, &mut self.frames);
    }

    /// Sends what is laid out.
    fn send(&mut self) -> io::Result<()> {
        self.connections[self.publisher].send(&self.frames)?;
        self.frames.clear();
        Ok(())
    }

    /// Reads and writes what can be. How many messages came.
    fn turn(&mut self, mut seen: impl FnMut(u64, Instant)) -> io::Result<u64> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(0),
            polled => polled?,
        }
        if self.events.is_empty() {
            // The broker may be on the same processor.
            std::thread::yield_now();
        }
        let mut came = 0;
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            if event.is_writable() {
                connection.send(&[])?;
            }
            came += connection.read(&mut self.buffer, self.dialect, &self.delivery, &mut seen)?;
        }
        Ok(came)
    }
}

fn lost(count: u64) -> io::Error {
    io::Error::other(format!("lost: {count} deliveries have not come within {PATIENCE:?}"))
}

fn connect(
    registry: &Registry,
    at: usize,
    dialect: Dialect,
    address: SocketAddr,
    publishes: bool,
) -> io::Result<Connection> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    dialect.open(&mut stream, address, publishes)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    registry.register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
    Ok(Connection { stream, member: Member::default(), unsent: Vec::new() })
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all that there is. How many messages came.
    fn read(
        &mut self,
        buffer: &mut [u8],
        dialect: Dialect,
        delivery: &Delivery,
        seen: &mut impl FnMut(u64, Instant),
    ) -> io::Result<u64> {
        let before = self.member.came;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            self.member.receive(&buffer[..count], delivery, |number| seen(number, now))?;
            // Less than there was room for: more will be told.
            if count < buffer.len() {
                break;
            }
        }
        if self.member.pings > 0 {
            let mut pongs = Vec::new();
            (0..std::mem::take(&mut self.member.pings)).for_each(|_| dialect.pong(&mut pongs));
            self.send(&pongs)?;
        }
        Ok(self.member.came - before)
    }
}
