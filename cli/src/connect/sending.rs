//! What a conversation sends, at the pace at which the server takes it.

use std::fs;
use std::time::Duration;

use bellwire::reconnect::Reconnecting;
use bellwire::{OwnedMessage, SendError, WebSocket};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::sleep;

use super::options::{Given, Source};
use crate::exit::{Exit, Failure};
use crate::input::{self, COMMANDS, Form, Input};
use crate::output::{Note, Printer};
use crate::session::Pings;

/// How long to wait until what was kept has been sent.
const MOMENT: Duration = Duration::from_millis(10);

pub(super) struct Sender {
    pub(super) handle: Reconnecting,
    /// The connection that there is.
    pub(super) current: watch::Receiver<Option<WebSocket>>,
    pub(super) printer: Printer,
    pub(super) pings: Pings,
}

impl Sender {
    /// Sends everything there is. Returns when that has ended, and there is a connection for it, or never will be.
    pub(super) async fn feed(mut self, source: Source) -> Result<(), Failure> {
        match source {
            Source::Given(messages) => self.send_all(messages).await?,
            Source::Input(form) => {
                // What people type, they type to somebody.
                self.connected().await;
                self.send_input(input::read(form), form).await?;
            }
        }
        self.connected().await;
        Ok(())
    }

    /// Waits for a connection. `None`: there will be none.
    async fn connected(&mut self) -> Option<WebSocket> {
        loop {
            let current = self.current.borrow_and_update().clone();
            if let Some(socket) = current.filter(WebSocket::is_open) {
                return Some(socket);
            }
            self.current.changed().await.ok()?;
        }
    }

    async fn send_all(&mut self, messages: Vec<Given>) -> Result<(), Failure> {
        for message in messages {
            let message = match message {
                Given::Text(text) => text.into(),
                Given::File(name) => fs::read(&name).map_err(|error| Failure::file(&name, error))?.into(),
            };
            if !self.send(message).await? {
                break;
            }
        }
        Ok(())
    }

    async fn send_input(&mut self, mut inputs: Receiver<Result<Input, Failure>>, form: Form) -> Result<(), Failure> {
        let is_typed = form == Form::Commands;
        loop {
            if is_typed {
                self.printer.prompt()?;
            }
            let Some(input) = inputs.recv().await else { return Ok(()) };
            if !self.obey(input?, is_typed).await? {
                return Ok(());
            }
        }
    }

    /// Does what a line says. Returns `false` if there is nothing to do any more.
    async fn obey(&mut self, input: Input, is_typed: bool) -> Result<bool, Failure> {
        let input = match input {
            Input::Message(message) => return self.send(message).await,
            input => input,
        };
        let Some(socket) = self.connected().await else { return Ok(false) };
        let outcome = match input {
            Input::Message(_) => Ok(()),
            Input::Ping(data) => self.pings.send(&socket, data),
            Input::Pong(data) => socket.pong(data),
            Input::Close(code, reason) => socket.close_with(code, &reason),
            Input::Help => {
                self.printer.note(None, &Note::Help(COMMANDS))?;
                return Ok(true);
            }
            Input::Mistake(why) => return self.mistake(&why, is_typed),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(SendError::Closed) => Ok(false),
            Err(error) => self.mistake(&error.to_string(), is_typed),
        }
    }

    /// People may try again.
    fn mistake(&self, why: &str, is_typed: bool) -> Result<bool, Failure> {
        if !is_typed {
            return Err(Failure::new(Exit::Usage, why));
        }
        self.printer.note(None, &Note::Trouble(why))?;
        Ok(true)
    }

    /// Sends a message when it is welcome, and waits for a connection before. Returns `false` if there is none and will be
    /// none: how it ended is told elsewhere.
    async fn send(&mut self, message: OwnedMessage) -> Result<bool, Failure> {
        while let Some(socket) = self.connected().await {
            if socket.writable().await.is_err() {
                continue;
            }
            match self.handle.send(&message) {
                Ok(()) => return Ok(true),
                Err(SendError::Closed) => return Ok(false),
                Err(SendError::Offline | SendError::Full) => sleep(MOMENT).await,
                Err(error) => return Err(Failure::new(Exit::Failed, error)),
            }
        }
        Ok(false)
    }
}
