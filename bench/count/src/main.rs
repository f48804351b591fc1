//! Counts what bellwire costs and compares it with `figures.toml`: see `bench/README.md`.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io, thread};

use bellwire_bench_count::figures::{Costs, Figures};
use bellwire_bench_count::report::Report;
use bellwire_bench_count::rows::{self, Measurement};
use lexopt::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const USAGE: &str = "\
Counts what a message costs: instructions, allocations, system calls; and the bytes of an idle connection. Compares
that with committed figures, and fails if it is worse, or so much better that they are out of date.

usage: count [--only TEXT] [--write] [--figures FILE] [--list]

    --only TEXT      only rows with TEXT in their names
    --write          writes what was counted to the file
    --figures FILE   the committed figures: bench/count/figures.toml
    --list           prints the names of the rows
";
const COMMENT: &str = "\
What a message costs, or a connection. `bench count --write` writes this file; bench/README.md says what the rows are.
Instructions depend on the compiler and on libc: where those are others, they are judged with indulgence.";

struct Arguments {
    only: String,
    write: bool,
    figures: PathBuf,
    list: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(arguments) = arguments()? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = |measurement: &Measurement| measurement.names.iter().any(|name| name.contains(&arguments.only));
    let measurements: Vec<_> = rows::all().into_iter().filter(wanted).collect();
    if measurements.is_empty() {
        return Err(format!("no row has {:?} in its name; --list prints them", arguments.only).into());
    }
    if arguments.list {
        measurements.iter().flat_map(|measurement| &measurement.names).for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut committed = Figures::parse(&fs::read_to_string(&arguments.figures)?)?;
    build()?;
    let now = Figures { toolchain: toolchain()?, rows: measure(&measurements)? };
    let whole = arguments.only.is_empty();
    let report = Report::new(&committed, &now, whole);
    print!("{}", report.text);
    if arguments.write {
        let kept = if whole { BTreeMap::new() } else { committed.rows };
        committed = Figures { toolchain: now.toolchain, rows: kept.into_iter().chain(now.rows).collect() };
        fs::write(&arguments.figures, committed.to_text(COMMENT))?;
        println!("\nwritten to {}", arguments.figures.display());
        return Ok(ExitCode::SUCCESS);
    }
    if !report.good {
        println!("\nIf that is as it should be, write and commit new figures: bench count --write");
    }
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let figures = PathBuf::from(FOLDER).join("figures.toml");
    let mut arguments = Arguments { only: String::new(), write: false, figures, list: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => arguments.only = parser.value()?.string()?,
            Long("write") => arguments.write = true,
            Long("figures") => arguments.figures = parser.value()?.into(),
            Long("list") => arguments.list = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(arguments))
}

/// Builds the programs that are measured, beside this one.
fn build() -> io::Result<()> {
    let executable = std::env::current_exe()?;
    let target =
        executable.ancestors().nth(2).ok_or_else(|| io::Error::other("this program is in no target folder"))?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--quiet", "--bins", "--package", "bellwire-bench-count"]);
    command
        .args(["--package", "bench-codec-bellwire", "--manifest-path"])
        .arg(PathBuf::from(FOLDER).join("Cargo.toml"));
    let status = command.arg("--target-dir").arg(target).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the programs cannot be built")) }
}

/// Runs all measurements, as many at once as there are processors: how long they take is not what is measured.
fn measure(measurements: &[Measurement]) -> io::Result<BTreeMap<String, Costs>> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> io::Result<()> {
        while let Some(measurement) = measurements.get(next.fetch_add(1, Ordering::Relaxed)) {
            let costs = measurement.run()?;
            eprintln!("{}", measurement.names.join("; "));
            rows.lock().expect("no panic").extend(measurement.names.iter().cloned().zip(costs));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, Into::into);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    Ok(rows.into_inner().expect("no panic"))
}

/// What the figures depend on beside the code.
fn toolchain() -> io::Result<String> {
    let (rustc, libc, valgrind) = (said("rustc")?, said("ldd")?, said("valgrind")?);
    let rustc = rustc.split_whitespace().nth(1).unwrap_or("?");
    let libc = libc.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or("?");
    Ok(format!("rustc {rustc}, libc {libc}, {}, {}", valgrind.trim(), std::env::consts::ARCH))
}

fn said(program: &str) -> io::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
