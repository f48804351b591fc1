//! Runs all cases of an Autobahn fuzzing server against bellwire's client.

mod common;

use std::process::ExitCode;
use std::sync::mpsc;

use bellwire::listener::IntoListener;
use bellwire::{Config, Target, listener};
use common::{Backend, BoxError};
use lexopt::prelude::*;

const HELP: &str = "\
Runs all cases of an Autobahn fuzzing server.

Usage: autobahn_client --connect ws://HOST:PORT [OPTIONS]

  --connect URL  the fuzzing server
  --backend B    blocking, tokio, smol or async-std [the first that is compiled in]
  --agent NAME   what the report calls this client [bellwire-BACKEND]
  --deflate      compress messages (needs --features deflate)
  --alone        compress each message by itself, and offer to: the cases of 13.2, 13.5 and 13.6
                 want that
  --help         this text";

/// The largest message of the cases is 16 MiB.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

struct Options {
    server: String,
    backend: Backend,
    agent: String,
    config: Config,
}

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<(), BoxError> {
    let Some(Options { server, backend, agent, config }) = parse()? else {
        println!("{HELP}");
        return Ok(());
    };
    let cases = case_count(backend, &server, &config)?;
    for case in 1..=cases {
        let echo = listener().on_message(|socket, message| socket.send(message));
        // Most cases do not end with a clean close: judging them is up to the fuzzing server.
        let _ = visit(backend, format!("{server}/runCase?case={case}&agent={agent}"), &config, echo)?;
    }
    visit(backend, format!("{server}/updateReports?agent={agent}"), &config, listener())?;
    println!("{agent}: {cases} cases run");
    Ok(())
}

fn case_count(backend: Backend, server: &str, config: &Config) -> Result<u32, BoxError> {
    let (sender, count) = mpsc::channel();
    let receiver = listener().on_message(move |_, message| {
        let _ = sender.send(message.as_text().and_then(|text| text.trim().parse().ok()));
    });
    visit(backend, format!("{server}/getCaseCount"), config, receiver)?;
    count.try_recv().ok().flatten().ok_or_else(|| "the fuzzing server did not say how many cases there are".into())
}

/// Connects and waits for the end.
fn visit(
    backend: Backend,
    url: String,
    config: &Config,
    listener: impl IntoListener,
) -> Result<bellwire::Closed, BoxError> {
    Ok(common::connect(backend, Target::new(&url)?.config(config.clone()), listener)?.closed())
}

fn parse() -> Result<Option<Options>, BoxError> {
    let (mut connect, mut backend, mut agent) = (None, Backend::default()?, None);
    // The cases do not expect pings from this side.
    let mut config = Config::default().max_message(MAX_MESSAGE).keepalive_interval(None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("connect") => connect = Some(parser.value()?.string()?),
            Long("backend") => backend = parser.value()?.parse()?,
            Long("agent") => agent = Some(parser.value()?.string()?),
            #[cfg(feature = "deflate")]
            Long("alone") => config.deflate = config.deflate.map(|deflate| deflate.client_no_context_takeover(true)),
            Long("deflate") => config = common::compressed(config, 0)?,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(format!("{}; see --help", other.unexpected()).into()),
        }
    }
    let connect = connect.ok_or("--connect is missing: ws://127.0.0.1:9002; see --help")?;
    Ok(Some(Options {
        server: connect.trim_end_matches('/').into(),
        backend,
        agent: agent.unwrap_or_else(|| format!("bellwire-{backend}")),
        config,
    }))
}
