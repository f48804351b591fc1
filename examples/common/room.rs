//! The room of the chats, on one node or on many: a listener, which knows nothing of the server that it is in.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use bellwire::listener::IntoListener;
use bellwire::rooms::{Builder, Change, PublishError, Rooms};
use bellwire::{BoxError, Message, Outcome, WebSocket, listener};

/// The longest message that is accepted, in bytes. Each is sent to every member, so it is short.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// The longest name, in characters.
pub(crate) const MAX_NAME: usize = 24;

/// The most names in the list of members.
pub(crate) const MAX_LISTED: usize = 100;

/// The most who come and leave at once and are told one by one.
const MAX_NEWS: usize = 10;

/// What the room is called at the broker.
pub(crate) const ROOM: &str = "chat";

/// The listener of one connection, on any backend.
pub(crate) fn member(room: &Room) -> impl IntoListener + use<> {
    listener()
        .with_state(Member { room: room.clone(), id: String::new(), name: String::new() })
        .on_open(|member, socket| member.join(socket))
        .on_message(|member, socket, message| match message {
            Message::Text(text) => member.hear(socket, text),
            Message::Binary(_) => Ok(socket.send("* this room takes text only")?),
        })
        .on_close(|member, _, _, _| member.leave())
}

/// A handle to the room, which all connections share.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) rooms: Rooms,
    pub(crate) names: Arc<Mutex<Names>>,
    /// What the names of this node's guests begin with.
    guest: String,
    /// What the ids of this node's members begin with.
    node: u32,
}

/// The names of the members on this node, by which two who ask for the same name at once are told apart. The lock is
/// held while they are read or changed, never while something is sent.
#[derive(Default)]
pub(crate) struct Names {
    taken: HashSet<String>,
    /// The number of the newest guest.
    guests: u64,
}

impl Default for Room {
    /// On one node.
    fn default() -> Self {
        Self::new(builder().local(), "guest ".into())
    }
}

impl Room {
    /// On many nodes: those of the same broker. Guests are numbered on each node, and letters say on which.
    pub(crate) fn over(connect: impl FnOnce(Builder) -> Result<Rooms, BoxError>) -> Result<Self, BoxError> {
        let at_random = RandomState::new().hash_one(());
        let letter = |number: u64| char::from(b"bcdfghjkmnpqrstvwxyz"[(number % 20) as usize]);
        let node: String = [0, 8, 16].map(|bits| letter(at_random >> bits)).iter().collect();
        Ok(Self::new(connect(builder())?, format!("guest {node}-")))
    }

    fn new(rooms: Rooms, guest: String) -> Self {
        let node = RandomState::new().hash_one(()) as u32;
        Self { rooms, names: Arc::default(), guest, node }
    }

    /// Tells the members of this node who is in the room, on all nodes.
    pub(crate) fn count(&self) {
        tell_here(&self.rooms, list(&self.rooms));
    }

    /// Takes a name for a new guest.
    fn guest(&self) -> String {
        loop {
            let mut names = self.names();
            names.guests += 1;
            let name = format!("{}{}", self.guest, names.guests);
            drop(names);
            if self.take(&name) {
                return name;
            }
        }
    }

    /// Takes a name, if nobody has it: on this node for certain, on the others as far as this one knows. Two who take
    /// the same name on two nodes at the same moment both have it.
    fn take(&self, name: &str) -> bool {
        let elsewhere = self.rooms.present(ROOM).iter().any(|who| parts(who).1 == name);
        !elsewhere && self.names().taken.insert(name.into())
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("nothing panics under this lock")
    }
}

fn builder() -> Builder {
    let told = Mutex::default();
    Rooms::builder()
        .prefix("bellwire-chat")
        .on_presence(move |rooms, change| tell_changes(rooms, &told, change))
        .on_gap(|rooms, _| tell_here(rooms, "* some messages may be missing".into()))
}

/// A member, as its listener knows it.
struct Member {
    room: Room,
    /// Stays when the name changes. No other member has it, on any node.
    id: String,
    name: String,
}

impl Member {
    fn join(&mut self, socket: &WebSocket) -> Outcome {
        self.id = format!("{:08x}-{}", self.room.node, socket.id());
        self.name = self.room.guest();
        socket.send(format!("* you are {}", self.name))?;
        self.appear(socket)?;
        Ok(socket.send(list(&self.room.rooms))?)
    }

    /// Is in the room from now on, under its name; its socket leaves by itself when it ends.
    fn appear(&self, socket: &WebSocket) -> Outcome {
        Ok(self.room.rooms.join_as(ROOM, socket, &format!("{} {}", self.id, self.name))?)
    }

    fn leave(&self) {
        self.room.names().taken.remove(&self.name);
    }

    fn hear(&mut self, socket: &WebSocket, text: &str) -> Outcome {
        if let Some(name) = text.strip_prefix("/name ") {
            return self.rename(socket, name.trim());
        }
        let speaker = socket.clone();
        self.room.rooms.publish_with(ROOM, format!("{}: {text}", self.name), move |published| {
            if let Err(error) = published {
                // If the speaker has left or does not read, nobody is to be told.
                let _ = speaker.send(not_delivered(&error));
            }
        });
        Ok(())
    }

    fn rename(&mut self, socket: &WebSocket, name: &str) -> Outcome {
        if !is_name(name) {
            let rule = format!("* a name has letters, digits, spaces, \"-\" and \"_\", up to {MAX_NAME} of them");
            return Ok(socket.send(rule)?);
        }
        if !self.room.take(name) {
            return Ok(socket.send(format!("* somebody is {name} already"))?);
        }
        let old = mem::replace(&mut self.name, name.into());
        self.room.names().taken.remove(&old);
        self.appear(socket)
    }
}

fn not_delivered(error: &PublishError) -> String {
    match error {
        PublishError::Lost => "* perhaps not delivered: the connection to the other servers was lost".into(),
        PublishError::Unavailable => "* not delivered: there is no connection to the other servers; try again".into(),
        error => format!("* not delivered: {error}"),
    }
}

/// Tells the members of this node who has come, who has left and whose name has changed, on any node. Of many there is a
/// new list, as when a node ends.
fn tell_changes(rooms: &Rooms, told: &Mutex<Told>, change: &Change) {
    let present = rooms.present(ROOM);
    let news = told.lock().expect("nothing panics under this lock").compare(&present, &change.joined, &change.left);
    if news.len() > MAX_NEWS {
        return tell_here(rooms, list(rooms));
    }
    for line in news {
        tell_here(rooms, line);
    }
}

/// What the members of this node were told: the name of each id. That somebody has left is known a while after that, so
/// a new name comes before the old one goes.
#[derive(Default)]
pub(crate) struct Told(HashMap<String, String>);

impl Told {
    /// Returns the news, a line each.
    pub(crate) fn compare(&mut self, present: &[Arc<str>], joined: &[Arc<str>], left: &[Arc<str>]) -> Vec<String> {
        let now: HashMap<_, _> = present.iter().map(|who| parts(who)).collect();
        let changed = joined.iter().chain(left).map(|who| parts(who).0);
        changed.filter_map(|id| self.update(id, &now)).collect()
    }

    fn update(&mut self, id: &str, now: &HashMap<&str, &str>) -> Option<String> {
        let (before, name) = (self.0.remove(id), now.get(id).copied());
        self.0.extend(name.map(|name| (id.into(), name.into())));
        match (before, name) {
            (None, Some(name)) => Some(format!("* {name} joined")),
            (Some(before), Some(name)) => (before != name).then(|| format!("* {before} is now {name}")),
            // Unless somebody else has taken the name by now.
            (Some(before), None) => (!now.values().any(|name| *name == before)).then(|| format!("* {before} left")),
            (None, None) => None,
        }
    }
}

/// Sends a text to the members of this node. Those that read too slowly or are gone miss it, which does not affect the
/// others.
fn tell_here(rooms: &Rooms, text: String) {
    // The only error is that of a bad name.
    let _ = rooms.publish_here(ROOM, text);
}

/// Lists the members in one line. A name has no comma, so a page can take it apart.
fn list(rooms: &Rooms) -> String {
    let (count, here) = (rooms.count(ROOM), rooms.present(ROOM));
    let mut names: Vec<_> = here.iter().take(MAX_LISTED).map(|who| parts(who).1).collect();
    names.sort_unstable();
    let more = if count > MAX_LISTED { ", …" } else { "" };
    format!("* {count} {} here: {}{more}", if count == 1 { "person" } else { "people" }, names.join(", "))
}

/// The id and the name of somebody who is present.
fn parts(who: &str) -> (&str, &str) {
    who.split_once(' ').unwrap_or((who, who))
}

/// Checks that a name cannot make a message look like one from the room, or from another member.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count())
        && name.chars().all(|char| char.is_alphanumeric() || " -_".contains(char))
}
