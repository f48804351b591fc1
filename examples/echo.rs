//! An echo server, for WebSocket clients and for browsers.

mod common;

use std::process::ExitCode;

use bellwire::{
    Config, Listener, Message, Outcome, Request, Response, ServerTls, WebSocket, is_upgrade_request, listener,
};
use common::{Backend, BoxError};
use lexopt::prelude::*;

const HELP: &str = "\
An echo server: open its address in a browser, or connect a WebSocket client.

  /         echoes text and binary messages; a browser gets a page to try it
  /greeter  greets, echoes, and closes on \"exit\"
  /sink     takes messages, and answers none
  /client   tells who asks, and for what, as far as proxies in between say so

Usage: echo [OPTIONS]

  --listen ADDR        where to listen [127.0.0.1:9001]
  --backend B          blocking, tokio, smol or async-std [the first that is compiled in]
  --threads N          threads of the tokio runtime; 1 is single-threaded [one per processor]
  --max-message BYTES  the longest message taken [1048576]
  --keepalive SECONDS  how long a client may be quiet before it gets a ping [20]
  --no-keepalive       do not ping quiet clients
  --deflate            compress messages, however short (needs --features deflate)
  --trusted NETWORK    believe the proxies at this address, or in this network, in Forwarded and
                       X-Forwarded-For, -Host, -Proto; may be given more than once
  --proxy-protocol NETWORK
                       want the PROXY protocol from there; may be given more than once (needs --features
                       proxy-protocol)
  --tls CERT KEY       speak TLS, with a certificate and its private key, files in PEM (needs --features
                       rustls)
  --help               this text";

struct Options {
    listen: String,
    backend: Backend,
    threads: Option<usize>,
    config: Config,
    #[cfg(feature = "proxy-protocol")]
    proxy_protocol: Vec<String>,
    tls: Option<ServerTls>,
}

/// The servers of all backends are set up alike.
macro_rules! set_up {
    ($server:ident, $options:ident) => {{
        let mut server = $server;
        if let Some(tls) = $options.tls {
            server = server.tls(tls);
        }
        #[cfg(feature = "proxy-protocol")]
        {
            server = server.proxy_protocol($options.proxy_protocol)?;
        }
        server.config($options.config)
    }};
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<(), BoxError> {
    let Some(options) = parse()? else {
        println!("{HELP}");
        return Ok(());
    };
    match options.backend {
        #[cfg(feature = "blocking")]
        Backend::Blocking => {
            let server = bellwire::blocking::Server::bind(&options.listen).map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            set_up!(server, options).run(app)?;
        }
        #[cfg(feature = "tokio")]
        Backend::Tokio => runtime(options.threads)?.block_on(async {
            let server = bellwire::tokio::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            set_up!(server, options).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
        #[cfg(feature = "smol")]
        Backend::Smol => smol::block_on(async {
            let server = bellwire::smol::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            set_up!(server, options).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
        #[cfg(feature = "async-std")]
        Backend::AsyncStd => async_std::task::block_on(async {
            let server = bellwire::async_std::Server::bind(&options.listen).await.map_err(common::busy)?;
            common::announce(options.backend, server.local_addr()?, options.tls.is_some())?;
            set_up!(server, options).run(app).await?;
            Ok::<_, BoxError>(())
        })?,
    }
    Ok(())
}

/// Answers a request.
fn app(request: &Request) -> Response {
    match (request.path(), is_upgrade_request(request)) {
        ("/", true) => Response::websocket(Echo),
        ("/", false) => Response::html(include_str!("echo.html")),
        ("/greeter", true) => greeter(request),
        ("/sink", true) => Response::websocket(Sink),
        ("/client", true) => {
            let text = client(request);
            Response::websocket(listener().on_open(move |socket| socket.send(&text)))
        }
        ("/client", false) => Response::text(client(request)),
        ("/greeter" | "/sink", false) => Response::upgrade_required(),
        _ => Response::not_found(),
    }
}

/// Who asks, and for what.
fn client(request: &Request) -> String {
    let address = request.client_ip().map_or_else(|| "somebody".into(), |ip| ip.to_string());
    let scheme = request.client_scheme().unwrap_or("some scheme");
    let host = request.client_host().unwrap_or_default();
    let peer = request.peer_addr().map_or_else(|| "nowhere".into(), |peer| peer.ip().to_string());
    format!("{address} asks for {scheme}://{host}, from {peer}")
}

/// A listener as a type.
struct Echo;

impl Listener for Echo {
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        Ok(socket.send(message)?)
    }
}

/// Every event has a default, so a listener without any callback receives and says nothing.
struct Sink;

impl Listener for Sink {}

/// A listener made of closures.
fn greeter(request: &Request) -> Response {
    assert!(is_upgrade_request(request));
    Response::websocket(
        listener()
            .on_open(|socket| socket.send("I will echo your messages"))
            .on_message(|socket, message| if message == "exit" { socket.close() } else { socket.send(message) }),
    )
    // Some clients fail if they offer subprotocols and get none.
    .select_protocol(request, &["greeter"])
}

#[cfg(feature = "tokio")]
fn runtime(threads: Option<usize>) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let mut builder = if threads == Some(1) { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

fn parse() -> Result<Option<Options>, BoxError> {
    let mut options = Options {
        listen: "127.0.0.1:9001".into(),
        backend: Backend::default()?,
        threads: None,
        config: Config::default(),
        #[cfg(feature = "proxy-protocol")]
        proxy_protocol: Vec::new(),
        tls: None,
    };
    let mut trusted = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => options.listen = parser.value()?.string()?,
            Long("backend") => options.backend = parser.value()?.parse()?,
            Long("threads") => options.threads = Some(parser.value()?.parse_with(positive)?),
            Long("max-message") => options.config = options.config.max_message(parser.value()?.parse()?),
            Long("keepalive") => {
                let every = parser.value()?.parse_with(common::seconds)?;
                options.config = options.config.keepalive_interval(every);
            }
            Long("deflate") => options.config = common::compressed(options.config, 0)?,
            Long("no-keepalive") => options.config = options.config.keepalive_interval(None),
            Long("trusted") => trusted.push(parser.value()?.string()?),
            #[cfg(feature = "proxy-protocol")]
            Long("proxy-protocol") => options.proxy_protocol.push(parser.value()?.string()?),
            Long("tls") => {
                options.tls = Some(common::tls::server(&parser.value()?.string()?, &parser.value()?.string()?)?)
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    options.config = options.config.trusted_proxies(&trusted)?;
    Ok(Some(options))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&threads| threads > 0).ok_or_else(|| "a number of threads, at least 1".into())
}
