//! Dates as HTTP writes them.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Formats a time since the beginning of 1970 (UTC) for `Date`, `Expires` and `Last-Modified`, as RFC 9110 §5.6.7's
/// `IMF-fixdate`. Servers send `Date` by themselves; this is for programs that answer by hand.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::date;
/// use std::time::Duration;
///
/// assert_eq!(date(Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn date(unix_time: Duration) -> String {
    let seconds = unix_time.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = name(&DAYS, days % 7);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", name(&MONTHS, month))
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
}

/// Returns the year, the month from 0 and the day of the month of a day since 1970. Years are counted from March, so
/// that a leap day is the last of its year, in eras of 400 years, which all have as many days.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let since_march_0000 = days + 719_468;
    let (era, day) = (since_march_0000 / ERA, since_march_0000 % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let year = era * 400 + year + u64::from(month >= 10);
    (year, (month + 2) % 12, day - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h11_dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), text);
        }
        // Each day follows the one before.
        let mut last = (1970, 0, 0);
        for day in 0..200_000 {
            let (year, month, day) = civil(day);
            let next_day = (year, month) == (last.0, last.1) && day == last.2 + 1;
            let next_month = day == 1 && (year * 12 + month) == (last.0 * 12 + last.1) + 1;
            assert!((next_day || next_month) && month < 12, "{year} {month} {day} after {last:?}");
            last = (year, month, day);
        }
    }
}
