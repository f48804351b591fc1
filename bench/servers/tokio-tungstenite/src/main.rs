//! tokio-tungstenite, as its users write it, and with what is ready written at once.
//!
//! `bench-tokio-tungstenite send|batch [CERT KEY] PORT`

use std::io;
use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::{WebSocketStream, accept_async};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, tls @ .., port] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let (batch, port) = (way == "batch", port.parse::<u16>().map_err(io::Error::other)?);
    let tls = match tls {
        [] => None,
        [certificate, key] => Some(acceptor(certificate, key)?),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                Some(tls) => serve(tls.accept(stream).await?, batch).await,
                None => serve(stream, batch).await,
            }
        });
    }
}

fn acceptor(certificate: &str, key: &str) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, batch: bool) -> Result<(), Error> {
    let socket = accept_async(stream).await?;
    if batch { echo_batch(socket).await } else { echo(socket).await }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn echo_batch<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let mut ready = Some(message);
        while let Some(message) = ready {
            let message = message?;
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
            ready = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
