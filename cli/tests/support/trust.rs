//! Certificates, as files in PEM.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// An authority that nobody trusts but who is given its file. Dropping it removes its files.
pub(crate) struct Trust {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Trust {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("bellwire-trust-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(), folder }
    }

    /// The file of its roots.
    pub(crate) fn root(&self) -> String {
        self.file("root", &self.issuer.pem())
    }

    /// The files of a certificate for this name, and of its key.
    pub(crate) fn certify(&self, name: &str) -> [String; 2] {
        let (params, key) = (CertificateParams::new([name.to_string()]).unwrap(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        [self.file(name, &certificate.pem()), self.file(&format!("{name}.key"), &key.serialize_pem())]
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(format!("{name}.pem"));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }
}

impl Drop for Trust {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
