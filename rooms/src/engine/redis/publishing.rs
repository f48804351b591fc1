//! Batches of messages on their way to Redis, and what it makes of them.
//!
//! Without a history a batch is as many `PUBLISH`. With one it is a script, in which a message gets its position and is
//! published under it before another can: so the order of the channel is that of the stream. What the script publishes
//! begins with a `K` and the position, which [`wire`](crate::wire) never does.

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value, cmd};

use super::Names;
use super::hello::judge;
use super::refusal::{Refusal, lost, no_redis};
use crate::builder::History;
use crate::engine::{Channel, Publication, most_kept};
use crate::error::BrokerError;
use crate::position::Position;

/// What keeps and publishes.
pub(super) const SCRIPT: &str = include_str!("publish.lua");

const KEPT: u8 = b'K';

/// How messages are kept.
pub(super) struct Keeping {
    /// The script's digest.
    pub(super) script: String,
    pub(super) history: History,
}

/// What became of each of a batch.
pub(super) type Outcomes = Vec<Result<(), Refusal>>;

/// Publishes a batch of which nothing is kept; and `asks` whether this Redis is still one to publish at.
pub(super) async fn publish(
    connection: &mut MultiplexedConnection,
    names: &Names,
    batch: &[Publication],
    asks: bool,
) -> Result<Outcomes, BrokerError> {
    let mut pipeline = Pipeline::with_capacity(batch.len() + 1);
    for Publication { channel, bytes, .. } in batch {
        let channel = channel.name(&names.prefix);
        let mut publish = Cmd::with_capacity(3, "PUBLISH".len() + channel.len() + bytes.len());
        publish.arg("PUBLISH").arg(channel).arg(&bytes[..]);
        pipeline.add_command(publish);
    }
    if asks {
        pipeline.cmd("HELLO");
    }
    let count = pipeline.len();
    let mut replies = connection.send_packed_commands(&pipeline, 0, count).await.map_err(|error| lost(&error))?;
    if asks {
        judge(&replies.pop().ok_or_else(no_redis)?)?;
    }
    outcomes(&replies)
}

/// Publishes a batch by the script, which Redis forgets when it starts again, or is told to.
pub(super) async fn publish_and_keep(
    connection: &mut MultiplexedConnection,
    names: &Names,
    batch: &[Publication],
    keeping: &Keeping,
) -> Result<Outcomes, BrokerError> {
    let known = call("EVALSHA", &keeping.script, batch, names, keeping.history);
    let mut reply = connection.send_packed_command(&known).await.map_err(|error| lost(&error))?;
    if matches!(&reply, Value::ServerError(error) if Refusal::from(error).is_no_script()) {
        let whole = call("EVAL", SCRIPT, batch, names, keeping.history);
        reply = connection.send_packed_command(&whole).await.map_err(|error| lost(&error))?;
    }
    match reply {
        Value::Array(replies) if replies.len() == batch.len() => outcomes(&replies),
        Value::ServerError(error) => {
            let refusal = Refusal::from(&error);
            if refusal.may_come_late() { Err(refusal.into_broker_error()) } else { Ok(vec![Err(refusal); batch.len()]) }
        }
        _ => Err(no_redis()),
    }
}

/// How to call the script: `EVALSHA` and its digest, or `EVAL` and itself.
fn call(how: &str, what: &str, batch: &[Publication], names: &Names, history: History) -> Cmd {
    let streams: Vec<_> = batch.iter().filter_map(|publication| stream(publication, names)).collect();
    let mut call = cmd(how);
    call.arg(what).arg(streams.len()).arg(&streams);
    call.arg(most_kept(history)).arg(milliseconds(history));
    for publication in batch {
        let is_kept = stream(publication, names).is_some();
        call.arg(if is_kept { "1" } else { "0" });
        call.arg(publication.channel.name(&names.prefix)).arg(&publication.bytes[..]);
    }
    call
}

/// Where a publication is kept, if it is.
fn stream(publication: &Publication, names: &Names) -> Option<String> {
    match &publication.channel {
        Channel::Room(token) if publication.keep => Some(names.stream(token)),
        _ => None,
    }
}

/// How long a history goes back, as Redis wants it.
pub(super) fn milliseconds(history: History) -> u64 {
    // More than that is no expiry to Redis, but an error.
    const MOST: u64 = 1 << 52;
    u64::try_from(history.age.as_millis()).map_or(MOST, |age| age.clamp(1, MOST))
}

/// What became of a batch, by the replies to it.
fn outcomes(replies: &[Value]) -> Result<Outcomes, BrokerError> {
    replies.iter().map(outcome).collect()
}

fn outcome(reply: &Value) -> Result<Result<(), Refusal>, BrokerError> {
    match reply {
        Value::Int(_) => Ok(Ok(())),
        Value::BulkString(error) => Ok(Err(Refusal::parse(&String::from_utf8_lossy(error)))),
        Value::ServerError(error) => Ok(Err(error.into())),
        _ => Err(no_redis()),
    }
}

/// A message as it is on a channel: its position, if it was kept, and what was published.
pub(super) fn received(payload: Vec<u8>) -> (Option<Position>, Bytes) {
    let payload = Bytes::from(payload);
    match position(&payload) {
        Some((position, length)) => (Some(position), payload.slice(length..)),
        None => (None, payload),
    }
}

/// The position that a payload begins with, and how many bytes that takes.
fn position(payload: &[u8]) -> Option<(Position, usize)> {
    /// Two numbers of 20 digits, and what is between.
    const MOST: usize = 41;
    let (&KEPT, rest) = payload.split_first()? else { return None };
    let length = rest.iter().take(MOST + 1).position(|byte| *byte == b' ')?;
    let position = std::str::from_utf8(rest.get(..length)?).ok()?.parse().ok()?;
    Some((position, length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_kept_comes_with_its_position() {
        let most = Position::new(u64::MAX, u64::MAX);
        for (payload, expected) in [
            ("K17-3 T12345678hello", (Some(Position::new(17, 3)), "T12345678hello")),
            ("K17-3 ", (Some(Position::new(17, 3)), "")),
            ("K17-3  a b", (Some(Position::new(17, 3)), " a b")),
            ("K18446744073709551615-18446744073709551615 x", (Some(most), "x")),
        ] {
            assert_eq!(received(payload.into()), (expected.0, Bytes::from(expected.1)), "{payload}");
        }
    }

    #[test]
    fn all_else_comes_as_it_is() {
        for payload in ["", "K", "K17-3", "K17 x", "K-3 x", "T17-3 x", "k17-3 x", "K1-2-3 x", "K+1-2 x"] {
            assert_eq!(received(payload.into()), (None, Bytes::from(payload)), "{payload}");
        }
        let long = format!("K{}-3 x", "0".repeat(100));
        assert_eq!(received(long.clone().into()), (None, Bytes::from(long)));
        assert_eq!(received(b"K\xff-3 x".to_vec()).0, None);
    }

    #[test]
    fn a_count_is_what_redis_can_take() {
        // It reads a signed number.
        for (messages, expected) in
            [(0, 1), (2, 3), (usize::MAX, i64::try_from(usize::MAX).unwrap_or(i64::MAX).saturating_add(1))]
        {
            assert_eq!(most_kept(History::last(messages)), expected);
        }
    }

    #[test]
    fn an_age_is_what_redis_can_take() {
        for (age, expected) in [(Duration::ZERO, 1), (Duration::from_secs(2), 2000), (Duration::MAX, 1 << 52)] {
            assert_eq!(milliseconds(History::last(1).for_at_most(age)), expected);
        }
    }
}
