//! One server in one scenario, once.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::connection::{open, upgrade, upgraded};
use crate::deflate::Context;
use crate::frames::{self, Batch, Content, Shape};
use crate::load;
use crate::process::{cpu, resident};
use crate::scenario::Load;
use crate::server::{Kind, Running};
use crate::stats::percentile;

/// What was measured. What a scenario does not measure is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Microseconds of the server's processor for a message or a connection.
    pub cpu: Option<f64>,
    /// Messages or connections in a second.
    pub rate: Option<f64>,
    /// Microseconds until so many percent were echoed.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    /// Bytes of memory for each connection; of an idle one, when it is new.
    pub memory: Option<f64>,
    /// The same after an echo.
    pub memory_after: Option<f64>,
    /// Bytes of memory for each connection that compresses, more than for one that does not.
    pub memory_deflate: Option<f64>,
    /// Bytes of a compressed message on the wire, to the server and from it, frame and all.
    pub sent: Option<f64>,
    pub received: Option<f64>,
}

/// How long to measure, and how fast to send.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub window: Duration,
    /// Messages in a second, for how long they take; not measured without one.
    pub pace: Option<f64>,
    /// How long the load sleeps at most while there is nothing to read.
    pub wait: Duration,
    /// As many connections at most.
    pub connections: usize,
}

pub fn measure(server: &Running, kind: Kind, load: Load, effort: Effort) -> io::Result<Figures> {
    let raw = kind == Kind::Raw;
    match load {
        Load::Echo { connections, shape } => echo(server, raw, connections.min(effort.connections), shape, effort),
        Load::Idle { connections, echo } => idle(server, raw, connections.min(effort.connections), echo),
        Load::Churn { connections, at_once } => {
            churn(server, raw, connections.min(effort.connections), at_once.min(effort.connections))
        }
    }
}

/// The largest that a compressor may look back into: only when it is full, what a message costs stays the same.
const WINDOW: usize = 32 * 1024;

fn echo(server: &Running, raw: bool, connections: usize, shape: Shape, effort: Effort) -> io::Result<Figures> {
    let batches = shape.batches(raw);
    let without = Shape { deflate: None, ..shape }.batches(raw);
    let uncompressed = match shape.deflate {
        Some(_) => Some(uncompressed(server, raw, connections, shape, [&batches, &without], effort)?),
        None => None,
    };
    let before = resident(server.pid())?;
    let mut load = load::Load::open(&server.address, raw, shape.deflate, connections, &batches, effort.wait)?;
    if shape.deflate == Some(Context::Takeover) {
        load.fill((connections * WINDOW.div_ceil(shape.length * shape.depth)) as u64)?;
    }
    let mut used = Duration::ZERO;
    let begin = || cpu(server.pid());
    let end = |before| {
        used = cpu(server.pid())? - before;
        Ok(())
    };
    let echoed = load.closed(effort.window / 4, effort.window, begin, end)?;
    let messages = (echoed.batches * shape.depth as u64) as f64;
    let mut figures = Figures {
        cpu: Some(used.as_secs_f64() * 1e6 / messages),
        rate: Some(messages / echoed.time.as_secs_f64()),
        memory: Some(grown(server, before)? / connections as f64),
        ..Figures::default()
    };
    if let Some((_open, memory)) = uncompressed {
        let all: usize = batches.iter().map(|batch| batch.wire.len()).sum();
        figures.sent = Some(all as f64 / (batches.len() * shape.depth) as f64);
        figures.received = Some(echoed.bytes as f64 / messages);
        figures.memory_deflate = figures.memory.take().map(|compressing| compressing - memory);
    }
    if let Some(pace) = effort.pace {
        let times = load.paced(pace / shape.depth as f64, effort.window)?;
        let microseconds = |of_thousand| percentile(&times, of_thousand).map(|time| time as f64 / 1e3);
        (figures.p50, figures.p99, figures.p999) = (microseconds(500), microseconds(990), microseconds(999));
    }
    Ok(figures)
}

/// Opens so many connections that do not compress, echoes on each, and tells what each costs. Before them there is one
/// that compresses: it pays for what a server allocates once. All stay open.
fn uncompressed<'a>(
    server: &Running,
    raw: bool,
    connections: usize,
    shape: Shape,
    [batches, without]: [&'a [Batch]; 2],
    effort: Effort,
) -> io::Result<([load::Load<'a>; 2], f64)> {
    let mut first = load::Load::open(&server.address, raw, shape.deflate, 1, batches, effort.wait)?;
    first.once()?;
    let before = resident(server.pid())?;
    let mut others = load::Load::open(&server.address, raw, None, connections, without, effort.wait)?;
    others.once()?;
    Ok(([first, others], grown(server, before)? / connections as f64))
}

/// Bytes of memory that the server has more than before.
fn grown(server: &Running, before: u64) -> io::Result<f64> {
    Ok(resident(server.pid())? as f64 - before as f64)
}

/// Connections that are not counted: what a server allocates once.
const WARM: usize = 200;

fn idle(server: &Running, raw: bool, connections: usize, length: usize) -> io::Result<Figures> {
    let message = frames::message(Content::Binary, length, raw);
    let mut streams: Vec<_> =
        (0..WARM.min(connections)).map(|_| open(&server.address, raw, None)).collect::<io::Result<_>>()?;
    let before = settled(server)?;
    for _ in 0..connections {
        streams.push(open(&server.address, raw, None)?);
    }
    let opened = settled(server)?;
    streams.iter_mut().try_for_each(|stream| once(stream, &message))?;
    let echoed = settled(server)?;
    let each = |bytes: u64| Some((bytes as f64 - before as f64) / connections as f64);
    Ok(Figures { memory: each(opened), memory_after: each(echoed), ..Figures::default() })
}

/// The memory, when what the server still had to do is done.
fn settled(server: &Running) -> io::Result<u64> {
    std::thread::sleep(Duration::from_millis(300));
    resident(server.pid())
}

fn once(stream: &mut (impl Read + Write), message: &Batch) -> io::Result<()> {
    stream.write_all(&message.wire)?;
    let mut echo = vec![0; message.echo.len()];
    stream.read_exact(&mut echo)?;
    if echo == message.echo { Ok(()) } else { Err(io::Error::other("a wrong echo")) }
}

fn churn(server: &Running, raw: bool, connections: usize, at_once: usize) -> io::Result<Figures> {
    // The first ones fault in what the server allocates once.
    for _ in 0..4 {
        come_and_go(server, raw, at_once)?;
    }
    let (turns, before, start) = (connections.div_ceil(at_once), cpu(server.pid())?, Instant::now());
    for _ in 0..turns {
        come_and_go(server, raw, at_once)?;
    }
    let (time, used, count) = (start.elapsed(), cpu(server.pid())? - before, (turns * at_once) as f64);
    Ok(Figures {
        cpu: Some(used.as_secs_f64() * 1e6 / count),
        rate: Some(count / time.as_secs_f64()),
        ..Figures::default()
    })
}

/// So many connections go through each step together.
fn come_and_go(server: &Running, raw: bool, count: usize) -> io::Result<()> {
    // Not upgraded yet, even where the server could.
    let mut streams: Vec<_> = (0..count).map(|_| open(&server.address, true, None)).collect::<io::Result<_>>()?;
    let request = upgrade(server.address.at, None);
    streams.iter_mut().try_for_each(|stream| stream.write_all(&request))?;
    let mut echo = vec![0; request.len()];
    streams
        .iter_mut()
        .try_for_each(|stream| if raw { stream.read_exact(&mut echo) } else { upgraded(stream).map(|_| ()) })?;
    let close = frames::close();
    for stream in &mut streams {
        if raw { stream.tcp().shutdown(Shutdown::Write)? } else { stream.write_all(&close)? }
    }
    streams.iter_mut().try_for_each(|stream| closed(stream, raw))
}

/// The server closes the connection, after a close frame where there are frames.
fn closed(stream: &mut impl Read, raw: bool) -> io::Result<()> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) if raw && rest.is_empty() => Ok(()),
        Ok(_) if !raw && rest.first() == Some(&0x88) => Ok(()),
        Ok(_) => Err(io::Error::other(format!("a wrong answer to a close frame: {rest:02x?}"))),
        Err(error) => Err(io::Error::new(error.kind(), format!("after a close frame: {error}"))),
    }
}
