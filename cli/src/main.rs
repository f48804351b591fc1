//! `bellwire`: a WebSocket client, server and load generator for the command line.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod connect;
mod exit;
mod input;
mod listen;
mod output;
mod reach;
mod screen;
mod session;
mod timestamp;
mod tls;

use std::future::Future;
use std::process::ExitCode;
use std::thread;

use arguments::{Arguments, Given};
use exit::{Exit, Failure};
use screen::{Screen, Stream};

const HELP: &str = "\
bellwire: WebSockets on the command line.

Usage: bellwire COMMAND ..

  connect URL   sends lines as messages, and prints what arrives
  listen ADDR   a server that prints what arrives, and sends lines to all
  bench URL     sends messages to a server that echoes, and measures how long each takes

  bellwire COMMAND --help lists its options

Exit status
    0  all went well, and the connection was closed properly (1000, 1001 or without a code)
    1  the program itself failed: a file, standard input or output, the address to listen on
    2  the command line, or a line of the input, makes no sense
    3  no connection: name, network, proxy, TLS, or it took too long
    4  the server or a proxy answered, and refused
    5  the peer broke the protocol
    6  the connection was lost without a closing handshake, or before everything was sent
    7  the server closed with another code
    8  what was waited for did not come
  130  Ctrl-C";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_env();
    match command(&mut arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // If nobody reads that, there is still the exit status.
            let _ = Screen::new(Stream::Err, false).print(None, &format!("bellwire: {}", failure.message));
            failure.exit.into()
        }
    }
}

fn command(arguments: &mut Arguments) -> Result<Exit, Failure> {
    match arguments.next()? {
        Some(Given::Value(name)) if name == "connect" => match connect::parse(arguments)? {
            Some(options) => run(1, connect::run(options)),
            None => say(connect::HELP),
        },
        Some(Given::Value(name)) if name == "listen" => match listen::parse(arguments)? {
            Some(options) => run(2, listen::run(options)),
            None => say(listen::HELP),
        },
        Some(Given::Value(name)) if name == "bench" => match bench::parse(arguments)? {
            Some(options) => run(thread::available_parallelism()?.get(), bench::run(options)),
            None => say(bench::HELP),
        },
        Some(Given::Option(name)) if name == "help" => say(HELP),
        Some(Given::Option(name)) if name == "version" => say(concat!("bellwire ", env!("CARGO_PKG_VERSION"))),
        // There may be a password in it.
        Some(Given::Value(name)) if name.contains("://") => {
            Err(Failure::usage("there is no command of that name: is `bellwire connect URL` meant?"))
        }
        Some(Given::Value(name)) => Err(Failure::usage(format_args!("there is no command {name:?}"))),
        Some(Given::Option(name)) => Err(arguments::unknown(&name)),
        None => Err(Failure::usage("a command is missing: connect, listen or bench")),
    }
}

fn say(text: &str) -> Result<Exit, Failure> {
    Screen::new(Stream::Out, false).write(format!("{text}\n").as_bytes())?;
    Ok(Exit::Clean)
}

/// Runs a command on a runtime. Connections have threads of their own: an output that nobody reads does not keep them from
/// answering pings.
fn run(threads: usize, command: impl Future<Output = Exit>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let exit = runtime.block_on(command);
    // Without waiting for a resolver that may still be busy.
    runtime.shutdown_background();
    Ok(exit)
}
