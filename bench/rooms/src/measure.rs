//! One turn of a server: what its nodes and its broker had to do for what was delivered.

use std::io;
use std::time::Duration;

use bellwire_bench_echo::process::{Cores, cpu};
use bellwire_bench_echo::stats::percentile;

use crate::load::Load;
use crate::scenario::Scenario;
use crate::server::{Running, Server};

/// Messages that are published at once.
pub const DEPTHS: [usize; 2] = [1, 64];

/// What a turn found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// For each of the depths.
    pub costs: [Cost; 2],
    /// How long a delivery took since its message was due, in microseconds.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// Processor time in microseconds for each delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Of the nodes, all together.
    pub nodes: f64,
    pub broker: Option<f64>,
    /// Deliveries in a second.
    pub rate: f64,
}

/// How hard is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub window: Duration,
    /// Messages in a second. None: latencies are not measured.
    pub pace: Option<f64>,
}

pub fn measure(server: &Server, scenario: &Scenario, cores: Cores, effort: Effort) -> io::Result<Figures> {
    let running = server.start(scenario.nodes, cores)?;
    let addresses = running.addresses();
    let mut load = Load::open(&addresses, scenario.members * addresses.len(), server.dialect, scenario.length)?;
    let mut figures = Figures::default();
    for (depth, cost) in DEPTHS.into_iter().zip(&mut figures.costs) {
        *cost = closed(&running, &mut load, depth, effort.window)?;
    }
    if let Some(pace) = effort.pace {
        let times = load.paced(pace, effort.window)?;
        let micros = |of_thousand| percentile(&times, of_thousand).map(|nanos| nanos as f64 / 1000.0);
        (figures.p50, figures.p99) = (micros(500), micros(990));
    }
    Ok(figures)
}

fn closed(running: &Running, load: &mut Load, depth: usize, window: Duration) -> io::Result<Cost> {
    let used = || -> io::Result<(Duration, Option<Duration>)> {
        let nodes = running.pids().into_iter().map(cpu).sum::<io::Result<_>>()?;
        Ok((nodes, running.broker().map(cpu).transpose()?))
    };
    let mut spent = (Duration::ZERO, None);
    let delivered = load.closed(depth, window / 4, window, used, |(nodes, broker)| {
        let now = used()?;
        spent = (now.0 - nodes, now.1.zip(broker).map(|(now, before)| now - before));
        Ok(())
    })?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / delivered.deliveries as f64;
    let rate = delivered.deliveries as f64 / delivered.time.as_secs_f64();
    Ok(Cost { nodes: each(spent.0), broker: spent.1.map(each), rate })
}
