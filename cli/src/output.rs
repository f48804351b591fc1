//! What the user sees of a connection: text for people, or a JSON object in each line for scripts.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bellwire::{Closed, OwnedMessage, SocketId};
use serde_json::{Map, Value, json};

use crate::screen::{Colour, Screen, Stream};
use crate::timestamp::rfc3339;

/// How many bytes of a binary message a terminal shows, unless all are asked for.
const GLANCE: usize = 32;

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// Text as it is, binary in one line of hexadecimal digits.
    #[default]
    Lines,
    /// Binary as a dump, with offsets and characters.
    Hex,
    /// The bytes of each message as they are, with nothing between them.
    Raw,
    /// A JSON object in each line, for all that happens.
    Jsonl,
}

/// What the options say about printing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) timestamps: bool,
    pub(crate) no_colour: bool,
    pub(crate) quiet: bool,
}

/// What happens beside messages.
#[derive(Debug)]
pub(crate) enum Note<'a> {
    Listening {
        url: &'a str,
    },
    Open {
        fields: Value,
        text: String,
    },
    Pong {
        data: &'a [u8],
        round_trip: Option<Duration>,
    },
    Ping {
        data: &'a [u8],
    },
    Closed(&'a Closed),
    /// Another try is made.
    Retry {
        why: &'a str,
        after: Duration,
        tries: u32,
    },
    Trouble(&'a str),
    Help(&'a str),
}

/// Prints, from any task, one thing after the other.
#[derive(Debug, Clone)]
pub(crate) struct Printer(Arc<Mutex<Page>>);

#[derive(Debug)]
struct Page {
    style: Style,
    out: Screen,
    err: Screen,
    has_prompt: bool,
}

impl Printer {
    pub(crate) fn new(style: Style) -> Self {
        let (out, err) = (Screen::new(Stream::Out, !style.no_colour), Screen::new(Stream::Err, !style.no_colour));
        Self(Arc::new(Mutex::new(Page { style, out, err, has_prompt: false })))
    }

    /// Prints a message that has arrived; on a server with the number of its connection.
    pub(crate) fn message(&self, from: Option<SocketId>, message: &OwnedMessage) -> io::Result<()> {
        self.page().message(from, message)
    }

    /// Prints what has happened.
    pub(crate) fn note(&self, about: Option<SocketId>, note: &Note<'_>) -> io::Result<()> {
        self.page().note(about, note)
    }

    /// Prints an event of `--jsonl`.
    pub(crate) fn event(&self, event: &str, fields: Value) -> io::Result<()> {
        self.page().json(event, None, fields)
    }

    /// Asks for the next line, where somebody types one.
    pub(crate) fn prompt(&self) -> io::Result<()> {
        let mut page = self.page();
        page.has_prompt = page.style.format != Format::Jsonl;
        if page.has_prompt { page.out.prompt() } else { Ok(()) }
    }

    /// Takes the prompt away.
    pub(crate) fn end_prompt(&self) {
        let mut page = self.page();
        if std::mem::take(&mut page.has_prompt) {
            let _ = page.out.end_prompt();
        }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn message(&self, from: Option<SocketId>, message: &OwnedMessage) -> io::Result<()> {
        match (self.style.format, message) {
            (Format::Raw, message) => self.out.write(message.as_bytes()),
            (Format::Jsonl, message) => self.json("message", from, payload(message)),
            (_, OwnedMessage::Text(text)) => self.out.print(Some(Colour::Cyan), &self.marked(from, text)),
            (_, OwnedMessage::Binary(bytes)) => {
                self.out.print(Some(Colour::Yellow), &self.marked(from, &self.shown(bytes)))
            }
        }
    }

    /// A terminal shows which lines have arrived: others were typed. A pipe gets what was sent, and nothing else.
    fn marked(&self, from: Option<SocketId>, text: &str) -> String {
        let mut line = self.time();
        if self.out.is_terminal() {
            if let Some(id) = from {
                let _ = write!(line, "{id}");
            }
            line.push_str("< ");
        }
        line + text
    }

    fn shown(&self, bytes: &[u8]) -> String {
        if self.style.format == Format::Hex {
            return format!("[{} bytes]\n{}", bytes.len(), dump(bytes)).trim_end().into();
        }
        let glance = if self.out.is_terminal() { bytes.get(..GLANCE).unwrap_or(bytes) } else { bytes };
        let more = if glance.len() < bytes.len() { " .. (--hex shows all)" } else { "" };
        format!("[{} bytes] {}{more}", bytes.len(), hex(glance)).trim_end().into()
    }

    fn note(&self, about: Option<SocketId>, note: &Note<'_>) -> io::Result<()> {
        if self.style.format == Format::Jsonl {
            let (event, fields) = note.json();
            return self.json(event, about, fields);
        }
        if self.style.quiet && !matches!(note, Note::Trouble(_) | Note::Help(_)) {
            return Ok(());
        }
        let about = match about {
            Some(id) => format!("{id} "),
            None if matches!(note, Note::Trouble(_)) => "bellwire: ".into(),
            None => String::new(),
        };
        self.err.print(Some(note.colour()), &format!("{}{about}{}", self.time(), note.text()))
    }

    fn json(&self, event: &str, about: Option<SocketId>, fields: Value) -> io::Result<()> {
        let mut object = Map::new();
        object.insert("event".into(), event.into());
        object.insert("time".into(), rfc3339(SystemTime::now()).into());
        if let Some(id) = about {
            object.insert("connection".into(), u64::from(id).into());
        }
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.out.write(format!("{}\n", Value::Object(object)).as_bytes())
    }

    fn time(&self) -> String {
        if self.style.timestamps { rfc3339(SystemTime::now()) + " " } else { String::new() }
    }
}

impl Note<'_> {
    fn json(&self) -> (&'static str, Value) {
        match self {
            Self::Listening { url } => ("listening", json!({ "url": url })),
            Self::Open { fields, .. } => ("open", fields.clone()),
            Self::Pong { data, round_trip } => {
                ("pong", json!({ "data": text_or_hex(data), "round_trip_ms": round_trip.map(millis) }))
            }
            Self::Ping { data } => ("ping", json!({ "data": text_or_hex(data) })),
            Self::Closed(closed) => {
                let (code, by) = (u16::from(closed.code), closed.by.to_string());
                ("closed", json!({ "code": code, "reason": closed.reason, "clean": closed.clean, "by": by }))
            }
            Self::Retry { why, after, tries } => {
                ("retry", json!({ "message": why, "in_ms": millis(*after), "tries": tries }))
            }
            Self::Trouble(message) => ("error", json!({ "message": message })),
            Self::Help(text) => ("help", json!({ "message": text })),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Listening { url } => format!("listening on {url}"),
            Self::Open { text, .. } => text.clone(),
            Self::Pong { round_trip: Some(time), .. } => format!("pong after {:.3} ms", millis(*time)),
            Self::Pong { data, .. } => format!("pong {}", text_or_hex(data)).trim_end().into(),
            Self::Ping { data } => format!("ping {}", text_or_hex(data)).trim_end().into(),
            Self::Closed(closed) => format!("closed: {closed}"),
            Self::Retry { why, after, .. } => format!("{why}: another try in {:.1} s", after.as_secs_f64()),
            Self::Trouble(message) | Self::Help(message) => (*message).into(),
        }
    }

    fn colour(&self) -> Colour {
        match self {
            Self::Trouble(_) => Colour::Red,
            Self::Retry { .. } => Colour::Yellow,
            _ => Colour::Green,
        }
    }
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A message as the fields of a JSON object: text as it is, binary in base64.
fn payload(message: &OwnedMessage) -> Value {
    match message {
        OwnedMessage::Text(text) => json!({ "text": text.as_str() }),
        OwnedMessage::Binary(bytes) => json!({ "binary": BASE64_STANDARD.encode(bytes) }),
    }
}

fn text_or_hex(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if !text.contains(char::is_control) => text.into(),
        _ => hex(data),
    }
}

/// Bytes as `68 65 6c`.
fn hex(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(shown, "{}{byte:02x}", if at > 0 { " " } else { "" });
    }
    shown
}

/// Bytes as `hexdump -C` shows them.
fn dump(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for (row, bytes) in bytes.chunks(16).enumerate() {
        let characters: String =
            bytes.iter().map(|&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' }).collect();
        let _ = writeln!(shown, "{:08x}  {:<47}  |{characters}|", row * 16, hex(bytes));
    }
    shown
}

/// Reads `68656c`, with blanks anywhere between bytes.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if word.len() % 2 != 0 || !word.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for at in (0..word.len()).step_by(2) {
            bytes.push(u8::from_str_radix(word.get(at..at + 2)?, 16).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_and_read() {
        assert_eq!(hex(b"hello"), "68 65 6c 6c 6f");
        assert_eq!(parse_hex(" 68 656C6c6f ").as_deref(), Some(&b"hello"[..]));
        assert_eq!(parse_hex(""), Some(vec![]));
        for wrong in ["6", "6 8", "zz", "+1", "6\u{e9}"] {
            assert_eq!(parse_hex(wrong), None, "{wrong}");
        }
        let shown = dump(b"0123456789abcdef\x00\xff");
        assert_eq!(
            shown.lines().next(),
            Some("00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|")
        );
        assert!(
            shown.lines().nth(1).is_some_and(|row| row.starts_with("00000010  00 ff  ") && row.ends_with("  |..|"))
        );
    }
}
