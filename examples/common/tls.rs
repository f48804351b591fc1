//! TLS with certificates that are files.

use bellwire::{ClientTls, ServerTls};

use super::BoxError;

/// Reads what a server shows: its certificate, with those that it needs, and its private key, in PEM.
#[cfg(feature = "rustls")]
pub(crate) fn server(cert: &str, key: &str) -> Result<ServerTls, BoxError> {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;

    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    let builder = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(certificates(cert)?, key)?.into())
}

/// Reads the roots that a client trusts, in PEM.
#[cfg(feature = "rustls")]
pub(crate) fn client(roots: &str) -> Result<ClientTls, BoxError> {
    let mut trusted = rustls::RootCertStore::empty();
    for root in certificates(roots)? {
        trusted.add(root)?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(trusted).with_no_client_auth().into())
}

#[cfg(feature = "rustls")]
fn certificates(file: &str) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, BoxError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found.map_err(|error| format!("{file}: {error}"))? {
        found if found.is_empty() => Err(format!("{file}: there is no certificate in it, in PEM").into()),
        found => Ok(found),
    }
}

/// Explicitly: there is no default if several are linked.
#[cfg(feature = "rustls")]
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(not(feature = "rustls"))]
pub(crate) fn server(_: &str, _: &str) -> Result<ServerTls, BoxError> {
    Err("--tls needs the feature `rustls`: cargo run --features rustls ..".into())
}

#[cfg(not(feature = "rustls"))]
pub(crate) fn client(_: &str) -> Result<ClientTls, BoxError> {
    Err("--ca needs the feature `rustls`: cargo run --features rustls ..".into())
}
