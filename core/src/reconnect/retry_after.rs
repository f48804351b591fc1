//! When a server wants to be asked again.

use core::time::Duration;

use crate::handshake::client::Response;
use crate::http::parse_date;

/// Returns how long a server that has refused wants to be left alone. `unix_time` is the time since the beginning of 1970.
///
/// RFC 9110 §10.2.3: "Servers send the "Retry-After" header field to indicate how long the user agent ought to wait before
/// making a follow-up request. [..] The Retry-After field value can be either an HTTP-date or a number of seconds to delay
/// after receiving the response."
pub(super) fn retry_after(response: &Response, unix_time: Duration) -> Option<Duration> {
    let value = response.header("Retry-After")?;
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits only: if that is no `u64`, it is for ever.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = parse_date(value, unix_time)?;
    // By the server's own clock, if it has said what that says: ours may be wrong.
    let date = response.header("Date").and_then(|date| parse_date(date.trim(), unix_time));
    Some(until.saturating_sub(date.unwrap_or(unix_time)))
}
