//! Whose turn it is, and what each has shown.

use std::io;

use crate::servers::{Measured, progress};
use crate::stats::{median, spread};

/// A server, and its figures round by round: or why it has none.
pub struct Row<F, K = ()> {
    pub name: String,
    pub kind: K,
    pub rounds: Vec<F>,
    pub failure: Option<String>,
}

impl<F, K> Row<F, K> {
    pub fn new(name: &str, kind: K) -> Self {
        Self { name: name.to_owned(), kind, rounds: Vec::new(), failure: None }
    }

    pub fn values(&self, value: impl Fn(&F) -> Option<f64>) -> Vec<Option<f64>> {
        self.rounds.iter().map(value).collect()
    }

    pub fn median(&self, value: impl Fn(&F) -> Option<f64>) -> Option<f64> {
        median(self.values(value).into_iter().flatten().collect())
    }

    /// How far the rounds were apart.
    pub fn spread(&self, value: impl Fn(&F) -> Option<f64>) -> Option<f64> {
        let values: Vec<_> = self.values(value).into_iter().flatten().collect();
        spread(&values).filter(|_| values.len() > 1)
    }

    fn turn(&mut self, measure: impl FnOnce() -> io::Result<F>) {
        // What has failed once is not trusted again.
        if self.failure.is_some() {
            return;
        }
        match measure() {
            Ok(figures) => self.rounds.push(figures),
            Err(error) => {
                // What it had before is worth nothing.
                self.rounds.clear();
                self.failure = Some(error.to_string());
            }
        }
    }
}

/// Measures each server in each round, at a pace that is found in a round before the first, which does not count: it finds
/// what does not work, too. Returns the pace.
///
/// The rows are those of the servers, in their order.
pub fn measure<S: Measured, F, K>(
    what: &str,
    rounds: usize,
    servers: &[&S],
    rows: &mut [Row<F, K>],
    mut turn: impl FnMut(&S, Option<f64>) -> io::Result<F>,
    pace: impl FnOnce(&[Row<F, K>]) -> Option<f64>,
) -> Option<f64> {
    let bar = progress(servers.len() * (rounds + 1));
    let mut round_of_all = |number: usize, rows: &mut [Row<F, K>], found| {
        for at in 0..servers.len() {
            // Another one begins each round.
            let at = (at + number) % servers.len();
            bar.set_message(format!("{what}: {}, round {number}", servers[at].name()));
            rows[at].turn(|| turn(servers[at], found));
            bar.inc(1);
        }
    };
    round_of_all(0, rows, None);
    let found = pace(rows);
    rows.iter_mut().for_each(|row| row.rounds.clear());
    (1..=rounds).for_each(|number| round_of_all(number, rows, found));
    bar.finish_and_clear();
    found
}
