//! A node with rooms, which does what it is told on its input, and prints what happens.
//!
//!     rooms-node URL [keep] [local-first] [history] [prefix=P] [heartbeat=MS] [answer=MS] [queue=MESSAGES]
//!
//! | it is told | it prints |
//! |---|---|
//! | `join MEMBER ROOM` | `joined MEMBER ROOM`; and from then on `got MEMBER POSITION TEXT` |
//! | `join-as MEMBER ROOM WHO` | the same |
//! | `join-since MEMBER ROOM POSITION` | the same, from this position on |
//! | `leave MEMBER ROOM` | `left MEMBER ROOM true`, or `false` |
//! | `end MEMBER` | `ended MEMBER` |
//! | `publish NUMBER ROOM TEXT` | `outcome NUMBER ok`, or what went wrong |
//! | `count ROOM` | `count ROOM 3` |
//! | `present ROOM` | `present ROOM ann,bob` |
//! | `connected` | `connected true`, or `false` |
//! | `close` | `closed`, and ends |
//!
//! By itself it prints `gap IN-DOUBT ROOM,ROOM`, `away ERROR`, `presence ROOM +JOINED -LEFT`. It ends when its input does.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_core::{Outgoing, OwnedMessage, SendError, Socket, WebSocket, proto::StreamOffset};
use bellwire_rooms::{Builder, History, PublishError, Rooms, WhileAway};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL of a broker");
    let mut builder = Rooms::builder().backoff(Duration::from_millis(10), Duration::from_millis(100));
    builder = builder.on_gap(|_, gap| say(&format!("gap {} {}", gap.in_doubt, gap.rooms.join(","))));
    builder = builder.on_away(|error| say(&format!("away {error} {error:?}")));
    for argument in arguments {
        builder = option(builder, &argument);
    }
    let rooms = if url.starts_with("nats") { builder.nats(&*url) } else { builder.redis(&*url) };
    match rooms {
        Ok(rooms) => Node { rooms, members: HashMap::new() }.run(),
        Err(error) => say(&format!("unusable {error} {error:?}")),
    }
}

fn option(builder: Builder, argument: &str) -> Builder {
    let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
    let milliseconds = || Duration::from_millis(value.parse().expect("milliseconds"));
    match name {
        "keep" => builder.while_away(WhileAway::Keep),
        "local-first" => builder.local_first(),
        "history" => builder.history(History::last(10_000)).numbered(|position, message| {
            OwnedMessage::Text(format!("{position} {}", message.as_text().unwrap_or_default()))
        }),
        "prefix" => builder.prefix(value),
        "heartbeat" => builder.heartbeat(milliseconds()),
        "answer" => builder.answer_timeout(milliseconds()),
        "queue" => builder.queue(value.parse().expect("messages"), 1 << 20),
        "presence" => builder.on_presence(|_, presence| {
            let (joined, left) = (presence.joined.join(","), presence.left.join(","));
            say(&format!("presence {} +{joined} -{left}", presence.room));
        }),
        _ => panic!("no option: {argument}"),
    }
}

struct Node {
    rooms: Rooms,
    members: HashMap<String, Recorder>,
}

impl Node {
    fn run(mut self) {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == "close" {
                self.rooms.close().wait();
                return say("closed");
            }
            self.obey(&line);
        }
    }

    fn obey(&mut self, line: &str) {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match *words {
            ["join", member, room] => self.join(member, room, |rooms, socket| rooms.join(room, socket)),
            ["join-as", member, room, who] => self.join(member, room, |rooms, socket| rooms.join_as(room, socket, who)),
            ["join-since", member, room, since] => {
                let since = since.parse().expect("a position");
                self.join(member, room, |rooms, socket| rooms.join_since(room, socket, Some(since)));
            }
            ["leave", member, room] => {
                let left = self.members.get(member).is_some_and(|who| self.rooms.leave(room, &who.socket()));
                say(&format!("left {member} {room} {left}"));
            }
            ["end", member] => {
                self.members.remove(member).expect("a member").end();
                say(&format!("ended {member}"));
            }
            ["publish", number, room, text] => self.publish(number.to_owned(), room, text),
            ["count", room] => say(&format!("count {room} {}", self.rooms.count(room))),
            ["present", room] => say(&format!("present {room} {}", self.rooms.present(room).join(","))),
            ["connected"] => say(&format!("connected {}", self.rooms.is_connected())),
            _ => panic!("not understood: {line}"),
        }
    }

    fn join<E: std::fmt::Debug>(&mut self, name: &str, room: &str, join: impl Fn(&Rooms, &WebSocket) -> Result<(), E>) {
        let member = self.members.entry(name.to_owned()).or_default();
        let socket = WebSocket::new(Printed { name: name.to_owned(), inner: member.socket() });
        match join(&self.rooms, &socket) {
            Ok(()) => say(&format!("joined {name} {room}")),
            Err(error) => say(&format!("not-joined {name} {room} {error:?}")),
        }
    }

    fn publish(&self, number: String, room: &str, text: &str) {
        self.rooms.publish_with(room, text, move |outcome| {
            let outcome = match &outcome {
                Ok(()) => "ok",
                Err(PublishError::Unavailable) => "unavailable",
                Err(PublishError::Full) => "full",
                Err(PublishError::Lost) => "lost",
                Err(PublishError::TooLong { .. }) => "too-long",
                Err(PublishError::Refused(reason)) => &format!("refused {reason}"),
                Err(other) => &format!("{other:?}"),
            };
            say(&format!("outcome {number} {outcome}"));
        });
    }
}

/// A member's socket: it prints what it is sent.
struct Printed {
    name: String,
    inner: WebSocket,
}

impl Socket for Printed {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.inner.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        say(&format!("got {} {}", self.name, String::from_utf8_lossy(message.as_bytes())));
        Ok(StreamOffset::new(0))
    }
}

/// A line at a time, whichever thread has something to say.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    // Nobody listens any more when the test is over.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
