//! The smallest echo servers that speak WebSocket: what is reachable, and no library. There are no limits, no
//! deadlines, no events; what is against the protocol ends the connection.
//!
//! `bench-smallest epoll|tokio PORT`

mod protocol;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use mio::{Interest, Token};
use protocol::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, port] = &arguments[..] else { return Err(io::Error::other("usage: bench-smallest WAY PORT")) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().map_err(io::Error::other)?));
    match way.as_str() {
        "epoll" => epoll(address),
        "tokio" => on_tokio(address),
        _ => Err(io::Error::other("no such way")),
    }
}

/// Buffers for all connections of a thread.
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        Self { input: vec![0; BUFFER], output: Vec::new() }
    }
}

struct Connection<S> {
    stream: S,
    protocol: Protocol,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

impl<S> Connection<S> {
    fn new(stream: S) -> Self {
        Self { stream, protocol: Protocol::default(), unsent: Vec::new() }
    }
}

fn epoll(address: SocketAddr) -> io::Result<()> {
    let (mut poll, mut events) = (mio::Poll::new()?, mio::Events::with_capacity(1024));
    let mut listener = mio::net::TcpListener::bind(address)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut connections: HashMap<usize, Connection<mio::net::TcpStream>> = HashMap::new();
    let (mut next, mut buffers) = (1, Buffers::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE | Interest::WRITABLE)?;
                    connections.insert(next, Connection::new(stream));
                    next += 1;
                }
            } else if connections.get_mut(&event.token().0).is_some_and(|one| one.ready(&mut buffers).is_err()) {
                connections.remove(&event.token().0);
            }
        }
    }
}

impl Connection<mio::net::TcpStream> {
    /// Reads, echoes and writes until the socket has no more, or no more room.
    fn ready(&mut self, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(count) => drop(self.unsent.drain(..count)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            self.unsent = Vec::new();
            let count = match self.stream.read(&mut buffers.input) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            buffers.output.clear();
            let goes_on = self.protocol.receive(&mut buffers.input[..count], &mut buffers.output);
            let mut output = &*buffers.output;
            while !output.is_empty() {
                match self.stream.write(output) {
                    Ok(count) => output = &output[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            self.unsent.extend_from_slice(output);
            if !goes_on {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if count < buffers.input.len() && self.unsent.is_empty() {
                return Ok(());
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn on_tokio(address: SocketAddr) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut connection = Connection::new(stream);
            poll_fn(|context| connection.poll(context)).await
        });
    }
}

impl Connection<tokio::net::TcpStream> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        thread_local!(static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers::new()));
        BUFFERS.with_borrow_mut(|buffers| self.poll_with(context, buffers))
    }

    fn poll_with(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<()>> {
        loop {
            while !self.unsent.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, &self.unsent)? {
                    Poll::Ready(count) => drop(self.unsent.drain(..count)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.unsent = Vec::new();
            let mut input = ReadBuf::new(&mut buffers.input);
            if Pin::new(&mut self.stream).poll_read(context, &mut input)?.is_pending() {
                return Poll::Pending;
            }
            if input.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            buffers.output.clear();
            let goes_on = self.protocol.receive(input.filled_mut(), &mut buffers.output);
            let mut output = &*buffers.output;
            while !output.is_empty() {
                match Pin::new(&mut self.stream).poll_write(context, output)? {
                    Poll::Ready(count) => output = &output[count..],
                    Poll::Pending => break,
                }
            }
            self.unsent.extend_from_slice(output);
            if !goes_on {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
