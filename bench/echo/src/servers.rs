//! Servers that are measured one after the other: how they are chosen, and built.

use std::collections::HashMap;

use indicatif::{ProgressBar, ProgressStyle};

/// A server, whatever it serves.
pub trait Measured: Clone {
    /// Those of this workspace.
    fn all() -> Vec<Self>;

    /// Any other, by `NAME=COMMAND`.
    ///
    /// # Errors
    ///
    /// What it should have been.
    fn parse(text: &str) -> Result<Self, String>;

    fn name(&self) -> &str;

    /// Builds it, or installs what it needs.
    ///
    /// # Errors
    ///
    /// What was said at first of why it cannot be.
    fn build(&self) -> Result<(), String>;
}

/// Takes `NAME=COMMAND` apart.
///
/// # Errors
///
/// If there is no name, or no place for the port in the command.
pub fn named_command(text: &str) -> Result<(&str, &str), String> {
    let (name, command) = text.split_once('=').ok_or("--server takes NAME=COMMAND")?;
    if name.is_empty() || !command.contains("{port}") {
        return Err(format!("--server {text}: it takes a name, and a command with {{port}} in it"));
    }
    Ok((name, command))
}

/// Those whose names begin so. With none wanted, all.
///
/// # Errors
///
/// If there is none for one of the beginnings.
pub(crate) fn select<S: Measured>(wanted: Option<&[String]>) -> Result<Vec<S>, String> {
    let mut servers = S::all();
    let Some(wanted) = wanted else { return Ok(servers) };
    let is_wanted = |server: &S, start: &String| server.name().starts_with(start.as_str());
    match wanted.iter().find(|start| !servers.iter().any(|server| is_wanted(server, start))) {
        Some(unknown) => return Err(format!("no server's name begins with {unknown}")),
        None => servers.retain(|server| wanted.iter().any(|start| is_wanted(server, start))),
    }
    Ok(servers)
}

/// Builds servers. What went wrong, by the name of the server.
pub fn build(servers: &[impl Measured]) -> HashMap<String, String> {
    let bar = progress(servers.len());
    let mut failures = HashMap::new();
    for server in servers {
        bar.set_message(format!("building {}", server.name()));
        if let Err(error) = server.build() {
            failures.insert(server.name().to_owned(), error);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    failures
}

pub(crate) fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}").expect("a template that is right");
    ProgressBar::new(steps as u64).with_style(style)
}
