//! The suite over TLS. With `BELLWIRE_TESTS_TLS=rustls` or `native-tls` in the environment, servers and clients of ours
//! speak TLS where a test has them speak plain TCP, and a relay between them and the test's peer does so on its behalf:
//! rustls, whatever is tested. So each test holds over TLS, too, with the peer that it has.
//!
//! What a test gives a stream to is left alone, and so is what has TLS of its own.

use std::env;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::thread;

use bellwire::{ClientTls, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Connect, PATIENCE, Setup, Trust};

#[derive(Clone, Copy)]
enum By {
    Rustls,
    NativeTls,
}

fn by() -> Option<By> {
    match env::var("BELLWIRE_TESTS_TLS").ok()?.as_str() {
        "rustls" => Some(By::Rustls),
        "native-tls" => Some(By::NativeTls),
        other => panic!("BELLWIRE_TESTS_TLS is rustls or native-tls, not {other}"),
    }
}

/// Has a server speak TLS, if it is to; then its address is to be [hidden](hide).
pub(crate) fn secure(setup: &mut Setup) -> bool {
    match by() {
        Some(by) if setup.tls.is_none() => {
            setup.tls = Some(server_tls(by));
            true
        }
        _ => false,
    }
}

/// Puts a relay in front of a server that speaks TLS: where peers find it that do not. It ends when it finds that nobody
/// listens any more.
pub(crate) fn hide(addr: SocketAddr) -> SocketAddr {
    let listener = runtime().block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let hidden = listener.local_addr().unwrap();
    runtime().spawn(async move {
        while let Ok((plain, _)) = listener.accept().await {
            let Ok(tcp) = connected(addr).await else { break };
            runtime().spawn(async move {
                // At once: who says nothing gets as far as over TCP.
                let connector = TlsConnector::from(Trust::shared().client());
                pump(plain, connector.connect("localhost".try_into().unwrap(), tcp).await?).await;
                Ok::<_, io::Error>(())
            });
        }
    });
    hidden
}

/// Has a client speak TLS, if it is to, with a relay in front of its server.
pub(crate) fn reach(connect: &mut Connect) {
    let Some(by) = by().filter(|_| connect.proxy.is_none()) else { return };
    let Some((host, addr, rest)) = loopback(&connect.url) else { return };
    let listener = runtime().block_on(TcpListener::bind((addr.ip(), 0))).unwrap();
    connect.url = format!("wss://{host}:{}{rest}", listener.local_addr().unwrap().port());
    connect.tls = Some(client_tls(by));
    runtime().spawn(async move {
        let (tcp, _) = timeout(PATIENCE, listener.accept()).await??;
        tcp.set_nodelay(true)?;
        drop(listener);
        let plain = connected(addr).await?;
        pump(plain, TlsAcceptor::from(relay_server()).accept(tcp).await?).await;
        Ok::<_, io::Error>(())
    });
}

/// The parts of a URL without TLS that leads to this machine: its host, what that stands for, and what is behind the port.
fn loopback(url: &str) -> Option<(&str, SocketAddr, &str)> {
    let authority = url.strip_prefix("ws://")?;
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let (host, port) = authority[..end].rsplit_once(':')?;
    let ip = match host {
        "localhost" => "127.0.0.1",
        host => host.trim_matches(['[', ']']),
    };
    let ip: std::net::IpAddr = ip.parse().ok()?;
    let addr = SocketAddr::new(ip, port.parse().ok()?);
    ip.is_loopback().then_some((host, addr, &authority[end..]))
}

async fn connected(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Passes on bytes, ends and resets, each way.
async fn pump<S: AsyncRead + AsyncWrite>(mut plain: TcpStream, secured: S) {
    let (mut from_tls, mut to_tls) = tokio::io::split(secured);
    let result = {
        let (mut from_plain, mut to_plain) = plain.split();
        tokio::try_join!(copy(&mut from_plain, &mut to_tls), copy(&mut from_tls, &mut to_plain)).map(drop)
    };
    if result.is_err() {
        // It ends as abruptly there.
        let _ = plain.set_zero_linger();
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => {
                to.write_all(&buffer[..count]).await?;
                to.flush().await?;
            }
            // The end of TCP, without that of TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    to.shutdown().await
}

pub(crate) fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

fn relay_server() -> Arc<rustls::ServerConfig> {
    static CONFIG: OnceLock<Arc<rustls::ServerConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| Trust::shared().server()).clone()
}

fn server_tls(by: By) -> ServerTls {
    match by {
        By::Rustls => relay_server().into(),
        By::NativeTls => {
            static ACCEPTOR: OnceLock<native_tls::TlsAcceptor> = OnceLock::new();
            let made = || {
                let shown = Trust::shared().certify(&["localhost"]);
                let identity = (shown.certificate_pem.as_bytes(), shown.key_pem.as_bytes());
                native_tls::TlsAcceptor::new(native_tls::Identity::from_pkcs8(identity.0, identity.1).unwrap()).unwrap()
            };
            ACCEPTOR.get_or_init(made).clone().into()
        }
    }
}

fn client_tls(by: By) -> ClientTls {
    match by {
        By::Rustls => Trust::shared().client().into(),
        By::NativeTls => {
            let root = native_tls::Certificate::from_pem(Trust::shared().root_pem().as_bytes()).unwrap();
            let mut builder = native_tls::TlsConnector::builder();
            builder.add_root_certificate(root).disable_built_in_roots(true).build().unwrap().into()
        }
    }
}
