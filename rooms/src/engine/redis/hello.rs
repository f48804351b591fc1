//! What a connection begins with: what is Redis like, and can it do what is needed?

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use super::RedisBroker;
use super::publishing::SCRIPT;
use super::refusal::{Refusal, lost, no_redis};
use crate::error::BrokerError;

/// The most bytes of a string, unless Redis says something else.
const MAX_STRING: usize = 512 << 20;

/// What there is to know about a Redis.
pub(super) struct Known {
    pub(super) max_payload: usize,
    /// The digest of the script, if a history is kept.
    pub(super) script: Option<String>,
}

/// Chooses the database, and asks what is to be known, in one round trip.
pub(super) async fn hello(connection: &mut MultiplexedConnection, broker: &RedisBroker) -> Result<Known, BrokerError> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("HELLO");
    if broker.database != 0 {
        pipeline.cmd("SELECT").arg(broker.database);
    }
    // What may be denied without harm: a name for `CLIENT LIST`, and the limit.
    pipeline.cmd("CLIENT").arg("SETNAME").arg("bellwire-rooms");
    pipeline.cmd("CONFIG").arg("GET").arg("proto-max-bulk-len");
    if broker.history.is_some() {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(SCRIPT);
        // Is this where the streams are?
        pipeline.cmd("XLEN").arg(broker.names.stream("probe"));
    }
    let count = pipeline.len();
    let replies = connection.send_packed_commands(&pipeline, 0, count).await.map_err(|error| lost(&error))?;
    let mut replies = replies.into_iter();
    let mut next = || replies.next().ok_or_else(no_redis);

    judge(&next()?)?;
    if broker.database != 0 {
        accepted(&next()?)?;
    }
    next()?;
    let max_payload = limit(&next()?).unwrap_or(MAX_STRING);
    let script = if broker.history.is_some() {
        let script = digest(next()?)?;
        accepted(&next()?).map_err(without_history)?;
        Some(script)
    } else {
        None
    };
    Ok(Known { max_payload, script })
}

/// Is it Redis, and one where messages reach all other nodes?
pub(super) fn judge(reply: &Value) -> Result<(), BrokerError> {
    accepted(reply)?;
    let says = |key, value: &str| text(reply, key).is_some_and(|text| text == value);
    if text(reply, "version").is_none() {
        return Err(no_redis());
    }
    if says("mode", "sentinel") {
        return Err(BrokerError::Protocol("that is a Sentinel: connect to the primary that it watches".into()));
    }
    if says("role", "replica") {
        return Err(BrokerError::Protocol(
            "that is a replica, and what is published there reaches no other node: connect to the primary".into(),
        ));
    }
    Ok(())
}

fn accepted(reply: &Value) -> Result<(), BrokerError> {
    match reply {
        Value::ServerError(error) => Err(Refusal::from(error).into_broker_error()),
        _ => Ok(()),
    }
}

/// It would do, were it not for the history.
fn without_history(error: BrokerError) -> BrokerError {
    match error {
        BrokerError::Denied(problem) | BrokerError::Protocol(problem) => BrokerError::History(problem),
        other => other,
    }
}

fn digest(reply: Value) -> Result<String, BrokerError> {
    match reply {
        Value::BulkString(digest) => String::from_utf8(digest).map_err(|_| no_redis()),
        Value::ServerError(error) => Err(without_history(Refusal::from(&error).into_broker_error())),
        _ => Err(no_redis()),
    }
}

fn limit(reply: &Value) -> Option<usize> {
    text(reply, "proto-max-bulk-len")?.parse().ok()
}

/// A text in a map.
fn text<'a>(map: &'a Value, key: &str) -> Option<&'a str> {
    let Value::Map(entries) = map else { return None };
    let (_, value) = entries.iter().find(|(name, _)| string(name) == Some(key))?;
    string(value)
}

fn string(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(entries: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        Value::Map(entries.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn a_primary_alone_or_in_a_cluster_is_a_broker() {
        for mode in ["standalone", "cluster"] {
            assert!(
                judge(&hello(&[("server", "redis"), ("version", "7.0"), ("mode", mode), ("role", "master")])).is_ok()
            );
        }
    }

    #[test]
    fn what_is_no_primary_says_what_it_is() {
        for (reply, expected) in [
            (hello(&[("version", "7.0"), ("mode", "sentinel")]), "Sentinel"),
            (hello(&[("version", "7.0"), ("mode", "standalone"), ("role", "replica")]), "replica"),
            (hello(&[("mode", "standalone"), ("role", "master")]), "does not speak as Redis does"),
            (Value::Okay, "does not speak as Redis does"),
            (Value::Nil, "does not speak as Redis does"),
        ] {
            let error = judge(&reply).unwrap_err();
            assert!(matches!(&error, BrokerError::Protocol(text) if text.contains(expected)), "{reply:?}: {error:?}");
        }
    }
}
