//! The chat inside of an axum application: over HTTP/1.1, and with TLS over HTTP/2, too; on one node or on many.

#[path = "../../common/broker.rs"]
mod broker;
#[path = "../../common/room.rs"]
mod room;
mod serve;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Version;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use bellwire::axum::{Connections, WebSocketUpgrade};
use bellwire::config::Deflate;
use bellwire::{Config, listener};
use broker::Broker;
use lexopt::prelude::*;
use room::{MAX_MESSAGE, Room, member};
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_rustls::TlsAcceptor;

const HELP: &str = "\
A chat room inside of an axum application: open its address in two browsers.

  /      a page for browsers, and the room itself
  /echo  echoes messages of up to 16 MiB, compressed; its subprotocol is \"echo\"

Usage: axum-chat [OPTIONS]

  --listen ADDR   where to listen [127.0.0.1:9001]
  --tls CERT KEY  speak TLS, and HTTP/2 with those who can, with a certificate and its private key,
                  files in PEM
  --keepalive SECONDS
                  how long a client may be quiet before it gets a ping [20]
  --nats URL      share the room with all servers that are given the same broker, a NATS server:
                  nats://127.0.0.1 (needs --features rooms-nats)
  --redis URL     the same with Redis: redis://127.0.0.1 (needs --features rooms-redis)
  --help          this text";

/// How long the WebSockets have to end when the program ends.
const GRACE: Duration = Duration::from_secs(10);

type BoxError = Box<dyn Error + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
struct Chat {
    room: Room,
    config: Config,
}

struct Options {
    listen: String,
    tls: Option<TlsAcceptor>,
    config: Config,
    broker: Option<Broker>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let Some(options) = parse()? else {
        println!("{HELP}");
        return Ok(());
    };
    let connections = Connections::new();
    let room = match &options.broker {
        Some(broker) => Room::over(|builder| broker.connect(builder))?,
        None => Room::default(),
    };
    tokio::spawn(count(room.clone()));
    let app = app(Chat { room: room.clone(), config: options.config }, connections.clone());
    let socket = TcpListener::bind(&options.listen).await?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    println!("{scheme}://{}/", socket.local_addr()?);
    let ctrl_c = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("Ctrl-C is not heard: {error}");
            std::future::pending().await
        }
    };
    // axum ends HTTP by itself, but not what was upgraded: the WebSockets are told first.
    let end = connections.shutdown_after(ctrl_c, GRACE);
    match options.tls {
        Some(tls) => serve::tls(socket, tls, app, end).await,
        None => serve::clear(socket, app, end).await?,
    }
    // The other nodes need not find out by themselves that nobody is here any more.
    room.rooms.close().await;
    Ok(())
}

/// The application. What is asked for by `GET` over HTTP/1.1 is asked for by `CONNECT` over HTTP/2: so a route of a WebSocket
/// is one for `any` method.
fn app(state: Chat, connections: Connections) -> Router {
    Router::new()
        .route("/", any(room))
        .route("/echo", any(echo))
        .with_state(state)
        .layer(connections)
        .layer(middleware::from_fn(log))
}

/// A page for a browser, and the room for the page.
async fn room(State(chat): State<Chat>, upgrade: Option<WebSocketUpgrade>) -> Response {
    match upgrade {
        Some(upgrade) => upgrade.config(chat.config.max_message(MAX_MESSAGE)).listener(member(&chat.room)),
        None => Html(include_str!("../../chat.html")).into_response(),
    }
}

/// With a subprotocol, compression, and a limit of its own.
async fn echo(State(chat): State<Chat>, upgrade: WebSocketUpgrade) -> Response {
    let config = chat.config.max_message(16 << 20).deflate(Deflate::default().threshold(0));
    let echo = listener().on_message(|socket, message| socket.send(message));
    upgrade.protocols(["echo"]).config(config).listener(echo)
}

/// Tells of each request by which version of HTTP it came. A WebSocket is a `GET` with 101 over HTTP/1.1, a `CONNECT` with 200
/// over HTTP/2.
async fn log(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let version = match request.version() {
        Version::HTTP_2 => "h2",
        _ => "http/1.1",
    };
    let line = format!("{peer} {version} {} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    println!("{line} {}", response.status().as_u16());
    response
}

/// Tells from time to time who is here: sockets can be used from any task, not only from callbacks.
async fn count(room: Room) {
    let mut minutes = interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        room.count();
    }
}

fn parse() -> Result<Option<Options>, BoxError> {
    let mut options = Options { listen: "127.0.0.1:9001".into(), tls: None, config: Config::default(), broker: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => options.listen = parser.value()?.string()?,
            Long("tls") => options.tls = Some(serve::acceptor(&parser.value()?.string()?, &parser.value()?.string()?)?),
            Long("keepalive") => {
                let every = Duration::from_secs(parser.value()?.parse()?);
                options.config = options.config.keepalive_interval(every);
            }
            Long("nats") => broker::set(&mut options.broker, Broker::Nats(parser.value()?.string()?))?,
            Long("redis") => broker::set(&mut options.broker, Broker::Redis(parser.value()?.string()?))?,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    Ok(Some(options))
}
