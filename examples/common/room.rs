//! The room of the chats: a listener, which knows nothing of the server that it is in.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use bellwire::listener::IntoListener;
use bellwire::{Message, Outcome, WebSocket, broadcast, listener};

/// The longest message that is accepted, in bytes. Each is sent to every member, so it is short.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// The longest name, in characters.
pub(crate) const MAX_NAME: usize = 24;

/// The most names in the list of members.
pub(crate) const MAX_LISTED: usize = 100;

/// The listener of one connection, on any backend.
pub(crate) fn member(room: &Room) -> impl IntoListener + use<> {
    listener()
        .with_state(room.clone())
        .on_open(|room, socket| room.join(socket))
        .on_message(|room, socket, message| match message {
            Message::Text(text) => room.hear(socket, text),
            Message::Binary(_) => Ok(socket.send("* this room takes text only")?),
        })
        .on_close(|room, socket, _, _| room.leave(socket))
}

/// A handle to the room, which all connections share.
///
/// Its lock is held while the members are read or changed, never while something is sent. So two messages that are sent
/// at the same time may reach different members in different orders.
#[derive(Clone, Default)]
pub(crate) struct Room(pub(crate) Arc<Mutex<Members>>);

/// The members of the room.
#[derive(Default)]
pub(crate) struct Members {
    names: HashMap<WebSocket, String>,
    /// The number of the newest guest.
    guests: u64,
}

impl Room {
    fn join(&self, socket: &WebSocket) -> Outcome {
        let name = self.members().add(socket);
        socket.send(format!("* you are {name}"))?;
        self.tell(format!("* {name} joined"));
        let here = self.members().list();
        Ok(socket.send(here)?)
    }

    fn leave(&self, socket: &WebSocket) {
        let name = self.members().names.remove(socket);
        if let Some(name) = name {
            self.tell(format!("* {name} left"));
        }
    }

    fn hear(&self, socket: &WebSocket, text: &str) -> Outcome {
        if let Some(name) = text.strip_prefix("/name ") {
            return self.rename(socket, name.trim());
        }
        let name = self.members().name(socket);
        self.tell(format!("{name}: {text}"));
        Ok(())
    }

    fn rename(&self, socket: &WebSocket, name: &str) -> Outcome {
        let renamed = self.members().rename(socket, name);
        match renamed {
            Ok(old) => self.tell(format!("* {old} is now {name}")),
            Err(reason) => socket.send(format!("* {reason}"))?,
        }
        Ok(())
    }

    pub(crate) fn count(&self) {
        let here = self.members().list();
        self.tell(here);
    }

    /// Sends a text to every member. Those that read too slowly or are gone miss it, which does not affect the others.
    fn tell(&self, text: String) {
        broadcast(self.sockets(), text);
    }

    /// Returns copies, so that the lock is not held while something is sent to them.
    pub(crate) fn sockets(&self) -> Vec<WebSocket> {
        self.members().names.keys().cloned().collect()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Members {
    /// Adds a member, and gives it a name.
    fn add(&mut self, socket: &WebSocket) -> String {
        let name = loop {
            self.guests += 1;
            let name = format!("guest {}", self.guests);
            if !self.is_taken(&name) {
                break name;
            }
        };
        self.names.insert(socket.clone(), name.clone());
        name
    }

    /// Lists the members in one line. A name has no comma, so a page can take it apart.
    fn list(&self) -> String {
        let count = self.names.len();
        let mut names: Vec<_> = self.names.values().take(MAX_LISTED).map(String::as_str).collect();
        names.sort_unstable();
        let more = if count > MAX_LISTED { ", …" } else { "" };
        format!("* {count} {} here: {}{more}", if count == 1 { "person" } else { "people" }, names.join(", "))
    }

    fn name(&self, socket: &WebSocket) -> String {
        self.names.get(socket).cloned().unwrap_or_default()
    }

    /// Changes a name, and returns the old one; or says why that is not possible.
    fn rename(&mut self, socket: &WebSocket, name: &str) -> Result<String, String> {
        if !is_name(name) {
            return Err(format!("a name has letters, digits, spaces, \"-\" and \"_\", up to {MAX_NAME} of them"));
        }
        if self.is_taken(name) {
            return Err(format!("somebody is {name} already"));
        }
        let old = self.names.get_mut(socket).ok_or("you are not in the room")?;
        Ok(mem::replace(old, name.into()))
    }

    fn is_taken(&self, name: &str) -> bool {
        self.names.values().any(|other| other == name)
    }
}

/// Checks that a name cannot make a message look like one from the room, or from another member.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count())
        && name.chars().all(|char| char.is_alphanumeric() || " -_".contains(char))
}
