//! The options of `bellwire connect`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use bellwire::reconnect::{Offline, Policy};

use crate::arguments::{self, Arguments, unexpected, unknown};
use crate::exit::Failure;
use crate::input::Form;
use crate::output::{Format, Style};
use crate::reach::Reach;

pub(crate) const HELP: &str = "\
Sends the lines of the standard input as text messages, and prints what arrives.

Usage: bellwire connect URL [OPTIONS]

What is sent
  --send TEXT           send this instead of the standard input; may be repeated
  --file FILE           send a file as a binary message; may be repeated, in turns with --send
  --on-open TEXT        send this first, on each connection; may be repeated
  --binary              send the whole standard input as one binary message
  --no-commands         on a terminal: send lines like /ping, too; /help lists them
  --ping SECONDS        send pings, and print how long their answers take

When it ends
  --count N             print N messages, and close [with --send or --file: one for each]
  --wait SECONDS        how long to wait for messages when the input has ended [5 if they are
                        counted, else 0]
  --stay                stay when the input has ended, until the server closes
  --reconnect           connect again when that may help; what was not sent is sent then
  --tries N             give up after so many tries in a row that came to nothing

What is printed
  --jsonl               a JSON object in each line; the input as well, as {\"text\": ..}
  --hex                 binary messages as a dump, with offsets and characters
  --raw                 the bytes of messages, and nothing else
  --timestamps          when each came, in UTC
  --no-color            no colours; nor with NO_COLOR in the environment
  -q, --quiet           only messages and errors
  -v, --verbose         the headers of the answer, and pings and pongs

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

The exit status is explained by bellwire --help.";

/// How long to wait for messages that are counted.
const WAIT: Duration = Duration::from_secs(5);

/// The longest delay before the first try to connect again: shorter than a program's, since somebody waits for it.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay before any.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What is kept beside that, while a connection goes and nobody has noticed.
const KEPT: Offline = Offline::Keep { messages: 64, bytes: 1024 * 1024 };

#[derive(Debug)]
pub(crate) struct Options {
    pub(super) reach: Reach,
    pub(super) style: Style,
    pub(super) verbose: bool,
    pub(super) source: Source,
    pub(super) on_open: Vec<String>,
    reconnect: bool,
    tries: Option<u32>,
    pub(super) ping: Option<Duration>,
    pub(super) count: Option<usize>,
    /// For ever, if there is none.
    pub(super) wait: Option<Duration>,
}

impl Options {
    /// When to connect again. What a lost connection has not written is kept for the next.
    pub(super) fn policy(&self) -> Policy {
        let policy = Policy::new().first_delay(FIRST_DELAY).max_delay(MAX_DELAY).offline(KEPT);
        match self.tries {
            _ if !self.reconnect => policy.retry_if(|_| Some(false)),
            Some(tries) => policy.max_tries(tries),
            None => policy,
        }
    }
}

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Source {
    Given(Vec<Given>),
    Input(Form),
}

/// A message of the command line.
#[derive(Debug)]
pub(super) enum Given {
    Text(String),
    File(String),
}

#[derive(Debug, Default)]
struct Draft {
    reach: Reach,
    style: Style,
    verbose: bool,
    given: Vec<Given>,
    on_open: Vec<String>,
    reconnect: bool,
    tries: Option<u32>,
    binary: bool,
    no_commands: bool,
    ping: Option<Duration>,
    count: Option<usize>,
    wait: Option<Duration>,
    stay: bool,
}

/// Reads the options; `None` if it is help that is wanted.
pub(crate) fn parse(arguments: &mut Arguments) -> Result<Option<Options>, Failure> {
    let mut draft = Draft::default();
    while let Some(given) = arguments.next()? {
        match given {
            arguments::Given::Option(name) if name == "help" => return Ok(None),
            arguments::Given::Option(name) => draft.take(&name, arguments)?,
            arguments::Given::Value(url) if draft.reach.takes_url(&url) => {}
            arguments::Given::Value(_) => return Err(unexpected("URL")),
        }
    }
    draft.finish().map(Some)
}

impl Draft {
    fn take(&mut self, option: &str, arguments: &mut Arguments) -> Result<(), Failure> {
        match option {
            "send" => self.given.push(Given::Text(arguments.text(option)?)),
            "file" => self.given.push(Given::File(arguments.text(option)?)),
            "on-open" => self.on_open.push(arguments.text(option)?),
            "reconnect" => self.reconnect = true,
            "tries" => {
                let tries = arguments.positive(option)?;
                (self.reconnect, self.tries) = (true, Some(u32::try_from(tries).unwrap_or(u32::MAX)));
            }
            "binary" => self.binary = true,
            "no-commands" => self.no_commands = true,
            "ping" => self.ping = Some(arguments.some_seconds(option)?),
            "count" => self.count = Some(arguments.parsed(option, "a number of messages")?),
            "wait" => self.wait = Some(arguments.seconds(option)?),
            "stay" => self.stay = true,
            "verbose" => self.verbose = true,
            option if self.style.takes(option)? || self.reach.takes(option, arguments)? => {}
            option => return Err(unknown(option)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Options, Failure> {
        let form = self.form()?;
        let Self { reach, style, verbose, given, on_open, reconnect, tries, ping, mut count, .. } = self;
        if !given.is_empty() && !self.stay {
            count = count.or(Some(given.len()));
        }
        let wait = match self.wait {
            _ if self.stay => None,
            None if count.is_some() => Some(WAIT),
            wait => wait.or(Some(Duration::ZERO)),
        };
        let source = if given.is_empty() { Source::Input(form) } else { Source::Given(given) };
        Ok(Options { reach, style, verbose, source, on_open, reconnect, tries, ping, count, wait })
    }

    fn form(&self) -> Result<Form, Failure> {
        if self.binary && (self.style.format == Format::Jsonl || !self.given.is_empty()) {
            return Err(Failure::usage("--binary is about the standard input: not with --jsonl, --send or --file"));
        }
        if self.stay && self.wait.is_some() {
            return Err(Failure::usage("--stay and --wait exclude each other"));
        }
        Ok(match self.style.format {
            Format::Jsonl => Form::Jsonl,
            _ if self.binary => Form::Binary,
            _ if !self.no_commands && io::stdin().is_terminal() => Form::Commands,
            _ => Form::Lines,
        })
    }
}
