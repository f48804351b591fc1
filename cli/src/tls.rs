//! TLS of the user's own: other roots, a client's certificate, none of the checks; and a server's certificate.

use std::fs;
use std::sync::Arc;

use bellwire::{ClientTls, ServerTls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};

pub(crate) const INSECURE: &str = "warning: --insecure: certificates are not checked, so whoever is between here and the \
                                   server can read and change everything";

/// The options about a client's TLS.
#[derive(Debug, Default)]
pub(crate) struct TlsOptions {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    pub(crate) insecure: bool,
}

impl TlsOptions {
    /// Takes an option about TLS. Returns `false` if it is about something else.
    pub(crate) fn takes(&mut self, option: &str, arguments: &mut Arguments) -> Result<bool, Failure> {
        match option {
            "ca" => self.ca = Some(arguments.text(option)?),
            "cert" => self.cert = Some(arguments.text(option)?),
            "key" => self.key = Some(arguments.text(option)?),
            "insecure" => self.insecure = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the options ask for; `None` if that is nothing special.
    pub(crate) fn client(&self) -> Result<Option<ClientTls>, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((certificates(cert)?, private_key(key)?)),
            (None, None) => None,
            _ => return Err(Failure::usage("--cert and --key belong together")),
        };
        if self.insecure && self.ca.is_some() {
            return Err(Failure::usage("--insecure and --ca exclude each other"));
        }
        if !self.insecure && self.ca.is_none() && identity.is_none() {
            return Ok(None);
        }
        // Explicitly: there is no default provider if several are linked.
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(setup)?.dangerous().with_custom_certificate_verifier(self.verifier()?);
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(setup)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Some(config.into()))
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
        if self.insecure {
            return Ok(Arc::new(Anything(provider())));
        }
        let Some(file) = &self.ca else { return Ok(Arc::new(Verifier::new(provider()).map_err(setup)?)) };
        let mut roots = RootCertStore::empty();
        for root in certificates(file)? {
            roots.add(root).map_err(|error| Failure::file(file, error))?;
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map(|verifier| verifier as _)
            .map_err(setup)
    }
}

/// With what a server speaks TLS.
pub(crate) fn server(cert: &str, key: &str) -> Result<ServerTls, Failure> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(setup)?.with_no_client_auth();
    let config = builder.with_single_cert(certificates(cert)?, private_key(key)?);
    config.map(Into::into).map_err(|error| Failure::file(cert, error))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn setup(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format_args!("TLS cannot be set up: {error}"))
}

/// All certificates of a file in PEM, at least one.
fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = fs::read(file).map_err(|error| Failure::file(file, error))?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Failure::file(file, "there is no certificate in it, in PEM")),
        found => found.map_err(|error| Failure::file(file, error)),
    }
}

fn private_key(file: &str) -> Result<PrivateKeyDer<'static>, Failure> {
    let pem = fs::read(file).map_err(|error| Failure::file(file, error))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => Failure::file(file, "there is no private key in it, in PEM"),
        error => Failure::file(file, error),
    })
}

/// Trusts every certificate. Whoever shows one still has to have its key.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
