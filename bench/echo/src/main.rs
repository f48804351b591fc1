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

use bellwire_bench_echo::command_line::Tool;
use bellwire_bench_echo::{process, program, servers, stats, table, turns};

use measure::{Effort, measure};
use options::{HELP, Options};
use process::Cores;
use report::{Results, Row};
use scenario::{Load, SCENARIOS, Scenario};
use server::{Server, Wants};
use wire::Certificate;

/// Descriptors that a program needs for other things than connections.
const OTHER_DESCRIPTORS: usize = 300;

fn main() -> ExitCode {
    let line = |scenario: &Scenario| format!("{:<16} {}", scenario.name, scenario.title);
    let tool = Tool { name: "bench echo", help: HELP, scenarios: SCENARIOS.iter().map(line).collect() };
    tool.main(options::parse(lexopt::Parser::from_env()), run)
}

/// Whether all that was built also worked.
fn run(mut options: Options) -> io::Result<bool> {
    let cores = Cores::find()?;
    options.own.connections =
        options.own.connections.min(process::raise_descriptors()?.saturating_sub(OTHER_DESCRIPTORS));
    let not_built = servers::build(&options.servers);
    // After the builds, which may use all processors.
    process::pin(cores.load)?;
    if cores.shared() {
        eprintln!("There is one processor: the load takes time from the servers. Compare nothing but processor time.");
    }
    let certificate = Certificate::make()?;
    let wanted = SCENARIOS.iter().filter(|scenario| options.own.scenarios.iter().any(|name| name == scenario.name));
    let mut works = true;
    for scenario in wanted {
        let results =
            Turns { options: &options, cores, scenario, certificate: &certificate, not_built: &not_built }.results();
        works &= results.rows.iter().all(|row| row.failure.is_none() || not_built.contains_key(&row.name));
        println!("{}", results.table());
        if let Some(folder) = &options.own.plots {
            save(folder, scenario.name, &results)?;
        }
    }
    Ok(works)
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
        let row = |server: &&Server| {
            let failure = self.not_built.get(&server.name).cloned();
            Row { failure, ..Row::new(&server.name, server.kind) }
        };
        let mut rows: Vec<Row> = servers.iter().map(row).collect();
        let turn = |server: &Server, pace| {
            let running = server.start(self.cores, self.wants())?;
            measure(&running, server.kind, self.scenario.load, self.effort(pace))
        };
        let pace = |rows: &[Row]| self.pace(rows);
        let pace = turns::measure(self.scenario.name, self.rounds(), &servers, &mut rows, turn, pace);
        Results { title: self.scenario.title, pace, rows }
    }

    fn effort(&self, pace: Option<f64>) -> Effort {
        Effort {
            window: self.options.window,
            pace,
            // On a processor of its own it does not sleep: the server would pay for waking it.
            wait: if self.cores.shared() { Duration::from_millis(100) } else { Duration::ZERO },
            connections: self.options.own.connections,
        }
    }

    fn wants(&self) -> Wants<'_> {
        Wants { deflate: self.scenario.deflate(), tls: self.scenario.tls.then_some(self.certificate) }
    }

    /// Memory is the same each time.
    fn rounds(&self) -> usize {
        if let Load::Idle { .. } = self.scenario.load { 1 } else { self.options.rounds }
    }

    /// Messages in a second for how long they take: half of what the slowest can do, a pace that each can keep.
    fn pace(&self, rows: &[Row]) -> Option<f64> {
        let Load::Echo { .. } = self.scenario.load else { return None };
        let rates = rows.iter().filter_map(|row| row.median(|figures| figures.rate));
        rates.reduce(f64::min).map(|slowest| slowest / 2.0)
    }
}
