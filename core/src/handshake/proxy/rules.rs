//! Which proxy a URL is reached through, as the environment says it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{InvalidProxy, Proxy, ProxyError};
use crate::http::{Uri, parse_host};
use crate::network::Network;

/// Which proxy a URL is reached through, if any: what [`Target::proxy`](crate::Target::proxy) takes.
///
/// A [`Proxy`] becomes the rule that it is used for every URL, `None` that there is none. The rules of the environment are
/// those of other programs:
///
/// | variable | what it says |
/// |---|---|
/// | `https_proxy`, `HTTPS_PROXY` | the proxy for `wss://` |
/// | `http_proxy` | the proxy for `ws://` |
/// | `all_proxy`, `ALL_PROXY` | the proxy for either, where the ones above are not set |
/// | `no_proxy`, `NO_PROXY` | what is connected to without a proxy |
///
/// The first in a row that is set and not empty counts. **`HTTP_PROXY` is not read**: in a CGI program whoever sends a
/// header `Proxy` would set it. A proxy without a scheme is an `http://` proxy.
///
/// `NO_PROXY` is a list with commas or blanks between its entries:
///
/// | entry | stands for |
/// |---|---|
/// | `*` | everything |
/// | `example.com`, `.example.com`, `*.example.com` | this host, and all whose names end in `.example.com` |
/// | `10.0.0.1`, `::1`, `[::1]` | this address |
/// | `10.0.0.0/8`, `fd00::/8` | each address of this network |
/// | `example.com:8080`, `[::1]:8080` | the same, on this port only |
///
/// Addresses are compared with hosts that are written as addresses: no name is resolved for it. `localhost` is no
/// exception unless it is named.
#[derive(Debug, Clone, Default)]
pub struct ProxyRules {
    secure: Option<Proxy>,
    plain: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// An entry of `NO_PROXY`, with its port, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Domain(String, Option<u16>),
    Network(Network, Option<u16>),
}

impl ProxyRules {
    /// Reads the rules from this process's environment.
    ///
    /// # Errors
    /// [`ProxyError::Variable`] names a variable that cannot be understood, and not its value.
    #[cfg(feature = "std")]
    #[expect(clippy::disallowed_methods, reason = "only when a program asks for the environment's proxies")]
    pub fn from_env() -> Result<Self, ProxyError> {
        // Bytes that are not UTF-8 are in no URL and no name, and fail there.
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the rules from variables: `variable` returns the value of the one of this name.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::proto::client::ProxyRules;
    ///
    /// let rules = ProxyRules::from_variables(|name| match name {
    ///     "https_proxy" => Some("proxy.example:3128".into()),
    ///     "no_proxy" => Some("localhost,10.0.0.0/8".into()),
    ///     _ => None,
    /// })?;
    /// let through = |uri: &str| Ok::<_, bellwire::proto::UriError>(rules.proxy_for(&uri.parse()?).map(|proxy| proxy.port()));
    /// assert_eq!(through("wss://example.com")?, Some(3128));
    /// assert_eq!(through("wss://10.1.2.3")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ProxyError::Variable`] names a variable that cannot be understood, and not its value.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let find = |names: &[&'static str]| {
            let set = |&name: &&'static str| Some((name, variable(name).filter(|value| !value.trim().is_empty())?));
            names.iter().find_map(set)
        };
        let proxy = |names: &[&'static str]| {
            let parse =
                |(name, value): (_, String)| parse_proxy(&value).map_err(|error| ProxyError::Variable(name, error));
            find(names).map(parse).transpose()
        };
        let exceptions = find(&["no_proxy", "NO_PROXY"]).map_or(Ok(Vec::new()), |(name, value)| {
            parse_exceptions(&value).map_err(|error| ProxyError::Variable(name, error))
        });
        Ok(Self {
            secure: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            plain: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            exceptions: exceptions?,
        })
    }

    /// Returns the proxy through which this URI is reached, or `None` if it is connected to directly.
    pub fn proxy_for(&self, uri: &Uri) -> Option<&Proxy> {
        let proxy = if uri.is_secure() { &self.secure } else { &self.plain };
        proxy.as_ref().filter(|_| !self.exceptions.iter().any(|exception| exception.contains(uri)))
    }
}

/// For every URL.
impl From<Proxy> for ProxyRules {
    fn from(proxy: Proxy) -> Self {
        Some(proxy).into()
    }
}

/// For every URL, or for none.
impl From<Option<Proxy>> for ProxyRules {
    fn from(proxy: Option<Proxy>) -> Self {
        Self { secure: proxy.clone(), plain: proxy, exceptions: Vec::new() }
    }
}

fn parse_proxy(text: &str) -> Result<Proxy, InvalidProxy> {
    if text.contains("://") { text.parse() } else { format!("http://{}", text.trim()).parse() }
}

fn parse_exceptions(list: &str) -> Result<Vec<Exception>, InvalidProxy> {
    let entries = list.split(|character: char| character == ',' || character.is_whitespace());
    entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| Exception::parse(entry).ok_or(InvalidProxy::Exception))
        .collect()
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network, None));
        }
        let (host, port) = parse_host(entry).ok()?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Network(address.into(), port));
        }
        let domain = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&host).trim_matches('.');
        if domain.is_empty() { None } else { Some(Self::Domain(domain.to_string(), port)) }
    }

    fn contains(&self, uri: &Uri) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| port == uri.port());
        // An address without its zone.
        let host = uri.host().split('%').next().filter(|_| uri.is_ipv6()).unwrap_or(uri.host());
        match (self, host.parse::<IpAddr>()) {
            (Self::Everything, _) => true,
            (Self::Network(network, port), Ok(address)) => network.contains(address) && is_port(port),
            (Self::Domain(domain, port), Err(_)) => is_within(host, domain) && is_port(port),
            _ => false,
        }
    }
}

/// Returns `true` if the host is this domain, or below it.
fn is_within(host: &str, domain: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let split = host.len().checked_sub(domain.len()).and_then(|at| host.split_at_checked(at));
    split.is_some_and(|(below, end)| end.eq_ignore_ascii_case(domain) && (below.is_empty() || below.ends_with('.')))
}
