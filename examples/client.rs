//! A WebSocket client for the command line.

mod common;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::listener::ListenerBuilder;
use bellwire::proto::client::{HandshakeError, Response};
use bellwire::reconnect::Reconnecting;
use bellwire::{CloseCode, Closed, Config, ConnectError, OwnedMessage, Proxy, SendError, Target, WebSocket, listener};
use common::{Backend, BoxError};
use lexopt::prelude::*;

const HELP: &str = "\
A WebSocket client: sends the lines of its standard input, and prints what arrives.

Usage: client URL [OPTIONS]

  --backend B      blocking, tokio, smol or async-std [the first that is compiled in]
  --send TEXT      send this instead of the standard input; may be repeated. Closes after one reply to
                   each
  --wait SECONDS   how long to wait for the replies to --send [5]
  --echo           send every message back, and stay until the server closes
  --protocol P     offer a subprotocol; may be repeated, the most wanted first
  --header 'K: V'  send a header; may be repeated
  --keepalive SECONDS
                   how long the server may be quiet before it gets a ping [20]
  --deflate        offer to compress messages (needs --features deflate)
  --ca FILE        roots in PEM to check the server's certificate with, in place of the system's
                   (needs --features rustls)
  --proxy URL      go through this proxy [that of HTTPS_PROXY, http_proxy, ALL_PROXY]
  --redirects N    follow so many redirects [0]
  --reconnect      connect again when that may help; what was not sent is sent then
  --help           this text

Exit status 0 after a clean closing handshake, with a reply to each --send. The answer of a server that
refuses is printed on the standard error.";

/// How long to wait for replies to `--send`, unless the user says otherwise.
const WAIT: Duration = Duration::from_secs(5);

struct Options {
    target: Target,
    backend: Backend,
    send: Vec<String>,
    wait: Duration,
    echo: bool,
    reconnect: bool,
}

/// The other end: by one connection, or by whichever there is.
enum Peer {
    Once(WebSocket),
    Again(Reconnecting),
}

/// What happens: from the input's thread, or from the connection's.
enum Happening {
    Message(OwnedMessage),
    Line(String),
    EndOfInput,
    Closed,
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<(), BoxError> {
    let Some(options) = parse()? else {
        println!("{HELP}");
        return Ok(());
    };
    let (sender, happenings) = mpsc::channel();
    let (peer, closed) = if options.reconnect {
        let (messages, end) = (sender.clone(), sender.clone());
        let on_end = move || drop(end.send(Happening::Closed));
        let client =
            common::reconnect::start(options.backend, options.target, move || printing(messages.clone()), on_end)?;
        (Peer::Again(client.handle), client.closed)
    } else {
        connect_once(options.backend, options.target, &sender)?
    };
    let ended = if options.send.is_empty() && !options.echo {
        // One line at a time, at the pace at which they are sent.
        let (ask, asked) = mpsc::sync_channel(1);
        thread::spawn(move || read_lines(&sender, &asked));
        talk(&peer, &happenings, &ask)
    } else if options.echo {
        echo(&peer, &options.send, &happenings)
    } else {
        ask(&peer, &options.send, options.wait, &happenings)
    };
    // How the connection ended says more than a send that came too late.
    finish(&peer, closed, &happenings, ended)
}

/// What waits for the end.
type WaitClosed = Box<dyn FnOnce() -> Result<Closed, BoxError>>;

fn connect_once(backend: Backend, target: Target, sender: &Sender<Happening>) -> Result<(Peer, WaitClosed), BoxError> {
    let closed = sender.clone();
    let listener = printing(sender.clone()).on_close(move |_, _, _| {
        let _ = closed.send(Happening::Closed);
    });
    let connected = match common::connect(backend, target, listener) {
        Err(ConnectError::Handshake(HandshakeError::Refused(response))) => return Err(refused(&response)),
        connected => connected?,
    };
    if let Some(protocol) = &connected.protocol {
        eprintln!("subprotocol: {protocol}");
    }
    #[cfg(feature = "deflate")]
    if let Some(compression) = connected.socket.compression() {
        eprintln!("extension: {compression}");
    }
    Ok((Peer::Once(connected.socket.clone()), Box::new(move || Ok(connected.closed()))))
}

/// Prints the server's answer, for a person to read.
fn refused(response: &Response) -> BoxError {
    let body = String::from_utf8_lossy(response.body());
    // Its text cannot be trusted, and a terminal obeys control characters.
    let harmless = body.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "\u{fffd}");
    if !harmless.trim().is_empty() {
        eprintln!("{}", harmless.trim_end());
    }
    format!("the server refused the WebSocket with status {}", response.status()).into()
}

/// A listener that passes on what arrives.
fn printing(sender: Sender<Happening>) -> ListenerBuilder {
    listener().on_message(move |_, message| {
        let _ = sender.send(Happening::Message(message.into_owned()));
    })
}

/// Sends lines until there are none; prints what arrives. No reply is missed.
fn talk(peer: &Peer, happenings: &Receiver<Happening>, ask: &SyncSender<()>) -> Result<usize, BoxError> {
    let _ = ask.send(());
    for happening in happenings {
        match happening {
            Happening::Message(message) => print(&message)?,
            Happening::Line(line) => {
                peer.send(line)?;
                let _ = ask.send(());
            }
            Happening::EndOfInput => {
                peer.close();
                break;
            }
            Happening::Closed => break,
        }
    }
    Ok(0)
}

/// Sends every message back until the server closes. No reply is missed.
fn echo(peer: &Peer, first: &[String], happenings: &Receiver<Happening>) -> Result<usize, BoxError> {
    for text in first {
        peer.send(text.clone())?;
    }
    for happening in happenings {
        match happening {
            Happening::Message(message) => {
                print(&message)?;
                peer.send(message)?;
            }
            Happening::Closed => break,
            Happening::Line(_) | Happening::EndOfInput => {}
        }
    }
    Ok(0)
}

/// Sends some texts and waits for as many replies; returns how many have not come.
fn ask(peer: &Peer, texts: &[String], wait: Duration, happenings: &Receiver<Happening>) -> Result<usize, BoxError> {
    for text in texts {
        peer.send(text.clone())?;
    }
    let deadline = Instant::now() + wait;
    let mut missed = texts.len();
    while missed > 0 {
        match happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Happening::Message(message)) => {
                missed -= 1;
                print(&message)?;
            }
            Ok(Happening::Closed) => return Ok(missed),
            Ok(Happening::Line(_) | Happening::EndOfInput) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    peer.close();
    Ok(missed)
}

impl Peer {
    /// Sends at the pace at which the server reads.
    fn send(&self, message: impl Into<OwnedMessage>) -> Result<(), BoxError> {
        match self {
            Self::Once(socket) => {
                let (written, outcome) = mpsc::channel();
                socket.send_with(message.into(), move |result| {
                    let _ = written.send(result);
                });
                Ok(outcome.recv()??)
            }
            Self::Again(client) => Ok(common::reconnect::send(client, &message.into())?),
        }
    }

    fn close(&self) {
        match self {
            // Closed already: that is what is wanted.
            Self::Once(socket) => drop(socket.close()),
            // It begins to close now.
            Self::Again(client) => drop(client.close()),
        }
    }

    fn abort(&self) {
        match self {
            Self::Once(socket) => socket.abort(),
            Self::Again(client) => {
                client.socket().iter().for_each(WebSocket::abort);
                drop(client.close());
            }
        }
    }
}

/// Waits for the end, prints what still arrives, and judges how it ended. `ended` says how many replies had not come.
fn finish(
    peer: &Peer,
    closed: WaitClosed,
    happenings: &Receiver<Happening>,
    ended: Result<usize, BoxError>,
) -> Result<(), BoxError> {
    let too_late = |error: &BoxError| matches!(error.downcast_ref(), Some(SendError::Closed));
    if let Err(error) = &ended {
        if !too_late(error) {
            peer.abort();
        }
    }
    let closed = closed()?;
    let mut late = 0;
    for happening in happenings.try_iter() {
        if let Happening::Message(message) = happening {
            print(&message)?;
            late += 1;
        }
    }
    match ended {
        Err(error) if !too_late(&error) => return Err(error),
        _ => judge(&closed)?,
    }
    match ended.map_or(0, |missed| missed.saturating_sub(late)) {
        0 => Ok(()),
        1 => Err("a reply did not come".into()),
        missed => Err(format!("{missed} replies did not come").into()),
    }
}

fn judge(closed: &Closed) -> Result<(), BoxError> {
    match (closed.clean, closed.code) {
        (true, CloseCode::NORMAL | CloseCode::NO_STATUS) => Ok(()),
        (true, code) => {
            eprintln!("closed with {code} {}", closed.reason);
            Ok(())
        }
        (false, code) => Err(format!("the connection broke: {code} {}", closed.reason).trim_end().into()),
    }
}

fn print(message: &OwnedMessage) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match message {
        OwnedMessage::Text(text) => writeln!(out, "{text}")?,
        OwnedMessage::Binary(bytes) => writeln!(out, "[{} bytes]", bytes.len())?,
    }
    out.flush()
}

/// Reads a line each time one is asked for.
fn read_lines(sender: &Sender<Happening>, asked: &Receiver<()>) {
    let mut lines = io::stdin().lock().lines();
    while asked.recv().is_ok() {
        let Some(Ok(line)) = lines.next() else { break };
        if sender.send(Happening::Line(line)).is_err() {
            return;
        }
    }
    let _ = sender.send(Happening::EndOfInput);
}

fn parse() -> Result<Option<Options>, BoxError> {
    let (mut backend, mut send, mut wait, mut echo) = (Backend::default()?, Vec::new(), WAIT, false);
    let mut reconnect = false;
    let (mut url, mut protocols, mut headers) = (None, Vec::new(), Vec::new());
    let (mut ca, mut proxy, mut redirects) = (None, None, 0);
    // What arrives between our close and the server's is worth printing.
    let mut config = Config::default().deliver_after_close(true);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => backend = parser.value()?.parse()?,
            Long("send") => send.push(parser.value()?.string()?),
            Long("wait") => wait = seconds(&parser.value()?.string()?)?,
            Long("echo") => echo = true,
            Long("protocol") => protocols.push(parser.value()?.string()?),
            Long("keepalive") => {
                config = config.keepalive_interval(parser.value()?.parse_with(common::seconds)?);
            }
            Long("header") => headers.push(header(&parser.value()?.string()?)?),
            Long("deflate") => config = common::compressed(config, 64)?,
            Long("ca") => ca = Some(common::tls::client(&parser.value()?.string()?)?),
            Long("proxy") => proxy = Some(Proxy::new(parser.value()?.string()?)?),
            Long("reconnect") => reconnect = true,
            Long("redirects") => redirects = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            Value(value) if url.is_none() => url = Some(value.string()?),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    let url = url.ok_or("a URL is missing: client ws://127.0.0.1:9001/; see --help")?;
    let target = Target::new(&url)?.config(config).redirects(redirects);
    let mut target = match proxy {
        Some(proxy) => target.proxy(proxy),
        None => target.proxy_from_env()?,
    };
    if let Some(ca) = ca {
        target = target.tls(ca);
    }
    for protocol in protocols {
        target = target.protocol(protocol)?;
    }
    for (name, value) in headers {
        target = target.header(&name, value)?;
    }
    Ok(Some(Options { target, backend, send, wait, echo, reconnect }))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("--wait takes seconds, not {text:?}"))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("--header takes 'Name: value', not {text:?}"))?;
    Ok((name.trim().into(), value.trim().into()))
}
