//! The result: for people, and for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::options::Pace;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The longest bar.
const BAR: u64 = 50;

#[derive(Debug)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) pace: Pace,
    pub(super) connections: usize,
    pub(super) connected_in: Duration,
    pub(super) size: usize,
    /// How long messages were sent.
    pub(super) time: Duration,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) different: u64,
    pub(super) unasked: u64,
    pub(super) lost: u64,
    pub(super) latencies: Histogram<u64>,
    /// How late this program was itself, if there was a rate.
    pub(super) lateness: Option<Histogram<u64>>,
    pub(super) errors: BTreeMap<String, u64>,
}

impl Report {
    fn rate(&self) -> f64 {
        self.answered as f64 / self.time.as_secs_f64()
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.summary();
        let since = match self.pace {
            Pace::Rate(_) => "from when each message was due",
            Pace::Depth(_) => "from when each message was sent; --rate shows what others would wait for",
        };
        let _ = write!(text, "latency      {since}\n{}", quantiles(&self.latencies));
        if let Some(lateness) = &self.lateness {
            let [p99, max] = [lateness.value_at_quantile(0.99), lateness.max()].map(shown);
            let _ = writeln!(text, "this program was late itself: p99 {p99}, at most {max}; that is in the latencies");
        }
        text.push_str(&bars(&self.latencies));
        for (error, count) in &self.errors {
            let _ = writeln!(text, "error        {}: {error}", thousands(*count));
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn summary(&self) -> String {
        let mut text = format!("{}\n", self.url);
        let how = match self.pace {
            Pace::Rate(rate) => format!("{rate} messages a second"),
            Pace::Depth(depth) => format!("{} on the way on each", thousands(depth as u64)),
        };
        let (connections, connected) = (thousands(self.connections as u64), millis(self.connected_in));
        let _ = writeln!(text, "connections  {connections}, open after {connected:.1} ms; {how}");
        let (sent, answered) = (thousands(self.sent), thousands(self.answered));
        let _ = write!(text, "messages     {sent} sent, {answered} answered");
        for (what, count) in
            [("without an answer", self.lost), ("answered with another", self.different), ("unasked", self.unasked)]
        {
            if count > 0 {
                let _ = write!(text, ", {} {what}", thousands(count));
            }
        }
        let bytes = self.rate() * self.size as f64 / 1e6;
        let rate = thousands(self.rate() as u64);
        let _ = writeln!(
            text,
            "\nrate         {rate} messages/s of {} bytes, {bytes:.2} MB/s",
            thousands(self.size as u64)
        );
        text
    }

    pub(super) fn json(&self) -> Value {
        let mut latency = Map::new();
        latency.insert("min".into(), json!(as_millis(self.latencies.min())));
        latency.insert("mean".into(), json!(self.latencies.mean() / 1e6));
        for (name, quantile) in QUANTILES {
            latency.insert(name.into(), json!(as_millis(self.latencies.value_at_quantile(quantile))));
        }
        latency.insert("max".into(), json!(as_millis(self.latencies.max())));
        let buckets = buckets(&self.latencies)
            .into_iter()
            .map(|(from, count)| json!({ "from_ms": as_millis(from), "to_ms": as_millis(from * 2), "count": count }));
        json!({
            "url": self.url,
            "connections": self.connections,
            "connected_in_ms": millis(self.connected_in),
            "rate": if let Pace::Rate(rate) = self.pace { Some(rate) } else { None },
            "depth": if let Pace::Depth(depth) = self.pace { Some(depth) } else { None },
            "size": self.size,
            "seconds": self.time.as_secs_f64(),
            "sent": self.sent,
            "answered": self.answered,
            "unanswered": self.lost,
            "different": self.different,
            "unasked": self.unasked,
            "messages_per_second": self.rate(),
            "latency_ms": latency,
            "late_ms": self.lateness.as_ref().map(|lateness| as_millis(lateness.value_at_quantile(0.99))),
            "histogram": Value::from_iter(buckets),
            "errors": self.errors,
        })
    }
}

/// Two columns: names and times.
fn quantiles(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    let quantiles = QUANTILES.map(|(name, quantile)| (name, histogram.value_at_quantile(quantile)));
    for (name, value) in [("min", histogram.min())].into_iter().chain(quantiles).chain([("max", histogram.max())]) {
        let _ = writeln!(text, "  {name:<10} {:>10}", shown(value));
    }
    text
}

/// How many values are in each range from a power of two to the next, without those at the ends that have none.
fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for step in histogram.iter_recorded() {
        let from = 1_u64 << step.value_iterated_to().max(1).ilog2();
        *counts.entry(from).or_insert(0) += step.count_since_last_iteration();
    }
    let (Some((&first, _)), Some((&last, _))) = (counts.first_key_value(), counts.last_key_value()) else {
        return Vec::new();
    };
    (first.ilog2()..=last.ilog2()).map(|power| (1 << power, counts.get(&(1 << power)).copied().unwrap_or(0))).collect()
}

fn bars(histogram: &Histogram<u64>) -> String {
    let buckets = buckets(histogram);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut text = format!("  {:<10} {:>12}\n", "from", "answers");
    for (from, count) in buckets {
        // A single value is seen, too.
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        let _ = writeln!(text, "  {:>10} {:>12}  {bar}", shown(from), thousands(count));
    }
    text
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn as_millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Nanoseconds with three digits and a unit.
fn shown(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let times = [0, 1_234, 45_678, 999_999, 1_000_000, 99_949_999, 2_500_000_000];
        assert_eq!(times.map(shown), ["0.00 µs", "1.23 µs", "45.7 µs", "1000 µs", "1.00 ms", "99.9 ms", "2.50 s"]);
    }

    #[test]
    fn buckets_hold_all_and_gaps_are_shown() {
        let mut histogram = super::super::load::histogram();
        assert_eq!(buckets(&histogram), []);
        for value in [100, 120, 127, 600] {
            histogram.record(value).unwrap();
        }
        assert_eq!(buckets(&histogram), [(64, 3), (128, 0), (256, 0), (512, 1)]);
        assert_eq!(bars(&histogram).lines().count(), 5);
        assert!(bars(&histogram).lines().nth(1).is_some_and(|line| line.ends_with(&"#".repeat(BAR as usize))));
    }
}
