//! The options of `bellwire bench`.

use std::time::Duration;

use bellwire::OwnedMessage;

use crate::arguments::{Arguments, Given, unexpected, unknown};
use crate::exit::Failure;
use crate::output::{Format, Style};
use crate::reach::Reach;

pub(crate) const HELP: &str = "\
Sends messages to a server that answers each with one, such as an echo server, and measures how long
each answer takes.

Usage: bellwire bench URL [OPTIONS]

What is sent
  --connections N       how many connections there are [1]
  --rate N              send N messages a second in all, however slow the answers are. Each latency is
                        from when its message was due, so that a server that stalls cannot hide it
  --depth N             without --rate: how many messages of each connection wait for their answer;
                        each answer sends the next message [1]
  --duration SECONDS    how long messages are sent [10]
  --wait SECONDS        how long to wait for the last answers [5]
  --size BYTES          the length of a message [64]
  --binary              binary messages in place of text
  --message TEXT        this text; then answers may have any other

What is printed
  --json                the result as a JSON object
  --jsonl               the same with its event, \"result\", and one of each second, \"progress\"
  --no-color            no colours; nor with NO_COLOR in the environment
  -q, --quiet           no progress

The way to the server
  -H, --header 'N: V'   send a header; may be repeated; @FILE has one in each line
  --origin ORIGIN       send this Origin
  --auth USER:PASSWORD  send Basic credentials
  --bearer TOKEN        send a bearer token
  --protocol P          offer a subprotocol; may be repeated, the most wanted first
  --deflate             offer to compress messages
  --redirects N         follow so many redirects [0]
  --timeout SECONDS     how long connecting may take [10]
  --max-message BYTES   the longest message taken [67108864]
  --proxy URL           go through this proxy: http, https, socks5 or socks5h, as
                        http://USER:PASSWORD@HOST:PORT [that of HTTPS_PROXY, http_proxy, ALL_PROXY]
  --no-proxy            go through none
  --ca FILE             roots in PEM to check the server's certificate with [those of the system]
  --cert FILE           a client certificate in PEM, with those that it needs; and its
  --key FILE            private key
  -k, --insecure        do not check the server's certificate

Ctrl-C ends it with a result. The exit status is explained by bellwire --help.";

/// A text, 64 bytes long, as often as it takes.
const PATTERN: &[u8; 64] = b"The quick brown fox jumps over the lazy dog, again and again. # ";

#[derive(Debug)]
pub(crate) struct Options {
    pub(super) reach: Reach,
    pub(super) style: Style,
    pub(super) json: bool,
    pub(super) connections: usize,
    pub(super) pace: Pace,
    pub(super) duration: Duration,
    pub(super) wait: Duration,
    pub(super) message: OwnedMessage,
    /// Answers are the message again.
    pub(super) expects_echo: bool,
}

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// So many a second.
    Rate(f64),
    /// So many of each connection wait for their answer.
    Depth(usize),
}

#[derive(Debug)]
struct Draft {
    reach: Reach,
    style: Style,
    json: bool,
    connections: usize,
    rate: Option<f64>,
    depth: Option<usize>,
    duration: Duration,
    wait: Duration,
    size: usize,
    binary: bool,
    message: Option<String>,
}

/// Reads the options; `None` if it is help that is wanted.
pub(crate) fn parse(arguments: &mut Arguments) -> Result<Option<Options>, Failure> {
    let mut draft = Draft {
        reach: Reach::default(),
        style: Style::default(),
        json: false,
        connections: 1,
        rate: None,
        depth: None,
        duration: Duration::from_secs(10),
        wait: Duration::from_secs(5),
        size: 64,
        binary: false,
        message: None,
    };
    while let Some(given) = arguments.next()? {
        match given {
            Given::Option(name) if name == "help" => return Ok(None),
            Given::Option(name) => draft.take(&name, arguments)?,
            Given::Value(url) if draft.reach.takes_url(&url) => {}
            Given::Value(_) => return Err(unexpected("URL")),
        }
    }
    draft.finish().map(Some)
}

impl Draft {
    fn take(&mut self, option: &str, arguments: &mut Arguments) -> Result<(), Failure> {
        match option {
            "connections" => self.connections = arguments.positive(option)?,
            "rate" => {
                let rate = arguments.parsed(option, "messages a second")?;
                let mistake = || Failure::usage("--rate takes messages a second, more than none");
                self.rate = Some(rate).filter(|rate| (1e-3..=1e9).contains(rate));
                self.rate.ok_or_else(mistake)?;
            }
            "depth" => self.depth = Some(arguments.positive(option)?),
            "duration" => self.duration = arguments.some_seconds(option)?,
            "wait" => self.wait = arguments.seconds(option)?,
            "size" => self.size = arguments.parsed(option, "a number of bytes")?,
            "binary" => self.binary = true,
            "message" => self.message = Some(arguments.text(option)?),
            "json" => self.json = true,
            "jsonl" | "no-color" | "quiet" => drop(self.style.takes(option)?),
            option if self.reach.takes(option, arguments)? => {}
            option => return Err(unknown(option)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Options, Failure> {
        if self.json && self.style.format == Format::Jsonl {
            return Err(Failure::usage("--json and --jsonl exclude each other"));
        }
        let pace = match (self.rate, self.depth) {
            (Some(_), Some(_)) => return Err(Failure::usage("--rate and --depth exclude each other")),
            (Some(rate), None) => Pace::Rate(rate),
            (None, depth) => Pace::Depth(depth.unwrap_or(1)),
        };
        let message = self.message();
        let Self { reach, style, json, connections, duration, wait, .. } = self;
        let expects_echo = self.message.is_none();
        Ok(Options { reach, style, json, connections, pace, duration, wait, message, expects_echo })
    }

    fn message(&self) -> OwnedMessage {
        let pattern = || PATTERN.iter().copied().cycle().take(self.size);
        match &self.message {
            Some(text) if self.binary => text.as_bytes().into(),
            Some(text) => text.as_str().into(),
            None if self.binary => pattern().collect::<Vec<u8>>().into(),
            None => pattern().map(char::from).collect::<String>().into(),
        }
    }
}
