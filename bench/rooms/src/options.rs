//! The command line.

use std::time::Duration;

use lexopt::prelude::*;

use crate::scenario::{SCENARIOS, Scenario};
use crate::server::Server;

pub const HELP: &str = "\
Starts chats of one room, one after the other, on one node or on several with a broker between them, and measures
what a delivery to a member costs a node, and how long it takes.

Usage: bench rooms [OPTIONS]

  --servers A,B        only servers whose names begin so; `--list` shows all
  --server NAME=CMD    one more server, by its command line, with {port} in it, and with {redis} or {nats} where
                       the URL of its broker goes; may be said again
  --only A,B           only these scenarios
  --rounds N           how often each server has its turn [5]
  --window SECONDS     how long it is measured in a turn [1]
  --members N          no more members than that on a node
  --quick              one round of 0.2 seconds: to see that all works; the figures say little
  --list               name the servers and the scenarios
  --help               this text";

pub struct Options {
    pub servers: Vec<Server>,
    pub scenarios: Vec<Scenario>,
    pub rounds: usize,
    pub window: Duration,
    pub ask: Option<Ask>,
}

/// What is only asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    Help,
    List,
}

pub fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let (mut wanted, mut more, mut most) = (None, Vec::new(), usize::MAX);
    let mut options = Options {
        servers: Vec::new(),
        scenarios: SCENARIOS.to_vec(),
        rounds: 5,
        window: Duration::from_secs(1),
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
            // Members have descriptors in the load, and on their node.
            Long("members") => most = parser.value()?.parse_with(|text| within(text, 1.0, 1000.0))? as usize,
            Long("quick") => (options.rounds, options.window) = (1, Duration::from_millis(200)),
            Long("list") => options.ask = Some(Ask::List),
            Short('h') | Long("help") => options.ask = Some(Ask::Help),
            _ => return Err(argument.unexpected()),
        }
    }
    options.scenarios.iter_mut().for_each(|scenario| scenario.members = scenario.members.min(most));
    options.servers = select(Server::all(), wanted)?;
    options.servers.extend(more);
    Ok(options)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn scenarios(text: &str) -> Result<Vec<Scenario>, String> {
    let named = |name: &String| {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        scenario.copied().ok_or_else(|| format!("there is no scenario {name}"))
    };
    list(text).iter().map(named).collect()
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
        assert_eq!(names("--servers floor,bellwire-b"), ["floor", "floor+batch", "bellwire-broadcast"]);
        assert_eq!(names("--servers , --server mine={port}"), ["mine"]);
        assert_eq!(names("").len(), Server::all().len());
        assert!(parsed("--servers nobody").is_err());
    }

    #[test]
    fn scenarios_are_chosen_and_made_smaller() {
        let options = parsed("--only two-1k,one-32 --members 7 --rounds 3 --window 0.5").unwrap();
        let chosen: Vec<_> = options.scenarios.iter().map(|one| (one.name, one.members, one.length)).collect();
        assert_eq!(chosen, [("two-1k", 7, 1024), ("one-32", 7, 32)]);
        assert_eq!((options.rounds, options.window), (3, Duration::from_millis(500)));
        assert!(parsed("--only two-32").unwrap().scenarios[0].members == 500);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--rounds 0", "--members 0", "--members x", "--window 1e9", "--only nothing", "--server mine", "word"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert_eq!(parsed("--help").unwrap().ask, Some(Ask::Help));
    }
}
