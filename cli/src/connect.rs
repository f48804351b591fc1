//! `bellwire connect`: a client for people and for scripts.

mod options;
mod sending;

use std::pin::pin;
use std::time::Duration;

use bellwire::{Target, WebSocket};
use serde_json::json;
use tokio::task::JoinError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

pub(crate) use self::options::{HELP, parse};
use self::options::{Options, Source};
use self::sending::Sender;
use crate::exit::{Exit, Failure, judge};
use crate::output::{Note, Printer};
use crate::session::{Event, Events, Pings, events};

/// Connects, talks, and says how it went.
pub(crate) async fn run(options: Options) -> Exit {
    let printer = Printer::new(options.style);
    let outcome = connect(options, printer.clone()).await;
    printer.end_prompt();
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            // The exit status says it, too.
            let _ = printer.note(None, &Note::Trouble(&failure.message));
            failure.exit
        }
    }
}

async fn connect(options: Options, printer: Printer) -> Result<Exit, Failure> {
    // What arrives between our close and the server's is worth printing. The queue is bounded by who feeds it.
    let target = options.reach.target(|config| config.deliver_after_close(true).max_queued(usize::MAX))?;
    let (listener, events) = events();
    let client = bellwire::tokio::connect(&target, listener).await?;
    printer.note(None, &opened(&target, &client, options.verbose))?;
    let socket = client.socket().clone();
    let talk = Talk::new(&options, socket, printer, events);
    match talk.run(options.source).await {
        // Whoever read the output has had enough.
        Err(failure) if failure.is_unread => Ok(Exit::Clean),
        outcome => outcome,
    }
}

fn opened(target: &Target, client: &bellwire::tokio::Client, verbose: bool) -> Note<'static> {
    let (url, socket) = (target.uri().to_string(), client.socket());
    let protocol = client.protocol().map(ToString::to_string);
    let extension = socket.compression().map(|compression| compression.to_string());
    let headers: Vec<(String, String)> = client
        .response()
        .headers()
        .iter()
        .map(|(name, value)| (name.into(), String::from_utf8_lossy(value).into()))
        .collect();
    let mut text = format!("connected to {url}");
    for (what, value) in [("subprotocol", &protocol), ("extension", &extension)] {
        if let Some(value) = value {
            text += &format!("\n{what}: {value}");
        }
    }
    if verbose {
        text.extend(headers.iter().map(|(name, value)| format!("\n  {name}: {value}")));
    }
    let mut fields = json!({
        "url": url,
        "peer": socket.peer_addr().map(|addr| addr.to_string()),
        "protocol": protocol,
        "extension": extension,
    });
    if verbose {
        fields["headers"] = json!(headers);
    }
    Note::Open { fields, text }
}

/// A conversation: what is sent, what arrives, and when it is over.
struct Talk {
    printer: Printer,
    socket: WebSocket,
    events: Events,
    pings: Pings,
    ticks: Option<Interval>,
    verbose: bool,
    /// How many messages are waited for.
    count: Option<usize>,
    /// How long to wait for messages when the input has ended; for ever, if the connection is to stay.
    wait: Option<Duration>,
    received: usize,
    is_closing: bool,
}

impl Talk {
    fn new(options: &Options, socket: WebSocket, printer: Printer, events: Events) -> Self {
        let ticks = options.ping.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let Options { verbose, count, wait, .. } = *options;
        let (pings, received, is_closing) = (Pings::default(), 0, false);
        Self { printer, socket, events, pings, ticks, verbose, count, wait, received, is_closing }
    }

    async fn run(mut self, source: Source) -> Result<Exit, Failure> {
        let sender = Sender { socket: self.socket.clone(), printer: self.printer.clone(), pings: self.pings.clone() };
        let mut feeding = tokio::spawn(sender.feed(source));
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let (mut is_fed, mut is_interrupted, mut deadline) = (false, false, None);
        loop {
            tokio::select! {
                event = self.events.receiver.recv() => match event {
                    Some(event) => self.show(event)?,
                    None => break,
                },
                fed = &mut feeding, if !is_fed => {
                    is_fed = true;
                    self.is_fed(fed)?;
                    deadline = self.wait.map(|wait| Instant::now() + wait);
                }
                () = passed(deadline), if !self.is_closing => self.close(),
                () = tick(&mut self.ticks), if !self.is_closing => self.ping(),
                _ = interrupt.as_mut() => {
                    interrupt.set(tokio::signal::ctrl_c());
                    if std::mem::replace(&mut is_interrupted, true) {
                        self.socket.abort();
                    }
                    self.close();
                }
            }
        }
        feeding.abort();
        self.end(is_interrupted)
    }

    fn show(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Message(message) => {
                self.printer.message(None, &message)?;
                self.received += 1;
                if self.has_all() {
                    self.close();
                }
            }
            Event::Ping(data) if self.verbose => self.printer.note(None, &Note::Ping { data: &data })?,
            Event::Ping(_) => {}
            Event::Pong(data, at) => {
                let round_trip = self.pings.answered(self.socket.id(), &data, at);
                if round_trip.is_some() || self.verbose {
                    self.printer.note(None, &Note::Pong { data: &data, round_trip })?;
                }
            }
        }
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.count.is_some_and(|count| self.received >= count)
    }

    fn is_fed(&mut self, fed: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
        let outcome = fed.unwrap_or_else(|error| Err(Failure::new(Exit::Failed, error)));
        if outcome.is_err() || self.has_all() {
            self.close();
        }
        outcome
    }

    fn close(&mut self) {
        self.is_closing = true;
        // Closed already: that is what is wanted.
        let _ = self.socket.close();
    }

    fn ping(&mut self) {
        // The end will be told.
        let _ = self.pings.send(&self.socket, Vec::new());
    }

    fn end(self, is_interrupted: bool) -> Result<Exit, Failure> {
        let error = self.events.error();
        if let Some(closed) = self.socket.closed() {
            self.printer.note(None, &Note::Closed(&closed))?;
            if is_interrupted {
                return Ok(Exit::Interrupted);
            }
            judge(&closed, error.as_ref())?;
        }
        match self.count.map_or(0, |count| count.saturating_sub(self.received)) {
            0 => Ok(Exit::Clean),
            1 => Err(Failure::new(Exit::NoReply, "a message that was waited for did not come")),
            missing => {
                Err(Failure::new(Exit::NoReply, format_args!("{missing} messages that were waited for did not come")))
            }
        }
    }
}

/// When the deadline has passed, if there is one.
async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
