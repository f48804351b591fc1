//! A way to the broker that can be cut, held, and filled with rubbish.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They are passed on.
    Open,
    /// Nothing is read in either direction: queues fill up.
    Held,
    /// Nothing of the broker's is read: it is slow to answer.
    Slow,
    /// All is read, and nothing is passed on: neither side hears of an end.
    BlackHole,
    /// Connections end, and new ones end at once.
    Cut,
    /// What the broker says is replaced by something else.
    Rubbish,
}

/// A way from nodes to a broker.
pub struct Relay {
    port: u16,
    state: Arc<State>,
}

struct State {
    broker: u16,
    way: Mutex<Way>,
    /// How many connections were taken.
    taken: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToBroker,
    ToNode,
}

/// After so long the way is looked at again.
const GLANCE: Duration = Duration::from_millis(5);

impl Relay {
    /// Opens a way to a port of 127.0.0.1.
    pub fn to(broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            broker,
            way: Mutex::new(Way::Open),
            taken: AtomicUsize::new(0),
            streams: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let taker = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if taker.over.load(Ordering::Relaxed) {
                    return;
                }
                taker.clone().take(stream);
            }
        });
        Self { port, state }
    }

    /// Returns the port that nodes connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns how many connections were made so far.
    pub fn taken(&self) -> usize {
        self.state.taken.load(Ordering::Relaxed)
    }

    /// Decides what becomes of the bytes from now on.
    pub fn set(&self, way: Way) {
        *self.state.way.lock().unwrap() = way;
        if way == Way::Cut {
            self.state.cut();
        }
    }

    /// Ends all connections, and takes new ones.
    pub fn cut_once(&self) {
        self.state.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        self.set(Way::Cut);
        // The thread that listens looks up, and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn way(&self) -> Way {
        *self.way.lock().unwrap()
    }

    fn take(self: Arc<Self>, node: TcpStream) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        if self.way() == Way::Cut {
            return;
        }
        let Ok(broker) = TcpStream::connect(("127.0.0.1", self.broker)) else { return };
        for stream in [&node, &broker] {
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(GLANCE)).unwrap();
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
        }
        // It was cut in this moment.
        if self.way() == Way::Cut {
            self.cut();
        }
        let (from, to) = (node.try_clone().unwrap(), broker.try_clone().unwrap());
        let state = self.clone();
        thread::spawn(move || state.pump(from, to, Direction::ToBroker));
        thread::spawn(move || self.pump(broker, node, Direction::ToNode));
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Passes bytes on, until either side ends.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, direction: Direction) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let way = self.way();
            if way == Way::Held || (way == Way::Slow && direction == Direction::ToNode) {
                thread::sleep(GLANCE);
                continue;
            }
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if !self.pass_on(&buffer[..length], &mut to, direction) {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// Whether it goes on. The way may have changed while bytes were waited for.
    fn pass_on(&self, bytes: &[u8], to: &mut TcpStream, direction: Direction) -> bool {
        loop {
            match self.way() {
                Way::Cut => return false,
                Way::BlackHole => return true,
                Way::Held => thread::sleep(GLANCE),
                Way::Slow if direction == Direction::ToNode => thread::sleep(GLANCE),
                Way::Rubbish if direction == Direction::ToNode => return to.write_all(&rubbish(bytes.len())).is_ok(),
                Way::Open | Way::Slow | Way::Rubbish => return to.write_all(bytes).is_ok(),
            }
        }
    }
}

/// No broker says this.
fn rubbish(length: usize) -> Vec<u8> {
    b"\xFFrubbish\r\n\x00".iter().copied().cycle().take(length.max(12)).collect()
}
