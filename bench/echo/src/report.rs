//! What was found, and how it is shown as text.

use bellwire_bench_echo::turns;

use crate::measure::Figures;
use crate::server::{FLOOR, Kind};
use crate::stats::ratio;
use crate::table::{aligned, number};

/// What one scenario found.
pub struct Results {
    pub title: &'static str,
    /// Messages in a second, for how long they took.
    pub pace: Option<f64>,
    pub rows: Vec<Row>,
}

pub type Row = turns::Row<Figures, Kind>;

/// A column of figures: what it is called, what is in it, and how many digits it has behind the point.
type Column = (&'static str, fn(&Figures) -> Option<f64>, usize);

const COLUMNS: [Column; 10] = [
    ("CPU µs", |figures| figures.cpu, 2),
    ("per s", |figures| figures.rate, 0),
    ("p50 µs", |figures| figures.p50, 0),
    ("p99 µs", |figures| figures.p99, 0),
    ("p99.9 µs", |figures| figures.p999, 0),
    ("memory B", |figures| figures.memory, 0),
    ("after an echo B", |figures| figures.memory_after, 0),
    ("memory for deflate B", |figures| figures.memory_deflate, 0),
    ("to server B", |figures| figures.sent, 1),
    ("from server B", |figures| figures.received, 1),
];

impl Results {
    /// A server's processor time to that of the floor.
    pub fn to_floor(&self, row: &Row) -> Option<f64> {
        let floor = self.rows.iter().find(|row| row.name == FLOOR)?;
        ratio(&row.values(|figures| figures.cpu), &floor.values(|figures| figures.cpu))
    }

    /// As a table in Markdown.
    pub fn table(&self) -> String {
        let mut columns: Vec<Vec<String>> = COLUMNS
            .iter()
            .filter_map(|&(name, value, digits)| self.column(name, |row| row.median(value), digits))
            .collect();
        // Behind the first one, to which they belong.
        let first = columns.len().min(1);
        let of_first = [
            self.column(&format!("to {FLOOR}"), |row| self.to_floor(row), 2),
            self.column("spread %", |row| row.spread(|figures| figures.cpu.or(figures.memory)), 0),
        ];
        columns.splice(first..first, of_first.into_iter().flatten());
        let names = ["server"].into_iter().chain(self.rows.iter().map(|row| &*row.name));
        columns.insert(0, names.map(str::to_owned).collect());
        let mut text = format!("## {}\n\n", self.title);
        if let Some(pace) = self.pace {
            text += &format!("p50, p99, p99.9: at {} messages in a second.\n\n", number(Some(pace), 0));
        }
        text += &aligned(&columns);
        for row in self.rows.iter().filter(|row| row.failure.is_some()) {
            text += &format!("\n{}: {}\n", row.name, row.failure.as_deref().unwrap_or_default());
        }
        text
    }

    /// A number for each server, below the column's name; none if no server has one.
    fn column(&self, name: &str, value: impl Fn(&Row) -> Option<f64>, digits: usize) -> Option<Vec<String>> {
        let values: Vec<_> = self.rows.iter().map(value).collect();
        values.iter().any(Option::is_some).then(|| {
            let cells = values.into_iter().map(|value| number(value, digits));
            [name.to_owned()].into_iter().chain(cells).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, cpu: &[f64]) -> Row {
        let figures = |cpu: &f64| Figures { cpu: Some(*cpu), ..Figures::default() };
        Row { name: name.to_owned(), kind: Kind::Peer, rounds: cpu.iter().map(figures).collect(), failure: None }
    }

    fn results(rows: Vec<Row>) -> Results {
        Results { title: "A title", pace: None, rows }
    }

    #[test]
    fn a_table_has_medians_and_ratios_of_rounds() {
        let floor = row(FLOOR, &[1.0, 2.0, 4.0]);
        let other = row("other", &[2.0, 4.0, 12.0]);
        let table = results(vec![floor, other]).table();
        assert!(table.contains("| server    | CPU µs | to raw-epoll | spread % |\n"), "{table}");
        assert!(table.contains("| raw-epoll |   2.00 |         1.00 |      150 |\n"), "{table}");
        assert!(table.contains("| other     |   4.00 |         2.00 |      250 |\n"), "{table}");
        assert!(!table.contains("p99"), "what is not measured has no column: {table}");
    }

    #[test]
    fn a_server_without_figures_has_none_and_says_why() {
        let mut failed = row("failed", &[]);
        failed.failure = Some("not built: error: E0000".to_owned());
        let table = results(vec![row(FLOOR, &[1.0]), failed]).table();
        assert!(table.contains("| failed    |      – |            – |\n"), "{table}");
        assert!(table.ends_with("\nfailed: not built: error: E0000\n"), "{table}");
    }

    #[test]
    fn without_the_floor_there_is_no_ratio() {
        let table = results(vec![row("other", &[2.0])]).table();
        assert!(!table.contains(FLOOR), "{table}");
    }
}
