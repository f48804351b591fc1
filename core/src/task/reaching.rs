//! The way from a client to its server: addresses, proxies, TLS.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use std::io;

use super::Transport;
use super::client::Client;
use super::connecting::{Established, Opening, flush_and_read, write};
use super::runtime::{Resolve, Runtime};
use super::timer::Timer;
use super::tls::Tls;
use crate::api::AnyListener;
use crate::drive::limits::HANDSHAKE_BUFFER;
use crate::handshake::client::{Phase, ProxyError, Tunnel};
use crate::handshake::{ConnectError, Proxy, Target};
use crate::http::Uri;
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
    let Some(proxy) = target.proxy_for() else {
        let stream = connect(runtime, opening, target, uri.host(), uri.port()).await?;
        return lead(opening, stream, session).await;
    };
    let proxy_session = proxy_session(target, proxy)?;
    let host = host_for(runtime, opening, proxy, uri).await?;
    let tunnel = proxy.tunnel(&host, uri.port(), opening.config().max_head).map_err(ConnectError::Proxy)?;
    let mut stream =
        connect(runtime, opening, target, proxy.host(), proxy.port()).await.map_err(ConnectError::of_proxy)?;
    let Some(proxy_session) = proxy_session else {
        through(opening, &mut stream, tunnel).await?;
        return lead(opening, stream, session).await;
    };
    let mut stream = secure(opening, stream, proxy_session).await.map_err(ConnectError::of_proxy)?;
    through(opening, &mut stream, tunnel).await?;
    Ok(match session {
        None => Way::Tls(stream),
        Some(session) => Way::Nested(Box::new(secure(opening, stream, session).await?)),
    })
}

/// Resolves a host's name, and connects to the first of its addresses that answers.
async fn connect<R: Resolve<(String, u16)>>(
    runtime: &R,
    opening: &mut Opening<R::Timer>,
    target: &Target,
    host: &str,
    port: u16,
) -> Result<R::Stream, ConnectError> {
    let resolving = runtime.resolve((host.into(), port));
    let (stream, peer) = opening.connect(resolving, |addr| runtime.connect(addr, target.sockets())).await?;
    opening.set_peer_addr(peer);
    Ok(stream)
}

/// What is left when a stream leads to the server: TLS, if it is to be.
async fn lead<S: Transport, C: Timer>(
    opening: &mut Opening<C>,
    stream: S,
    session: Option<Session>,
) -> Result<Way<S>, ConnectError> {
    match session {
        None => Ok(Way::Plain(stream)),
        Some(session) => secure(opening, stream, session).await.map(Way::Tls),
    }
}

fn proxy_session(target: &Target, proxy: &Proxy) -> Result<Option<Session>, ConnectError> {
    let tls = proxy.client_tls().or(target.client_tls());
    let session = proxy.is_secure().then(|| Session::client(tls, proxy.host())).transpose();
    session.map_err(|error| ConnectError::Proxy(ProxyError::Tls(error)))
}

/// Returns what a proxy is told to connect to: a name, or one of the addresses that this machine knows for it.
async fn host_for<R: Resolve<(String, u16)>>(
    runtime: &R,
    opening: &mut Opening<R::Timer>,
    proxy: &Proxy,
    uri: &Uri,
) -> Result<String, ConnectError> {
    if !proxy.resolves_locally() {
        return Ok(uri.host().into());
    }
    let resolving = runtime.resolve((uri.host().into(), uri.port()));
    let addrs = opening.in_time(Phase::Resolve, resolving).await?.map_err(ConnectError::Resolve)?;
    let addr = addrs.first().ok_or_else(|| ConnectError::Resolve(io::ErrorKind::NotFound.into()))?;
    Ok(addr.ip().to_string())
}

/// Asks a proxy for the way.
async fn through<C: Timer>(
    opening: &mut Opening<C>,
    transport: &mut impl Transport,
    mut tunnel: Tunnel,
) -> Result<(), ConnectError> {
    let asked = opening.in_time(Phase::Proxy, ask(transport, &mut tunnel)).await;
    match asked {
        Ok(answer) => answer.map_err(ConnectError::Proxy),
        // A refusal whose body takes too long is told as well.
        Err(late) => Err(tunnel.timed_out().map_or(late, ConnectError::Proxy)),
    }
}

async fn ask(transport: &mut impl Transport, tunnel: &mut Tunnel) -> Result<(), ProxyError> {
    let mut buffer = vec![0; HANDSHAKE_BUFFER];
    loop {
        while !tunnel.output().is_empty() {
            match write(transport, tunnel.output()).await.map_err(ProxyError::Io)? {
                0 => return Err(ProxyError::Io(io::ErrorKind::WriteZero.into())),
                count => tunnel.wrote(count),
            }
        }
        let count = match flush_and_read(transport, &mut buffer).await {
            Ok(0) => return Err(tunnel.receive_eof()),
            Ok(count) => count,
            Err(error) => return Err(tunnel.transport_failed(error)),
        };
        let mut input = buffer.get_mut(..count).unwrap_or_default();
        if let Some(answer) = tunnel.receive(&mut input) {
            answer?;
            let waits = input.is_empty() && tunnel.output().is_empty();
            return if waits { Ok(()) } else { Err(ProxyError::SpokeFirst) };
        }
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
            // The last one is that of a proxy's TLS, around this.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                ConnectError::Tls(TlsError::Eof)
            }
            _ => ConnectError::Io(error),
        },
        ConnectError::Tls,
    )
}
