//! `bellwire bench`: how long a server takes, at a rate or one answer after the other.

mod load;
mod options;
mod pace;
mod progress;
mod report;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bellwire::tokio::Client;
use bellwire::{ConnectError, Target, WebSocket};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use self::load::{Line, Load};
pub(crate) use self::options::{HELP, parse};
use self::options::{Options, Pace};
use self::pace::Schedule;
use self::progress::Progress;
use self::report::Report;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Note, Printer};
use crate::screen::{Screen, Stream};

/// How many connections are opened at once.
const OPENING: usize = 64;

/// How often the progress is drawn, and what was held back is sent.
const TICK: Duration = Duration::from_millis(100);

/// How often it is asked whether the last answers have come.
const GLANCE: Duration = Duration::from_millis(5);

/// The most output that waits on a connection for a server that takes nothing.
const MAX_QUEUED: usize = 4 * 1024 * 1024;

/// How long servers may take to say goodbye: nothing is measured any more.
const GOODBYE: Duration = Duration::from_secs(2);

/// Measures, and says what came out.
pub(crate) async fn run(options: Options) -> Exit {
    let printer = Printer::new(options.style);
    match bench(options, &printer).await {
        Ok(exit) => exit,
        Err(failure) if failure.is_unread => Exit::Clean,
        Err(failure) => {
            // The exit status says it, too.
            let _ = printer.note(None, &Note::Trouble(&failure.message));
            failure.exit
        }
    }
}

async fn bench(options: Options, printer: &Printer) -> Result<Exit, Failure> {
    let target = options.reach.target(|config| config.max_queued(MAX_QUEUED).close_timeout(GOODBYE))?;
    let is_loop = matches!(options.pace, Pace::Depth(_));
    let load = Load::new(options.message.clone(), options.expects_echo, is_loop);
    let begun = Instant::now();
    let (opened, refused) = open(&target, options.connections, &load).await?;
    let connected_in = begun.elapsed();
    let lines: Lines = opened.iter().map(|(client, line)| (client.socket().clone(), line.clone())).collect();

    let start = Instant::now();
    let pacing = begin(&options, &load, start, lines.clone());
    let mut progress = Progress::new(options.style, printer.clone(), start, options.duration);
    let is_interrupted = watch(&mut progress, &load, &lines, options.duration).await?;
    if is_loop || is_interrupted {
        load.stop();
    }
    let time = start.elapsed();
    wait_for_answers(&lines, pacing.as_ref(), options.wait).await;
    load.stop();
    progress.end();
    let lateness = pacing.and_then(|thread| thread.join().ok());
    lines.iter().for_each(|(_, line)| line.give_up());
    close(opened).await;

    let report = report(&options, target.uri().to_string(), connected_in, time, &load, lateness);
    print(&options, printer, &report)?;
    let exit = judge(&report, refused);
    Ok(if is_interrupted { Exit::Interrupted } else { exit })
}

type Lines = Arc<[(WebSocket, Arc<Line>)]>;

/// The thread that sends at a rate, and says how late it was.
type Pacing = thread::JoinHandle<Histogram<u64>>;

/// Opens all connections, some at a time. The second result is the exit status of those that failed, if some did. If all
/// did, that is the failure.
async fn open(
    target: &Target,
    connections: usize,
    load: &Arc<Load>,
) -> Result<(Vec<(Client, Arc<Line>)>, Option<Exit>), Failure> {
    let (mut opening, some) = (JoinSet::new(), Arc::new(Semaphore::new(OPENING)));
    for number in 0..connections {
        let (target, some, line) = (target.clone(), some.clone(), Line::new(load, number));
        opening.spawn(async move {
            let _permit = some.acquire_owned().await;
            let client = bellwire::tokio::connect(&target, line.listener()).await?;
            Ok::<_, ConnectError>((client, line))
        });
    }
    let (mut opened, mut refused) = (Vec::new(), None);
    while let Some(next) = opening.join_next().await {
        match next.map_err(|error| Failure::new(Exit::Failed, error))? {
            Ok(client) => opened.push(client),
            Err(error) => {
                load.failed(error.to_string());
                refused = refused.or(Some(Failure::from(error)));
            }
        }
    }
    match refused {
        Some(failure) if opened.is_empty() => Err(failure),
        refused => Ok((opened, refused.map(|failure| failure.exit))),
    }
}

/// Sends the first messages, or lets a thread send all.
fn begin(options: &Options, load: &Arc<Load>, start: Instant, lines: Lines) -> Option<Pacing> {
    match options.pace {
        Pace::Rate(rate) => {
            let (schedule, load) = (Schedule { rate, duration: options.duration }, load.clone());
            Some(thread::spawn(move || pace::send_all(schedule, start, &load, &lines)))
        }
        Pace::Depth(depth) => {
            for (socket, line) in lines.iter() {
                (0..depth).for_each(|_| line.send(socket, Instant::now()));
            }
            None
        }
    }
}

/// Shows how far it is until all was sent. Returns `true` after a Ctrl-C.
async fn watch(progress: &mut Progress, load: &Load, lines: &Lines, duration: Duration) -> Result<bool, Failure> {
    let mut end = pin!(sleep(duration));
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            () = &mut end => return Ok(false),
            _ = &mut interrupt => return Ok(true),
            _ = ticks.tick() => {
                progress.show(load)?;
                lines.iter().for_each(|(socket, line)| line.send_held(socket));
                if lines.iter().all(|(_, line)| line.is_closed()) {
                    return Ok(false);
                }
            }
        }
    }
}

/// Waits until all was sent that was due, and all has its answer.
async fn wait_for_answers(lines: &Lines, pacing: Option<&Pacing>, most: Duration) {
    let all = async {
        while pacing.is_some_and(|thread| !thread.is_finished()) || !lines.iter().all(|(_, line)| line.is_idle()) {
            sleep(GLANCE).await;
            lines.iter().for_each(|(socket, line)| line.send_held(socket));
        }
    };
    // What has not come by then counts as such.
    let _ = timeout(most, all).await;
}

async fn close(opened: Vec<(Client, Arc<Line>)>) {
    let mut closing = JoinSet::new();
    for (mut client, _) in opened {
        closing.spawn(async move { client.close().await });
    }
    closing.join_all().await;
}

fn report(
    options: &Options,
    url: String,
    connected_in: Duration,
    time: Duration,
    load: &Load,
    lateness: Option<Histogram<u64>>,
) -> Report {
    let [sent, answered, different, unasked, lost] =
        [&load.sent, &load.answered, &load.different, &load.unasked, &load.lost]
            .map(|count| count.load(Ordering::Relaxed));
    Report {
        url,
        pace: options.pace,
        connections: options.connections,
        connected_in,
        size: load.size(),
        time,
        sent,
        answered,
        different,
        unasked,
        lost,
        latencies: load.latencies(),
        lateness,
        errors: load.errors(),
    }
}

fn print(options: &Options, printer: &Printer, report: &Report) -> Result<(), Failure> {
    let out = Screen::new(Stream::Out, false);
    match options.style.format {
        Format::Jsonl => printer.event("result", report.json())?,
        _ if options.json => out.write(format!("{}\n", report.json()).as_bytes())?,
        _ => out.write(format!("{}\n", report.text()).as_bytes())?,
    }
    Ok(())
}

fn judge(report: &Report, refused: Option<Exit>) -> Exit {
    if let Some(exit) = refused {
        exit
    } else if !report.errors.is_empty() {
        Exit::Lost
    } else if report.lost > 0 || report.different > 0 {
        Exit::NoReply
    } else {
        Exit::Clean
    }
}
