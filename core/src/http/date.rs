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

/// Reads a date: the time since the beginning of 1970 (UTC).
///
/// RFC 9110 §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats",
/// which are those of `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
///
/// `now` is for a year of two digits: "Recipients [..] MUST interpret a timestamp that appears to be more than 50 years in
/// the future as representing the most recent year in the past that had the same last two digits."
pub(crate) fn parse_date(text: &str, now: Duration) -> Option<Duration> {
    let mut words = text.split([' ', ',', '-']).filter(|word| !word.is_empty());
    let mut word = || words.next();
    word()?;
    let (day, month, year, time) = if text.contains(',') {
        let (day, month, year, time) = (word()?, word()?, word()?, word()?);
        word().filter(|zone| *zone == "GMT")?;
        (day, month, year, time)
    } else {
        let (month, day, time, year) = (word()?, word()?, word()?, word()?);
        (day, month, year, time)
    };
    if word().is_some() {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let year = match year.len() {
        2 => whole_year(number(year)?, civil(now.as_secs() / 86_400).0),
        4 => number(year)?,
        _ => return None,
    };
    let days = days_until(year, month, number(day)?)?;
    Some(Duration::from_secs(days * 86_400 + seconds_of_day(time)?))
}

/// Reads a number; none in a date has more than four digits.
fn number(digits: &str) -> Option<u64> {
    let is_number = digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn whole_year(last_digits: u64, this_year: u64) -> u64 {
    let year = this_year - this_year % 100 + last_digits;
    if year > this_year + 50 { year - 100 } else { year }
}

fn seconds_of_day(time: &str) -> Option<u64> {
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // 60 is a leap second.
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

/// Returns how many days after the beginning of 1970 a day is; `None` if there is no such day, or if it was before. The
/// month counts from 0.
fn days_until(year: u64, month: u64, day: u64) -> Option<u64> {
    // As in `civil`, the year begins in March.
    let (year_of_march, month_of_march) =
        if month < 2 { (year.checked_sub(1)?, month + 10) } else { (year, month - 2) };
    let (era, year_of_era) = (year_of_march / 400, year_of_march % 400);
    let day_of_year = (153 * month_of_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * ERA + day_of_era).checked_sub(MARCH_0000)?;
    // The 31st of April would be the 1st of May.
    (civil(days) == (year, month, day)).then_some(days)
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
}

/// The days of 400 years.
const ERA: u64 = 146_097;

/// How long before 1970 the first of March of the year 0 was, in days.
const MARCH_0000: u64 = 719_468;

/// Returns the year, the month from 0 and the day of the month of a day since 1970. Years are counted from March, so
/// that a leap day is the last of its year, in eras of 400 years, which all have as many days.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_0000 = days + MARCH_0000;
    let (era, day) = (since_march_0000 / ERA, since_march_0000 % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let year = era * 400 + year + u64::from(month >= 10);
    (year, (month + 2) % 12, day - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            assert_eq!(parse_date(text, Duration::ZERO), Some(Duration::from_secs(seconds)), "{text}");
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

    #[test]
    fn dates_are_read_in_each_form_that_http_has() {
        // In the middle of a year: the average year ends before the calendar's.
        let now = |year: u64| Duration::from_secs((year - 1970) * 31_556_952 + 15_000_000);
        let at = Some(Duration::from_secs(784_111_777));
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_date(text, now(2020)), at, "{text}");
        }
        // At most 50 years ahead.
        let year = |text, now| civil(parse_date(text, now).unwrap().as_secs() / 86_400).0;
        assert_eq!(year("Sunday, 06-Nov-76 08:49:37 GMT", now(2026)), 2076);
        assert_eq!(year("Sunday, 06-Nov-77 08:49:37 GMT", now(2026)), 1977);
        assert_eq!(year("Sunday, 06-Nov-00 08:49:37 GMT", now(2026)), 2000);
    }

    #[test]
    fn what_is_no_date_is_not_read_as_one() {
        for text in [
            "",
            "120",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 06 Nov 994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 +8:49:37 GMT",
            "Sun, 06 Nvo 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 99999999999999999999 Nov 1994 08:49:37 GMT",
            "Sun, 18446744073709551615 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 18446744073709551615:49:37 GMT",
            "Sun, 06 Nov 1994 08:18446744073709551615:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Wed, 31 Dec 0000 23:59:59 GMT",
            "Sun Nov 6 08:49:37",
        ] {
            assert_eq!(parse_date(text, Duration::ZERO), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0..253_402_300_800_u64, now: u64) {
            let time = Duration::from_secs(seconds);
            prop_assert_eq!(parse_date(&date(time), Duration::from_secs(now)), Some(time));
        }

        #[test]
        fn what_looks_like_a_date_is_read_or_refused(
            words in prop::collection::vec("[0-9]{1,20}|[A-Z][a-z]{2}|[0-9]{2}(:[0-9]{1,20}){2}|GMT|[-, ]", 0..9),
            now: u64,
        ) {
            if let Some(time) = parse_date(&words.join(" "), Duration::from_secs(now)) {
                // A leap second at the end of the year 9999 is one more.
                prop_assert!(time.as_secs() <= 253_402_300_800);
            }
        }
    }
}
