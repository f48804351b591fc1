//! The application as a client sees it.

use std::sync::Arc;

use bellwire::tokio::connect_stream;
use bellwire::{ClientTls, MessageStream, Target};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::*;

/// The program, without its options.
struct Running {
    addr: SocketAddr,
    tls: Option<ClientTls>,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(secure: bool) -> Self {
        let connections = Connections::new();
        let app = app(Chat { room: Room::default(), config: Config::default() }, connections.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (end, signal) = oneshot::channel();
        let signal = connections.shutdown_after(async { signal.await.unwrap() }, GRACE);
        if !secure {
            let served = tokio::spawn(async { serve::clear(listener, app, signal).await.unwrap() });
            return Self { addr, tls: None, end, served };
        }
        let (acceptor, tls) = certified();
        Self { addr, tls: Some(tls), end, served: tokio::spawn(serve::tls(listener, acceptor, app, signal)) }
    }

    fn target(&self, path: &str) -> Target {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let target = Target::new(format!("{scheme}://{}{path}", self.addr)).unwrap();
        match &self.tls {
            Some(tls) => target.tls(tls.clone()),
            None => target,
        }
    }

    /// Joins the room, and hears who one is.
    async fn join(&self) -> MessageStream {
        let (mut guest, _) = connect_stream(self.target("/")).await.unwrap();
        assert!(heard(&mut guest).await.starts_with("* you are guest "));
        assert!(heard(&mut guest).await.ends_with(" joined"));
        assert!(heard(&mut guest).await.contains(" here: "));
        guest
    }
}

/// A server's side of TLS, and a client that trusts it.
fn certified() -> (TlsAcceptor, ClientTls) {
    let made = generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), client.into())
}

/// A test that waits for what never comes has failed, and says so.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("it comes within a minute")
}

async fn heard(guest: &mut MessageStream) -> String {
    soon(guest.recv()).await.unwrap().unwrap().as_text().unwrap().into()
}

async fn what_one_says_the_others_hear(secure: bool) {
    let running = Running::start(secure).await;
    let (mut a, mut b) = (running.join().await, running.join().await);
    assert_eq!(heard(&mut a).await, "* guest 2 joined");
    a.send("hello").await.unwrap();
    assert_eq!(heard(&mut a).await, "guest 1: hello");
    assert_eq!(heard(&mut b).await, "guest 1: hello");
}

#[tokio::test]
async fn what_one_says_the_others_hear_in_the_clear() {
    what_one_says_the_others_hear(false).await;
}

#[tokio::test]
async fn what_one_says_the_others_hear_with_tls() {
    what_one_says_the_others_hear(true).await;
}

/// And not 1006, as from axum alone. The program ends, too.
async fn at_the_end_everybody_is_told(secure: bool) {
    let running = Running::start(secure).await;
    let mut guests = [running.join().await, running.join().await];
    assert_eq!(heard(&mut guests[0]).await, "* guest 2 joined");
    running.end.send(()).unwrap();
    for guest in &mut guests {
        while soon(guest.recv()).await.transpose().unwrap().is_some() {}
        assert_eq!(guest.closed().unwrap().code, 1001);
    }
    soon(running.served).await.unwrap();
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn at_the_end_everybody_is_told_in_the_clear() {
    at_the_end_everybody_is_told(false).await;
}

#[tokio::test]
async fn at_the_end_everybody_is_told_with_tls() {
    at_the_end_everybody_is_told(true).await;
}

#[tokio::test]
async fn a_browser_gets_the_page() {
    let running = Running::start(false).await;
    let mut browser = TcpStream::connect(running.addr).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("<title>bellwire chat"), "{answer}");
}

#[tokio::test]
async fn the_echo_has_its_subprotocol_and_its_limit() {
    let running = Running::start(false).await;
    let (mut socket, response) = connect_stream(running.target("/echo").protocol("echo").unwrap()).await.unwrap();
    assert_eq!(response.protocol(), Some("echo"));
    let long = "x".repeat(1 << 20);
    socket.send(long.as_str()).await.unwrap();
    assert_eq!(heard(&mut socket).await, long);
}
