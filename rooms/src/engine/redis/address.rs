//! URLs of Redis, and what is wrong with others. No error repeats what was given: there may be a password in it.

use redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError};

use crate::error::BrokerError;

const EXAMPLES: &str = "write redis://host:6379, rediss://host:6379 for TLS, or unix:///path/of/socket";

/// Where a Sentinel listens unless it was told otherwise.
const SENTINEL_PORT: u16 = 26379;

/// Reads a URL.
pub(super) fn parse(url: &str) -> Result<Client, BrokerError> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "rediss" | "valkeys" if !cfg!(feature = "redis-tls") => Err(BrokerError::Url(format!(
            "{scheme}:// is Redis over TLS, which needs the feature `redis-tls` (`rooms-redis-tls` of bellwire)"
        ))),
        "redis" | "rediss" | "valkey" | "valkeys" => Client::open(url).map_err(|error| invalid(&error)),
        "unix" | "redis+unix" | "valkey+unix" => Client::open(url).map_err(|error| {
            let BrokerError::Url(problem) = invalid(&error) else { return invalid(&error) };
            BrokerError::Url(format!(
                "{problem}: a socket's path begins with a third `/`, and credentials follow it, as in \
                 unix:///run/redis.sock?user=…&pass=…"
            ))
        }),
        _ if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Err(BrokerError::Url(format!("{scheme}:// is not Redis: {EXAMPLES}")))
        }
        _ => Err(BrokerError::Url(format!("it has no scheme: {EXAMPLES}"))),
    }
}

/// What the client library says of a URL, or of the way that a client was told to go.
pub(super) fn invalid(error: &RedisError) -> BrokerError {
    let text = error.to_string();
    // The library's own words: an error of this kind never has a part of the URL in it before this.
    let problem = text.split(" - ").next().unwrap_or_default();
    BrokerError::Url(match (error.kind(), problem) {
        (ErrorKind::InvalidClientConfig, "Redis URL did not parse") => format!(
            "it cannot be parsed: write `:`, `/`, `?`, `#`, `@` and `%` in a user's name or a password as %3A, %2F, \
             %3F, %23, %40 and %25, and a port as a number up to 65535; otherwise {EXAMPLES}"
        ),
        (ErrorKind::InvalidClientConfig, problem) => format!("{problem}: {EXAMPLES}"),
        _ => EXAMPLES.into(),
    })
}

/// The same client, and the database that it is to use, for a connection in RESP3 that sends nothing but `HELLO` by
/// itself: where that is the only command, what Redis says before it hangs up is not lost.
pub(super) fn for_rooms(client: &Client) -> Result<(Client, i64), BrokerError> {
    let info = client.get_connection_info();
    let database = info.redis_settings().db();
    Ok((plain(info.clone(), ProtocolVersion::RESP3)?, database))
}

/// The same client, for a connection to a Sentinel: in RESP2, which needs no command but those that it is asked by.
pub(super) fn for_sentinel(client: &Client, is_usual_port: bool) -> Result<Client, BrokerError> {
    let info = client.get_connection_info().clone();
    let info = match host(client) {
        Some(host) if is_usual_port => leading_to(info, host, SENTINEL_PORT),
        _ => info,
    };
    plain(info, ProtocolVersion::RESP2)
}

/// The same client, leading somewhere else.
pub(super) fn at(client: &Client, host: &str, port: u16) -> Result<Client, BrokerError> {
    let info = leading_to(client.get_connection_info().clone(), host, port);
    Client::open(info).map_err(|error| invalid(&error))
}

fn leading_to(info: ConnectionInfo, to: &str, at: u16) -> ConnectionInfo {
    let mut addr = info.addr().clone();
    match &mut addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (*host, *port) = (to.to_owned(), at);
        }
        _ => {}
    }
    info.set_addr(addr)
}

/// What sends nothing by itself but what it needs to be let in.
fn plain(info: ConnectionInfo, protocol: ProtocolVersion) -> Result<Client, BrokerError> {
    #[cfg(feature = "redis-tls")]
    if let ConnectionAddr::TcpTls { .. } = info.addr() {
        // rustls would do the same, if it did not find another provider as well, and panic. A program's own choice
        // stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let settings = info.redis_settings().clone().set_protocol(protocol).set_skip_set_lib_name().set_db(0);
    Client::open(info.set_redis_settings(settings)).map_err(|error| invalid(&error))
}

/// Whether a URL says which port it is.
pub(super) fn has_port(url: &str) -> bool {
    redis::parse_redis_url(url).is_some_and(|url| url.port().is_some())
}

/// Where a client goes, unless that is a socket.
pub(super) fn host(client: &Client) -> Option<&str> {
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        _ => None,
    }
}

/// Where a client goes, without credentials.
pub(super) fn shown(client: &Client) -> String {
    let addr = client.get_connection_info().addr();
    let (scheme, host, port) = match addr {
        ConnectionAddr::Tcp(host, port) => ("redis", host, port),
        ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
        _ => return format!("unix://{addr}"),
    };
    if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> String {
        match parse(url) {
            Err(BrokerError::Url(problem)) => problem,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_of_redis_are_taken() {
        for (url, expected) in [
            ("redis://host", "redis://host:6379"),
            ("redis://user:pa%40ss@host:7000/3", "redis://host:7000"),
            ("redis://:pass@[::1]:7000", "redis://[::1]:7000"),
            ("valkey://host", "redis://host:6379"),
            ("unix:///run/redis.sock?user=me&pass=hidden&db=2", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            assert_eq!(shown(&parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_redis_says_what_would_be() {
        for (url, expected) in [
            ("", "no scheme"),
            ("localhost:6379", "no scheme"),
            ("http://host", "http:// is not Redis"),
            ("nats://host:4222", "nats:// is not Redis"),
            ("redis://", "Missing hostname"),
            ("redis://user:a/b@host", "%2F"),
            ("redis://host:port", "a port as a number"),
            ("redis://host:99999", "a port as a number"),
            ("redis://0.0.0.0", "wildcard address"),
            ("redis://host/chat", "database number"),
            ("redis://host/?protocol=x", "protocol version"),
            ("unix://run/redis.sock", "a third `/`"),
            ("unix:///run/redis.sock?db=x", "database number"),
        ] {
            let problem = problem(url);
            assert!(problem.contains(expected), "{url}: {problem}");
            assert!(problem.contains("redis://") || problem.contains("unix:///"), "{url}: {problem}");
        }
    }

    #[test]
    #[cfg(not(feature = "redis-tls"))]
    fn tls_is_said_to_be_a_feature() {
        assert!(problem("rediss://host").contains("`redis-tls`"));
    }

    #[test]
    #[cfg(feature = "redis-tls")]
    fn tls_is_taken() {
        assert_eq!(shown(&parse("rediss://host").unwrap()), "rediss://host:6379");
    }

    #[test]
    fn no_error_repeats_a_password() {
        for url in [
            "hidden",
            "user:hidden@host",
            "http://user:hidden@host",
            "user:hidden://host",
            "redis://user:hidden@",
            "redis://user:hidden/@host",
            "redis://user:hidden#@host",
            "redis://user:hidden@host:port",
            "redis://user:hidden@host/hidden",
            "redis://user:hidden@host/?protocol=hidden",
            "redis://user:hidden%FF@host",
            "unix://user:hidden@/run/redis.sock",
            "unix:///run/redis.sock?pass=hidden&db=hidden",
        ] {
            let shown = problem(url);
            assert!(!shown.contains("hidden"), "{url}: {shown}");
        }
    }

    #[test]
    fn a_client_keeps_its_credentials_and_says_nothing_but_hello() {
        let client = Client::open("redis://user:pass@host:7000/3?protocol=resp2").unwrap();
        let (client, database) = for_rooms(&client).unwrap();
        let settings = client.get_connection_info().redis_settings();
        assert_eq!((database, settings.db()), (3, 0));
        assert_eq!((settings.username(), settings.password()), (Some("user"), Some("pass")));
        assert_eq!(settings.protocol(), ProtocolVersion::RESP3);
        assert!(settings.skip_set_lib_name());
    }

    #[test]
    fn sentinels_have_a_port_of_their_own_and_no_database() {
        for (url, expected) in [
            ("redis://s1", "redis://s1:26379"),
            ("redis://user:pass@s1/3", "redis://s1:26379"),
            ("redis://s1:6379", "redis://s1:6379"),
            ("redis://[::1]", "redis://[::1]:26379"),
            ("unix:///run/sentinel", "unix:///run/sentinel"),
        ] {
            let client = for_sentinel(&parse(url).unwrap(), !has_port(url)).unwrap();
            assert_eq!(shown(&client), expected, "{url}");
            let settings = client.get_connection_info().redis_settings();
            assert_eq!((settings.db(), settings.protocol()), (0, ProtocolVersion::RESP2), "{url}");
        }
    }

    #[test]
    fn a_client_that_leads_elsewhere_keeps_all_else() {
        let client = at(&parse("redis://user:pass@My.master_1").unwrap(), "::1", 7000).unwrap();
        assert_eq!(shown(&client), "redis://[::1]:7000");
        assert_eq!(client.get_connection_info().redis_settings().password(), Some("pass"));
        #[cfg(feature = "redis-tls")]
        assert_eq!(shown(&at(&parse("rediss://mymaster").unwrap(), "h", 1).unwrap()), "rediss://h:1");
    }
}
