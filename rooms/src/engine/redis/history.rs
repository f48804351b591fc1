//! What is kept of a room: a stream, read by the page.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value, cmd};

use super::publishing::milliseconds;
use super::refusal::{Refusal, lost, no_redis};
use crate::builder::History;
use crate::engine::{Dropped, Excerpt, Kept};
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
) -> Result<Excerpt, HistoryError> {
    let mut pages = Pages::new(since);
    while !pages.is_over {
        let (now, page) = ask(&mut connection, stream, pages.last).await?;
        pages.add(page, Position::new(oldest(now, history), 0));
    }
    pages.into_excerpt(history)
}

/// What was read so far, by pages. Each begins with the last entry that is known: while that is there, nothing after it was
/// dropped.
struct Pages {
    since: Option<Position>,
    last: Position,
    kept: Vec<Kept>,
    /// Whether the position that all begins with was there, once that is known.
    has_since: Option<bool>,
    /// An entry was gone when it was looked for again.
    is_torn: bool,
    /// From where on messages are young enough. The stream holds more until somebody adds to it.
    oldest: Position,
    some_too_old: bool,
    is_over: bool,
}

impl Pages {
    fn new(since: Option<Position>) -> Self {
        Self {
            since,
            last: since.unwrap_or_default(),
            kept: Vec::new(),
            has_since: None,
            is_torn: false,
            oldest: Position::default(),
            some_too_old: false,
            is_over: false,
        }
    }

    fn add(&mut self, page: Vec<Kept>, oldest: Position) {
        let has_last = page.first().is_some_and(|first| first.position == self.last);
        if self.has_since.is_none() {
            self.has_since = Some(has_last);
        } else {
            self.is_torn |= !has_last;
        }
        self.is_over = page.len() < PAGE;
        self.oldest = oldest;
        let last = page.last().map_or(self.last, |kept| kept.position);
        for kept in page.into_iter().skip(usize::from(has_last)) {
            if kept.position < oldest {
                self.some_too_old = true;
            } else {
                self.kept.push(kept);
            }
        }
        self.last = last;
    }

    fn into_excerpt(self, history: History) -> Result<Excerpt, HistoryError> {
        let dropped = self.dropped(history)?;
        Ok(Excerpt { kept: self.kept, dropped })
    }

    fn dropped(&self, history: History) -> Result<Dropped, HistoryError> {
        let Some(since) = self.since else {
            return Ok(if self.is_torn { Dropped::TooMany } else { Dropped::Nothing });
        };
        let has_since = self.has_since == Some(true);
        // One that `now` has returned is that of no entry.
        let is_time = since.parts().1 == u64::MAX;
        if self.is_torn || !has_since && self.kept.len() > history.messages {
            Ok(Dropped::TooMany)
        } else if self.some_too_old || !has_since && since < self.oldest {
            Ok(Dropped::TooOld)
        } else if has_since || is_time {
            Ok(Dropped::Nothing)
        } else {
            Err(HistoryError::Gone)
        }
    }
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

/// What time it is at Redis, in milliseconds, and a page that begins with this position, if that is there.
async fn ask(
    connection: &mut MultiplexedConnection,
    stream: &str,
    from: Position,
) -> Result<(u64, Vec<Kept>), HistoryError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("TIME");
    pipeline.cmd("XRANGE").arg(stream).arg(from.to_string()).arg("+").arg("COUNT").arg(PAGE);
    let replies = connection.send_packed_commands(&pipeline, 0, 2).await.map_err(|error| unavailable(&error))?;
    let mut replies = replies.into_iter();
    let now = replies.next().and_then(|time| milliseconds_of(&time)).ok_or_else(strange)?;
    Ok((now, page(replies.next().ok_or_else(strange)?)?))
}

/// From when on messages are young enough.
fn oldest(now: u64, history: History) -> u64 {
    now.saturating_sub(milliseconds(history))
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

    const MINUTE: u64 = 60_000;

    /// What is read of a stream that has entries at these positions, at this time, if two are kept for a minute.
    fn excerpt(since: Option<Position>, now: u64, there: &[u64]) -> Result<(Vec<u64>, Dropped), HistoryError> {
        let history = History::last(2).for_at_most(std::time::Duration::from_secs(60));
        let mut pages = Pages::new(since);
        let from = since.unwrap_or_default();
        let entries = there.iter().map(|at| Position::new(*at, 0)).filter(|position| *position >= from);
        let page = entries.map(|position| Kept { position, bytes: "x".into() }).collect();
        pages.add(page, Position::new(oldest(now, history), 0));
        assert!(pages.is_over);
        let Excerpt { kept, dropped } = pages.into_excerpt(history)?;
        Ok((kept.iter().map(|kept| kept.position.parts().0).collect(), dropped))
    }

    #[test]
    fn what_was_dropped_is_known_by_what_is_there() {
        use Dropped::{Nothing, TooMany, TooOld};
        let at = |at| Some(Position::new(at, 0));
        let now = 10 * MINUTE;
        let (young, old) = (now - 100, now - 2 * MINUTE);
        for (since, there, expected) in [
            // Without a position there is nothing to lack.
            (None, vec![old, young], Ok((vec![young], Nothing))),
            (None, vec![], Ok((vec![], Nothing))),
            // What is there itself lacks nothing, however much there is, and if it is old.
            (at(young), vec![young], Ok((vec![], Nothing))),
            (at(young), vec![young, now - 3, now - 2, now - 1], Ok((vec![now - 3, now - 2, now - 1], Nothing))),
            (at(old), vec![old], Ok((vec![], Nothing))),
            (at(old), vec![old, young], Ok((vec![young], Nothing))),
            // What is too old is left out.
            (at(old), vec![old, old + 1, young], Ok((vec![young], TooOld))),
            (at(old), vec![old + 1], Ok((vec![], TooOld))),
            // What is too old to be there may have been followed by others that were.
            (at(old), vec![], Ok((vec![], TooOld))),
            (at(old), vec![young], Ok((vec![young], TooOld))),
            // What should be there, and is not, was followed by too many, or is of another history.
            (at(young), vec![now - 3, now - 2, now - 1], Ok((vec![now - 3, now - 2, now - 1], TooMany))),
            (at(young), vec![now - 2, now - 1], Err(HistoryError::Gone)),
            (at(young), vec![old, young - 1, now - 1], Err(HistoryError::Gone)),
            (at(young), vec![], Err(HistoryError::Gone)),
            (at(u64::MAX), vec![], Err(HistoryError::Gone)),
        ] {
            assert_eq!(excerpt(since, now, &there), expected, "{since:?} of {there:?}");
        }
    }

    #[test]
    fn a_time_at_which_there_was_nothing_is_a_position_too() {
        let now = 10 * MINUTE;
        let at = |at| Some(Position::new(at, u64::MAX));
        assert_eq!(excerpt(at(now - 5), now, &[]), Ok((vec![], Dropped::Nothing)));
        assert_eq!(excerpt(at(now - 5), now, &[now - 9, now - 1]), Ok((vec![now - 1], Dropped::Nothing)));
        let many = [now - 3, now - 2, now - 1];
        assert_eq!(excerpt(at(now - 5), now, &many), Ok((many.into(), Dropped::TooMany)));
        assert_eq!(excerpt(at(now - 2 * MINUTE), now, &[]), Ok((vec![], Dropped::TooOld)));
    }

    #[test]
    fn what_is_dropped_between_two_pages_is_missed() {
        let kept = |range: std::ops::Range<u64>| -> Vec<_> {
            range.map(|minor| Kept { position: Position::new(1, minor), bytes: "x".into() }).collect()
        };
        let page = PAGE as u64;
        for (second, expected) in [(page - 1..page + 5, Dropped::Nothing), (page + 1..page + 5, Dropped::TooMany)] {
            for since in [Some(Position::new(1, 0)), None] {
                let mut pages = Pages::new(since);
                pages.add(kept(0..page), Position::new(1, 0));
                assert_eq!((pages.is_over, pages.last), (false, Position::new(1, page - 1)));
                pages.add(kept(second.clone()), Position::new(1, 0));
                let excerpt = pages.into_excerpt(History::last(10)).unwrap();
                assert!(excerpt.kept.is_sorted_by(|first, second| first.position < second.position));
                assert_eq!(excerpt.kept.last().unwrap().position, Position::new(1, page + 4));
                assert_eq!(excerpt.dropped, expected);
            }
        }
        // Also if there is nothing any more.
        let mut pages = Pages::new(None);
        pages.add(kept(0..page), Position::new(1, 0));
        pages.add(Vec::new(), Position::new(1, 0));
        assert_eq!(pages.into_excerpt(History::last(10)).unwrap().dropped, Dropped::TooMany);
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
