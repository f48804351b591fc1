//! How a server is reached: the options that `connect` and `bench` share.

use std::fs;
use std::time::Duration;

use bellwire::config::Deflate;
use bellwire::proto::client::ProxyError;
use bellwire::{Config, ConnectError, Proxy, Target};

use crate::arguments::Arguments;
use crate::exit::Failure;
use crate::screen::{Colour, Screen, Stream};
use crate::tls::{INSECURE, TlsOptions};

/// The longest message that is taken, unless the user says otherwise: nobody is served here whom that could hurt.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Compression that is asked for is for every message that can get shorter by it.
const DEFLATE_FROM: usize = 64;

#[derive(Debug)]
pub(crate) struct Reach {
    url: Option<String>,
    headers: Vec<(String, String)>,
    credentials: Option<Credentials>,
    protocols: Vec<String>,
    tls: TlsOptions,
    proxy: Option<String>,
    no_proxy: bool,
    redirects: u8,
    deflate: bool,
    open_timeout: Option<Duration>,
    max_message: usize,
}

/// What the `Authorization` is to be. Its `Debug` would show it, so it has none.
enum Credentials {
    Basic(String, String),
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            url: None,
            headers: Vec::new(),
            credentials: None,
            protocols: Vec::new(),
            tls: TlsOptions::default(),
            proxy: None,
            no_proxy: false,
            redirects: 0,
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
            self.url = Some(if has_scheme(url) { url.into() } else { format!("ws://{url}") });
        }
        is_first
    }

    /// Takes an option about the way to a server. Returns `false` if it is about something else.
    pub(crate) fn takes(&mut self, option: &str, arguments: &mut Arguments) -> Result<bool, Failure> {
        match option {
            "header" => self.take_header(&arguments.text(option)?)?,
            "origin" => self.headers.push(("Origin".into(), arguments.text(option)?)),
            "auth" => self.take_credentials(&arguments.text(option)?)?,
            "bearer" => self.credentials = Some(Credentials::Bearer(arguments.text(option)?)),
            "proxy" => self.proxy = Some(arguments.text(option)?),
            "no-proxy" => self.no_proxy = true,
            "redirects" => self.redirects = arguments.parsed(option, "a number of redirects, at most 255")?,
            "protocol" => self.protocols.push(arguments.text(option)?),
            "deflate" => self.deflate = true,
            "timeout" => self.open_timeout = Some(arguments.some_seconds(option)?),
            "max-message" => self.max_message = arguments.parsed(option, "a number of bytes")?,
            option => return self.tls.takes(option, arguments),
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
        let (user, password) = text.split_once(':').ok_or_else(|| Failure::usage("--auth takes USER:PASSWORD"))?;
        self.credentials = Some(Credentials::Basic(user.into(), password.into()));
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
        let target = Target::new(url)?.config(change(config)).redirects(self.redirects);
        let mut target = self.with_tls(self.with_proxy(self.with_credentials(target)?)?)?;
        for (name, value) in &self.headers {
            target = target.header(name, value)?;
        }
        for protocol in &self.protocols {
            target = target.protocol(protocol)?;
        }
        Ok(target)
    }

    fn with_credentials(&self, target: Target) -> Result<Target, ConnectError> {
        match &self.credentials {
            Some(Credentials::Basic(user, password)) => target.basic_auth(user, password),
            Some(Credentials::Bearer(token)) => target.bearer(token),
            None => Ok(target),
        }
    }

    /// The environment's proxy, unless the user says otherwise.
    fn with_proxy(&self, target: Target) -> Result<Target, Failure> {
        Ok(match &self.proxy {
            Some(_) if self.no_proxy => return Err(Failure::usage("--proxy and --no-proxy exclude each other")),
            Some(url) => {
                target.proxy(Proxy::new(url).map_err(|error| ConnectError::Proxy(ProxyError::Invalid(error)))?)
            }
            None if self.no_proxy => target,
            None => target.proxy_from_env()?,
        })
    }

    fn with_tls(&self, target: Target) -> Result<Target, Failure> {
        if self.tls.insecure {
            Screen::new(Stream::Err, true).print(Some(Colour::Red), &format!("bellwire: {INSECURE}"))?;
        }
        Ok(match self.tls.client()? {
            Some(tls) => target.tls(tls),
            None => target,
        })
    }
}

/// Whether a URL begins with a scheme. There may be another URL in its query.
fn has_scheme(url: &str) -> bool {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    url.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_at_the_beginning() {
        for url in ["ws://a", "wss://a/?u=http://b", "soap.beep+x-1://a", "://a"] {
            assert!(has_scheme(url), "{url}");
        }
        for url in ["a", "a:9001", "[::1]:9001/", "localhost/?u=http://b", "user:pass@a/x://y"] {
            assert!(!has_scheme(url), "{url}");
        }
    }
}
