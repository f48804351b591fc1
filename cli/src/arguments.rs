//! Reading the command line: what its options have in common.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::exit::Failure;
use crate::output::{Format, Style};

/// The longest time that an option can say, about a hundred years: a deadline that far away is still a point in time.
const LONGEST: f64 = 3e9;

/// One argument: an option by its long name, or a value.
#[derive(Debug)]
pub(crate) enum Given {
    Option(String),
    Value(String),
}

/// The command line, without what was read already.
#[derive(Debug)]
pub(crate) struct Arguments(lexopt::Parser);

impl Arguments {
    pub(crate) fn from_env() -> Self {
        Self(lexopt::Parser::from_env())
    }

    /// Reads the next argument.
    pub(crate) fn next(&mut self) -> Result<Option<Given>, Failure> {
        let Some(argument) = self.0.next()? else { return Ok(None) };
        Ok(Some(match argument {
            Long(name) => Given::Option(name.into()),
            Short(letter) => Given::Option(long_name(letter)?.into()),
            Value(value) => Given::Value(value.into_string().map_err(|_| Failure::usage("an argument is not UTF-8"))?),
        }))
    }

    /// Reads the value of an option. It may be a secret, so no error shows it.
    pub(crate) fn text(&mut self, option: &str) -> Result<String, Failure> {
        self.0.value()?.into_string().map_err(|_| Failure::usage(format_args!("--{option} takes UTF-8")))
    }

    /// Reads the value of an option that is a number or the like.
    pub(crate) fn parsed<T: FromStr>(&mut self, option: &str, what: impl fmt::Display) -> Result<T, Failure> {
        let text = self.text(option)?;
        text.parse().map_err(|_| Failure::usage(format_args!("--{option} takes {what}, not {text:?}")))
    }

    /// Reads a number of seconds, which may be a fraction.
    pub(crate) fn seconds(&mut self, option: &str) -> Result<Duration, Failure> {
        let text = self.text(option)?;
        let seconds = text.parse().ok().filter(|seconds| (0.0..LONGEST).contains(seconds));
        let mistake = || Failure::usage(format_args!("--{option} takes seconds, not {text:?}"));
        seconds.map(Duration::from_secs_f64).ok_or_else(mistake)
    }

    /// Reads a number of seconds that is not zero.
    pub(crate) fn some_seconds(&mut self, option: &str) -> Result<Duration, Failure> {
        let mistake = || Failure::usage(format_args!("--{option} takes seconds, more than none"));
        Some(self.seconds(option)?).filter(|time| !time.is_zero()).ok_or_else(mistake)
    }

    /// Reads a number that is not zero.
    pub(crate) fn positive(&mut self, option: &str) -> Result<usize, Failure> {
        let mistake = || Failure::usage(format_args!("--{option} takes a number, at least 1"));
        Some(self.parsed(option, "a number, at least 1")?).filter(|&number| number > 0).ok_or_else(mistake)
    }
}

fn long_name(letter: char) -> Result<&'static str, Failure> {
    match letter {
        'h' => Ok("help"),
        'H' => Ok("header"),
        'k' => Ok("insecure"),
        'q' => Ok("quiet"),
        'v' => Ok("verbose"),
        'V' => Ok("version"),
        other => Err(Failure::usage(format_args!("there is no option -{other}"))),
    }
}

/// There is nothing of this name.
pub(crate) fn unknown(option: &str) -> Failure {
    Failure::usage(format_args!("there is no option --{option}"))
}

/// An argument that nothing was left for. It is not shown: there may be a password in it.
pub(crate) fn unexpected(option: &str) -> Failure {
    Failure::usage(format_args!("there is an argument too many: one {option} is enough"))
}

impl Style {
    /// Takes an option about printing. Returns `false` if it is about something else.
    pub(crate) fn takes(&mut self, option: &str) -> Result<bool, Failure> {
        match option {
            "jsonl" => self.choose(Format::Jsonl)?,
            "hex" => self.choose(Format::Hex)?,
            "raw" => self.choose(Format::Raw)?,
            "timestamps" => self.timestamps = true,
            "no-color" => self.no_colour = true,
            "quiet" => self.quiet = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn choose(&mut self, format: Format) -> Result<(), Failure> {
        if self.format != Format::Lines && self.format != format {
            return Err(Failure::usage("--jsonl, --hex and --raw exclude each other"));
        }
        self.format = format;
        Ok(())
    }
}
