//! `bellwire connect`: a client for people and for scripts.

mod options;
mod sending;

use std::pin::pin;
use std::time::Duration;

use bellwire::proto::client::Response;
use bellwire::reconnect::{Disconnected, Failure as Lost, Reconnecting};
use bellwire::{Error, WebSocket};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

pub(crate) use self::options::{HELP, parse};
use self::options::{Options, Source};
use self::sending::Sender;
use crate::exit::{Exit, Failure, judge_end};
use crate::output::{Note, Printer};
use crate::session::{Event, Pings, start};

/// Connects, talks, and says how it went.
pub(crate) async fn run(options: Options) -> Exit {
    let printer = Printer::new(options.style);
    let outcome = connect(options, printer.clone()).await;
    printer.end_prompt();
    match outcome {
        Ok(exit) => exit,
        // Whoever read the output has had enough.
        Err(failure) if failure.is_unread => Exit::Clean,
        Err(failure) => {
            // The exit status says it, too.
            let _ = printer.note(None, &Note::Trouble(&failure.message));
            failure.exit
        }
    }
}

async fn connect(mut options: Options, printer: Printer) -> Result<Exit, Failure> {
    // What arrives between our close and the server's is worth printing. The queue is bounded by who feeds it.
    let target = options.reach.target(|config| config.deliver_after_close(true).max_queued(usize::MAX))?;
    let (handle, events) = start(&target, options.policy(), std::mem::take(&mut options.on_open))?;
    Talk::new(&options, target.uri().to_string(), handle, events, printer).run(options.source).await
}

/// A conversation: what is sent, what arrives, and when it is over.
struct Talk {
    printer: Printer,
    url: String,
    handle: Reconnecting,
    events: UnboundedReceiver<Event>,
    /// The connection that there is, for who sends.
    current: watch::Sender<Option<WebSocket>>,
    pings: Pings,
    ticks: Option<Interval>,
    verbose: bool,
    /// How many messages are waited for.
    count: Option<usize>,
    /// How long to wait for messages when the input has ended; for ever, if the connection is to stay.
    wait: Option<Duration>,
    received: usize,
    is_closing: bool,
    /// What the last connection has failed with.
    error: Option<Error>,
    /// Why not everything could be sent.
    failure: Option<Failure>,
}

impl Talk {
    fn new(
        options: &Options,
        url: String,
        handle: Reconnecting,
        events: UnboundedReceiver<Event>,
        printer: Printer,
    ) -> Self {
        let ticks = options.ping.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self {
            printer,
            url,
            handle,
            events,
            current: watch::Sender::new(None),
            pings: Pings::default(),
            ticks,
            verbose: options.verbose,
            count: options.count,
            wait: options.wait,
            received: 0,
            is_closing: false,
            error: None,
            failure: None,
        }
    }

    async fn run(mut self, source: Source) -> Result<Exit, Failure> {
        let mut feeding = tokio::spawn(self.sender().feed(source));
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let (mut is_fed, mut is_interrupted, mut deadline) = (false, false, None);
        loop {
            tokio::select! {
                // What seldom happens comes first: messages may come without a pause.
                biased;
                _ = interrupt.as_mut() => {
                    interrupt.set(tokio::signal::ctrl_c());
                    self.interrupt(std::mem::replace(&mut is_interrupted, true));
                }
                () = passed(deadline), if !self.is_closing => self.close(),
                fed = &mut feeding, if !is_fed => {
                    is_fed = true;
                    self.is_fed(fed);
                    deadline = self.wait.map(|wait| Instant::now() + wait);
                }
                () = tick(&mut self.ticks), if !self.is_closing => self.ping(),
                event = self.events.recv() => match event {
                    Some(event) => self.happens(event)?,
                    None => break,
                },
            }
        }
        feeding.abort();
        self.end(is_interrupted).await
    }

    fn sender(&self) -> Sender {
        let (handle, current) = (self.handle.clone(), self.current.subscribe());
        Sender { handle, current, printer: self.printer.clone(), pings: self.pings.clone() }
    }

    fn happens(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Open(socket, response) => {
                self.printer.note(None, &self.opened(&socket, &response))?;
                self.current.send_replace(Some(socket));
            }
            // More than were wanted may come until the server has closed, too.
            Event::Message(..) if self.has_all() => {}
            Event::Message(message, _place) => {
                self.printer.message(None, &message)?;
                self.received += 1;
                if self.has_all() {
                    self.close();
                }
            }
            Event::Ping(data, _place) if self.verbose => self.printer.note(None, &Note::Ping { data: &data })?,
            Event::Ping(..) => {}
            Event::Pong(id, data, at, _place) => {
                let round_trip = self.pings.answered(id, &data, at);
                if round_trip.is_some() || self.verbose {
                    self.printer.note(None, &Note::Pong { data: &data, round_trip })?;
                }
            }
            Event::Lost(disconnected) => self.lost(disconnected)?,
        }
        Ok(())
    }

    fn opened(&self, socket: &WebSocket, response: &Response) -> Note<'static> {
        let extension = socket.compression().map(|compression| compression.to_string());
        let headers = response.headers().iter().filter(|_| self.verbose);
        let headers: Vec<_> = headers.map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
        let mut text = format!("connected to {}", self.url);
        for (what, value) in [("subprotocol", response.protocol()), ("extension", extension.as_deref())] {
            if let Some(value) = value {
                text += &format!("\n{what}: {value}");
            }
        }
        text.extend(headers.iter().map(|(name, value)| format!("\n  {name}: {value}")));
        let mut fields = json!({
            "url": self.url,
            "peer": socket.peer_addr().map(|addr| addr.to_string()),
            "protocol": response.protocol(),
            "extension": extension,
        });
        if self.verbose {
            fields["headers"] = json!(headers);
        }
        Note::Open { fields, text }
    }

    fn lost(&mut self, lost: Disconnected) -> Result<(), Failure> {
        self.current.send_replace(None);
        if let Lost::Closed(closed) = &*lost.failure {
            self.printer.note(None, &Note::Closed(closed))?;
        }
        if let Some(after) = lost.retry_in {
            let why = match (&*lost.failure, &lost.error) {
                (Lost::Closed(_), Some(error)) => error.to_string(),
                (failure, _) => failure.to_string(),
            };
            self.printer.note(None, &Note::Retry { why: &why, after, tries: lost.tries })?;
        }
        self.error = lost.error;
        Ok(())
    }

    fn has_all(&self) -> bool {
        self.count.is_some_and(|count| self.received >= count)
    }

    fn is_fed(&mut self, fed: Result<Result<(), Failure>, JoinError>) {
        self.failure = fed.unwrap_or_else(|error| Err(Failure::new(Exit::Failed, error))).err();
        if self.failure.is_some() || self.has_all() {
            self.close();
        }
    }

    fn close(&mut self) {
        self.is_closing = true;
        // It begins to end now; that it has ended is told by the end of the events.
        drop(self.handle.close());
    }

    fn ping(&mut self) {
        if let Some(socket) = self.handle.socket() {
            // The end will be told.
            let _ = self.pings.send(&socket, Vec::new());
        }
    }

    /// Closes properly; the second time at once.
    fn interrupt(&mut self, again: bool) {
        if let Some(socket) = self.current.borrow().as_ref().filter(|_| again) {
            socket.abort();
        }
        self.close();
    }

    async fn end(self, is_interrupted: bool) -> Result<Exit, Failure> {
        let ended = self.handle.wait().await;
        if is_interrupted {
            return Ok(Exit::Interrupted);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        judge_end(&ended, self.error.as_ref())?;
        match self.count.map_or(0, |count| count.saturating_sub(self.received)) {
            0 => Ok(Exit::Clean),
            1 => Err(Failure::new(Exit::NoReply, "a message that was waited for did not come")),
            missing => {
                let message = format!("{missing} messages that were waited for did not come");
                Err(Failure::new(Exit::NoReply, message))
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
