//! Connections in memory, as many as one likes: what each costs, what keeping them alive does, and how long their end
//! takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bellwire::backend::{Runtime, Service};
use bellwire::tokio::{Acceptor, Tokio};
use bellwire::{Config, Request, Response, ServerError};
use tokio::time::sleep;

use crate::peer::{PINGS, Peer};
use crate::process::{cpu, resident};
use crate::serve::Echo;

/// The time stands still but for sleeps, which end at once when all else has been done.
const MINUTES: u32 = 3;

pub fn run(count: usize, keepalive: bool) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?
        .block_on(measure(count, keepalive))
}

async fn measure(count: usize, keepalive: bool) -> io::Result<()> {
    let config = if keepalive { Config::default() } else { Config::default().keepalive_interval(None) };
    let own = std::process::id();
    let handler = |_: &Request| Response::websocket(Echo);
    let service = Arc::new(Service::new(config, handler, |error: &ServerError| eprintln!("{error}")));
    let acceptor = Acceptor::from_service(service.clone());
    let open = async |count: usize| {
        let before = acceptor.connections();
        (0..count).for_each(|_| drop(tokio::spawn(acceptor.accept(Peer::new(), None))));
        while acceptor.connections() < before + count {
            tokio::task::yield_now().await;
        }
    };
    // What all share.
    open(1000).await;
    let before = resident(own)?;
    // They come within the first interval, so that they are not pinged at one time.
    for _ in 0..20 {
        open(count / 20).await;
        sleep(Duration::from_secs(1)).await;
    }
    let opened = (resident(own)? - before) / (count / 20 * 20);
    let (used, pings) = (cpu(own)?, PINGS.load(Ordering::Relaxed));
    sleep(MINUTES * Duration::from_secs(60)).await;
    let used = (cpu(own)? - used) / MINUTES;
    let pings = (PINGS.load(Ordering::Relaxed) - pings) / MINUTES as usize;
    let (connections, start) = (acceptor.connections(), Instant::now());
    let dropped = service.registry().shutdown(Duration::from_secs(10), Tokio.timer()).await;
    let ended = start.elapsed();
    let keepalive = if keepalive { "as by default" } else { "off" };
    println!(
        "{connections} in memory, keepalive {keepalive}: {opened} B each; a minute costs {used:.2?} for {pings} pings; \
         shutdown in {ended:.2?}, {dropped} dropped"
    );
    Ok(())
}
