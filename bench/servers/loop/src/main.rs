//! An echo server on an event loop of its own, over the same drivers as every backend: what a connection and a message
//! would cost without a runtime. A prototype: one thread, and a shutdown is the end of the process.
//!
//! `bench-loop PORT`

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use bellwire::backend::limits::{READ_BUFFER, gather};
use bellwire::backend::{Driver, Service, Step};
use bellwire::proto::{Output, Time};
use bellwire::{Config, Listener, Message, Outcome, Request, Response, ServerError, WebSocket};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

/// What handles have woken, from any thread.
struct Woken {
    tokens: Mutex<Vec<usize>>,
    poll: mio::Waker,
}

struct Handle {
    woken: Arc<Woken>,
    token: usize,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.woken.tokens.lock().unwrap_or_else(PoisonError::into_inner).push(self.token);
        // The loop has ended.
        let _ = self.woken.poll.wake();
    }
}

struct Connection {
    stream: TcpStream,
    driver: Driver,
    waker: Waker,
    /// Output that the socket did not take.
    stalled: Option<Box<Output>>,
    /// When the loop looks at it, in seconds, if a deadline has asked for that.
    alarm: Option<u32>,
    readable: bool,
    writable: bool,
    /// What is read last is the end.
    half_closed: bool,
}

impl Connection {
    /// Does all that can be done without waiting. Until when to wait then; an error at the end.
    fn turn(&mut self, clock: Instant, buffer: &mut [u8]) -> Result<Option<Time>, ()> {
        loop {
            self.write(clock);
            let now = time(clock);
            let reads = match self.driver.is_ending().then(|| self.driver.next_step(now)) {
                None => self.driver.is_reading(),
                Some(Step::Read) => true,
                Some(Step::Wait) => false,
                Some(Step::Shutdown) => {
                    let _ = self.stream.shutdown(Shutdown::Write);
                    self.driver.shut_down();
                    continue;
                }
                Some(Step::Done) => return Err(()),
            };
            if reads && self.readable {
                self.read(now, buffer);
                continue;
            }
            let settled = self.driver.poll_pending(now, &self.waker).and_then(|()| self.driver.settle(&self.waker));
            if let Ok(deadline) = settled {
                return Ok(deadline);
            }
        }
    }

    fn read(&mut self, now: Time, buffer: &mut [u8]) {
        match self.stream.read(buffer) {
            Ok(0) => {
                self.readable = false;
                self.driver.receive_eof(now);
            }
            Ok(count) => {
                // Less than there was room for: more will be told.
                self.readable = count == buffer.len() || self.half_closed;
                self.driver.receive(now, &mut buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) => self.driver.transport_failed(now, error),
        }
    }

    fn write(&mut self, clock: Instant) {
        while self.writable {
            let stalled = self.stalled.take().map(|stalled| *stalled);
            let Some(mut output) = stalled.or_else(|| self.driver.take_output()) else { return };
            match gather(&output, |slices| self.stream.write_vectored(slices)) {
                Ok(count) => {
                    output.advance(count);
                    self.driver.wrote(time(clock), count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return self.driver.transport_failed(time(clock), error),
            }
            if !output.is_empty() {
                self.stalled = Some(Box::new(output));
            }
        }
    }
}

fn time(clock: Instant) -> Time {
    Time::from_start(clock.elapsed())
}

struct Loop {
    clock: Instant,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// By the second: most deadlines move on before they come, and are looked at again then.
    alarms: BTreeMap<u32, Vec<usize>>,
    buffer: Vec<u8>,
}

impl Loop {
    fn turn(&mut self, token: usize) {
        let Some(Some(connection)) = self.connections.get_mut(token) else { return };
        match connection.turn(self.clock, &mut self.buffer) {
            Ok(Some(deadline)) => {
                let second = u32::try_from(deadline.since_start().as_secs() + 1).unwrap_or(u32::MAX);
                if connection.alarm.is_none_or(|alarm| alarm > second) {
                    connection.alarm = Some(second);
                    self.alarms.entry(second).or_default().push(token);
                }
            }
            Ok(None) => {}
            Err(()) => {
                self.connections[token] = None;
                self.free.push(token);
            }
        }
    }

    /// Judges the deadlines that have come. Returns how long there is until the next.
    fn ring(&mut self) -> Option<Duration> {
        loop {
            let now = time(self.clock);
            let (&second, _) = self.alarms.first_key_value()?;
            if u64::from(second) > now.since_start().as_secs() {
                return Some(Time::from_start(Duration::from_secs(second.into())).saturating_since(now));
            }
            for token in self.alarms.remove(&second).unwrap_or_default() {
                if let Some(Some(connection)) = self.connections.get_mut(token) {
                    // Another may have its place by now: it is looked at once more than it need be.
                    connection.alarm = None;
                    connection.driver.handle_timeout_amid(now);
                }
                self.turn(token);
            }
        }
    }
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    println!("{}", listener.local_addr()?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let woken = Arc::new(Woken { tokens: Mutex::default(), poll: mio::Waker::new(poll.registry(), WAKER)? });
    let (config, handler) = (Config::default().keepalive_interval(None), |_: &Request| Response::websocket(Echo));
    let service = Arc::new(Service::new(config, handler, |error: &ServerError| eprintln!("{error}")));
    let (connections, free, alarms) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut all = Loop { clock: Instant::now(), connections, free, alarms, buffer: vec![0; READ_BUFFER] };
    loop {
        let next = all.ring();
        match poll.poll(&mut events, next) {
            // Stopped, and continued.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => {
                    while let Ok((mut stream, peer)) = listener.accept() {
                        let token = all.free.pop().unwrap_or_else(|| {
                            all.connections.push(None);
                            all.connections.len() - 1
                        });
                        // A peer that is gone already is found out soon enough.
                        let _ = stream.set_nodelay(true);
                        poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
                        let driver = Driver::server(service.clone(), Some(peer), time(all.clock));
                        let waker = Waker::from(Arc::new(Handle { woken: woken.clone(), token }));
                        let (stalled, alarm) = (None, None);
                        all.connections[token] = Some(Connection {
                            stream,
                            driver,
                            waker,
                            stalled,
                            alarm,
                            readable: false,
                            writable: true,
                            half_closed: false,
                        });
                        all.turn(token);
                    }
                }
                WAKER => mem::take(&mut *woken.tokens.lock().unwrap_or_else(PoisonError::into_inner))
                    .into_iter()
                    .for_each(|token| all.turn(token)),
                Token(token) => {
                    if let Some(Some(connection)) = all.connections.get_mut(token) {
                        connection.readable |= event.is_readable();
                        connection.writable |= event.is_writable();
                        connection.half_closed |= event.is_read_closed();
                    }
                    all.turn(token);
                }
            }
        }
    }
}
