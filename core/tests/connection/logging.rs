//! A listener that logs its events, and a driver around it.

use std::sync::{Arc, Mutex};

use bellwire_core::backend::Driver;
use bellwire_core::listener::AnyListener;
use bellwire_core::proto::Time;
use bellwire_core::{CloseCode, Config, Error, Listener, Message, Outcome, Role, WebSocket};

use crate::common::*;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) fn data(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A listener that logs all its events, and runs `act` after each with the line that was logged.
pub(crate) struct Logging<F> {
    log: Log,
    act: F,
}

impl<F: FnMut(&WebSocket, &str) -> Outcome> Logging<F> {
    fn note(&mut self, socket: &WebSocket, line: String) -> Outcome {
        self.log.add(&line);
        (self.act)(socket, &line)
    }
}

impl<F: FnMut(&WebSocket, &str) -> Outcome + Send> Listener for Logging<F> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.note(socket, "open".into())
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let kind = if message.as_text().is_some() { "text" } else { "binary" };
        self.note(socket, format!("{kind} {}", data(message.as_bytes())))
    }

    fn on_ping(&mut self, socket: &WebSocket, bytes: &[u8]) -> Outcome {
        self.note(socket, format!("ping {}", data(bytes)))
    }

    fn on_pong(&mut self, socket: &WebSocket, bytes: &[u8]) -> Outcome {
        self.note(socket, format!("pong {}", data(bytes)))
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        let _ = self.note(socket, format!("error {error}"));
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        let _ = self.note(socket, format!("close {code} {reason}"));
    }
}

pub(crate) fn logging(log: &Log, act: impl FnMut(&WebSocket, &str) -> Outcome + Send + 'static) -> Box<dyn Listener> {
    Box::new(Logging { log: log.clone(), act })
}

pub(crate) fn started(role: Role, config: &Config, listener: impl Into<AnyListener>) -> Driver {
    let mut driver = Driver::connected(open(role, config), listener);
    driver.start(START);
    driver
}

/// A driver whose listener only logs.
pub(crate) fn logged(role: Role) -> (Driver, Log) {
    let log = Log::default();
    (started(role, &timeless(), logging(&log, |_, _| Ok(()))), log)
}

pub(crate) fn receive(driver: &mut Driver, role: Role, frames: &[Frame]) {
    driver.receive(START, &mut wire(frames, peer_of(role)));
}

/// Writes all there is.
pub(crate) fn written(driver: &mut Driver) -> Vec<u8> {
    written_at(driver, START)
}

pub(crate) fn written_at(driver: &mut Driver, now: Time) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(output) = driver.take_output() {
        bytes.extend(output.pieces().flatten());
        driver.wrote(now, output.len());
    }
    bytes
}
