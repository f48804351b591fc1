//! What is counted.

use std::io;

use bellwire_bench_callgrind::Counts;

use flate2::{Compress, Compression, FlushCompress};

use crate::figures::{Costs, Unit};
use crate::load::{self, Load, Receivers};
use bellwire_bench_messages::{Exchange, Masked, ascii, json, multilingual};

/// How many connections echo at once.
const CONNECTIONS: usize = 64;

/// A measurement. It makes a row, or several.
pub struct Measurement {
    pub names: Vec<String>,
    run: Box<dyn Fn() -> io::Result<Vec<Costs>> + Send + Sync>,
}

impl Measurement {
    fn new(name: impl Into<String>, run: impl Fn() -> io::Result<Counts> + Send + Sync + 'static) -> Self {
        Self { names: vec![name.into()], run: Box::new(move || Ok(vec![costs(run()?)])) }
    }

    /// Leaves out one of the numbers.
    fn without(self, unit: Unit) -> Self {
        let run = move || {
            let mut rows = (self.run)()?;
            rows.iter_mut().for_each(|costs| costs.retain(|counted, _| *counted != unit));
            Ok(rows)
        };
        Self { run: Box::new(run), ..self }
    }

    /// Returns what each of its rows costs.
    ///
    /// # Errors
    /// If a program does not do what it should; the message names the row.
    pub fn run(&self) -> io::Result<Vec<Costs>> {
        (self.run)().map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.names[0])))
    }
}

/// All measurements. The first ones are the longest.
pub fn all() -> Vec<Measurement> {
    let mut all = Vec::new();
    all.extend(["listener", "async", "stream"].map(|form| idle("tokio", form)));
    all.extend(DEFLATE.map(|(context, offer, _)| idle_deflate(context, offer)));
    for form in ["listener", "async", "stream"] {
        all.extend([echo("tokio", form, 1), echo("tokio", form, 64), echo("smol", form, 1), echo("smol", form, 64)]);
    }
    all.extend([echo("blocking", "listener", 1), echo("blocking", "listener", 64)]);
    for form in ["listener", "stream"] {
        all.extend([echo("axum", form, 1), echo("axum", form, 64), life("axum", form)]);
    }
    all.push(text("tokio, listener, 1 KiB multilingual, depth 1", &multilingual(1024), 1, 1));
    all.push(text("tokio, listener, 1 KiB in 4 fragments, depth 4", &ascii(1024), 4, 4));
    all.push(client());
    all.extend([to_all("send"), to_all("broadcast")]);
    all.extend(["listener", "stream"].map(|form| life("tokio", form)));
    all.push(each("broadcast 32 B", "broadcast", 1000));
    all.extend(ROOMS.map(|(name, members)| each(name, "publish", members)));
    all.push(each("rooms, a socket joins and leaves", "join and leave", 1000));
    for (context, _, message) in DEFLATE {
        all.extend([deflate("send", context, message), deflate("receive", context, message)]);
    }
    for (role, message, batch) in CODEC {
        all.extend([codec("decode", role, message, batch), codec("encode", role, message, batch)]);
    }
    all
}

/// How many members there are in a room in which something is published.
const ROOMS: [(&str, usize); 3] = [
    ("rooms, publish 32 B to 1", 1),
    ("rooms, publish 32 B to each of 10", 10),
    ("rooms, publish 32 B to each of 1,000", 1000),
];

/// What is decoded and encoded, by which end, and how many messages at once.
const CODEC: [(&str, &str, usize); 6] = [
    ("server", "16 B binary", 64),
    ("server", "125 B text", 64),
    ("server", "1 KiB multilingual", 64),
    ("server", "64 KiB binary", 4),
    ("client", "125 B text", 64),
    ("client", "64 KiB binary", 4),
];

/// How messages are compressed, what a peer offers, and what is sent in memory.
const DEFLATE: [(&str, &str, &str); 2] = [
    ("alone", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "1 KiB JSON"),
    ("takeover", "permessage-deflate; client_max_window_bits", "300 B JSON, 100 connections in turn"),
];

/// A round of `bench-codec-bellwire`, but for what makes its input.
fn codec(operation: &'static str, role: &'static str, message: &'static str, batch: usize) -> Measurement {
    Measurement::new(format!("in memory, {operation}, {role}, {message}"), move || {
        let round = |operation| load::in_memory("bench-codec-bellwire", &[operation, role, message], 256 / batch);
        let input = if operation == "decode" { round("read")? } else { Counts::default() };
        Ok(input.per(round(operation)?, batch))
    })
}

/// What each of so many connections costs: a round is about all.
fn each(name: &str, way: &'static str, members: usize) -> Measurement {
    Measurement::new(format!("in memory, {name}"), move || {
        let counts = load::in_memory("counted_memory", &[way, &members.to_string()], 20_000 / members)?;
        Ok(Counts::default().per(counts, members))
    })
}

/// A round sends or receives on 100 connections.
fn deflate(operation: &'static str, context: &'static str, message: &str) -> Measurement {
    Measurement::new(format!("in memory, deflate {context}, {operation}, {message}"), move || {
        Ok(Counts::default().per(load::in_memory("counted_deflate", &[context, operation], 20)?, 100))
    })
}

/// Echoes of 32 bytes.
fn echo(backend: &'static str, form: &'static str, depth: usize) -> Measurement {
    let mut load = load(&ascii(32), 1, Masked::Sent, depth);
    if backend == "smol" {
        // What its other thread does evens out.
        load.turns *= 3;
    }
    let counted = Measurement::new(format!("{backend}, {form}, 32 B, depth {depth}"), move || {
        load.on_server(&format!("counted_{backend}"), form)
    });
    // A thread of async-io watches over the polling: how often it wakes up depends on the time.
    if backend == "smol" { counted.without(Unit::Syscalls) } else { counted }
}

/// Echoes of another text.
fn text(name: &str, text: &str, fragments: usize, depth: usize) -> Measurement {
    let load = load(text, fragments, Masked::Sent, depth);
    Measurement::new(name, move || load.on_server("counted_tokio", "listener"))
}

/// A client that echoes.
fn client() -> Measurement {
    let load = load(&ascii(125), 1, Masked::Echo, 64);
    Measurement::new("tokio, client, listener, 125 B, depth 64", move || load.on_client("counted_client"))
}

/// One message to all connections, all but one idle.
fn to_all(form: &'static str) -> Measurement {
    let load = Load { receivers: Receivers::All, connections: 250, ..load(&ascii(32), 1, Masked::Sent, 1) };
    Measurement::new(format!("tokio, {form} to idle connections, 32 B"), move || load.on_server("counted_tokio", form))
}

/// Connections come and go.
fn life(backend: &str, form: &'static str) -> Measurement {
    let exchange = Exchange::text(&ascii(32), 1, Masked::Sent);
    let program = format!("counted_{backend}");
    let name = format!("{backend}, {form}, churn: a connection's life");
    Measurement::new(name, move || load::life(&program, form, &exchange))
}

fn idle(backend: &str, form: &'static str) -> Measurement {
    let exchange = Exchange::text(&ascii(16 * 1024), 1, Masked::Sent);
    idle_after(backend, form, form, None, exchange, "an echo of 16 KiB")
}

/// Peers compress, too.
fn idle_deflate(context: &str, offer: &'static str) -> Measurement {
    let text = json(1024, 0);
    let mut compressed = Vec::with_capacity(2048);
    let done = Compress::new(Compression::default(), false).compress_vec(
        text.as_bytes(),
        &mut compressed,
        FlushCompress::Sync,
    );
    done.expect("it can be compressed");
    // RFC 7692 §7.2.1: what ends a flush is not sent.
    compressed.truncate(compressed.len() - 4);
    let exchange = Exchange::compressed(&text, &compressed);
    let name = format!("listener, deflate {context}");
    idle_after("tokio", &name, "deflate", Some(offer), exchange, "an echo of 1 KiB")
}

fn idle_after(
    backend: &str,
    name: &str,
    form: &'static str,
    offer: Option<&'static str>,
    exchange: Exchange,
    echo: &str,
) -> Measurement {
    let names = ["idle connection".to_owned(), format!("idle after {echo}")];
    let program = format!("counted_{backend}");
    Measurement {
        names: names.map(|state| format!("{backend}, {name}, {state}")).into(),
        run: Box::new(move || {
            let bytes = load::idle(&program, form, offer, &exchange)?;
            Ok(bytes.map(|bytes| Costs::from([(Unit::Bytes, bytes)])).into())
        }),
    }
}

fn load(text: &str, fragments: usize, masked: Masked, depth: usize) -> Load {
    let exchange = Exchange::text(text, fragments, masked);
    // Enough that what is not the same each time is next to nothing.
    let turns = if depth == 1 { 20 } else { 5 };
    Load { exchange, connections: CONNECTIONS, depth, turns, receivers: Receivers::Sender }
}

fn costs(counts: Counts) -> Costs {
    let Counts { instructions, allocations, syscalls } = counts;
    [(Unit::Instructions, instructions), (Unit::Allocations, allocations), (Unit::Syscalls, syscalls)].into()
}
