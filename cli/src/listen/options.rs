//! The options of `bellwire listen`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use bellwire::config::Deflate;
use bellwire::{Config, ServerTls};

use crate::arguments::{Arguments, Given, unexpected, unknown};
use crate::exit::Failure;
use crate::input::Form;
use crate::output::{Format, Style};
use crate::tls;

pub(crate) const HELP: &str = "\
A server for debugging: prints what arrives, and sends the lines of the standard input to all.

Usage: bellwire listen [ADDR] [OPTIONS]

  ADDR is HOST:PORT, PORT for this machine only, or :PORT for all its addresses [127.0.0.1:9001];
  with port 0 the system chooses

What it does
  --echo                send every message back
  --once                end when the first connection has ended
  --protocol P          choose this subprotocol, if it is offered; may be repeated, the best first
  --tls CERT KEY        speak TLS, with a certificate and its private key, files in PEM
  --any-origin          take browsers from every page, not only from the same host
  --deflate             compress messages, if the client wants it
  --ping SECONDS        send pings, and print how long their answers take
  --max-message BYTES   the longest message taken [67108864]
  --no-commands         on a terminal: send lines like /ping, too; /help lists them

What is printed
  --jsonl               a JSON object in each line; the input as well, as {\"text\": ..}
  --hex                 binary messages as a dump, with offsets and characters
  --raw                 the bytes of messages, and nothing else
  --timestamps          when each came, in UTC
  --no-color            no colours; nor with NO_COLOR in the environment
  -q, --quiet           only messages and errors
  -v, --verbose         the headers of requests, and pings and pongs

It ends with Ctrl-C, on a terminal with Ctrl-D. The exit status is explained by bellwire --help.";

const ADDR: &str = "127.0.0.1:9001";

/// The longest message that is taken, unless the user says otherwise.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Options {
    pub(super) addr: String,
    pub(super) style: Style,
    pub(super) verbose: bool,
    pub(super) echo: bool,
    pub(super) once: bool,
    pub(super) protocols: Vec<String>,
    pub(super) ping: Option<Duration>,
    pub(super) form: Form,
    pub(super) config: Config,
    pub(super) tls: Option<ServerTls>,
}

/// Reads the options; `None` if it is help that is wanted.
pub(crate) fn parse(arguments: &mut Arguments) -> Result<Option<Options>, Failure> {
    let mut options = Options {
        addr: String::new(),
        style: Style::default(),
        verbose: false,
        echo: false,
        once: false,
        protocols: Vec::new(),
        ping: None,
        form: if io::stdin().is_terminal() { Form::Commands } else { Form::Lines },
        config: Config::default().max_message(MAX_MESSAGE),
        tls: None,
    };
    while let Some(given) = arguments.next()? {
        match given {
            Given::Option(name) if name == "help" => return Ok(None),
            Given::Option(name) => options.take(&name, arguments)?,
            Given::Value(addr) if options.addr.is_empty() => options.addr = address(&addr),
            Given::Value(_) => return Err(unexpected("ADDR")),
        }
    }
    Ok(Some(options.finish()))
}

impl Options {
    fn take(&mut self, option: &str, arguments: &mut Arguments) -> Result<(), Failure> {
        match option {
            "echo" => self.echo = true,
            "once" => self.once = true,
            "verbose" => self.verbose = true,
            "no-commands" => self.form = Form::Lines,
            "protocol" => self.protocols.push(arguments.text(option)?),
            "ping" => self.ping = Some(arguments.some_seconds(option)?),
            "tls" => self.tls = Some(tls::server(&arguments.text(option)?, &arguments.text(option)?)?),
            "any-origin" => self.change(Config::any_origin),
            "deflate" => self.change(|config| config.deflate(Deflate::default())),
            "max-message" => {
                let bytes = arguments.parsed(option, "a number of bytes")?;
                self.change(|config| config.max_message(bytes));
            }
            option if self.style.takes(option)? => {}
            option => return Err(unknown(option)),
        }
        Ok(())
    }

    fn change(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(std::mem::take(&mut self.config));
    }

    fn finish(mut self) -> Self {
        if self.addr.is_empty() {
            self.addr = ADDR.into();
        }
        if self.style.format == Format::Jsonl {
            self.form = Form::Jsonl;
        }
        self
    }
}

/// `9001` is for this machine only, `:9001` for everybody.
fn address(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("127.0.0.1:{text}")
    } else if let Some(port) = text.strip_prefix(':').filter(|port| !port.contains(':')) {
        format!("0.0.0.0:{port}")
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_an_address() {
        assert_eq!(address("9001"), "127.0.0.1:9001");
        assert_eq!(address(":9001"), "0.0.0.0:9001");
        for addr in ["localhost:1", "[::1]:9001", "::1", ""] {
            assert_eq!(address(addr), addr);
        }
    }
}
