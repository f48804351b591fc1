//! bellwire on each backend, in each form of a handler.
//!
//! `bench-bellwire tokio|smol|async-std|blocking listener|async|stream [tls CERT KEY] [alone|takeover LEVEL [HISTORY [MEM_LEVEL [CLIENT_BITS]]]] PORT`

use std::io;
use std::sync::Arc;

use bellwire::config::Deflate;
use bellwire::{
    AsyncResponse, Config, Listener, Message, MessageStream, Outcome, Request, Response, ServerTls, WebSocket,
    async_listener, stream,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [backend, form, options @ .., port] = &arguments[..] else {
        return Err(io::Error::other(
            "usage: bench-bellwire BACKEND FORM [tls CERT KEY] [CONTEXT LEVEL [HISTORY [MEM_LEVEL [CLIENT_BITS]]]] PORT",
        ));
    };
    let (tls, deflate) = match options {
        [tls, certificate, key, deflate @ ..] if tls == "tls" => (Some(secured(certificate, key)?), deflate),
        deflate => (None, deflate),
    };
    let config =
        config(deflate).ok_or_else(|| io::Error::other("CONTEXT is alone or takeover; then there are numbers"))?;
    let address = format!("127.0.0.1:{port}");
    match backend.as_str() {
        "tokio" => on_tokio(&address, form, config, tls),
        "smol" => smol::block_on(on_smol(&address, form, config, tls)),
        "async-std" => async_std::task::block_on(on_async_std(&address, form, config, tls)),
        "blocking" if form == "listener" => {
            let server = bellwire::blocking::Server::bind(&address)?.config(config);
            server.run(|_: &Request| Response::websocket(Echo))
        }
        _ => Err(io::Error::other("no such backend, or not in this form")),
    }
}

/// As rustls is set up by default, with ring.
fn secured(certificate: &str, key: &str) -> io::Result<ServerTls> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(config.into())
}

/// No pings: what is idle is to stay so. And the largest message that is sent is taken.
fn config(deflate: &[String]) -> Option<Config> {
    let config = Config::default().keepalive_interval(None);
    let [context, level, memory @ ..] = deflate else { return Some(config) };
    let mut deflate = Deflate::default().level(level.parse().ok()?);
    if let Some(history) = memory.first() {
        deflate = deflate.history(history.parse().ok()?);
    }
    if let Some(mem_level) = memory.get(1) {
        deflate = deflate.mem_level(mem_level.parse().ok()?);
    }
    if let Some(bits) = memory.get(2) {
        deflate = deflate.client_max_window_bits(bits.parse().ok()?);
    }
    match &**context {
        "alone" => Some(config.deflate(deflate.no_context_takeover())),
        "takeover" => Some(config.deflate(deflate)),
        _ => None,
    }
}

/// The forms are the same on each runtime, but for how a task is spawned.
macro_rules! run {
    ($server:expr, $form:expr, $config:expr, $tls:expr, $spawn:expr) => {{
        let mut server = $server.config($config);
        if let Some(tls) = $tls {
            server = server.tls(tls);
        }
        match $form {
            "listener" => server.run(|_: &Request| Response::websocket(Echo)).await,
            "async" => server.run_async(echo_async).await,
            "stream" => {
                let echo = async |_: Request| {
                    let (listener, opened) = stream();
                    $spawn(async move {
                        if let Some(messages) = opened.await {
                            echo_stream(messages).await;
                        }
                    });
                    AsyncResponse::websocket(listener)
                };
                server.run_async(echo).await
            }
            _ => Err(io::Error::other("no such form")),
        }
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn on_tokio(address: &str, form: &str, config: Config, tls: Option<ServerTls>) -> io::Result<()> {
    run!(bellwire::tokio::Server::bind(address).await?, form, config, tls, tokio::spawn)
}

async fn on_smol(address: &str, form: &str, config: Config, tls: Option<ServerTls>) -> io::Result<()> {
    run!(bellwire::smol::Server::bind(address).await?, form, config, tls, |task| smol::spawn(task).detach())
}

async fn on_async_std(address: &str, form: &str, config: Config, tls: Option<ServerTls>) -> io::Result<()> {
    run!(bellwire::async_std::Server::bind(address).await?, form, config, tls, async_std::task::spawn)
}

async fn echo_async(_: Request) -> AsyncResponse {
    AsyncResponse::websocket(async_listener().on_message(async |socket, message| socket.send(message)))
}

async fn echo_stream(mut messages: MessageStream) {
    while let Some(Ok(message)) = messages.recv().await {
        if messages.send(message).await.is_err() {
            return;
        }
    }
}
