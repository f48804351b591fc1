//! Where a NATS server is, and with which credentials.

use std::fmt;

use async_nats::{ConnectOptions, ServerAddr};

use crate::error::BrokerError;

/// A server by its URL. No password of it is ever printed.
#[derive(Clone)]
pub(super) struct Server {
    /// Without credentials.
    address: ServerAddr,
    credentials: Option<Credentials>,
}

#[derive(Clone)]
enum Credentials {
    Token(String),
    User(String, String),
}

/// Parses URLs that commas separate.
pub(super) fn parse(urls: &str) -> Result<Vec<Server>, BrokerError> {
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let servers: Vec<_> = urls.map(|url| server(url).map_err(BrokerError::Url)).collect::<Result<_, _>>()?;
    if servers.is_empty() {
        return Err(BrokerError::Url("it is empty: write nats://HOST or tls://HOST".into()));
    }
    Ok(servers)
}

fn server(url: &str) -> Result<Server, String> {
    let (scheme, _) = url.split_once("://").unwrap_or(("nats", url));
    if !matches!(scheme, "nats" | "tls") {
        let scheme: String = scheme.chars().take(16).collect();
        return Err(format!("{scheme:?} is no scheme of NATS: write nats://HOST, or tls://HOST for TLS"));
    }
    // The parser says of a problem what it is, and not where.
    let address: ServerAddr = url
        .parse()
        .map_err(|error| format!("{error}; in credentials, what is no letter or digit is percent-encoded"))?;
    if address.host().is_empty() {
        return Err(format!("there is no host in it: write {scheme}://HOST"));
    }
    let (user, password) = (address.username().map(decode), address.password().map(decode));
    let credentials = match (user, password) {
        (None, None) => None,
        (Some(token), None) => Some(Credentials::Token(token?)),
        (user, Some(password)) => Some(Credentials::User(user.transpose()?.unwrap_or_default(), password?)),
    };
    let mut bare = address.into_inner();
    if !matches!(bare.path(), "" | "/") || bare.query().is_some() || bare.fragment().is_some() {
        return Err(format!("something follows the host: write {scheme}://HOST:PORT"));
    }
    if credentials.is_some() && bare.set_password(None).and_then(|()| bare.set_username("")).is_err() {
        return Err("its credentials cannot be read".into());
    }
    let address = ServerAddr::from_url(bare).map_err(|error| error.to_string())?;
    Ok(Server { address, credentials })
}

/// Undoes the percent-encoding of credentials.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after.split_first_chunk::<2>().and_then(|(digits, after)| Some((hex(*digits)?, after)));
        let Some((escaped, after)) = digits else {
            return Err("in its credentials a percent sign without two digits: write %25 for the sign itself".into());
        };
        bytes.push(escaped);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| "its credentials are not UTF-8".into())
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

impl Server {
    pub(super) fn address(&self) -> ServerAddr {
        self.address.clone()
    }

    /// Whether another one is at the same place.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        (self.address.host(), self.address.port()) == (other.address.host(), other.address.port())
    }

    /// Another server of its cluster, that wants the same credentials. Not over TLS: its certificate need not be one for
    /// this address.
    pub(super) fn sibling(&self, place: &str) -> Option<Self> {
        let found = server(place).ok().filter(|found| found.credentials.is_none() && !self.address.tls_required())?;
        Some(Self { credentials: self.credentials.clone(), ..found })
    }

    /// Adds the credentials to options.
    pub(super) fn authenticate(&self, options: ConnectOptions) -> ConnectOptions {
        match &self.credentials {
            None => options,
            Some(Credentials::Token(token)) => options.token(token.clone()),
            Some(Credentials::User(user, password)) => options.user_and_password(user.clone(), password.clone()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.address.host(), self.address.port());
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Server {
        parse(url).unwrap().remove(0)
    }

    fn credentials(url: &str) -> Option<(String, Option<String>)> {
        match one(url).credentials {
            None => None,
            Some(Credentials::Token(token)) => Some((token, None)),
            Some(Credentials::User(user, password)) => Some((user, Some(password))),
        }
    }

    #[test]
    fn the_port_is_4222_unless_the_url_says_otherwise() {
        for (url, place) in [
            ("nats://a.example", "a.example:4222"),
            ("nats://a.example/", "a.example:4222"),
            ("nats://10.0.0.1:4333", "10.0.0.1:4333"),
            ("tls://[::1]:1", "[::1]:1"),
            ("localhost", "localhost:4222"),
            ("localhost:4333", "localhost:4333"),
            ("nats://user:secret@a.example:4333", "a.example:4333"),
        ] {
            assert_eq!(one(url).to_string(), place, "{url}");
        }
    }

    #[test]
    fn several_servers_are_separated_by_commas() {
        let servers = parse("nats://a, tls://u:p@b:1 ,nats://c,").unwrap();
        assert_eq!(format!("{servers:?}"), "[a:4222, b:1, c:4222]");
        assert!(servers[1].address().tls_required() && !servers[0].address().tls_required());
    }

    #[test]
    fn credentials_are_a_user_and_a_password_or_a_token() {
        assert_eq!(credentials("nats://a"), None);
        assert_eq!(credentials("nats://t%20%C3%A9k@a"), Some(("t ék".into(), None)));
        assert_eq!(credentials("nats://u:p%40%2C%25@a"), Some(("u".into(), Some("p@,%".into()))));
        assert_eq!(credentials("nats://u:@a"), Some(("u".into(), None)), "as if it were a token: no password is one");
        assert_eq!(credentials("nats://:p@a"), Some((String::new(), Some("p".into()))));
    }

    #[test]
    fn what_is_no_url_of_nats_is_refused_and_nothing_of_it_is_printed() {
        for (url, says) in [
            ("", "it is empty"),
            (" , ", "it is empty"),
            ("http://user:secret@a", "\"http\" is no scheme of NATS"),
            ("redis://:secret@a", "\"redis\" is no scheme of NATS"),
            ("secretsecretsecretsecret://a", "is no scheme of NATS"),
            ("nats://", "no host"),
            ("tls:///", "no host"),
            ("nats://user:secret@", "host"),
            ("nats://user:sec/ret@a", "percent-encoded"),
            ("nats://a:secret", "port"),
            ("nats://a:70000", "port"),
            ("nats://user:secret%@a", "%25"),
            ("nats://user:secret%zz@a", "%25"),
            ("nats://user:secret%ff@a", "UTF-8"),
            ("nats://user:secret@a/path", "follows the host"),
            ("nats://user:secret@a?b", "follows the host"),
            ("nats://user:secret@a#b", "follows the host"),
            ("nats://a, http://user:secret@b", "no scheme"),
            ("nats://a b", "invalid domain"),
            ("nats://user:s,ecret@a", "port"),
        ] {
            let error = parse(url).unwrap_err();
            let texts = [error.to_string(), format!("{error:?}")];
            assert!(matches!(error, BrokerError::Url(_)) && texts[0].contains(says), "{url}: {error}");
            assert!(
                texts.iter().all(|text| !text.contains("secretsecretsecrets") && !text.contains("user")),
                "{error:?}"
            );
            assert!(url.starts_with("secret") || texts.iter().all(|text| !text.contains("secret")), "{error:?}");
        }
    }
}
