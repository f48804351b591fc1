//! `bellwire listen`: a server for debugging.

mod options;

use std::collections::HashSet;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::tokio::Server;
use bellwire::{Error, Request, Response, SendError, WebSocket, is_upgrade_request, listener};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use self::options::Options;
pub(crate) use self::options::{HELP, parse};
use crate::exit::{Exit, Failure};
use crate::input::{self, COMMANDS, Form, Input};
use crate::output::{Note, Printer};
use crate::session::Pings;

/// How long clients may take to say goodbye.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until the user has had enough.
pub(crate) async fn run(options: Options) -> Exit {
    let printer = Printer::new(options.style);
    let outcome = listen(options, printer.clone()).await;
    printer.end_prompt();
    match outcome {
        Ok(()) => Exit::Clean,
        Err(failure) if failure.is_unread => Exit::Clean,
        Err(failure) => {
            // The exit status says it, too.
            let _ = printer.note(None, &Note::Trouble(&failure.message));
            failure.exit
        }
    }
}

async fn listen(options: Options, printer: Printer) -> Result<(), Failure> {
    let mut server = Server::bind(&options.addr).await?.config(options.config.clone());
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    if let Some(tls) = options.tls.clone() {
        server = server.tls(tls);
    }
    let (addr, handle, troubles) = (server.local_addr()?, server.handle(), printer.clone());
    let server = server.on_error(move |error| drop(troubles.note(None, &Note::Trouble(&error.to_string()))));
    let hall = Arc::new(Hall::new(printer.clone(), &options));
    let answering = hall.clone();
    let running = tokio::spawn(server.run(move |request| answer(&answering, request)));
    printer.note(None, &Note::Listening { url: &format!("{scheme}://{addr}/") })?;
    if let Some(every) = options.ping {
        tokio::spawn(ping_all(hall.clone(), every));
    }
    tokio::select! {
        talked = talk(&hall, options.form) => talked?,
        () = hall.over.notified() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    handle.shutdown(GRACE).await;
    running.await.map_err(|error| Failure::new(Exit::Failed, error))??;
    hall.failed()
}

/// Those who are connected, and what is done with what they say.
struct Hall {
    printer: Printer,
    sockets: Mutex<HashSet<WebSocket>>,
    pings: Pings,
    echo: bool,
    once: bool,
    verbose: bool,
    protocols: Vec<String>,
    /// The first thing that could not be printed.
    failure: Mutex<Option<io::Error>>,
    /// It is time to end.
    over: Notify,
}

impl Hall {
    fn new(printer: Printer, options: &Options) -> Self {
        let &Options { echo, once, verbose, ref protocols, .. } = options;
        let (sockets, pings, failure, over) = (Mutex::default(), Pings::default(), Mutex::default(), Notify::new());
        Self { printer, sockets, pings, echo, once, verbose, protocols: protocols.clone(), failure, over }
    }

    fn sockets(&self) -> Vec<WebSocket> {
        lock(&self.sockets).iter().cloned().collect()
    }

    /// What cannot be printed ends everything.
    fn printed(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            lock(&self.failure).get_or_insert(error);
            self.over.notify_one();
        }
    }

    fn failed(&self) -> Result<(), Failure> {
        lock(&self.failure).take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn note(&self, socket: &WebSocket, note: &Note<'_>) {
        self.printed(self.printer.note(Some(socket.id()), note));
    }

    fn opened(&self, socket: &WebSocket, asked: &Asked) {
        lock(&self.sockets).insert(socket.clone());
        self.note(socket, &asked.note(socket));
    }

    fn pong(&self, socket: &WebSocket, data: &[u8]) {
        let round_trip = self.pings.answered(socket.id(), data, Instant::now());
        if round_trip.is_some() || self.verbose {
            self.note(socket, &Note::Pong { data, round_trip });
        }
    }

    fn closed(&self, socket: &WebSocket) {
        lock(&self.sockets).remove(socket);
        if let Some(closed) = socket.closed() {
            self.note(socket, &Note::Closed(&closed));
        }
        if self.once {
            self.over.notify_one();
        }
    }
}

fn answer(hall: &Arc<Hall>, request: &Request) -> Response {
    if !is_upgrade_request(request) {
        return Response::upgrade_required();
    }
    let protocols: Vec<&str> = hall.protocols.iter().map(String::as_str).collect();
    let asked = Asked::new(request, hall.verbose);
    let listener = listener()
        .with_state(hall.clone())
        .on_open(move |hall, socket| hall.opened(socket, &asked))
        .on_message(|hall, socket, message| {
            hall.printed(hall.printer.message(Some(socket.id()), &message.into_owned()));
            if hall.echo { socket.send(message) } else { Ok(()) }
        })
        .on_ping(|hall, socket, data| {
            socket.as_socket().answer_ping(data);
            if hall.verbose {
                hall.note(socket, &Note::Ping { data });
            }
        })
        .on_pong(|hall, socket, data| hall.pong(socket, data))
        .on_error(|hall, socket, error: &Error| hall.note(socket, &Note::Trouble(&error.to_string())))
        .on_close(|hall, socket, _, _| hall.closed(socket));
    Response::websocket(listener).select_protocol(request, &protocols)
}

/// What a client has asked for.
struct Asked {
    target: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn new(request: &Request, verbose: bool) -> Self {
        let headers = request.headers().iter().filter(|_| verbose);
        let headers = headers.map(|(name, value)| (name.into(), String::from_utf8_lossy(value).into())).collect();
        Self { target: request.target().into(), headers }
    }

    fn note(&self, socket: &WebSocket) -> Note<'static> {
        let peer = socket.peer_addr().map(|addr| addr.to_string());
        let extension = socket.compression().map(|compression| compression.to_string());
        let mut text = format!("open: {} from {}", self.target, peer.as_deref().unwrap_or("somewhere"));
        for (what, value) in [("subprotocol", socket.protocol()), ("extension", extension.as_deref())] {
            if let Some(value) = value {
                text += &format!("\n  {what}: {value}");
            }
        }
        text.extend(self.headers.iter().map(|(name, value)| format!("\n  {name}: {value}")));
        let mut fields =
            json!({ "peer": peer, "target": self.target, "protocol": socket.protocol(), "extension": extension });
        if !self.headers.is_empty() {
            fields["headers"] = Value::from_iter(self.headers.iter().map(|(name, value)| json!([name, value])));
        }
        Note::Open { fields, text }
    }
}

/// Sends what is typed to all. Who types may end it; a pipe that ends does not.
async fn talk(hall: &Hall, form: Form) -> Result<(), Failure> {
    let mut inputs = pin!(input::read(form));
    let is_typed = form == Form::Commands;
    loop {
        if is_typed {
            hall.printer.prompt()?;
        }
        match inputs.recv().await {
            Some(input) => obey(hall, input?, is_typed)?,
            None if is_typed => return Ok(()),
            None => std::future::pending().await,
        }
    }
}

fn obey(hall: &Hall, input: Input, is_typed: bool) -> Result<(), Failure> {
    match input {
        Input::Message(message) => to_all(hall, |socket| socket.send(&message)),
        Input::Ping(data) => to_all(hall, |socket| hall.pings.send(socket, data.clone())),
        Input::Pong(data) => to_all(hall, |socket| socket.pong(&data)),
        Input::Close(code, reason) => to_all(hall, |socket| socket.close_with(code, &reason)),
        Input::Help => Ok(hall.printer.note(None, &Note::Help(COMMANDS))?),
        Input::Mistake(why) if is_typed => Ok(hall.printer.note(None, &Note::Trouble(&why))?),
        Input::Mistake(why) => Err(Failure::new(Exit::Usage, why)),
    }
}

/// One who has left meanwhile is no trouble.
fn to_all(hall: &Hall, send: impl Fn(&WebSocket) -> Result<(), SendError>) -> Result<(), Failure> {
    for socket in hall.sockets() {
        match send(&socket) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => hall.printer.note(Some(socket.id()), &Note::Trouble(&error.to_string()))?,
        }
    }
    Ok(())
}

async fn ping_all(hall: Arc<Hall>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for socket in hall.sockets() {
            // Who has left needs no ping.
            let _ = hall.pings.send(&socket, Vec::new());
        }
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
