//! The client behind trusted proxies.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Request;
use crate::http::Forwarded;
use crate::network::Network;

impl Request {
    /// Returns the address of the client: that of the [peer](Self::peer_addr), or what the peer says if it is a
    /// [trusted proxy](crate::Config::trusted_proxies), in `Forwarded` or `X-Forwarded-For`. Those are read from the end,
    /// where each proxy adds the address that it was asked from, and as long as the address is that of another trusted
    /// proxy; what comes before may be the client's own words. An IPv4 address that is mapped into IPv6 is returned as
    /// IPv4.
    ///
    /// `None` if it is not known: the transport has no address, or the proxy names something else (`unknown`, a
    /// pseudonym), or both headers are there and name different clients. Never the proxy's in place of the client's.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Config, Request};
    /// use std::net::SocketAddr;
    ///
    /// let mut request = Request::upgrade("/").with_header("X-Forwarded-For", "10.9.9.9, 192.0.2.1, 10.0.0.2")?;
    /// request.set_peer_addr(SocketAddr::from(([10, 0, 0, 1], 4711)));
    /// assert_eq!(request.client_ip(), Some([10, 0, 0, 1].into()));
    ///
    /// let config = Config::default().trusted_proxies(["10.0.0.0/24"])?;
    /// request.set_trusted_proxies(config.trusted_proxies);
    /// assert_eq!(request.client_ip(), Some([192, 0, 2, 1].into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip_by(&self.trusted_proxies)
    }

    /// As [`client_ip`](Self::client_ip), where these proxies are trusted.
    pub(crate) fn client_ip_by(&self, trusted: &[Network]) -> Option<IpAddr> {
        match self.forwarded(trusted).and_then(Forwarded::ip) {
            Some(said) => said,
            None => self.peer_addr.map(|peer| peer.ip().to_canonical()),
        }
    }

    /// Returns the host that the client asked for, maybe with a port: what a
    /// [trusted proxy](crate::Config::trusted_proxies) says in `Forwarded` or `X-Forwarded-Host`, or else `Host`. Clients
    /// can ask for any host: compare it with those that you know before you build a link of it.
    pub fn client_host(&self) -> Option<Cow<'_, str>> {
        self.client_host_by(&self.trusted_proxies)
    }

    /// As [`client_host`](Self::client_host), where these proxies are trusted.
    pub(crate) fn client_host_by<'r>(&'r self, trusted: &'r [Network]) -> Option<Cow<'r, str>> {
        let host = self.headers.single("Host").and_then(|host| core::str::from_utf8(host).ok());
        self.forwarded(trusted).and_then(Forwarded::host).or(host.map(Cow::Borrowed))
    }

    /// Returns the scheme that the client used, `http` or `https`, if a
    /// [trusted proxy](crate::Config::trusted_proxies) says so in `Forwarded` or `X-Forwarded-Proto`. (Where there is no
    /// such proxy, the program knows whether it speaks TLS.)
    pub fn client_scheme(&self) -> Option<&'static str> {
        self.client_scheme_by(&self.trusted_proxies)
    }

    /// As [`client_scheme`](Self::client_scheme), where these proxies are trusted.
    pub(crate) fn client_scheme_by(&self, trusted: &[Network]) -> Option<&'static str> {
        self.forwarded(trusted)?.scheme()
    }

    /// Sets which proxies are trusted to name the client, its host and its scheme. A server does so by its
    /// [`Config::trusted_proxies`](crate::Config::trusted_proxies).
    pub fn set_trusted_proxies(&mut self, networks: impl Into<Vec<Network>>) {
        self.trusted_proxies = networks.into();
    }

    fn forwarded<'r>(&'r self, trusted: &'r [Network]) -> Option<Forwarded<'r>> {
        Forwarded::by(self.peer_addr, trusted, &self.headers)
    }
}
