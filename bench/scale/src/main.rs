//! What many connections cost, and whether a busy one among them notices.
//!
//! `bench scale [--memory 100000] [--sockets N] [--seconds 8]`

mod client;
mod memory;
mod peer;
mod process;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use lexopt::ValueExt;

use crate::client::{Crowd, latencies, pipelined};
use crate::process::{Own, cpu, raise_descriptors, resident};

/// How often the idle ones are pinged while the busy one is watched: five times as often as by default.
const KEEPALIVE: Duration = Duration::from_secs(4);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = raise_descriptors()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // As a child of itself.
        ["serve", threads, keepalive] => {
            let keepalive = Duration::from_millis(keepalive.parse()?);
            return Ok(serve::run(threads.parse()?, (!keepalive.is_zero()).then_some(keepalive))?);
        }
        ["memory", count, keepalive] => return Ok(memory::run(count.parse()?, *keepalive == "on")?),
        _ => {}
    }
    // Both ends have descriptors for something else, too.
    let (mut memory, mut sockets, mut seconds) = (100_000, descriptors.saturating_sub(100).min(20_000), 8);
    let mut options = lexopt::Parser::from_args(arguments);
    while let Some(option) = options.next()? {
        match option {
            lexopt::Arg::Long("memory") => memory = options.value()?.parse()?,
            lexopt::Arg::Long("sockets") => sockets = options.value()?.parse()?,
            lexopt::Arg::Long("seconds") => seconds = options.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    for keepalive in ["off", "on"] {
        println!("{}", Own::start(&["memory".into(), memory.to_string(), keepalive.into()])?.1);
    }
    stalls(sockets, Duration::from_secs(seconds))?;
    for threads in [1, 2, 4] {
        pipelines(threads, Duration::from_secs(seconds.min(3)))?;
    }
    Ok(())
}

struct Server {
    process: Own,
    address: SocketAddr,
}

impl Server {
    fn start(threads: usize, keepalive: Duration) -> io::Result<Self> {
        let arguments = ["serve".into(), threads.to_string(), keepalive.as_millis().to_string()];
        let (process, address) = Own::start(&arguments)?;
        Ok(Self { process, address: address.parse().map_err(io::Error::other)? })
    }

    fn cpu(&self) -> io::Result<Duration> {
        cpu(self.process.id())
    }

    fn resident(&self) -> io::Result<usize> {
        resident(self.process.id())
    }
}

/// A row about the echoes of a busy connection, while something happens.
fn row(what: &str, took: &[Duration], more: &str) {
    let [median, rare, longest] =
        [took.len() / 2, took.len() / 1000, 0].map(|at| took.get(at).copied().unwrap_or_default());
    println!("{what:<52} p50 {median:>8.0?}  p99.9 {rare:>8.1?}  longest {longest:>8.1?}  {more}");
}

fn stalls(sockets: usize, lasting: Duration) -> io::Result<()> {
    let server = Server::start(1, Duration::ZERO)?;
    row("an echo each millisecond, alone", &latencies(server.address, lasting)?, "");

    let server = Server::start(1, KEEPALIVE)?;
    drop(latencies(server.address, Duration::ZERO)?);
    let (before, start) = (server.resident()?, Instant::now());
    let crowd = Crowd::idle(server.address, sockets, 200)?;
    let (opened, memory) = (start.elapsed(), (server.resident()? - before) / sockets);
    let (used, pings, start) = (server.cpu()?, crowd.pings(), Instant::now());
    let took = latencies(server.address, lasting)?;
    let (used, pings) = ((server.cpu()? - used).as_secs_f64() / start.elapsed().as_secs_f64(), crowd.pings() - pings);
    let more = format!(
        "opened in {opened:.1?}, {memory} B each; {:.0} pings/s, {:.0} % of a processor",
        pings as f64 / start.elapsed().as_secs_f64(),
        used * 100.0
    );
    row(&format!("while {sockets} idle ones are pinged each {KEEPALIVE:?}"), &took, &more);
    drop(crowd);

    let server = Server::start(1, KEEPALIVE)?;
    let (address, storm) = (server.address, sockets.min(5000));
    let connecting = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        Crowd::idle(address, storm, storm).map(|crowd| (crowd, start.elapsed()))
    });
    let took = latencies(server.address, lasting)?;
    let (crowd, opened) = connecting.join().map_err(|_| io::Error::other("the storm has panicked"))??;
    row(&format!("while {storm} connect at once"), &took, &format!("all open after {opened:.1?}"));
    drop(crowd);

    let server = Server::start(1, KEEPALIVE)?;
    let (before, slow) = (server.resident()?, sockets.min(1000));
    let crowd = Crowd::slow_readers(server.address, slow)?;
    thread::sleep(Duration::from_secs(2));
    let (used, start, took) = (server.cpu()?, Instant::now(), latencies(server.address, lasting.min(KEEPALIVE))?);
    let used = (server.cpu()? - used).as_secs_f64() / start.elapsed().as_secs_f64();
    let memory = (server.resident()? - before) / slow / 1024;
    row(
        &format!("while {slow} do not read what they asked for"),
        &took,
        &format!("{memory} KiB each; {:.0} % of a processor", used * 100.0),
    );
    drop(crowd);
    Ok(())
}

/// 64 connections, 64 messages at once on each.
fn pipelines(threads: usize, lasting: Duration) -> io::Result<()> {
    let server = Server::start(threads, Duration::ZERO)?;
    let (address, used) = (server.address, server.cpu()?);
    let clients = [(); 2].map(|()| thread::spawn(move || pipelined(address, 32, 64, lasting)));
    let mut count = 0;
    for client in clients {
        count += client.join().map_err(|_| io::Error::other("a client has panicked"))??;
    }
    let used = (server.cpu()? - used).as_nanos() as f64 / count as f64;
    println!(
        "{threads} threads, 64 connections with 64 messages at once: {:.2} million a second, {used:.0} ns of processor for each",
        count as f64 / lasting.as_secs_f64() / 1e6
    );
    Ok(())
}
