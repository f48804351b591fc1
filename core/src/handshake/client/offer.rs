//! What a client offers, and whether an answer fits it: the same over HTTP/1.1 and HTTP/2.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{HandshakeError, Response};
use crate::config::Config;
use crate::context::{Compression, SocketContext};
use crate::entropy::Entropy;
use crate::handshake::key::EXTENSIONS;
use crate::handshake::target::Target;
use crate::http::Headers;
use crate::protocol::Connection;
use crate::time::Time;

/// What was offered, and what the connection will need.
pub(super) struct Offer {
    config: Arc<Config>,
    /// What the connection's handles will know; the path and the address are known from the start.
    context: SocketContext,
    protocols: Vec<String>,
    entropy: Option<Box<dyn Entropy>>,
}

impl Offer {
    pub(super) fn new(target: &Target, entropy: Box<dyn Entropy>) -> Self {
        Self {
            config: target.config.clone(),
            context: SocketContext::new().path(target.path()).peer_addr(target.peer_addr),
            protocols: target.protocols.clone(),
            entropy: Some(entropy),
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn set_peer_addr(&mut self, addr: Option<SocketAddr>) {
        self.context.set_peer_addr(addr);
    }

    /// Judges what an agreeing answer has chosen, and opens the connection.
    pub(super) fn establish(
        &mut self,
        response: Response,
        now: Time,
    ) -> Result<(Connection, Response), HandshakeError> {
        let compression = self.check_extensions(&response.headers)?;
        let protocol = self.check_protocol(&response.headers)?;
        // It is taken only here, and only once.
        let entropy = self.entropy.take().ok_or(HandshakeError::Eof)?;
        let mut connection = Connection::client(self.config.clone(), entropy, now);
        let mut context = core::mem::take(&mut self.context);
        context.compression = compression;
        connection.set_context(match &protocol {
            Some(protocol) => context.protocol(protocol.as_str()),
            None => context,
        });
        Ok((connection, Response { protocol, ..response }))
    }

    /// RFC 6455 §4.1: "If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates
    /// the use of an extension that was not present in the client's handshake".
    fn check_extensions(&self, headers: &Headers) -> Result<Option<Compression>, HandshakeError> {
        let Some(extensions) = headers.value(EXTENSIONS) else { return Ok(None) };
        #[cfg(feature = "deflate")]
        if let Some(offered) = &self.config.deflate {
            return match Compression::accepted(headers.values(EXTENSIONS), offered) {
                Some(compression) => Ok(Some(compression)),
                None => Err(HandshakeError::InvalidExtension(extensions.into_owned())),
            };
        }
        Err(HandshakeError::UnexpectedExtension(extensions.into_owned()))
    }

    fn check_protocol(&self, headers: &Headers) -> Result<Option<String>, HandshakeError> {
        let mut chosen = headers.values("Sec-WebSocket-Protocol");
        let (Some(protocol), repeated) = (chosen.next(), chosen.next().is_some()) else { return Ok(None) };
        if repeated {
            return Err(HandshakeError::RepeatedProtocol);
        }
        // RFC 6455 §4.1: "If [..] this header field indicates the use of a subprotocol that was not present in the client's
        // handshake".
        match self.protocols.iter().find(|offered| offered.as_bytes() == protocol) {
            Some(offered) => Ok(Some(offered.clone())),
            None => Err(HandshakeError::UnexpectedProtocol(String::from_utf8_lossy(protocol).into_owned())),
        }
    }
}
