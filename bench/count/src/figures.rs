//! Figures: those that are committed, those of now, and what is made of the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Instructions,
    Allocations,
    Syscalls,
    Bytes,
}

/// A row: what one message, or one connection, costs.
pub type Costs = BTreeMap<Unit, f64>;

/// All rows, and what they were taken with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    pub toolchain: String,
    pub rows: BTreeMap<String, Costs>,
}

/// What is made of a figure of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// It costs more than is tolerated.
    Worse,
    /// It costs so much less that the committed figure is out of date: as it stands, what was won could be lost again
    /// and nobody would be told.
    Better,
    /// Nothing is committed.
    New,
}

/// By how much a figure may be off: so much of it, and so much at least.
struct Tolerance {
    share: f64,
    least: f64,
}

impl Unit {
    pub const ALL: [Self; 4] = [Self::Instructions, Self::Allocations, Self::Syscalls, Self::Bytes];

    pub fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
            Self::Syscalls => "syscalls",
            Self::Bytes => "bytes",
        }
    }

    fn worse(self, exact: bool) -> Tolerance {
        match self {
            // Another compiler or libc has other code.
            Self::Instructions => Tolerance { share: if exact { 0.03 } else { 0.20 }, least: 1.0 },
            // None is tolerated: one for each read of 64 messages is 0.016. What is less is of the start, which is not
            // quite the same each time; nor is it in a connection's whole life, of some twenty.
            Self::Allocations => Tolerance { share: 0.002, least: 0.008 },
            Self::Syscalls => Tolerance { share: 0.06, least: 0.012 },
            Self::Bytes => Tolerance { share: 0.06, least: 1.0 },
        }
    }

    fn better(self, exact: bool) -> Tolerance {
        match self {
            Self::Instructions | Self::Bytes => Tolerance { share: if exact { 0.10 } else { 0.30 }, least: 10.0 },
            Self::Allocations | Self::Syscalls => self.worse(exact),
        }
    }

    /// Judges a figure of now by the one that is committed. `exact`: whether instructions are the same each time and here
    /// as there.
    pub fn judge(self, committed: Option<f64>, now: f64, exact: bool) -> Verdict {
        let Some(committed) = committed else { return Verdict::New };
        let exceeds = |off: f64, tolerance: Tolerance| off > (tolerance.share * committed).max(tolerance.least);
        if exceeds(now - committed, self.worse(exact)) {
            Verdict::Worse
        } else if exceeds(committed - now, self.better(exact)) {
            Verdict::Better
        } else {
            Verdict::Same
        }
    }

    /// A figure as it is committed and printed.
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Instructions | Self::Bytes => format!("{value:.0}"),
            // What is not quite the same each time may leave less than nothing.
            Self::Allocations | Self::Syscalls => format!("{:.3}", value.max(0.0)),
        }
    }
}

impl Figures {
    /// Reads `figures.toml`.
    ///
    /// # Errors
    /// With the line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Writes `figures.toml`: a line for each row.
    pub fn to_text(&self, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "toolchain = {:?}\n\n[rows]", self.toolchain);
        let width = self.rows.keys().map(|name| format!("{name:?}").len()).max().unwrap_or(0);
        for (name, costs) in &self.rows {
            let costs: Vec<_> =
                costs.iter().map(|(unit, value)| format!("{} = {}", unit.name(), unit.shown(*value))).collect();
            let _ = writeln!(text, "{:<width$} = {{ {} }}", format!("{name:?}"), costs.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Two rows.\n# Yes.\ntoolchain = \"rustc 1.95.0\"\n\n[rows]\n\
                        \"a long name\" = { instructions = 1000, allocations = 0.000, syscalls = 2.016 }\n\
                        \"idle\"        = { bytes = 1789 }\n";

    #[test]
    fn figures_are_written_as_they_are_read() {
        let figures = Figures::parse(TEXT).unwrap();
        assert_eq!(figures.rows["a long name"][&Unit::Syscalls], 2.016);
        assert_eq!(figures.rows["idle"], Costs::from([(Unit::Bytes, 1789.0)]));
        assert_eq!(figures.to_text("Two rows.\nYes."), TEXT);
    }

    #[test]
    fn what_is_no_figure_is_refused() {
        for (wrong, right) in [("1000", "\"many\""), ("bytes", "bites"), ("toolchain", "tools"), ("= {", "= ")] {
            let broken = TEXT.replacen(wrong, right, 1);
            assert!(Figures::parse(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn more_instructions_than_tolerated_are_worse() {
        let judge = |now| Unit::Instructions.judge(Some(1000.0), now, true);
        assert_eq!([judge(1030.0), judge(1031.0)], [Verdict::Same, Verdict::Worse]);
        assert_eq!([judge(900.0), judge(899.0)], [Verdict::Same, Verdict::Better]);
    }

    #[test]
    fn another_toolchain_is_judged_with_indulgence() {
        let judge = |now| Unit::Instructions.judge(Some(1000.0), now, false);
        assert_eq!([judge(1200.0), judge(1201.0)], [Verdict::Same, Verdict::Worse]);
        assert_eq!([judge(700.0), judge(699.0)], [Verdict::Same, Verdict::Better]);
    }

    #[test]
    fn no_allocation_is_tolerated_on_any_toolchain() {
        for same in [true, false] {
            assert_eq!(Unit::Allocations.judge(Some(0.0), 0.0, same), Verdict::Same);
            assert_eq!(Unit::Allocations.judge(Some(0.0), 1.0 / 64.0, same), Verdict::Worse);
            assert_eq!(Unit::Allocations.judge(Some(2.0), 1.0, same), Verdict::Better);
        }
    }

    #[test]
    fn what_is_not_committed_is_new() {
        assert_eq!(Unit::Bytes.judge(None, 1.0, true), Verdict::New);
    }
}
