//! The application as a client sees it.

use std::sync::Arc;

use bellwire::hyper::connect_stream as connect_in_http2;
use bellwire::proto::client::Response;
use bellwire::tokio::connect_stream;
use bellwire::{MessageStream, Target};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

/// How clients come.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Clear,
    Tls,
    /// With TLS, all of them in one connection.
    Http2,
}

/// The program, without its options, and the clients' side of its connections.
struct Running {
    addr: SocketAddr,
    way: Way,
    tls: Arc<ClientConfig>,
    http2: Option<SendRequest<String>>,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(way: Way) -> Self {
        let connections = Connections::new();
        let app = app(Chat { room: Room::default(), config: Config::default() }, connections.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (end, signal) = oneshot::channel();
        let signal = connections.shutdown_after(async { signal.await.unwrap() }, GRACE);
        let (acceptor, mut tls) = certified();
        let served = match way {
            Way::Clear => tokio::spawn(async { serve::clear(listener, app, signal).await.unwrap() }),
            Way::Tls | Way::Http2 => tokio::spawn(serve::tls(listener, acceptor, app, signal)),
        };
        let mut http2 = None;
        if way == Way::Http2 {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            let stream = TcpStream::connect(addr).await.unwrap();
            let stream = TlsConnector::from(Arc::new(tls.clone())).connect(addr.ip().into(), stream).await.unwrap();
            let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            http2 = Some(requests);
        }
        Self { addr, way, tls: Arc::new(tls), http2, end, served }
    }

    fn target(&self, path: &str) -> Target {
        let scheme = if self.way == Way::Clear { "ws" } else { "wss" };
        Target::new(format!("{scheme}://{}{path}", self.addr)).unwrap()
    }

    async fn connect(&self, target: Target) -> (MessageStream, Response) {
        match &self.http2 {
            Some(requests) => connect_in_http2(&mut requests.clone(), target).await.unwrap(),
            None => connect_stream(target.tls(self.tls.clone())).await.unwrap(),
        }
    }

    /// Joins the room, and hears who one is.
    async fn join(&self) -> MessageStream {
        let (mut guest, _) = self.connect(self.target("/")).await;
        assert!(heard(&mut guest).await.starts_with("* you are guest "));
        assert!(heard(&mut guest).await.ends_with(" joined"));
        assert!(heard(&mut guest).await.contains(" here: "));
        guest
    }
}

/// A server's side of TLS, and a client's that trusts it.
fn certified() -> (TlsAcceptor, ClientConfig) {
    let made = generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = serve::config(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (TlsAcceptor::from(Arc::new(server)), client.with_root_certificates(roots).with_no_client_auth())
}

/// A test that waits for what never comes has failed, and says so.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("it comes within a minute")
}

async fn heard(guest: &mut MessageStream) -> String {
    soon(guest.recv()).await.unwrap().unwrap().as_text().unwrap().into()
}

async fn what_one_says_the_others_hear(way: Way) {
    let running = Running::start(way).await;
    let (mut a, mut b) = (running.join().await, running.join().await);
    assert_eq!(heard(&mut a).await, "* guest 2 joined");
    a.send("hello").await.unwrap();
    assert_eq!(heard(&mut a).await, "guest 1: hello");
    assert_eq!(heard(&mut b).await, "guest 1: hello");
}

#[tokio::test]
async fn what_one_says_the_others_hear_in_the_clear() {
    what_one_says_the_others_hear(Way::Clear).await;
}

#[tokio::test]
async fn what_one_says_the_others_hear_with_tls() {
    what_one_says_the_others_hear(Way::Tls).await;
}

#[tokio::test]
async fn what_one_says_the_others_hear_over_http2() {
    what_one_says_the_others_hear(Way::Http2).await;
}

/// And not 1006, as from axum alone. The program ends, too.
async fn at_the_end_everybody_is_told(way: Way) {
    let running = Running::start(way).await;
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
    at_the_end_everybody_is_told(Way::Clear).await;
}

#[tokio::test]
async fn at_the_end_everybody_is_told_with_tls() {
    at_the_end_everybody_is_told(Way::Tls).await;
}

#[tokio::test]
async fn at_the_end_everybody_is_told_over_http2() {
    at_the_end_everybody_is_told(Way::Http2).await;
}

#[tokio::test]
async fn a_browser_gets_the_page() {
    let running = Running::start(Way::Clear).await;
    let mut browser = TcpStream::connect(running.addr).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("<title>bellwire chat"), "{answer}");
}

async fn the_echo_has_its_subprotocol_and_its_limit(way: Way) {
    let running = Running::start(way).await;
    let target = running.target("/echo").protocol("echo").unwrap().config(Config::default().max_message(16 << 20));
    let (mut socket, response) = running.connect(target).await;
    assert_eq!(response.protocol(), Some("echo"));
    // By default a server takes a megabyte.
    let long = "x".repeat(2 << 20);
    soon(socket.send(long.as_str())).await.unwrap();
    assert_eq!(heard(&mut socket).await, long);
}

#[tokio::test]
async fn the_echo_has_its_subprotocol_and_its_limit_in_the_clear() {
    the_echo_has_its_subprotocol_and_its_limit(Way::Clear).await;
}

#[tokio::test]
async fn the_echo_has_its_subprotocol_and_its_limit_over_http2() {
    the_echo_has_its_subprotocol_and_its_limit(Way::Http2).await;
}
