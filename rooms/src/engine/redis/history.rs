//! What is kept of a room: a stream, read by the page.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value, cmd};

use super::publishing::milliseconds;
use super::refusal::{Refusal, lost, no_redis};
use crate::builder::History;
use crate::engine::Kept;
use crate::error::{BrokerError, HistoryError};
use crate::position::Position;

/// How many messages are read at once: while they come, what is published waits.
const PAGE: usize = 64;

/// Reads what is kept in a stream after a position.
pub(super) async fn read(
    mut connection: MultiplexedConnection,
    stream: &str,
    since: Option<Position>,
    history: History,
) -> Result<Vec<Kept>, HistoryError> {
    let mut all = Vec::new();
    let mut from = since.map_or(Some(Position::default()), after);
    while let Some(start) = from {
        let (now, page) = ask(&mut connection, stream, start, None).await?;
        from = page.last().filter(|_| page.len() >= PAGE).and_then(|last| after(last.position));
        let oldest = Position::new(oldest(now, history), 0);
        // The stream holds more until somebody adds to it.
        all.extend(page.into_iter().filter(|kept| kept.position >= oldest));
    }
    match since {
        Some(since) if all.len() < history.messages && !has(&mut connection, stream, since, history).await? => {
            Err(HistoryError::Gone)
        }
        _ => Ok(all),
    }
}

/// Whether a stream has this position; not asked of one that [`now`] has returned, and of one that is too old.
async fn has(
    connection: &mut MultiplexedConnection,
    stream: &str,
    position: Position,
    history: History,
) -> Result<bool, HistoryError> {
    let (milliseconds, count) = position.parts();
    if count == u64::MAX {
        return Ok(true);
    }
    let (now, found) = ask(connection, stream, position, Some(position)).await?;
    Ok(!found.is_empty() || milliseconds < oldest(now, history))
}

/// A position that all that will be kept is after, and all that was kept some time ago is not.
pub(super) async fn now(connection: &mut MultiplexedConnection) -> Result<Position, BrokerError> {
    let time = connection.send_packed_command(&cmd("TIME")).await.map_err(|error| lost(&error))?;
    if let Value::ServerError(error) = &time {
        return Err(Refusal::from(error).into_broker_error());
    }
    let now = milliseconds_of(&time).ok_or_else(no_redis)?;
    // More may be kept within this millisecond.
    Ok(Position::new(now.saturating_sub(1), u64::MAX))
}

/// What time it is at Redis, in milliseconds, and a page.
async fn ask(
    connection: &mut MultiplexedConnection,
    stream: &str,
    from: Position,
    to: Option<Position>,
) -> Result<(u64, Vec<Kept>), HistoryError> {
    let to = to.map_or("+".into(), |to| to.to_string());
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("TIME");
    pipeline.cmd("XRANGE").arg(stream).arg(from.to_string()).arg(to).arg("COUNT").arg(PAGE);
    let replies = connection.send_packed_commands(&pipeline, 0, 2).await.map_err(|error| unavailable(&error))?;
    let mut replies = replies.into_iter();
    let now = replies.next().and_then(|time| milliseconds_of(&time)).ok_or_else(strange)?;
    Ok((now, page(replies.next().ok_or_else(strange)?)?))
}

/// From when on messages are young enough.
fn oldest(now: u64, history: History) -> u64 {
    now.saturating_sub(milliseconds(history))
}

/// The first position that is greater, if there is any.
fn after(position: Position) -> Option<Position> {
    match position.parts() {
        (u64::MAX, u64::MAX) => None,
        (major, u64::MAX) => Some(Position::new(major + 1, 0)),
        (major, minor) => Some(Position::new(major, minor + 1)),
    }
}

/// The seconds and microseconds of `TIME`, as milliseconds.
fn milliseconds_of(time: &Value) -> Option<u64> {
    let Value::Array(parts) = time else { return None };
    let mut parts = parts.iter().map(|part| match part {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse::<u64>().ok(),
        _ => None,
    });
    let (seconds, microseconds) = (parts.next()??, parts.next()??);
    seconds.checked_mul(1000)?.checked_add(microseconds / 1000)
}

fn page(reply: Value) -> Result<Vec<Kept>, HistoryError> {
    match reply {
        Value::Array(entries) => entries.into_iter().map(|entry| kept(entry).ok_or_else(strange)).collect(),
        Value::ServerError(error) => Err(Refusal::from(&error).into_history_error()),
        _ => Err(strange()),
    }
}

/// An entry of a stream: its position, and a list of names and values, of which ours has one.
fn kept(entry: Value) -> Option<Kept> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(position)), Some(Value::Array(fields))) = (parts.next(), parts.next()) else {
        return None;
    };
    let position = std::str::from_utf8(&position).ok()?.parse().ok()?;
    match fields.into_iter().nth(1)? {
        Value::BulkString(bytes) => Some(Kept { position, bytes: bytes.into() }),
        _ => None,
    }
}

fn unavailable(error: &RedisError) -> HistoryError {
    if error.is_io_error() { HistoryError::Unavailable } else { HistoryError::Failed(error.to_string()) }
}

/// Somebody else has written to the stream, or it is no Redis.
fn strange() -> HistoryError {
    HistoryError::Failed("what is in the stream was not put there by rooms".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_after_another_is_the_next_that_there_can_be() {
        let after = |major, minor| after(Position::new(major, minor));
        assert_eq!(after(1, 2), Some(Position::new(1, 3)));
        assert_eq!(after(1, u64::MAX), Some(Position::new(2, 0)));
        assert_eq!(after(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a_stream_that_is_no_history_is_an_error_and_no_panic() {
        let text = |text: &str| Value::BulkString(text.into());
        let entry = |position: &str, fields: Vec<Value>| Value::Array(vec![text(position), Value::Array(fields)]);
        let good = entry("1-2", vec![text("m"), text("bytes")]);
        let kept = Kept { position: Position::new(1, 2), bytes: "bytes".into() };
        assert_eq!(page(Value::Array(vec![good.clone()])), Ok(vec![kept]));
        for bad in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![text("1-2")]),
            entry("x", vec![text("m"), text("bytes")]),
            entry("1-2", vec![text("m")]),
            entry("1-2", vec![text("m"), Value::Int(1)]),
        ] {
            assert_eq!(page(Value::Array(vec![good.clone(), bad])), Err(strange()));
        }
        assert_eq!(page(Value::Nil), Err(strange()));
    }

    #[test]
    fn the_time_of_redis_is_read() {
        let time = |parts: &[&str]| Value::Array(parts.iter().map(|part| Value::BulkString((*part).into())).collect());
        assert_eq!(milliseconds_of(&time(&["1732870000", "123456"])), Some(1_732_870_000_123));
        for bad in [&[][..], &["1"], &["x", "1"], &["18446744073709551615", "0"]] {
            assert_eq!(milliseconds_of(&time(bad)), None);
        }
    }
}
