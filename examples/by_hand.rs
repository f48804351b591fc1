//! The core driven over `std::net` without any backend: the model for people who bring their own I/O.
//!
//! `cargo run --example by_hand` echoes on 127.0.0.1:9001, one connection at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwire::proto::{Connection, Event, Time, server};
use bellwire::{Config, Request};

fn main() -> io::Result<()> {
    if std::env::args().len() > 1 {
        println!("Echoes on ws://127.0.0.1:9001/, one connection at a time. Usage: by_hand [--help]");
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:9001")?;
    println!("listening on ws://{}/", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(serve) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

/// Serves one connection to its end.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let start = Instant::now();
    let now = || Time::from_start(start.elapsed());
    let config = Arc::new(Config::default());
    let mut buffer = vec![0; 16 * 1024];
    stream.set_write_timeout(config.close_timeout)?;

    // 1. The opening handshake: bytes in, until there is a request or a refusal.
    let mut handshake = server::Handshake::new(config.clone(), now());
    let (request, mut input) = loop {
        match read_until(&mut stream, &mut buffer, handshake.poll_timeout(), now)? {
            Some(0) => return Ok(()),
            Some(count) => {
                let mut input = &mut buffer[..count];
                if let Some(request) = handshake.receive(&mut input) {
                    break (request, input);
                }
            }
            None => {}
        }
        if let Some(refused) = handshake.handle_timeout(now()) {
            break (Err(refused), &mut [][..]);
        }
    };
    let mut connection = match accept(request, config, now()) {
        Ok(connection) => connection,
        Err(response) => return stream.write_all(&response).and_then(|()| linger(&mut stream)),
    };

    // 2. The connection: events until there are none, then write, then read or sleep.
    loop {
        while let Some(event) = connection.next_event(now(), &mut input) {
            handle(&mut connection, event);
        }
        while !connection.output().is_empty() {
            match stream.write(connection.output().first())? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => connection.wrote(now(), count),
            }
        }
        if connection.is_finished() {
            return linger(&mut stream);
        }
        input = &mut [];
        match read_until(&mut stream, &mut buffer, connection.poll_timeout(), now) {
            Ok(Some(0)) => connection.receive_eof(),
            Ok(Some(count)) => input = &mut buffer[..count],
            Ok(None) => connection.handle_timeout(now()),
            Err(error) => connection.transport_failed(error),
        }
    }
}

/// Reads once, waiting until `deadline` at most; `None` if nothing had arrived by then. After the deadline it still tries
/// to read: a process that was stopped must not take its own absence for the peer's silence.
fn read_until(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    deadline: Option<Time>,
    now: impl Fn() -> Time,
) -> io::Result<Option<usize>> {
    loop {
        let asked = now();
        let left = deadline.map(|deadline| deadline.saturating_since(asked));
        // A timeout of zero is an error.
        stream.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?;
        match stream.read(buffer).map_err(|error| (error.kind(), error)) {
            Ok(count) => return Ok(Some(count)),
            Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) if left == Some(Duration::ZERO) => return Ok(None),
            Err((ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted, _)) => {}
            Err((_, error)) => return Err(error),
        }
    }
}

/// A connection, or the bytes of the HTTP response that refuses it.
fn accept(request: Result<Request, server::Refused>, config: Arc<Config>, now: Time) -> Result<Connection, Vec<u8>> {
    let request = request.map_err(|refused| refused.to_response().encode(None))?;
    request.accept(&server::Accept::new(), config, now).map_err(|error| error.to_response().encode(Some(&request)))
}

/// The application: an echo. Pings are answered and closes are echoed by the connection itself.
fn handle(connection: &mut Connection, event: Event<'_>) {
    let sent = match event {
        Event::Text(text) => connection.send(&*text),
        Event::Binary(bytes) => connection.send(&*bytes),
        Event::Error(error) => return eprintln!("{error}"),
        Event::Closed(closed) => return println!("closed: {} {:?}", closed.code, closed.reason),
        _ => return,
    };
    if let Err(error) = sent {
        eprintln!("{error}");
    }
}

/// Ends the sending side, and reads on for a moment: closing with unread input would send a reset, which can destroy
/// what was written last.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let (start, mut buffer) = (Instant::now(), [0; 4096]);
    let (now, until) = (|| Time::from_start(start.elapsed()), Time::from_start(Duration::from_secs(1)));
    while let Some(1..) = read_until(stream, &mut buffer, Some(until), now)? {}
    Ok(())
}
