//! Where a connection comes from, when a proxy has to say so first.

use alloc::sync::Arc;
use core::net::SocketAddr;
use std::sync::OnceLock;

/// What a proxy announces by the PROXY protocol, which is read beneath TLS: its reader fills it in, and the
/// [`Driver`](super::Driver) looks. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Announced(Arc<OnceLock<Option<SocketAddr>>>);

impl Announced {
    /// Sets the client's address; `None` if it is that of the transport.
    pub fn set(&self, client: Option<SocketAddr>) {
        // There is one header.
        let _ = self.0.set(client);
    }

    /// Returns what was announced, if it was.
    pub fn get(&self) -> Option<Option<SocketAddr>> {
        self.0.get().copied()
    }
}
