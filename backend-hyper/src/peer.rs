//! Where a request came from, which hyper does not know.

use std::net::SocketAddr;

use http::Extensions;

/// The address that a request came from, for programs to put among its extensions: those that accept connections themselves,
/// or know of a client behind a proxy. It is [`Request::peer_addr`](bellwire_core::Request::peer_addr) then, and
/// [`WebSocket::peer_addr`](bellwire_core::WebSocket::peer_addr).
///
/// With axum `ConnectInfo<SocketAddr>` does the same, if there is no address of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Returns the address that a request came from, if anybody has said it.
pub(crate) fn of(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<PeerAddr>().map(|PeerAddr(addr)| *addr).or_else(|| connect_info(extensions))
}

#[cfg(feature = "axum")]
fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    use ::axum::extract::ConnectInfo;
    use ::axum::extract::connect_info::MockConnectInfo;
    match extensions.get() {
        Some(ConnectInfo(addr)) => Some(*addr),
        None => extensions.get().map(|MockConnectInfo(addr)| *addr),
    }
}

#[cfg(not(feature = "axum"))]
fn connect_info(_: &Extensions) -> Option<SocketAddr> {
    None
}
