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

use bellwire_bench_echo::command_line::Tool;
use bellwire_bench_echo::process::{self, Cores};
use bellwire_bench_echo::{servers, turns};

use measure::{Effort, measure};
use options::{HELP, Options};
use report::{Results, Row};
use scenario::{SCENARIOS, Scenario};
use server::Server;

fn main() -> ExitCode {
    let tool = Tool { name: "bench rooms", help: HELP, scenarios: SCENARIOS.iter().map(Scenario::title).collect() };
    tool.main(options::parse(lexopt::Parser::from_env()), run)
}

/// Whether all that was built also worked.
fn run(options: Options) -> io::Result<bool> {
    let cores = Cores::find()?;
    process::raise_descriptors()?;
    let not_built = servers::build(&options.servers);
    // After the builds, which may use all processors.
    process::pin(cores.load)?;
    let mut works = true;
    for scenario in &options.own.scenarios {
        let results = results(&options, scenario, cores, &not_built);
        works &= results.rows.iter().all(|row| row.failure.is_none() || not_built.contains_key(&row.name));
        println!("{}", results.tables());
    }
    Ok(works)
}

fn results(options: &Options, scenario: &Scenario, cores: Cores, not_built: &HashMap<String, String>) -> Results {
    let row = |server: &Server| Row { failure: not_built.get(&server.name).cloned(), ..Row::new(&server.name, ()) };
    let servers: Vec<_> = options.servers.iter().collect();
    let mut rows: Vec<_> = options.servers.iter().map(row).collect();
    let turn = |server: &Server, pace| measure(server, scenario, cores, Effort { window: options.window, pace });
    let pace = |rows: &[Row]| pace(rows, scenario);
    let pace = turns::measure(scenario.name, options.rounds, &servers, &mut rows, turn, pace);
    Results { title: scenario.title(), pace, rows }
}

/// Messages in a second for how long they take: half of what the slowest can do, a pace that each can keep.
fn pace(rows: &[Row], scenario: &Scenario) -> Option<f64> {
    let rates = rows.iter().filter_map(|row| row.median(|figures| Some(figures.costs[0].rate)));
    let members = (scenario.members * scenario.nodes) as f64;
    rates.reduce(f64::min).map(|slowest| slowest / members / 2.0)
}
