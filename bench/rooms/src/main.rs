//! Starts chats of one room and measures what a delivery costs them. README.md of the workspace says more.

mod broker;
mod dialect;
mod load;
mod measure;
mod member;
mod options;
mod report;
mod scenario;
mod server;

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;

use bellwire_bench_echo::process::{self, Cores};
use indicatif::{ProgressBar, ProgressStyle};

use measure::{Effort, measure};
use options::{Ask, HELP, Options};
use report::{Results, Row};
use scenario::{SCENARIOS, Scenario};
use server::Server;

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench rooms: {error}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match options.ask {
        Some(Ask::Help) => println!("{HELP}"),
        Some(Ask::List) => list(),
        None => match run(&options) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("bench rooms: {error}");
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
    SCENARIOS.iter().for_each(|scenario| println!("  {}", scenario.title()));
}

/// Whether all that was built also worked.
fn run(options: &Options) -> io::Result<bool> {
    let cores = Cores::find()?;
    process::raise_descriptors()?;
    let not_built = build(&options.servers);
    // After the builds, which may use all processors.
    process::pin(cores.load)?;
    let mut works = true;
    for scenario in &options.scenarios {
        let results = turns(options, scenario, cores, &not_built);
        works &= results.rows.iter().all(|row| row.failure.is_none() || not_built.contains_key(&row.name));
        println!("{}", results.tables());
    }
    Ok(works)
}

fn build(servers: &[Server]) -> HashMap<String, String> {
    let bar = progress(servers.len());
    let failed = servers.iter().filter_map(|server| {
        bar.set_message(format!("{}: build", server.name));
        bar.inc(1);
        server.build().err().map(|error| (server.name.clone(), error))
    });
    let failed = failed.collect();
    bar.finish_and_clear();
    failed
}

fn progress(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} {wide_msg}");
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn turns(options: &Options, scenario: &Scenario, cores: Cores, not_built: &HashMap<String, String>) -> Results {
    let row = |server: &Server| {
        let failure = not_built.get(&server.name).cloned();
        Row { name: server.name.clone(), rounds: Vec::new(), failure }
    };
    let servers: Vec<_> = options.servers.iter().collect();
    let mut rows: Vec<_> = options.servers.iter().map(row).collect();
    let bar = progress(servers.len() * (options.rounds + 1));
    let mut effort = Effort { window: options.window, pace: None };
    // Before the rounds there is one that does not count: it finds what does not work, and how fast to publish.
    for round in 0..=options.rounds {
        for at in 0..servers.len() {
            // Another one begins each round.
            let at = (at + round) % servers.len();
            bar.set_message(format!("{}: {}, round {round}", scenario.name, servers[at].name));
            turn(servers[at], &mut rows[at], scenario, cores, effort);
            bar.inc(1);
        }
        if round == 0 {
            effort.pace = pace(&rows, scenario);
            rows.iter_mut().for_each(|row| row.rounds.clear());
        }
    }
    bar.finish_and_clear();
    Results { title: scenario.title(), pace: effort.pace, rows }
}

fn turn(server: &Server, row: &mut Row, scenario: &Scenario, cores: Cores, effort: Effort) {
    // What has failed once is not trusted again.
    if row.failure.is_some() {
        return;
    }
    match measure(server, scenario, cores, effort) {
        Ok(figures) => row.rounds.push(figures),
        Err(error) => {
            // What it had before is worth nothing.
            row.rounds.clear();
            row.failure = Some(error.to_string());
        }
    }
}

/// Messages in a second for how long they take: half of what the slowest can do, a pace that each can keep.
fn pace(rows: &[Row], scenario: &Scenario) -> Option<f64> {
    let rates = rows.iter().filter_map(|row| row.median(|figures| Some(figures.costs[0].rate)));
    let members = (scenario.members * scenario.nodes) as f64;
    rates.reduce(f64::min).map(|slowest| slowest / members / 2.0)
}
