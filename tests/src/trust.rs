//! Certificates for tests: an authority that both ends trust, and what it signs.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority that nobody outside of these tests trusts.
#[derive(Debug)]
pub struct Trust {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a server shows, and its key.
#[derive(Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The same in PEM.
    pub certificate_pem: String,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// The same in PEM.
    pub key_pem: String,
}

impl Trust {
    /// Makes an authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bellwire's tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// The authority of all tests that do not need one of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Trust> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// Signs what a server at these names shows.
    pub fn certify(&self, names: &[&str]) -> Certified {
        self.certify_with(names, |_| ())
    }

    /// The same, with a certificate that is changed before.
    pub fn certify_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Certified::new(&params.signed_by(&key, &self.issuer).expect("a certificate"), &key)
    }

    /// The authority's own certificate in PEM: what a client takes for its root.
    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that trusts this authority, and no other.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
    }

    /// A server for `localhost` and the addresses that stand for it.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.certify(&["localhost", "127.0.0.1", "::1"]).server()
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl Certified {
    fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        }
    }

    /// What nobody has signed but the server itself.
    pub fn by_itself(names: &[&str]) -> Self {
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        let key = KeyPair::generate().expect("a key");
        Self::new(&params.self_signed(&key).expect("a certificate"), &key)
    }

    /// A server that shows this.
    pub fn server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key()).expect("a certificate"))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
