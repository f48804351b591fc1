//! Clients: one that is busy and takes the time of each echo, and crowds of others.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// Masked with a key of zeros, which changes nothing.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";
const MESSAGE: &[u8] = b"\x81\xa0\0\0\0\0abcdefghijklmnopqrstuvwxyz012345";
const ECHO: &[u8] = b"\x81\x20abcdefghijklmnopqrstuvwxyz012345";
/// 1 KiB of zeros.
const LARGE: &[u8] = b"\x82\xfe\x04\x00\0\0\0\0";

/// How long there is from one message of the busy client to the next.
const PERIOD: Duration = Duration::from_millis(1);

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(stream)
}

/// Sends a message each millisecond, and returns how long each echo took, from when it was to be sent. Longest first.
pub fn latencies(address: SocketAddr, lasting: Duration) -> io::Result<Vec<Duration>> {
    let mut stream = connect(address)?;
    let (start, mut echo, mut took) = (Instant::now(), [0; ECHO.len()], Vec::new());
    for turn in 0.. {
        let due = start + PERIOD * turn;
        if due > start + lasting {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(MESSAGE)?;
        stream.read_exact(&mut echo)?;
        if echo != ECHO {
            return Err(io::Error::other("an echo is wrong"));
        }
        took.push(due.elapsed());
    }
    took.sort_by(|one, other| other.cmp(one));
    Ok(took)
}

/// Sends `depth` messages at once on each of some connections and waits for all echoes, again and again. Returns how
/// many messages that were.
pub fn pipelined(address: SocketAddr, connections: usize, depth: usize, lasting: Duration) -> io::Result<usize> {
    let mut streams = (0..connections).map(|_| connect(address)).collect::<io::Result<Vec<_>>>()?;
    let (batch, mut echoes, mut count) = (MESSAGE.repeat(depth), ECHO.repeat(depth), 0);
    let start = Instant::now();
    while start.elapsed() < lasting {
        for stream in &mut streams {
            stream.write_all(&batch)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut echoes)?;
            count += depth;
        }
    }
    if echoes == ECHO.repeat(depth) { Ok(count) } else { Err(io::Error::other("an echo is wrong")) }
}

/// Connections that are open as long as this lives.
pub struct Crowd {
    _runtime: tokio::runtime::Runtime,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    pings: AtomicUsize,
    failed: AtomicUsize,
}

impl Crowd {
    /// Connects that many, at most so many at a time, and waits for them. They answer pings.
    pub fn idle(address: SocketAddr, count: usize, at_once: usize) -> io::Result<Self> {
        Self::start(count, at_once, move |counts| async move {
            let mut stream = opened(address, &counts).await?;
            let mut buffer = [0; 64];
            loop {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                counts.pings.fetch_add(1, Ordering::Relaxed);
                stream.write_all(PONG).await?;
            }
        })
    }

    /// Connects that many, which send until the server does not read them any more, and read nothing.
    pub fn slow_readers(address: SocketAddr, count: usize) -> io::Result<Self> {
        Self::start(count, 100, move |counts| async move {
            let mut stream = opened(address, &counts).await?;
            let message = [LARGE, &[0; 1024]].concat();
            loop {
                stream.write_all(&message).await?;
            }
        })
    }

    fn start<F: Future<Output = io::Result<()>> + Send + 'static>(
        count: usize,
        at_once: usize,
        connection: impl Fn(Arc<Counts>) -> F,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let counts = Arc::<Counts>::default();
        for number in 0..count {
            while number >= counts.open.load(Ordering::Relaxed) + counts.failed.load(Ordering::Relaxed) + at_once {
                thread::sleep(Duration::from_micros(100));
            }
            let (task, failed) = (connection(counts.clone()), counts.clone());
            runtime.spawn(async move {
                if task.await.is_err() {
                    failed.failed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while counts.open.load(Ordering::Relaxed) < count {
            if counts.failed.load(Ordering::Relaxed) > 0 || Instant::now() > deadline {
                return Err(io::Error::other("not all connections were opened"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { _runtime: runtime, counts })
    }

    pub fn pings(&self) -> usize {
        self.counts.pings.load(Ordering::Relaxed)
    }
}

async fn opened(address: SocketAddr, counts: &Counts) -> io::Result<tokio::net::TcpStream> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    counts.open.fetch_add(1, Ordering::Relaxed);
    Ok(stream)
}
