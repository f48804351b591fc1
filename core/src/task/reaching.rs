//! The way from a client to its server: addresses, proxies, TLS.

use alloc::boxed::Box;
use alloc::string::String;
use std::io;

use super::Transport;
use super::client::Client;
use super::connecting::{Established, Opening};
use super::runtime::{Resolve, Runtime};
use super::timer::Timer;
use super::tls::Tls;
use crate::api::AnyListener;
use crate::handshake::client::Phase;
use crate::handshake::{ConnectError, Target};
use crate::tls::{Session, TlsError};

/// What leads to a server, over the streams of a runtime.
pub(super) enum Way<S> {
    Plain(S),
    Tls(Tls<S>),
    /// `wss://` through a proxy that is spoken to over TLS.
    Nested(Box<Tls<Tls<S>>>),
}

impl<S: Transport + Send + 'static> Way<S> {
    /// Makes the opening handshake.
    pub(super) async fn shake_hands<C: Timer>(
        &mut self,
        opening: &mut Opening<C>,
    ) -> Result<Established, ConnectError> {
        match self {
            Self::Plain(transport) => opening.shake_hands(transport).await,
            Self::Tls(transport) => opening.shake_hands(transport).await,
            Self::Nested(transport) => opening.shake_hands(transport).await,
        }
    }

    /// Opens the connection, and lets a task of its own drive it.
    pub(super) fn open<R: Runtime>(
        self,
        runtime: &R,
        opening: Opening<R::Timer>,
        established: Established,
        listener: AnyListener,
    ) -> Result<Client, ConnectError> {
        match self {
            Self::Plain(transport) => opening.spawn(runtime, established, transport, listener),
            Self::Tls(transport) => opening.spawn(runtime, established, transport, listener),
            Self::Nested(transport) => opening.spawn(runtime, established, transport, listener),
        }
    }
}

/// Leads to the server of a target, as far as its opening handshake.
pub(super) async fn reach<R: Resolve<(String, u16)>>(
    runtime: &R,
    target: &Target,
    opening: &mut Opening<R::Timer>,
) -> Result<Way<R::Stream>, ConnectError> {
    let uri = target.uri();
    // Before anything is sent: without TLS there is no way.
    let session = uri.is_secure().then(|| Session::client(target.client_tls(), uri.host())).transpose();
    let session = session.map_err(ConnectError::Tls)?;
    let resolving = runtime.resolve((uri.host().into(), uri.port()));
    let (stream, peer) = opening.connect(resolving, |addr| runtime.connect(addr)).await?;
    opening.set_peer_addr(peer);
    match session {
        None => Ok(Way::Plain(stream)),
        Some(session) => secure(opening, stream, session).await.map(Way::Tls),
    }
}

/// Agrees on TLS over a transport.
async fn secure<T: Transport, C: Timer>(
    opening: &mut Opening<C>,
    transport: T,
    session: Session,
) -> Result<Tls<T>, ConnectError> {
    let mut tls = Tls::new(transport, session);
    opening.in_time(Phase::Tls, tls.handshake()).await?.map_err(tls_failed)?;
    Ok(tls)
}

fn tls_failed(error: io::Error) -> ConnectError {
    TlsError::from_io(error).map_or_else(
        |error| match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ConnectError::Tls(TlsError::Eof),
            _ => ConnectError::Io(error),
        },
        ConnectError::Tls,
    )
}
