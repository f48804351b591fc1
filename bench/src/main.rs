//! Measures. `cargo run --release --manifest-path bench/Cargo.toml -- TOOL OPTIONS`

use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// The tools, each a package of its own.
const TOOLS: &[(&str, &str)] = &[
    ("codec", "decoding and encoding in memory, beside other libraries"),
    ("count", "what bellwire costs in instructions, allocations and bytes, against committed figures"),
    ("echo", "servers side by side: what a message costs each"),
    ("rooms", "chats side by side, on one node and over a broker: what a delivery costs each"),
    ("scale", "many connections: what each costs, and whether a busy one notices"),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let tool = arguments.next().unwrap_or_default();
    match TOOLS.iter().find(|(name, _)| *name == tool) {
        Some((name, _)) => run(name, arguments),
        None => {
            eprintln!("usage: bench TOOL OPTIONS\n");
            for (name, what) in TOOLS {
                eprintln!("  {name:<8} {what}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Builds a tool and runs it.
fn run(tool: &str, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--package", &format!("bellwire-bench-{tool}"), "--"])
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
