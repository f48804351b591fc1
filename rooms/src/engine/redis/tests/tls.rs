//! Redis over TLS.

use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis::{Client, TlsCertificates};

use super::*;

/// What the server has, in files, and what its clients trust.
struct Files {
    folder: PathBuf,
    root: String,
}

impl Files {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("bellwire-redis-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join("root"), issuer.pem()).unwrap();
        std::fs::write(folder.join("certificate"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key"), key.serialize_pem()).unwrap();
        Self { folder, root: issuer.pem() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn over_tls_a_redis_that_is_trusted_is_a_broker_and_no_other() {
    let files = Files::new();
    let folder = files.folder.display();
    let server = Server::start(&[
        "--port 0 --tls-port PORT --tls-auth-clients no",
        &format!("--tls-cert-file {folder}/certificate --tls-key-file {folder}/key --tls-ca-cert-file {folder}/root"),
    ])
    .await;
    let url = format!("rediss://localhost:{}", server.port());
    let trusting = TlsCertificates { client_tls: None, root_cert: Some(files.root.clone().into_bytes()) };
    let direct = Client::build_with_tls(url.as_str(), trusting.clone()).unwrap();
    // The Sentinel is asked without TLS.
    let by_sentinel = Redis::from(Client::build_with_tls("rediss://mymaster", trusting).unwrap()).sentinels([saying(
        "localhost",
        server.port(),
        1,
    )
    .await]);
    for redis in [direct.into(), by_sentinel] {
        let (mut session, mut messages) = connect(redis, None).await;
        soon(session.subscribe(&[room("a")])).await.unwrap();
        publish(&mut session, &[said(&room("a"), "hello")]).await;
        assert_eq!(messages.texts(1).await, ["hello"]);
    }

    let error = refused(&url, None).await;
    assert!(matches!(&error, BrokerError::Unreachable(text) if text.contains("certificate")), "{error:?}");
    let error = refused(format!("redis://localhost:{}", server.port()), None).await;
    assert!(matches!(error, BrokerError::Protocol(_) | BrokerError::Unreachable(_)), "{error:?}");
}
