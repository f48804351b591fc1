//! The command line of a tool that measures servers, in scenarios and rounds.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use crate::servers::{Measured, select};

/// What is wanted of servers, and in what only this tool has.
pub struct Options<S, O> {
    pub servers: Vec<S>,
    pub rounds: usize,
    pub window: Duration,
    pub ask: Option<Ask>,
    pub own: O,
}

/// What is only asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    Help,
    List,
}

impl<S: Measured, O> Options<S, O> {
    /// Parses the options that all such tools have; those of this one go to `more`, which says whether there is such a one.
    ///
    /// # Errors
    ///
    /// What makes no sense.
    pub fn parse(
        parser: &mut lexopt::Parser,
        own: O,
        more: impl Fn(&mut O, &str, &mut lexopt::Parser) -> Result<bool, lexopt::Error>,
    ) -> Result<Self, lexopt::Error> {
        let (mut wanted, mut others) = (None, Vec::new());
        let mut options = Self { servers: Vec::new(), rounds: 5, window: Duration::from_secs(1), ask: None, own };
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Long(name) => name.to_owned(),
                Short('h') => "help".to_owned(),
                _ => return Err(argument.unexpected()),
            };
            match &*name {
                "servers" => wanted = Some(list(&parser.value()?.string()?)),
                "server" => others.push(S::parse(&parser.value()?.string()?)?),
                "rounds" => options.rounds = whole(parser, 1000.0)?,
                "window" => options.window = Duration::from_secs_f64(number(parser, 0.01, 60.0)?),
                "quick" => (options.rounds, options.window) = (1, Duration::from_millis(200)),
                "list" => options.ask = Some(Ask::List),
                "help" => options.ask = Some(Ask::Help),
                _ if more(&mut options.own, &name, parser)? => {}
                _ => return Err(Long(&name).unexpected()),
            }
        }
        options.servers = select(wanted.as_deref())?;
        options.servers.extend(others);
        Ok(options)
    }
}

/// The parts between commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Takes a whole number from one on as the value of an option.
///
/// # Errors
///
/// If it is none, or greater than the most.
pub fn whole(parser: &mut lexopt::Parser, most: f64) -> Result<usize, lexopt::Error> {
    Ok(number(parser, 1.0, most)? as usize)
}

fn number(parser: &mut lexopt::Parser, least: f64, most: f64) -> Result<f64, lexopt::Error> {
    parser.value()?.parse_with(|text| match text.parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("{text} is not a number from {least} to {most}")),
    })
}

/// A tool, and what it says of itself.
pub struct Tool {
    pub name: &'static str,
    pub help: &'static str,
    /// A line for each.
    pub scenarios: Vec<String>,
}

impl Tool {
    /// Does what was wanted. `run` says whether all that was built also worked.
    pub fn main<S: Measured, O>(
        &self,
        options: Result<Options<S, O>, lexopt::Error>,
        run: impl FnOnce(Options<S, O>) -> io::Result<bool>,
    ) -> ExitCode {
        let options = match options {
            Ok(options) => options,
            Err(error) => {
                eprintln!("{}: {error}\n\n{}", self.name, self.help);
                return ExitCode::FAILURE;
            }
        };
        match options.ask {
            Some(Ask::Help) => println!("{}", self.help),
            Some(Ask::List) => self.list(&S::all()),
            None => match run(options) {
                Ok(true) => {}
                Ok(false) => return ExitCode::FAILURE,
                Err(error) => {
                    eprintln!("{}: {error}", self.name);
                    return ExitCode::FAILURE;
                }
            },
        }
        ExitCode::SUCCESS
    }

    fn list(&self, servers: &[impl Measured]) {
        println!("servers:");
        servers.iter().for_each(|server| println!("  {}", server.name()));
        println!("\nscenarios:");
        self.scenarios.iter().for_each(|scenario| println!("  {scenario}"));
    }
}
