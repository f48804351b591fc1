//! What was found, as a table.

use bellwire_bench_echo::stats::ratio;
use bellwire_bench_echo::table::{aligned, number};
use bellwire_bench_echo::turns;

use crate::measure::{Cost, DEPTHS, Figures};
use crate::server::BASELINE;

/// What one scenario found.
pub struct Results {
    pub title: String,
    /// Messages in a second, for how long they took.
    pub pace: Option<f64>,
    pub rows: Vec<Row>,
}

pub type Row = turns::Row<Figures>;

impl Results {
    /// What a delivery costs a server to what it costs the baseline.
    fn to_baseline(&self, row: &Row, at: usize) -> Option<f64> {
        let baseline = self.rows.iter().find(|row| row.name == BASELINE)?;
        let nodes = |figures: &Figures| Some(figures.costs[at].nodes);
        ratio(&row.values(nodes), &baseline.values(nodes))
    }

    /// As tables in Markdown: what a delivery costs for each depth, and how long it takes.
    pub fn tables(&self) -> String {
        let mut text = format!("## {}\n", self.title);
        for (at, depth) in DEPTHS.into_iter().enumerate() {
            let at_once = if depth == 1 { "One message".to_owned() } else { format!("{depth} messages") };
            text += &format!("\n{at_once} at once:\n\n{}", aligned(&self.costs(at)));
        }
        if let Some(pace) = self.pace {
            let pace = number(Some(pace), 0);
            text += &format!("\nA delivery's time, at {pace} messages in a second:\n\n{}", aligned(&self.times()));
        }
        for row in &self.rows {
            if let Some(failure) = &row.failure {
                text += &format!("\n{}: {failure}\n", row.name);
            }
        }
        text
    }

    fn costs(&self, at: usize) -> Vec<Vec<String>> {
        let cost = |value: fn(&Cost) -> Option<f64>| move |figures: &Figures| value(&figures.costs[at]);
        let nodes = cost(|cost| Some(cost.nodes));
        vec![
            self.names(),
            self.column("CPU µs", |row| row.median(nodes), 2),
            self.column("to broadcast", |row| self.to_baseline(row, at), 2),
            self.column("spread %", |row| row.spread(nodes), 0),
            self.column("broker CPU µs", |row| row.median(cost(|cost| cost.broker)), 3),
            self.column("per s", |row| row.median(cost(|cost| Some(cost.rate))), 0),
        ]
    }

    fn times(&self) -> Vec<Vec<String>> {
        vec![
            self.names(),
            self.column("p50 µs", |row| row.median(|figures| figures.p50), 0),
            self.column("p99 µs", |row| row.median(|figures| figures.p99), 0),
        ]
    }

    fn names(&self) -> Vec<String> {
        ["server"].into_iter().chain(self.rows.iter().map(|row| &*row.name)).map(str::to_owned).collect()
    }

    fn column(&self, name: &str, value: impl Fn(&Row) -> Option<f64>, digits: usize) -> Vec<String> {
        let cells = self.rows.iter().map(|row| number(value(row), digits));
        [name.to_owned()].into_iter().chain(cells).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, nodes: &[f64]) -> Row {
        let figures = |nodes: &f64| {
            let cost = Cost { nodes: *nodes, broker: None, rate: 1e6 / nodes };
            Figures { costs: [cost, Cost { nodes: nodes / 4.0, ..cost }], p50: Some(100.0), p99: None }
        };
        Row { rounds: nodes.iter().map(figures).collect(), ..Row::new(name, ()) }
    }

    #[test]
    fn tables_have_medians_and_ratios_of_rounds() {
        let rows = vec![row(BASELINE, &[1.0, 2.0, 4.0]), row("other", &[2.0, 4.0, 12.0])];
        let tables = Results { title: "A title".to_owned(), pace: Some(20.0), rows }.tables();
        assert!(tables.contains("| bellwire-broadcast |   2.00 |         1.00 |      150 |"), "{tables}");
        assert!(tables.contains("| other              |   4.00 |         2.00 |      250 |             – | 250,000 |"));
        assert!(tables.contains("| other              |   1.00 |         2.00 |"), "{tables}");
        assert!(tables.contains("at 20 messages in a second") && tables.contains("|    100 |      – |"), "{tables}");
    }

    #[test]
    fn a_server_without_figures_says_why() {
        let failed = Row { failure: Some("lost: 3".to_owned()), ..Row::new("failed", ()) };
        let tables = Results { title: "A title".to_owned(), pace: None, rows: vec![failed] }.tables();
        assert!(tables.contains("| failed |      – |            – |"), "{tables}");
        assert!(tables.ends_with("\nfailed: lost: 3\n") && !tables.contains("p50"), "{tables}");
    }
}
