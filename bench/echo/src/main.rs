//! Starts echo servers and measures what a message costs them. README.md of the workspace says more.

mod connection;
mod deflate;
mod frames;
mod load;
mod measure;
mod options;
mod plot;
mod report;
mod scenario;
mod server;
mod wire;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{fs, io};

use bellwire_bench_echo::{process, program, stats, table};
use indicatif::{ProgressBar, ProgressStyle};

use measure::{Effort, measure};
use options::{Ask, HELP, Options};
use process::Cores;
use report::{Results, Row};
use scenario::{Load, SCENARIOS, Scenario};
use server::{Server, Wants};
use wire::Certificate;

/// Descriptors that a program needs for other things than connections.
const OTHER_DESCRIPTORS: usize = 300;

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench echo: {error}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match options.ask {
        Some(Ask::Help) => println!("{HELP}"),
        Some(Ask::List) => list(),
        None => match run(options) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("bench echo: {error}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

fn list() {
    println!("servers:");
    Server::all().iter().for_each(|server| println!("  {}", server.name));
    println!("\nscenarios:");
    SCENARIOS.iter().for_each(|scenario| println!("  {:<16} {}", scenario.name, scenario.title));
}

/// Whether all that was built also worked.
fn run(mut options: Options) -> io::Result<bool> {
    let cores = Cores::find()?;
    options.connections = options.connections.min(process::raise_descriptors()?.saturating_sub(OTHER_DESCRIPTORS));
    let not_built = build(&options.servers);
    // After the builds, which may use all processors.
    process::pin(cores.load)?;
    if cores.shared() {
        eprintln!("There is one processor: the load takes time from the servers. Compare nothing but processor time.");
    }
    let certificate = Certificate::make()?;
    let wanted = SCENARIOS.iter().filter(|scenario| options.scenarios.iter().any(|name| name == scenario.name));
    let mut works = true;
    for scenario in wanted {
        let results =
            Turns { options: &options, cores, scenario, certificate: &certificate, not_built: &not_built }.results();
        works &= results.rows.iter().all(|row| row.failure.is_none() || not_built.contains_key(&row.name));
        println!("{}", results.table());
        if let Some(folder) = &options.plots {
            save(folder, scenario.name, &results)?;
        }
    }
    Ok(works)
}

/// Builds the servers. What went wrong, by the name of the server.
fn build(servers: &[Server]) -> HashMap<String, String> {
    let bar = progress(servers.len());
    let mut failures = HashMap::new();
    for server in servers {
        bar.set_message(format!("building {}", server.name));
        if let Err(error) = server.build() {
            failures.insert(server.name.clone(), error);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    failures
}

fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}").expect("a template that is right");
    ProgressBar::new(steps as u64).with_style(style)
}

fn save(folder: &Path, name: &str, results: &Results) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    svg::save(folder.join(format!("{name}.svg")), &plot::draw(results))
}

/// All servers, round by round, in one scenario.
struct Turns<'a> {
    options: &'a Options,
    cores: Cores,
    scenario: &'a Scenario,
    certificate: &'a Certificate,
    not_built: &'a HashMap<String, String>,
}

impl Turns<'_> {
    fn results(&self) -> Results {
        let servers: Vec<_> = self.options.servers.iter().filter(|server| server.takes_part(self.wants())).collect();
        let mut rows: Vec<Row> = servers.iter().map(|server| Row::new(server)).collect();
        for row in &mut rows {
            row.failure = self.not_built.get(&row.name).cloned();
        }
        let rounds = self.rounds();
        let bar = progress(servers.len() * (rounds + 1));
        let mut effort = Effort {
            window: self.options.window,
            pace: None,
            // On a processor of its own it does not sleep: the server would pay for waking it.
            wait: if self.cores.shared() { Duration::from_millis(100) } else { Duration::ZERO },
            connections: self.options.connections,
        };
        // Before the rounds there is one that does not count: it finds what does not work, and how fast to send.
        for round in 0..=rounds {
            for at in 0..servers.len() {
                // Another one begins each round.
                let at = (at + round) % servers.len();
                bar.set_message(format!("{}: {}, round {round}", self.scenario.name, servers[at].name));
                self.turn(servers[at], &mut rows[at], effort);
                bar.inc(1);
            }
            if round == 0 {
                effort.pace = self.pace(&rows);
                rows.iter_mut().for_each(|row| row.rounds.clear());
            }
        }
        bar.finish_and_clear();
        Results { title: self.scenario.title, pace: effort.pace, rows }
    }

    fn wants(&self) -> Wants<'_> {
        Wants { deflate: self.scenario.deflate(), tls: self.scenario.tls.then_some(self.certificate) }
    }

    /// Memory is the same each time.
    fn rounds(&self) -> usize {
        if let Load::Idle { .. } = self.scenario.load { 1 } else { self.options.rounds }
    }

    fn turn(&self, server: &Server, row: &mut Row, effort: Effort) {
        // What has failed once is not trusted again.
        if row.failure.is_some() {
            return;
        }
        let measured = server
            .start(self.cores, self.wants())
            .and_then(|running| measure(&running, server.kind, self.scenario.load, effort));
        match measured {
            Ok(figures) => row.rounds.push(figures),
            Err(error) => {
                // What it had before is worth nothing.
                row.rounds.clear();
                row.failure = Some(error.to_string());
            }
        }
    }

    /// Messages in a second for how long they take: half of what the slowest can do, a pace that each can keep.
    fn pace(&self, rows: &[Row]) -> Option<f64> {
        let Load::Echo { .. } = self.scenario.load else { return None };
        let rates = rows.iter().filter_map(|row| row.median(|figures| figures.rate));
        rates.reduce(f64::min).map(|slowest| slowest / 2.0)
    }
}
