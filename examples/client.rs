//! A WebSocket client for the command line.

mod common;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::{CloseCode, Closed, Config, IntoListener, OwnedMessage, SendError, Target, WebSocket, listener};
use common::{Backend, BoxError, Connected};
use lexopt::prelude::*;

const HELP: &str = "\
A WebSocket client: sends the lines of its standard input, and prints what arrives.

Usage: client URL [OPTIONS]

  --backend B      blocking, tokio or async-std [the first that is compiled in]
  --send TEXT      send this instead of the standard input; may be repeated. Closes after one reply to
                   each, or after 5 s
  --echo           send every message back, and stay until the server closes
  --protocol P     offer a subprotocol; may be repeated, the most wanted first
  --header 'K: V'  send a header; may be repeated
  --keepalive SECONDS
                   how long the server may be quiet before it gets a ping [20]
  --help           this text

Exit status 0 after a clean closing handshake.";

/// How long to wait for replies to `--send`.
const REPLIES: Duration = Duration::from_secs(5);

struct Options {
    target: Target,
    backend: Backend,
    send: Vec<String>,
    echo: bool,
}

/// What happens, from whichever thread.
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
    let connected = common::connect(options.backend, options.target, announcing(sender.clone()))?;
    if let Some(protocol) = &connected.protocol {
        eprintln!("subprotocol: {protocol}");
    }
    let ended = if options.send.is_empty() && !options.echo {
        // One line at a time, at the pace at which they are sent.
        let (ask, asked) = mpsc::sync_channel(1);
        thread::spawn(move || read_lines(&sender, &asked));
        talk(&connected.socket, &happenings, &ask)
    } else if options.echo {
        echo(&connected.socket, &options.send, &happenings)
    } else {
        ask(&connected.socket, &options.send, &happenings)
    };
    // What the connection says of its end matters more than a send that came too late for it.
    finish(connected, &happenings, ended)
}

/// A listener that passes on what happens.
fn announcing(sender: Sender<Happening>) -> impl IntoListener {
    let closed = sender.clone();
    listener()
        .on_message(move |_, message| {
            let _ = sender.send(Happening::Message(message.into_owned()));
        })
        .on_close(move |_, _, _| {
            let _ = closed.send(Happening::Closed);
        })
}

/// Sends lines until there are none; prints what arrives.
fn talk(socket: &WebSocket, happenings: &Receiver<Happening>, ask: &SyncSender<()>) -> Result<(), BoxError> {
    let _ = ask.send(());
    for happening in happenings {
        match happening {
            Happening::Message(message) => print(&message)?,
            Happening::Line(line) => {
                send(socket, line)?;
                let _ = ask.send(());
            }
            Happening::EndOfInput => return Ok(socket.close()?),
            Happening::Closed => return Ok(()),
        }
    }
    Ok(())
}

/// Sends every message back until the server closes.
fn echo(socket: &WebSocket, first: &[String], happenings: &Receiver<Happening>) -> Result<(), BoxError> {
    for text in first {
        send(socket, text.clone())?;
    }
    for happening in happenings {
        match happening {
            Happening::Message(message) => {
                print(&message)?;
                send(socket, message)?;
            }
            Happening::Closed => return Ok(()),
            Happening::Line(_) | Happening::EndOfInput => {}
        }
    }
    Ok(())
}

/// Sends some texts and waits for as many replies.
fn ask(socket: &WebSocket, texts: &[String], happenings: &Receiver<Happening>) -> Result<(), BoxError> {
    for text in texts {
        send(socket, text.clone())?;
    }
    let deadline = Instant::now() + REPLIES;
    let mut replies = 0;
    while replies < texts.len() {
        match happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Happening::Message(message)) => {
                replies += 1;
                print(&message)?;
            }
            Ok(Happening::Closed) => return Ok(()),
            Ok(Happening::Line(_) | Happening::EndOfInput) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(socket.close()?)
}

/// Sends at the pace at which the server reads.
fn send(socket: &WebSocket, message: impl Into<OwnedMessage>) -> Result<(), BoxError> {
    let (written, outcome) = mpsc::channel();
    socket.send_with(message.into(), move |result| {
        let _ = written.send(result);
    });
    Ok(outcome.recv()??)
}

/// Waits for the end, prints what still arrives, and judges how it ended.
fn finish(connected: Connected, happenings: &Receiver<Happening>, ended: Result<(), BoxError>) -> Result<(), BoxError> {
    let too_late = |error: &BoxError| matches!(error.downcast_ref(), Some(SendError::Closed));
    if let Err(error) = &ended {
        if !too_late(error) {
            connected.socket.abort();
        }
    }
    let closed = connected.closed();
    for happening in happenings.try_iter() {
        if let Happening::Message(message) = happening {
            print(&message)?;
        }
    }
    match ended {
        Err(error) if !too_late(&error) => Err(error),
        _ => judge(&closed),
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

/// Reads a line each time that one is asked for.
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
    let (mut backend, mut send, mut echo) = (Backend::default()?, Vec::new(), false);
    let (mut url, mut protocols, mut headers) = (None, Vec::new(), Vec::new());
    // What arrives between our close and the server's is worth printing.
    let mut config = Config::default().deliver_after_close(true);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => backend = parser.value()?.parse()?,
            Long("send") => send.push(parser.value()?.string()?),
            Long("echo") => echo = true,
            Long("protocol") => protocols.push(parser.value()?.string()?),
            Long("keepalive") => {
                config = config.keepalive_interval(parser.value()?.parse_with(common::seconds)?);
            }
            Long("header") => headers.push(header(&parser.value()?.string()?)?),
            Short('h') | Long("help") => return Ok(None),
            Value(value) if url.is_none() => url = Some(value.string()?),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    let url = url.ok_or("a URL is missing: client ws://127.0.0.1:9001/; see --help")?;
    let mut target = Target::new(&url)?.config(config);
    for protocol in protocols {
        target = target.protocol(protocol)?;
    }
    for (name, value) in headers {
        target = target.header(&name, value)?;
    }
    Ok(Some(Options { target, backend, send, echo }))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("--header takes 'Name: value', not {text:?}"))?;
    Ok((name.trim().into(), value.trim().into()))
}
