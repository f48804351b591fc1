//! The rule of origins: which pages may open a WebSocket, and under which name the client knows the server.

use alloc::borrow::Cow;

use super::refusal::{Refusal, Refused};
use super::request::Request;
use crate::config::{Config, Origins};
use crate::http::{Authority, default_port};

/// RFC 6455 §10.2: servers that are for certain sites only "SHOULD verify the |Origin| field is an origin they
/// expect".
pub(super) fn check_origin(request: &Request, config: &Config) -> Result<(), Refused> {
    let headers = request.headers();
    // RFC 6455 §4.2.1: "A connection attempt lacking this header field SHOULD NOT be interpreted as coming
    // from a browser client."
    if !headers.contains("Origin") {
        return Ok(());
    }
    let host = request.client_host_by(&config.trusted_proxies);
    let origin = headers.single("Origin").and_then(|origin| core::str::from_utf8(origin).ok());
    let is_at_own_host = origin.zip(host.as_deref()).is_some_and(|(origin, host)| is_at(origin, host));
    let is_insecure = is_at_own_host && is_insecure(origin, request.client_scheme_by(&config.trusted_proxies));
    let is_own = is_at_own_host && !is_insecure;
    let passes = match (origin, &config.origins) {
        (None, _) => false,
        (Some(_), Origins::Any) => true,
        (Some(_), Origins::Same) => is_own,
        (Some(origin), Origins::List(list)) => is_own || list.iter().any(|listed| is_listed(origin, listed)),
    };
    if passes {
        return Ok(());
    }
    Err(Refused { host: host.map(Cow::into_owned), is_insecure, ..Refused::of(Refusal::Origin, request) })
}

/// Returns `true` if a page came without TLS, and asks for what is known to be over TLS. RFC 6454 §5: origins are the
/// same if they "have identical schemes, hosts, and ports"; and whoever can change what is not encrypted would speak in
/// the visitor's name. The other way round browsers see to it (mixed content), and proxies in a row often say `http` of
/// what the first of them was asked for over TLS.
fn is_insecure(origin: Option<&str>, asked_over: Option<&str>) -> bool {
    let scheme = origin.and_then(|origin| origin.split_once("://")).map(|(scheme, _)| scheme);
    asked_over == Some("https") && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}

/// Returns `true` if this origin is the listed one, or is at the listed host.
fn is_listed(origin: &str, listed: &str) -> bool {
    listed.eq_ignore_ascii_case(origin) || is_at(origin, listed)
}

/// Returns `true` if an origin has this host and port; a missing port is that of the origin's scheme. `null`, and
/// origins whose scheme has no port, are at no host.
fn is_at(origin: &str, host: &str) -> bool {
    let own = || {
        let (scheme, origin) = origin.split_once("://")?;
        let (origin, host) = (Authority::parse(origin).ok()?, Authority::parse(host).ok()?);
        Some(origin.same(host, default_port(scheme)?))
    };
    own().unwrap_or(false)
}
