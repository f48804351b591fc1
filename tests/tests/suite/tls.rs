//! TLS as a stream that the caller has: the blocking backend's `TlsStream`, and tokio-rustls, which nobody here wrote. Each
//! backend serves the other, so that neither is tested against itself only.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use bellwire::blocking::TlsStream;
use bellwire::proto::client::HandshakeError;
use bellwire::{Closed, ClosedBy, ConnectError, Listener, SendError, Target, WebSocket, blocking, listener};
use bellwire_tests::{
    Backend, Event, Frame, Logs, Multi, OnTokio, PATIENCE, Raw, echo, logged, logged_handler, next, quiet,
    upgrade_request, within,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The configurations of both ends. This is about streams, not about trust: there is no certificate.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let random = ring::rand::SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.as_ref().to_vec().into())).unwrap();
    let certified = CertifiedKey::new(vec![b"no certificate".to_vec().into()], key);
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let client = client.dangerous().with_custom_certificate_verifier(Arc::new(TrustsAnybody(provider)));
    (Arc::new(server), Arc::new(client.with_no_client_auth()))
}

/// Never do this outside of a test.
#[derive(Debug)]
struct TrustsAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, there)
}

fn client_stream(tcp: TcpStream, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    TlsStream::client(tcp, &config.into(), "localhost", Some(PATIENCE)).unwrap()
}

fn name() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

/// A server's end, which echoes, on either backend.
fn serve(on_tokio: Option<&OnTokio<Multi>>, config: Arc<ServerConfig>, tcp: TcpStream) -> Logs {
    let (handler, logs) = logged_handler(|_| echo());
    match on_tokio {
        None => {
            let acceptor = blocking::Acceptor::new(handler).config(quiet()).on_error(|error| panic!("{error}"));
            let stream = TlsStream::server(tcp, &config.into()).unwrap();
            thread::spawn(move || acceptor.accept(stream, None));
        }
        Some(backend) => {
            let acceptor = bellwire::tokio::Acceptor::new(handler).config(quiet()).on_error(|error| panic!("{error}"));
            backend.handle().spawn(async move {
                tcp.set_nonblocking(true).unwrap();
                let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
                let stream = TlsAcceptor::from(config).accept(tcp).await.unwrap();
                acceptor.accept(stream, None).await;
            });
        }
    }
    logs
}

/// A client's end, on either backend: its handle, and how to wait for its end.
fn connect<L: Listener + 'static>(
    on_tokio: Option<&OnTokio<Multi>>,
    config: Arc<ClientConfig>,
    tcp: TcpStream,
    listener: L,
) -> (WebSocket, Box<dyn FnOnce() -> Closed + Send>) {
    let target = Target::new("wss://localhost/").unwrap().config(quiet());
    match on_tokio {
        None => {
            let stream = client_stream(tcp, config);
            let mut client = blocking::connect_over(target, stream, listener).unwrap();
            (client.socket().clone(), Box::new(move || client.closed()))
        }
        Some(backend) => backend.handle().block_on(async {
            tcp.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
            let stream = TlsConnector::from(config).connect(name(), tcp).await.unwrap();
            let mut client = bellwire::tokio::connect_over(target, stream, listener).await.unwrap();
            let handle = backend.handle().clone();
            (client.socket().clone(), Box::new(move || handle.block_on(client.closed())) as Box<_>)
        }),
    }
}

/// Everything that differs over TLS: records that are not frames, sends from outside, output that stalls, the end.
fn converse(server: Option<&OnTokio<Multi>>, client: Option<&OnTokio<Multi>>) {
    let (server_config, client_config) = configs();
    let (here, there) = tcp_pair();
    let logs = serve(server, server_config, here);
    let (ours, log) = logged(listener().on_open(|socket| socket.send("hello")));
    let (socket, closed) = connect(client, client_config, there, ours);
    let server_log = logs.next();
    log.expect([Event::Open, Event::text("hello")]);
    for index in 0..50 {
        socket.send(format!("{index}")).unwrap();
        log.expect([Event::text(index.to_string())]);
    }
    // Several megabytes in each direction at once: both sides stall now and then.
    const COUNT: usize = 64;
    const SIZE: usize = 100_000;
    let sender = thread::spawn({
        let socket = socket.clone();
        move || {
            for index in 0..COUNT {
                let (written, outcome) = mpsc::channel();
                socket.send_with(vec![index as u8; SIZE], move |result| written.send(result).unwrap());
                assert_eq!(next(&outcome), Ok(()));
            }
        }
    });
    for index in 0..COUNT {
        match log.next() {
            Event::Binary(bytes) => assert!(bytes == vec![index as u8; SIZE], "message {index}"),
            other => panic!("{other:?} instead of message {index}"),
        }
    }
    sender.join().unwrap();
    socket.close_with(3000, "bye").unwrap();
    let end = within("the end", closed);
    assert_eq!(end, Closed::clean(3000, "bye", ClosedBy::Local));
    log.ends_with([Event::close(3000, "bye")]);
    assert_eq!(server_log.rest().last(), Some(&Event::close(3000, "bye")));
    assert_eq!(socket.send("late"), Err(SendError::Closed));
}

#[test]
fn a_blocking_server_and_a_blocking_client_talk_over_tls() {
    converse(None, None);
}

#[test]
fn a_blocking_server_and_a_tokio_client_talk_over_tls() {
    converse(None, Some(&OnTokio::start()));
}

#[test]
fn a_tokio_server_and_a_blocking_client_talk_over_tls() {
    converse(Some(&OnTokio::start()), None);
}

#[test]
fn a_tokio_server_and_a_tokio_client_talk_over_tls() {
    converse(Some(&OnTokio::start()), Some(&OnTokio::start()));
}

/// A server's end made of bytes, behind rustls' own stream.
fn raw_server(config: Arc<ServerConfig>, tcp: TcpStream) -> Raw<StreamOwned<ServerConnection, TcpStream>> {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut raw = Raw::server_over(StreamOwned::new(ServerConnection::new(config).unwrap(), tcp));
    raw.write(&raw.switching(&[]));
    raw
}

/// A client says goodbye to TLS, too: rustls reads an end without `close_notify` as an error.
fn says_close_notify(backend: Option<&OnTokio<Multi>>) {
    let (server_config, client_config) = configs();
    let (here, there) = tcp_pair();
    let peer = thread::spawn(move || {
        let mut raw = raw_server(server_config, here);
        raw.expect([Frame::close(1000, "Normal Closure")]);
        raw.send([Frame::close(1000, "")]);
        raw.expect_end();
    });
    let (_, closed) = connect(backend, client_config, there, logged(listener().on_open(|socket| socket.close())).0);
    assert!(within("the end", closed).clean);
    peer.join().unwrap();
}

/// So it does when it is refused.
fn says_close_notify_when_it_is_refused(backend: Option<&OnTokio<Multi>>) {
    let (server_config, client_config) = configs();
    let (here, there) = tcp_pair();
    let peer = thread::spawn(move || {
        here.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw::server_over(StreamOwned::new(ServerConnection::new(server_config).unwrap(), here));
        raw.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        raw.expect_end();
    });
    let target = Target::new("wss://localhost/").unwrap().config(quiet());
    let refused = match backend {
        None => {
            let stream = client_stream(there, client_config);
            blocking::connect_over(target, stream, listener()).err()
        }
        Some(backend) => backend.handle().block_on(async {
            there.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(there).unwrap();
            let stream = TlsConnector::from(client_config).connect(name(), tcp).await.unwrap();
            bellwire::tokio::connect_over(target, stream, listener()).await.err()
        }),
    };
    assert!(matches!(refused, Some(ConnectError::Handshake(HandshakeError::Refused(_)))), "{refused:?}");
    peer.join().unwrap();
}

/// A TCP stream that ends without `close_notify` is a peer that has vanished, for a client and for a server.
fn sees_a_peer_vanish(backend: Option<&OnTokio<Multi>>) {
    let vanished =
        || [Event::Open, Event::error("the peer ended the transport without a close frame"), Event::close(1006, "")];
    let (server_config, client_config) = configs();
    let (here, there) = tcp_pair();
    let config = server_config.clone();
    let peer = thread::spawn(move || raw_server(config, here));
    let (ours, log) = logged(listener());
    let (_, _closed) = connect(backend, client_config.clone(), there, ours);
    drop(peer.join().unwrap());
    log.ends_with(vanished());

    let (here, there) = tcp_pair();
    let logs = serve(backend, server_config, here);
    let stream = StreamOwned::new(ClientConnection::new(client_config, name()).unwrap(), there);
    drop(Raw::open_over(stream, &upgrade_request("/", &[])));
    logs.next().ends_with(vanished());
}

#[test]
fn e4_a_blocking_client_says_close_notify() {
    says_close_notify(None);
    says_close_notify_when_it_is_refused(None);
}

#[test]
fn e4_a_tokio_client_says_close_notify() {
    let backend = OnTokio::start();
    says_close_notify(Some(&backend));
    says_close_notify_when_it_is_refused(Some(&backend));
}

#[test]
fn e5_a_tls_peer_that_vanishes_is_seen_on_threads() {
    sees_a_peer_vanish(None);
}

#[test]
fn e5_a_tls_peer_that_vanishes_is_seen_on_tokio() {
    sees_a_peer_vanish(Some(&OnTokio::start()));
}
