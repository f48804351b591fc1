//! The way through a proxy.

use std::io::ErrorKind;

use bellwire_core::backend::Session;
use bellwire_core::backend::limits::HANDSHAKE_BUFFER;
use bellwire_core::proto::client::{Phase, ProxyError, Tunnel};
use bellwire_core::{ConnectError, Proxy, Target};

use crate::connecting::{Connected, Opening};
use crate::deadline::{Deadline, Fault};
use crate::resolve::resolve;
use crate::stream::Stream;

impl Opening {
    /// Asks the server of a target, through a proxy. `session` is for TLS with the server.
    pub(crate) fn ask_through(
        &mut self,
        proxy: &Proxy,
        target: &Target,
        session: Option<Session>,
    ) -> Result<Connected, ConnectError> {
        let proxy_session = proxy_session(target, proxy)?;
        let tunnel = self.tunnel(proxy, target)?;
        let tcp = self.reach(target, proxy.host(), proxy.port()).map_err(ConnectError::of_proxy)?;
        let Some(proxy_session) = proxy_session else {
            pass(&mut self.deadline, &tcp, tunnel)?;
            return self.enter(tcp, session);
        };
        let tls = self.secure(tcp, proxy_session).map_err(ConnectError::of_proxy)?;
        pass(&mut self.deadline, &tls, tunnel)?;
        self.enter(tls, session)
    }

    /// Prepares what the proxy is asked for: a name, or one of the addresses that this machine knows for it.
    fn tunnel(&self, proxy: &Proxy, target: &Target) -> Result<Tunnel, ConnectError> {
        let (host, port) = (target.uri().host(), target.uri().port());
        let max_head = self.handshake.config().max_head;
        if !proxy.resolves_locally() {
            return proxy.tunnel(host, port, max_head).map_err(ConnectError::Proxy);
        }
        let addrs = resolve(host, port, self.deadline.instant())?;
        let addr = addrs.first().ok_or_else(|| ConnectError::Resolve(ErrorKind::NotFound.into()))?;
        proxy.tunnel(&addr.ip().to_string(), port, max_head).map_err(ConnectError::Proxy)
    }
}

fn proxy_session(target: &Target, proxy: &Proxy) -> Result<Option<Session>, ConnectError> {
    let tls = proxy.client_tls().or(target.client_tls());
    let session = proxy.is_secure().then(|| Session::client(tls, proxy.host())).transpose();
    session.map_err(|error| ConnectError::Proxy(ProxyError::Tls(error)))
}

/// Asks a proxy for the way, over a stream that leads to it.
fn pass(deadline: &mut Deadline, stream: &impl Stream, mut tunnel: Tunnel) -> Result<(), ConnectError> {
    stream.set_blocking().map_err(|error| ConnectError::Proxy(ProxyError::Io(error)))?;
    let mut buffer = [0; HANDSHAKE_BUFFER];
    loop {
        while !tunnel.output().is_empty() {
            let set = |timeout| stream.set_write_timeout(timeout);
            match deadline.call(set, || stream.write(tunnel.output())) {
                Ok(0) => return Err(failed(&mut tunnel, Fault::Io(ErrorKind::WriteZero.into()))),
                Ok(count) => tunnel.wrote(count),
                Err(fault) => return Err(failed(&mut tunnel, fault)),
            }
        }
        let set = |timeout| stream.set_read_timeout(timeout);
        let count = match deadline.call(set, || stream.read(&mut buffer)) {
            Ok(0) => return Err(ConnectError::Proxy(tunnel.receive_eof())),
            Ok(count) => count,
            Err(fault) => return Err(failed(&mut tunnel, fault)),
        };
        let mut input = &mut buffer[..count];
        if let Some(answer) = tunnel.receive(&mut input) {
            let waits = input.is_empty() && tunnel.output().is_empty();
            let last = if waits { Ok(()) } else { Err(ProxyError::SpokeFirst) };
            return answer.and(last).map_err(ConnectError::Proxy);
        }
    }
}

/// A refusal whose body takes too long, or is cut off, is told as well.
fn failed(tunnel: &mut Tunnel, fault: Fault) -> ConnectError {
    match fault {
        Fault::Late => tunnel.timed_out().map_or(ConnectError::Timeout(Phase::Proxy), ConnectError::Proxy),
        Fault::Io(error) => ConnectError::Proxy(tunnel.transport_failed(error)),
    }
}
