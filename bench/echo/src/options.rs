//! The command line.

use std::path::PathBuf;

use bellwire_bench_echo::command_line::{self, list, whole};
use lexopt::ValueExt;

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

/// What only this tool has.
pub struct Own {
    pub scenarios: Vec<String>,
    pub connections: usize,
    pub plots: Option<PathBuf>,
}

pub type Options = command_line::Options<Server, Own>;

pub fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let scenarios = SCENARIOS.iter().map(|scenario| scenario.name.to_owned()).collect();
    Options::parse(&mut parser, Own { scenarios, connections: usize::MAX, plots: None }, |own, name, parser| {
        match name {
            "only" => own.scenarios = wanted(&parser.value()?.string()?)?,
            "connections" => own.connections = whole(parser, 1e6)?,
            "plots" => own.plots = Some(parser.value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn wanted(text: &str) -> Result<Vec<String>, String> {
    let names = list(text);
    match names.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != **name)) {
        Some(unknown) => Err(format!("there is no scenario {unknown}")),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bellwire_bench_echo::command_line::Ask;
    use bellwire_bench_echo::servers::Measured;

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
        assert_eq!((options.own.scenarios.len(), options.rounds, options.window), (2, 3, Duration::from_millis(500)));
        assert_eq!(parsed("--help").unwrap().ask, Some(Ask::Help));
    }
}
