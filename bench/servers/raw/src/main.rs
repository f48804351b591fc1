//! Echoes bytes as they come, without WebSocket: what a message costs at least, on each way to do input and output.
//!
//! `bench-raw epoll|tokio|smol|blocking PORT`

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::{Events, Interest, Poll, Token};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, port] = &arguments[..] else { return Err(io::Error::other("usage: bench-raw WAY PORT")) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().map_err(io::Error::other)?));
    match way.as_str() {
        "epoll" => epoll(address),
        "tokio" => on_tokio(address),
        "smol" => on_smol(address),
        "blocking" => blocking(address),
        _ => Err(io::Error::other("no such way")),
    }
}

/// An event loop, and one buffer for all connections.
fn epoll(address: SocketAddr) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut listener = mio::net::TcpListener::bind(address)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let (mut next, mut buffer) = (1, vec![0; BUFFER]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE | Interest::WRITABLE)?;
                    connections.insert(next, Connection { stream, unsent: Vec::new() });
                    next += 1;
                }
            } else if connections
                .get_mut(&event.token().0)
                .is_some_and(|one| !matches!(one.echo(&mut buffer), Ok(true)))
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

struct Connection {
    stream: mio::net::TcpStream,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

impl Connection {
    /// Echoes all that is there. False: the other side has ended.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            if !self.unsent.is_empty() {
                let unsent = std::mem::take(&mut self.unsent);
                if !self.write(&unsent)? {
                    return Ok(true);
                }
            }
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    if !self.write(&buffer[..length])? {
                        return Ok(true);
                    }
                    // Less than there was room for: that was all, and more would be told.
                    if length < buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// False: the rest has to wait.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = bytes.to_vec();
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn on_tokio(address: SocketAddr) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn on_smol(address: SocketAddr) -> io::Result<()> {
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind(address).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let echo = async move {
                let mut buffer = vec![0; BUFFER];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            };
            smol::spawn(echo).detach();
        }
    })
}

/// A thread for each connection.
fn blocking(address: SocketAddr) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        });
    }
}
