//! What a handler's answer comes to: an accepted upgrade, or a plain response.

use alloc::sync::Arc;
use core::net::SocketAddr;

use super::error::ServerError;
use super::service::Service;
#[cfg(feature = "http")]
use super::service::unavailable;
use crate::api::{AnyListener, AsyncResponse};
use crate::config::Config;
use crate::handshake::server::{Accept, AcceptError, Refused};
use crate::handshake::{PlainResponse, Request};
#[cfg(feature = "http")]
use crate::protocol::Connection;
#[cfg(feature = "http")]
use crate::time::Time;

impl Service {
    /// Judges a handler's answer. `accept` checks the handshake and makes what stands for the connection, with what the
    /// handler says, the date, and the connection's configuration. What goes wrong is reported.
    pub(crate) fn accept<C>(
        &self,
        request: &Request,
        answer: Result<AsyncResponse, ServerError>,
        accept: impl FnOnce(&Accept, Option<&str>, Arc<Config>) -> Result<C, AcceptError>,
    ) -> Result<(C, AnyListener), PlainResponse> {
        let (response, listener) = answer.map_err(|error| self.failed(&error))?.into_parts();
        if let Some((name, error)) = response.invalid_header() {
            return Err(self.failed(&ServerError::Header { name: name.into(), error: error.clone() }));
        }
        // Handlers know pages and sockets. A health check wants to know whether the server is there.
        if request.method() == "OPTIONS" && !response.answers_options() {
            return Err(PlainResponse::options());
        }
        // RFC 9110 §9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to
        // tunnel mode immediately after the response header section": the page would be taken for frames.
        if request.method() == "CONNECT" && !response.is_websocket() && matches!(response.status(), 200..=299) {
            return Err(PlainResponse::own_text(404, "There is no WebSocket here\n"));
        }
        let upgrade = response.into_upgrade()?;
        if let Some(Err(error)) = upgrade.config.as_ref().map(Config::check_open) {
            return Err(self.failed(&ServerError::Config(error)));
        }
        let config = upgrade.config.map_or_else(|| self.config().clone(), Arc::new);
        match accept(&upgrade.accept, self.date().as_deref(), config) {
            Ok(connection) => {
                if upgrade.accept.protocol.is_none() {
                    self.accepted_without_protocol(request);
                }
                Ok((connection, listener.map_or_else(|| upgrade.listener.into(), AnyListener::from)))
            }
            Err(AcceptError::Refused(refused)) => Err(self.refuse(request.peer_addr(), refused)),
            Err(AcceptError::ProtocolNotOffered(protocol)) => {
                Err(self.failed(&ServerError::ProtocolNotOffered(protocol)))
            }
        }
    }

    /// Judges a handler's answer for a server whose HTTP is another library's: what accepts the upgrade, the connection, and
    /// its listener; or a plain response.
    #[cfg(feature = "http")]
    pub fn accept_http(
        &self,
        request: &Request,
        answer: Result<AsyncResponse, ServerError>,
        now: Time,
    ) -> Result<(::http::Response<()>, Connection, AnyListener), PlainResponse> {
        if self.registry().is_closing() {
            return Err(unavailable());
        }
        if let Err(error) = self.config().check() {
            return Err(self.failed(&ServerError::Config(error)));
        }
        // The other library writes the date.
        let accept = |accept: &Accept, _: Option<&str>, config| request.accept_http(accept, config, now);
        self.accept(request, answer, accept).map(|((response, connection), listener)| (response, connection, listener))
    }

    /// Refuses a request: tells the owner why, and returns what the client is told.
    pub fn refuse(&self, peer: Option<SocketAddr>, refused: Refused) -> PlainResponse {
        let response = refused.to_response();
        self.report(&ServerError::Refused { peer, refused });
        response
    }

    /// The program has failed: the client is not told how.
    fn failed(&self, error: &ServerError) -> PlainResponse {
        self.report(error);
        PlainResponse::internal_error()
    }
}
