//! Figures of now beside those that are committed.

use std::fmt::{self, Write as _};

use crate::figures::{Figures, Unit, Verdict};

/// What was found, as a table, and whether it is as it should be.
#[derive(Debug)]
pub struct Report {
    pub text: String,
    pub good: bool,
}

impl Report {
    /// Compares figures. A row that is committed and was not counted is told of only if `whole`.
    pub fn new(committed: &Figures, now: &Figures, whole: bool) -> Self {
        let mut report = Self { text: String::new(), good: true };
        report.write(committed, now, whole).expect("a string takes everything");
        report
    }

    fn write(&mut self, committed: &Figures, now: &Figures, whole: bool) -> fmt::Result {
        let same_toolchain = committed.toolchain == now.toolchain;
        if !same_toolchain {
            writeln!(self.text, "The figures were taken with {}.", committed.toolchain)?;
            writeln!(self.text, "This is {}: instructions are judged with indulgence.\n", now.toolchain)?;
        }
        writeln!(self.text, "| {:<48} | {:<12} | committed |       now | ratio |", "row", "")?;
        writeln!(self.text, "|{:-<50}|{:-<14}|{:->10}:|{:->10}:|{:->6}:|", "", "", "", "", "")?;
        for (name, costs) in &now.rows {
            // async-io has a thread that takes part whenever it happens to wake up.
            let exact = same_toolchain && !name.starts_with("smol");
            for (unit, value) in costs {
                let before = committed.rows.get(name).and_then(|costs| costs.get(unit)).copied();
                let verdict = unit.judge(before, *value, exact);
                self.good &= verdict == Verdict::Same;
                self.write_row(name, *unit, before, *value, verdict)?;
            }
        }
        for name in committed.rows.keys().filter(|name| whole && !now.rows.contains_key(*name)) {
            self.good = false;
            writeln!(self.text, "| {name:<48} | is committed, and not counted any more")?;
        }
        Ok(())
    }

    fn write_row(&mut self, name: &str, unit: Unit, before: Option<f64>, now: f64, verdict: Verdict) -> fmt::Result {
        let ratio =
            before.filter(|before| *before > 0.0).map_or(String::new(), |before| format!("{:.3}", now / before));
        let before = before.map_or("-".into(), |before| unit.shown(before));
        let remark = match verdict {
            Verdict::Same => "",
            Verdict::Worse => " WORSE",
            Verdict::Better => " better: the committed figure is out of date",
            Verdict::New => " not committed yet",
        };
        let (unit, now) = (unit.name(), unit.shown(now));
        writeln!(self.text, "| {name:<48} | {unit:<12} | {before:>9} | {now:>9} | {ratio:>5} |{remark}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Costs;

    fn figures(toolchain: &str, instructions: f64) -> Figures {
        let costs = Costs::from([(Unit::Instructions, instructions), (Unit::Allocations, 1.0)]);
        Figures { toolchain: toolchain.into(), rows: [("echo".into(), costs)].into() }
    }

    fn report(now: &Figures) -> Report {
        Report::new(&figures("rustc 1", 1000.0), now, true)
    }

    #[test]
    fn what_costs_the_same_is_good() {
        let report = report(&figures("rustc 1", 1020.0));
        assert!(report.good, "{}", report.text);
        assert!(report.text.contains("| instructions |      1000 |      1020 | 1.020 |\n"), "{}", report.text);
    }

    #[test]
    fn what_costs_more_is_not() {
        let report = report(&figures("rustc 1", 1040.0));
        assert!(!report.good && report.text.contains("|      1040 | 1.040 | WORSE\n"), "{}", report.text);
    }

    #[test]
    fn what_costs_much_less_is_to_be_committed() {
        let report = report(&figures("rustc 1", 800.0));
        assert!(!report.good && report.text.contains(" better: "), "{}", report.text);
    }

    #[test]
    fn another_toolchain_is_told_and_judged_with_indulgence() {
        let report = report(&figures("rustc 2", 1040.0));
        assert!(report.good, "{}", report.text);
        assert!(report.text.starts_with("The figures were taken with rustc 1.\nThis is rustc 2: "), "{}", report.text);
    }

    #[test]
    fn a_row_that_is_new_or_gone_is_told() {
        let other = Figures {
            rows: [("other".into(), figures("", 1.0).rows["echo"].clone())].into(),
            ..figures("rustc 1", 1.0)
        };
        let report = report(&other);
        assert!(!report.good && report.text.contains(" not committed yet\n"), "{}", report.text);
        assert!(report.text.contains("is committed, and not counted any more"), "{}", report.text);
        assert!(!Report::new(&figures("rustc 1", 1000.0), &other, false).text.contains("any more"));
    }
}
