//! What Redis says when it does not do what it was told, and what to do about it.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerError};

use super::address;
use crate::engine::printable;
use crate::error::{BrokerError, HistoryError, PublishError};

/// An error that Redis has answered with: its first word, which is its kind, and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    code: String,
    details: String,
}

impl Refusal {
    /// An error as a script has got it: `OOM command not allowed …`, or without its kind, which some versions leave out.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('-').unwrap_or(text);
        let is_code = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
        match text.split_once(' ') {
            Some((code, details)) if is_code(code) => Self::new(code, details),
            _ => Self::new("ERR", text),
        }
    }

    fn new(code: &str, details: &str) -> Self {
        // What a user may not do, in the words that scripts get of it.
        let is_denied = ["user executing the script", "ACL failure"].iter().any(|words| details.contains(words));
        let code = if is_denied { "NOPERM" } else { code };
        Self { code: printable(code), details: printable(details) }
    }

    /// An error of a server, if it is one.
    fn of(error: &RedisError) -> Option<Self> {
        Some(Self::new(error.code()?, error.detail().unwrap_or_default()))
    }

    /// Whether the script that was to be run is not there.
    pub(super) fn is_no_script(&self) -> bool {
        self.code == "NOSCRIPT"
    }

    /// Whether all else would be refused in the same way, until there is another connection.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.code.as_str(), "READONLY" | "NOAUTH" | "MASTERDOWN" | "MOVED")
    }

    /// Whether a part of the batch may have been published before: Redis has begun with it then.
    pub(super) fn may_come_late(&self) -> bool {
        self.code == "ERR"
    }

    /// What to do about it.
    fn advice(&self) -> &'static str {
        match self.code.as_str() {
            "NOPERM" => {
                "let the user have it with `ACL SETUSER`: `&PREFIX.* +publish +subscribe +unsubscribe`, and with a \
                 history also `~{PREFIX}.keep.* +eval +evalsha +script|load +xadd +xrange +xlen +xtrim +xdel +pexpire \
                 +time`"
            }
            "NOAUTH" | "WRONGPASS" => "put the user and the password into the URL: redis://user:password@host",
            "DENIED" => "set a password on that Redis, or `protected-mode no`",
            "OOM" => "raise `maxmemory` of that Redis, or keep a shorter history",
            "LOADING" => "it is reading its data from the disk: try again in a moment",
            "BUSY" => "somebody's script keeps it from all else: try again, or end that with `SCRIPT KILL`",
            "READONLY" | "MASTERDOWN" => "that is a replica: connect to the primary",
            "MISCONF" => "it cannot save its data to the disk: see its log",
            "NOREPLICAS" => "it has fewer replicas than it needs (`min-replicas-to-write`)",
            "MOVED" | "ASK" | "CROSSSLOT" | "TRYAGAIN" | "CLUSTERDOWN" => {
                "of a Redis Cluster, the node that has the slot of the streams is the one to connect to, or turn the \
                 history off"
            }
            _ if self.details.contains("unknown command") => {
                "that Redis is too old, or the command is turned off there"
            }
            _ => "",
        }
    }

    pub(super) fn into_publish_error(self) -> PublishError {
        PublishError::Refused(self.to_string())
    }

    pub(super) fn into_history_error(self) -> HistoryError {
        HistoryError::Failed(self.to_string())
    }

    pub(super) fn into_broker_error(self) -> BrokerError {
        let text = self.to_string();
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" => BrokerError::Credentials(text),
            "NOPERM" | "DENIED" => BrokerError::Denied(text),
            "READONLY" | "MASTERDOWN" => BrokerError::Protocol(text),
            "LOADING" | "BUSY" => BrokerError::Unreachable(text),
            "MOVED" | "ASK" | "CROSSSLOT" | "TRYAGAIN" | "CLUSTERDOWN" => BrokerError::History(text),
            _ if self.details.contains("max number of clients") => BrokerError::Unreachable(format!(
                "{text}: raise `maxclients` of that Redis, or end clients that nobody needs"
            )),
            _ => BrokerError::Protocol(text),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.as_str() {
            "ERR" => f.write_str(&self.details)?,
            code => write!(f, "{code} {}", self.details)?,
        }
        match self.advice() {
            "" => Ok(()),
            advice => write!(f, " ({advice})"),
        }
    }
}

impl From<&ServerError> for Refusal {
    fn from(error: &ServerError) -> Self {
        Self::new(error.code(), error.details().unwrap_or_default())
    }
}

/// Why there is no connection.
pub(super) fn not_connected(error: &RedisError) -> BrokerError {
    if let Some(refusal) = Refusal::of(error) {
        return if refusal.details.contains("unknown command") {
            BrokerError::Protocol("Redis 6 or later is needed, for RESP3: that one does not know `HELLO`".into())
        } else {
            refusal.into_broker_error()
        };
    }
    match error.kind() {
        ErrorKind::Io => BrokerError::Unreachable(error.to_string()),
        ErrorKind::InvalidClientConfig => address::invalid(error),
        ErrorKind::RESP3NotSupported => {
            BrokerError::Protocol("Redis 6 or later is needed, for RESP3: that one does not know `HELLO`".into())
        }
        _ => no_redis(),
    }
}

/// Why there is no connection any more.
pub(super) fn lost(error: &RedisError) -> BrokerError {
    match error.kind() {
        ErrorKind::Io => BrokerError::Lost(error.to_string()),
        ErrorKind::Parse => no_redis(),
        _ => Refusal::of(error).map_or_else(|| BrokerError::Lost(error.to_string()), Refusal::into_broker_error),
    }
}

/// What answers speaks something else.
pub(super) fn no_redis() -> BrokerError {
    BrokerError::Protocol("what answers there does not speak as Redis does: is it the right host and port?".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_apart_from_its_kind() {
        for (text, expected) in [
            ("OOM command not allowed", Refusal { code: "OOM".into(), details: "command not allowed".into() }),
            ("-ERR no", Refusal { code: "ERR".into(), details: "no".into() }),
            ("Some other words", Refusal { code: "ERR".into(), details: "Some other words".into() }),
            ("", Refusal { code: "ERR".into(), details: String::new() }),
        ] {
            assert_eq!(Refusal::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_anybody_may_have_said_is_a_line_that_is_not_too_long() {
        let shown = Refusal::new("E\x1bRR", &format!("no\x1b[2J\r\nsuch {}", "x".repeat(10_000))).to_string();
        assert!(shown.starts_with("no[2Jsuch xxx") && shown.len() < 1000, "{shown:?}");
    }

    #[test]
    fn each_kind_says_what_to_do_and_is_one_of_ours() {
        let kind = |text| match Refusal::parse(text).into_broker_error() {
            BrokerError::Credentials(text) => ("credentials", text),
            BrokerError::Denied(text) => ("denied", text),
            BrokerError::Unreachable(text) => ("unreachable", text),
            BrokerError::History(text) => ("history", text),
            BrokerError::Protocol(text) => ("protocol", text),
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected, advice) in [
            ("NOAUTH Authentication required.", "credentials", "redis://user:password@host"),
            ("WRONGPASS invalid username-password pair", "credentials", "redis://user:password@host"),
            ("NOPERM this user has no permissions", "denied", "ACL SETUSER"),
            ("The user executing the script can't publish to the channel", "denied", "ACL SETUSER"),
            ("ERR ACL failure in script: User me has no permissions", "denied", "ACL SETUSER"),
            ("DENIED Redis is running in protected mode", "denied", "protected-mode no"),
            ("ERR max number of clients reached", "unreachable", "maxclients"),
            ("LOADING Redis is loading the dataset in memory", "unreachable", "try again"),
            ("BUSY Redis is busy running a script.", "unreachable", "SCRIPT KILL"),
            ("READONLY You can't write against a read only replica.", "protocol", "the primary"),
            ("MASTERDOWN Link with MASTER is down", "protocol", "the primary"),
            ("MOVED 1 127.0.0.1:7000", "history", "Redis Cluster"),
            ("CLUSTERDOWN Hash slot not served", "history", "Redis Cluster"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "protocol", "maxmemory"),
            ("MISCONF Redis is configured to save RDB snapshots", "protocol", "see its log"),
            ("NOREPLICAS Not enough good replicas to write.", "protocol", "min-replicas-to-write"),
            ("ERR unknown command 'XADD'", "protocol", "too old"),
        ] {
            let (kind, shown) = kind(text);
            assert_eq!(kind, expected, "{text}");
            assert!(shown.contains(advice), "{text}: {shown}");
        }
    }
}
