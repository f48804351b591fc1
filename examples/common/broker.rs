//! Brokers that connect several nodes: which of them are compiled in is a matter of features.

use std::fmt;

use bellwire::rooms::{Builder, Rooms};

use super::BoxError;

/// A broker, and its URL, which may have a password in it.
pub(crate) enum Broker {
    Nats(String),
    Redis(String),
}

/// Notes the broker that is asked for.
pub(crate) fn set(broker: &mut Option<Broker>, asked: Broker) -> Result<(), BoxError> {
    match broker.replace(asked) {
        None => Ok(()),
        Some(_) => Err("--nats and --redis: a room has one broker, so give one of them, once".into()),
    }
}

impl Broker {
    /// Connects in the background, and says on stderr when that succeeds, and when it does not.
    pub(crate) fn connect(&self, builder: Builder) -> Result<Rooms, BoxError> {
        let builder = builder
            .on_connected(|_| eprintln!("connected to the broker"))
            .on_away(|error| eprintln!("{error}; trying again"));
        match self {
            Self::Nats(url) => nats(builder, url),
            Self::Redis(url) => redis(builder, url),
        }
        .map_err(|error| format!("{self}: {error}").into())
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nats(_) => "--nats",
            Self::Redis(_) => "--redis",
        })
    }
}

#[cfg(feature = "rooms-nats")]
fn nats(builder: Builder, url: &str) -> Result<Rooms, BoxError> {
    Ok(builder.nats(url)?)
}

#[cfg(not(feature = "rooms-nats"))]
fn nats(_: Builder, _: &str) -> Result<Rooms, BoxError> {
    Err("needs the feature `rooms-nats`: cargo run --features rooms-nats ..".into())
}

#[cfg(feature = "rooms-redis")]
fn redis(builder: Builder, url: &str) -> Result<Rooms, BoxError> {
    Ok(builder.redis(url)?)
}

#[cfg(not(feature = "rooms-redis"))]
fn redis(_: Builder, _: &str) -> Result<Rooms, BoxError> {
    Err("needs the feature `rooms-redis`: cargo run --features rooms-redis ..".into())
}
