//! What a conversation sends, at the pace at which the server takes it.

use std::fs;

use bellwire::{OwnedMessage, SendError, WebSocket};
use tokio::sync::mpsc::Receiver;

use super::options::{Given, Source};
use crate::exit::{Exit, Failure};
use crate::input::{self, COMMANDS, Form, Input};
use crate::output::{Note, Printer};
use crate::session::Pings;

pub(super) struct Sender {
    pub(super) socket: WebSocket,
    pub(super) printer: Printer,
    pub(super) pings: Pings,
}

impl Sender {
    /// Sends everything there is. Returns when that has ended, or the connection has.
    pub(super) async fn feed(self, source: Source) -> Result<(), Failure> {
        match source {
            Source::Given(messages) => self.send_all(messages).await,
            Source::Input(form) => self.send_input(input::read(form), form).await,
        }
    }

    async fn send_all(&self, messages: Vec<Given>) -> Result<(), Failure> {
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

    async fn send_input(&self, mut inputs: Receiver<Result<Input, Failure>>, form: Form) -> Result<(), Failure> {
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
    async fn obey(&self, input: Input, is_typed: bool) -> Result<bool, Failure> {
        let outcome = match input {
            Input::Message(message) => return self.send(message).await,
            Input::Ping(data) => self.pings.send(&self.socket, data),
            Input::Pong(data) => self.socket.pong(data),
            Input::Close(code, reason) => self.socket.close_with(code, &reason),
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

    /// Sends a message when it is welcome. Returns `false` if the connection is closed: how it ended is told elsewhere.
    async fn send(&self, message: OwnedMessage) -> Result<bool, Failure> {
        if self.socket.writable().await.is_err() {
            return Ok(false);
        }
        match self.socket.send(message) {
            Ok(()) => Ok(true),
            Err(SendError::Closed) => Ok(false),
            Err(error) => Err(Failure::new(Exit::Failed, error)),
        }
    }
}
