//! TLS by [rustls](https://docs.rs/rustls).

use alloc::string::ToString;
use alloc::sync::Arc;
use std::io::{self, IoSlice, Read, Write};
use std::sync::OnceLock;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, Error, InvalidMessage, ServerConfig, ServerConnection};

use super::{TlsError, truncated};
use crate::protocol::BoxError;

/// One end of a connection.
pub(super) struct Session(Connection);

impl Session {
    pub(super) fn client(config: &Arc<ClientConfig>, host: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_string()).map_err(|_| TlsError::Name)?;
        let tls = ClientConnection::new(config.clone(), name).map_err(setup)?;
        Ok(Self(tls.into()))
    }

    pub(super) fn server(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let tls = ServerConnection::new(config.clone()).map_err(setup)?;
        Ok(Self(tls.into()))
    }

    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<(), TlsError> {
        while !input.is_empty() {
            // The reader never fails. rustls does when what was decrypted has not been taken.
            let Ok(count) = self.0.read_tls(input) else { break };
            let is_begun = !self.0.is_handshaking();
            let state = self.0.process_new_packets().map_err(|error| failed(error, is_begun))?;
            if count == 0 || state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn receive_eof(&mut self) {
        // The end is noted, and told by `read`.
        let _ = self.0.read_tls(&mut io::empty());
        let _ = self.0.process_new_packets();
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.reader().read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => error,
        })
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.0.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.0.writer().write_vectored(slices)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    pub(super) fn close(&mut self) {
        self.0.send_close_notify();
    }

    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    pub(super) fn write_tls(&mut self, mut transport: &mut dyn Write) -> io::Result<usize> {
        self.0.write_tls(&mut transport)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }
}

fn setup(error: Error) -> TlsError {
    TlsError::Setup(error.into())
}

fn failed(error: Error, is_begun: bool) -> TlsError {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) if !is_begun => TlsError::NotTls,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::InvalidCertRevocationList(_) => {
            TlsError::Certificate(error.into())
        }
        error => TlsError::Protocol(error.into()),
    }
}

/// Returns the configuration of clients that have none of their own. It is made once: the roots are read then, and
/// sessions that are resumed are remembered in it.
pub(super) fn platform() -> Result<Arc<ClientConfig>, TlsError> {
    static PLATFORM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = PLATFORM.get() {
        return Ok(config.clone());
    }
    let config = build().map_err(TlsError::Setup)?;
    Ok(PLATFORM.get_or_init(|| Arc::new(config)).clone())
}

fn build() -> Result<ClientConfig, BoxError> {
    // Explicitly: the process's default is for the program to set, and there is none if two providers are linked.
    let builder = ClientConfig::builder_with_provider(provider()?).with_safe_default_protocol_versions()?;
    #[cfg(feature = "webpki-roots")]
    let builder = {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
        builder.with_root_certificates(roots)
    };
    #[cfg(all(feature = "rustls", not(feature = "webpki-roots")))]
    let builder = {
        let verifier = rustls_platform_verifier::Verifier::new(provider()?)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    #[cfg(not(any(feature = "rustls", feature = "webpki-roots")))]
    let builder = {
        let roots = rustls::RootCertStore::empty();
        if roots.is_empty() {
            return Err(
                "there are no roots: turn on the feature `rustls` or `webpki-roots`, or call Target::tls".into()
            );
        }
        builder.with_root_certificates(roots)
    };
    Ok(builder.with_no_client_auth())
}

/// Returns what computes: ring, or aws-lc-rs if that feature is on.
fn provider() -> Result<Arc<CryptoProvider>, BoxError> {
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "rustls", not(feature = "aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "rustls", feature = "aws-lc-rs")))]
    return Err("there is no cryptography: turn on the feature `rustls` or `aws-lc-rs`, or call Target::tls".into());
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_part_that_is_not_built_in_is_named() {
        let (roots, computes) = (
            cfg!(any(feature = "rustls", feature = "webpki-roots")),
            cfg!(any(feature = "rustls", feature = "aws-lc-rs")),
        );
        let missing = match platform() {
            // What the system's roots are is the system's matter.
            Err(TlsError::Setup(_)) if cfg!(not(feature = "webpki-roots")) && roots && computes => return,
            result => result.err().map(|error| error.to_string()),
        };
        let expected = match (roots, computes) {
            (true, true) => None,
            (false, _) => Some("there are no roots: turn on the feature `rustls` or `webpki-roots`"),
            (true, false) => Some("there is no cryptography: turn on the feature `rustls` or `aws-lc-rs`"),
        };
        assert_eq!(missing.is_some(), expected.is_some(), "{missing:?}");
        assert!(missing.iter().all(|error| error.contains(expected.unwrap())), "{missing:?}");
    }
}
