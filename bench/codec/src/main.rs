//! What decoding and encoding cost in memory, beside other libraries: see `bench/README.md`.

mod copy;
mod library;
mod table;

use std::error::Error;
use std::io::{self, Write as _};

use bench_codec_common::Message;
use copy::Copying;
use lexopt::prelude::*;
use library::{Library, Task, Timer};
use table::{Cell, Row};

const USAGE: &str = "\
What decoding and encoding cost in memory: nanoseconds, and instructions in brackets, for each message.

usage: codec [--only TEXT] [--rounds NUMBER] [--no-instructions]

    --only TEXT         only rows with TEXT in their names
    --rounds NUMBER     of how many rounds the median is shown: 31
    --no-instructions   does not count instructions, for which valgrind is needed
";

struct Arguments {
    only: String,
    rounds: usize,
    instructions: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(arguments) = arguments()? else {
        print!("{USAGE}");
        return Ok(());
    };
    let libraries = Library::all();
    for library in libraries.iter().filter(|library| library.program.is_none()) {
        eprintln!("{} does not build, and is left out", library.name);
    }
    table::print_head(libraries.iter().map(|library| library.name));
    for task in Task::all().filter(|task| task.to_string().contains(&arguments.only)) {
        let row = measure(&libraries, task, &arguments)?;
        row.print();
        io::stdout().flush()?;
    }
    Ok(())
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments { only: String::new(), rounds: 31, instructions: true };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => arguments.only = parser.value()?.string()?,
            Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Long("no-instructions") => arguments.instructions = false,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(arguments))
}

/// One row: all libraries take turns, round by round, so that what slows the machine down for a while slows all.
fn measure(libraries: &[Library], task: Task, arguments: &Arguments) -> io::Result<Row> {
    let mut timers = Vec::new();
    for library in libraries {
        timers.push(library.program.as_ref().map(|program| Timer::start(program, task)).transpose()?);
    }
    let length = Message::named(task.message).map_or(0, |message| message.bytes.len());
    let mut copying = Copying::new(length);
    let mut times = vec![Vec::new(); libraries.len()];
    let mut copies = Vec::new();
    // The first round warms up.
    for round in 0..=arguments.rounds {
        for (timer, times) in timers.iter_mut().zip(&mut times) {
            if let Some(time) = timer.as_mut().map(Timer::round).transpose()? {
                if round > 0 {
                    times.push(time);
                }
            }
        }
        copies.push(copying.round());
    }
    drop(timers);
    let mut cells = Vec::new();
    for (library, times) in libraries.iter().zip(&mut times) {
        let Some(program) = &library.program else {
            cells.push(None);
            continue;
        };
        let instructions = if arguments.instructions { Some(task.instructions(program)?) } else { None };
        cells.push(Some(Cell { nanoseconds: table::median(times), instructions }));
    }
    Ok(Row { task, length, copy: table::median(&mut copies), cells })
}
