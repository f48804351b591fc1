//! The command line.

use bellwire_bench_echo::command_line::{self, list, whole};
use lexopt::ValueExt;

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

/// What only this tool has.
pub struct Own {
    pub scenarios: Vec<Scenario>,
    most: usize,
}

pub type Options = command_line::Options<Server, Own>;

pub fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let own = Own { scenarios: SCENARIOS.to_vec(), most: usize::MAX };
    let mut options = Options::parse(&mut parser, own, |own, name, parser| {
        match name {
            "only" => own.scenarios = wanted(&parser.value()?.string()?)?,
            // Members have descriptors in the load, and on their node.
            "members" => own.most = whole(parser, 1000.0)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Own { scenarios, most } = &mut options.own;
    scenarios.iter_mut().for_each(|scenario| scenario.members = scenario.members.min(*most));
    Ok(options)
}

fn wanted(text: &str) -> Result<Vec<Scenario>, String> {
    let named = |name: &String| {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        scenario.copied().ok_or_else(|| format!("there is no scenario {name}"))
    };
    list(text).iter().map(named).collect()
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
        assert_eq!(names("--servers floor,bellwire-b"), ["floor", "floor+batch", "bellwire-broadcast"]);
        assert_eq!(names("--servers , --server mine={port}"), ["mine"]);
        assert_eq!(names("").len(), Server::all().len());
        assert!(parsed("--servers nobody").is_err());
    }

    #[test]
    fn scenarios_are_chosen_and_made_smaller() {
        let options = parsed("--only two-1k,one-32 --members 7 --rounds 3 --window 0.5").unwrap();
        let chosen: Vec<_> = options.own.scenarios.iter().map(|one| (one.name, one.members, one.length)).collect();
        assert_eq!(chosen, [("two-1k", 7, 1024), ("one-32", 7, 32)]);
        assert_eq!((options.rounds, options.window), (3, Duration::from_millis(500)));
        assert!(parsed("--only two-32").unwrap().own.scenarios[0].members == 500);
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
