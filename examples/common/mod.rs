//! What the examples share: the choice of a backend at run time.
#![allow(dead_code, reason = "each example uses a part of it")]

pub(crate) mod reconnect;
pub(crate) mod tls;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bellwire::listener::IntoListener;
use bellwire::proto::client::IntoTarget;
use bellwire::{Closed, Config, ConnectError, WebSocket};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// All backends, compiled in or not.
const BACKENDS: [&str; 4] = ["blocking", "tokio", "smol", "async-std"];

/// A backend that is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    #[cfg(feature = "blocking")]
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "smol")]
    Smol,
    #[cfg(feature = "async-std")]
    AsyncStd,
}

impl Backend {
    /// Returns the first that is compiled in.
    #[allow(unreachable_code, reason = "several may be compiled in")]
    pub(crate) fn default() -> Result<Self, BoxError> {
        #[cfg(feature = "blocking")]
        return Ok(Self::Blocking);
        #[cfg(feature = "tokio")]
        return Ok(Self::Tokio);
        #[cfg(feature = "smol")]
        return Ok(Self::Smol);
        #[cfg(feature = "async-std")]
        return Ok(Self::AsyncStd);
        Err(format!("no backend is compiled in: build with --features and one of {}", BACKENDS.join(", ")).into())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            #[cfg(feature = "blocking")]
            "blocking" => Ok(Self::Blocking),
            #[cfg(feature = "tokio")]
            "tokio" => Ok(Self::Tokio),
            #[cfg(feature = "smol")]
            "smol" => Ok(Self::Smol),
            #[cfg(feature = "async-std")]
            "async-std" => Ok(Self::AsyncStd),
            name if BACKENDS.contains(&name) => {
                Err(format!("the backend {name} is not compiled in: build with `--features {name}`"))
            }
            _ => Err(format!("there is no backend {name:?}: choose one of {}", BACKENDS.join(", "))),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            #[cfg(feature = "blocking")]
            Self::Blocking => "blocking",
            #[cfg(feature = "tokio")]
            Self::Tokio => "tokio",
            #[cfg(feature = "smol")]
            Self::Smol => "smol",
            #[cfg(feature = "async-std")]
            Self::AsyncStd => "async-std",
        })
    }
}

/// An open connection of any backend.
pub(crate) struct Connected {
    pub(crate) socket: WebSocket,
    pub(crate) protocol: Option<String>,
    closed: Box<dyn FnOnce() -> Closed>,
}

impl Connected {
    /// Waits for the connection to end.
    pub(crate) fn closed(self) -> Closed {
        (self.closed)()
    }
}

/// Connects with a backend, and drives the connection in the background.
pub(crate) fn connect(
    backend: Backend,
    target: impl IntoTarget,
    listener: impl IntoListener,
) -> Result<Connected, ConnectError> {
    match backend {
        #[cfg(feature = "blocking")]
        Backend::Blocking => {
            let mut client = bellwire::blocking::connect(target, listener)?;
            let (socket, protocol) = (client.socket().clone(), client.protocol().map(Into::into));
            Ok(Connected { socket, protocol, closed: Box::new(move || client.closed()) })
        }
        #[cfg(feature = "tokio")]
        Backend::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.map_err(ConnectError::Thread)?;
            let mut client = match runtime.block_on(bellwire::tokio::connect(target, listener)) {
                Ok(client) => client,
                Err(error) => {
                    // Without waiting for a resolver that may still be busy.
                    runtime.shutdown_background();
                    return Err(error);
                }
            };
            let (socket, protocol) = (client.socket().clone(), client.protocol().map(Into::into));
            Ok(Connected { socket, protocol, closed: Box::new(move || runtime.block_on(client.closed())) })
        }
        #[cfg(feature = "smol")]
        Backend::Smol => {
            let mut client = smol::block_on(bellwire::smol::connect(target, listener))?;
            let (socket, protocol) = (client.socket().clone(), client.protocol().map(Into::into));
            Ok(Connected { socket, protocol, closed: Box::new(move || smol::block_on(client.closed())) })
        }
        #[cfg(feature = "async-std")]
        Backend::AsyncStd => {
            let mut client = async_std::task::block_on(bellwire::async_std::connect(target, listener))?;
            let (socket, protocol) = (client.socket().clone(), client.protocol().map(Into::into));
            Ok(Connected { socket, protocol, closed: Box::new(move || async_std::task::block_on(client.closed())) })
        }
    }
}

/// Says where a server listens.
pub(crate) fn announce(backend: Backend, addr: SocketAddr, is_secure: bool) -> io::Result<()> {
    let mut out = io::stdout();
    let s = if is_secure { "s" } else { "" };
    writeln!(out, "listening on ws{s}://{addr}/ with the {backend} backend; for a browser: http{s}://{addr}/")?;
    out.flush()
}

/// Parses a duration in whole seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|&seconds| seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "a number of seconds, at least 1".into())
}

/// Explains why an address cannot be listened on.
pub(crate) fn busy(error: io::Error) -> BoxError {
    format!("{error}; choose another address with --listen").into()
}

/// Ends the program: with the message on stderr, if there is one.
pub(crate) fn exit(result: Result<(), BoxError>) -> std::process::ExitCode {
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_CRATE_NAME"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Has messages compressed, from this many bytes on.
#[cfg(feature = "deflate")]
pub(crate) fn compressed(config: Config, threshold: usize) -> Result<Config, BoxError> {
    Ok(config.deflate(bellwire::config::Deflate::default().threshold(threshold)))
}

#[cfg(not(feature = "deflate"))]
pub(crate) fn compressed(_: Config, _: usize) -> Result<Config, BoxError> {
    Err("--deflate needs the feature `deflate`: cargo run --features deflate ..".into())
}
