//! How a server is reached: the options that `connect` and `bench` share.

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bellwire::config::Deflate;
use bellwire::{Config, Target};

use crate::arguments::Arguments;
use crate::exit::Failure;

/// The longest message that is taken, unless the user says otherwise: nobody is served here whom that could hurt.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Compression that is asked for is for every message that can get shorter by it.
const DEFLATE_FROM: usize = 64;

#[derive(Debug)]
pub(crate) struct Reach {
    url: Option<String>,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
    deflate: bool,
    open_timeout: Option<Duration>,
    max_message: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            url: None,
            headers: Vec::new(),
            protocols: Vec::new(),
            deflate: false,
            open_timeout: None,
            max_message: MAX_MESSAGE,
        }
    }
}

impl Reach {
    /// Takes the URL; without a scheme it is `ws://`. Returns `false` if there is one already.
    pub(crate) fn takes_url(&mut self, url: &str) -> bool {
        let is_first = self.url.is_none();
        if is_first {
            self.url = Some(if url.contains("://") { url.into() } else { format!("ws://{url}") });
        }
        is_first
    }

    /// Takes an option about the way to a server. Returns `false` if it is about something else.
    pub(crate) fn takes(&mut self, option: &str, arguments: &mut Arguments) -> Result<bool, Failure> {
        match option {
            "header" => self.take_header(&arguments.text(option)?)?,
            "origin" => self.headers.push(("Origin".into(), arguments.text(option)?)),
            "auth" => self.take_credentials(&arguments.text(option)?)?,
            "bearer" => {
                let token = arguments.text(option)?;
                self.headers.push(("Authorization".into(), format!("Bearer {token}")));
            }
            "protocol" => self.protocols.push(arguments.text(option)?),
            "deflate" => self.deflate = true,
            "timeout" => self.open_timeout = Some(arguments.some_seconds(option)?),
            "max-message" => self.max_message = arguments.parsed(option, "a number of bytes")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `Name: value`, or `@FILE` with one in each line: what is in a command line can be seen by others, a file cannot.
    fn take_header(&mut self, text: &str) -> Result<(), Failure> {
        let Some(file) = text.strip_prefix('@') else { return self.add_header(text) };
        let lines = fs::read_to_string(file).map_err(|error| Failure::file(file, error))?;
        lines.lines().filter(|line| !line.trim().is_empty()).try_for_each(|line| self.add_header(line))
    }

    fn add_header(&mut self, text: &str) -> Result<(), Failure> {
        let (name, value) =
            text.split_once(':').ok_or_else(|| Failure::usage("--header takes 'Name: value', or @FILE"))?;
        self.headers.push((name.trim().into(), value.trim().into()));
        Ok(())
    }

    fn take_credentials(&mut self, text: &str) -> Result<(), Failure> {
        if !text.contains(':') {
            return Err(Failure::usage("--auth takes USER:PASSWORD"));
        }
        self.headers.push(("Authorization".into(), format!("Basic {}", BASE64_STANDARD.encode(text))));
        Ok(())
    }

    /// Where to connect, and how; `change` has the last word about the configuration.
    pub(crate) fn target(&self, change: impl FnOnce(Config) -> Config) -> Result<Target, Failure> {
        let url = self.url.as_deref().ok_or_else(|| Failure::usage("a URL is missing, as ws://127.0.0.1:9001/"))?;
        let mut config = Config::default().max_message(self.max_message);
        if self.deflate {
            config = config.deflate(Deflate::default().threshold(DEFLATE_FROM));
        }
        if let Some(timeout) = self.open_timeout {
            config = config.open_timeout(timeout);
        }
        let mut target = Target::new(url)?.config(change(config));
        for (name, value) in &self.headers {
            target = target.header(name, value)?;
        }
        for protocol in &self.protocols {
            target = target.protocol(protocol)?;
        }
        Ok(target)
    }
}
