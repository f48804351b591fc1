//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::scenario::SCENARIOS;
use crate::server::Server;

pub const HELP: &str = "\
Starts echo servers, one after the other on a processor of its own, and measures what a message costs them.

Usage: bench echo [OPTIONS]

  --servers A,B        only servers whose names begin so; `--list` shows all
  --server NAME=CMD    one more server, by its command line, with {port} in it; with {deflate} as well, which stands
                       for \"alone\" or \"takeover\", it is for the scenarios with compression; with {cert} and
                       {key}, which are files in PEM, for those over TLS; may be said again
  --only A,B           only these scenarios
  --rounds N           how often each server has its turn [5]
  --window SECONDS     how long it is measured in a turn [1]
  --connections N      no more connections than that to a server
  --quick              one round of 0.2 seconds: to see that all works; the figures say little
  --plots DIR          draw a picture of each scenario, as SVG
  --list               name the servers and the scenarios
  --help               this text";

pub struct Options {
    pub servers: Vec<Server>,
    pub scenarios: Vec<String>,
    pub rounds: usize,
    pub window: Duration,
    pub connections: usize,
    pub plots: Option<PathBuf>,
    pub ask: Option<Ask>,
}

/// What is only asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    Help,
    List,
}

pub fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let mut wanted: Option<Vec<String>> = None;
    let mut more = Vec::new();
    let mut options = Options {
        servers: Vec::new(),
        scenarios: SCENARIOS.iter().map(|scenario| scenario.name.to_owned()).collect(),
        rounds: 5,
        window: Duration::from_secs(1),
        connections: usize::MAX,
        plots: None,
        ask: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("servers") => wanted = Some(list(&parser.value()?.string()?)),
            Long("server") => more.push(Server::parse(&parser.value()?.string()?)?),
            Long("only") => options.scenarios = scenarios(&parser.value()?.string()?)?,
            Long("rounds") => options.rounds = parser.value()?.parse_with(|text| within(text, 1.0, 1000.0))? as usize,
            Long("window") => {
                options.window = Duration::from_secs_f64(parser.value()?.parse_with(|text| within(text, 0.01, 60.0))?);
            }
            Long("connections") => {
                options.connections = parser.value()?.parse_with(|text| within(text, 1.0, 1e6))? as usize;
            }
            Long("quick") => (options.rounds, options.window) = (1, Duration::from_millis(200)),
            Long("plots") => options.plots = Some(parser.value()?.into()),
            Long("list") => options.ask = Some(Ask::List),
            Short('h') | Long("help") => options.ask = Some(Ask::Help),
            _ => return Err(argument.unexpected()),
        }
    }
    options.servers = select(Server::all(), wanted)?;
    options.servers.extend(more);
    Ok(options)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn scenarios(text: &str) -> Result<Vec<String>, String> {
    let names = list(text);
    match names.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        Some(unknown) => Err(format!("there is no scenario {unknown}")),
        None => Ok(names),
    }
}

/// Those whose names begin so. With none wanted, all.
fn select(mut servers: Vec<Server>, wanted: Option<Vec<String>>) -> Result<Vec<Server>, String> {
    let Some(wanted) = wanted else { return Ok(servers) };
    match wanted.iter().find(|start| servers.iter().all(|server| !server.name.starts_with(start.as_str()))) {
        Some(unknown) => return Err(format!("no server's name begins with {unknown}")),
        None => servers.retain(|server| wanted.iter().any(|start| server.name.starts_with(start.as_str()))),
    }
    Ok(servers)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("{text} is not a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(lexopt::Parser::from_iter(["bench"].into_iter().chain(line.split_whitespace())))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn servers_are_chosen_by_how_their_names_begin() {
        let names = |line| parsed(line).unwrap().servers.into_iter().map(|server| server.name).collect::<Vec<_>>();
        assert_eq!(
            names("--servers raw-e,bellwire-tokio-l"),
            [
                "raw-epoll",
                "bellwire-tokio-listener",
                "bellwire-tokio-listener+deflate",
                "bellwire-tokio-listener+deflate-1",
                "bellwire-tokio-listener+tls",
            ]
        );
        assert_eq!(names("--servers , --server mine={port}"), ["mine"]);
        assert_eq!(names("").len(), Server::all().len());
        assert!(parsed("--servers nobody").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--rounds 0", "--rounds x", "--window 1e9", "--only nothing", "--server mine", "--unknown", "word"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
        let options = parsed("--only small,churn --rounds 3 --window 0.5").unwrap();
        assert_eq!((options.scenarios.len(), options.rounds, options.window), (2, 3, Duration::from_millis(500)));
        assert_eq!(parsed("--help").unwrap().ask, Some(Ask::Help));
    }
}
