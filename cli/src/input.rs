//! What is to be sent: lines of the standard input, commands among them, or all of it.

use std::io::{self, BufRead};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bellwire::{CloseCode, OwnedMessage};
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver};

use crate::exit::Failure;
use crate::output::parse_hex;

/// What the commands are, for who types `/help`.
pub(crate) const COMMANDS: &str = "\
/ping [TEXT]            measures a round trip
/pong [TEXT]            sends a pong
/hex BYTES              sends a binary message, as /hex 00 ff
/close [CODE [REASON]]  closes the connection; so does Ctrl-D, with 1000
//ping                  sends the text \"/ping\", and so for each of these";

/// How many lines are read before they are sent: one at a time would be a switch of threads for each.
const AHEAD: usize = 64;

/// How the standard input is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each line is a text message.
    Lines,
    /// Each line is a text message, or a command.
    Commands,
    /// Each line is a JSON object.
    Jsonl,
    /// All of it is one binary message.
    Binary,
}

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Message(OwnedMessage),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
    Help,
    /// A line that makes no sense, and why.
    Mistake(String),
}

/// Reads the standard input on a thread of its own, which nothing waits for: it may be blocked for ever.
pub(crate) fn read(form: Form) -> Receiver<Result<Input, Failure>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(next) = next(&mut input, form) {
            let is_last = next.is_err() || form == Form::Binary;
            if sender.blocking_send(next).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn next(input: &mut impl BufRead, form: Form) -> Option<Result<Input, Failure>> {
    let mut bytes = Vec::new();
    let read = match form {
        Form::Binary => input.read_to_end(&mut bytes),
        _ => input.read_until(b'\n', &mut bytes),
    };
    match read {
        Err(error) => Some(Err(Failure::file("the standard input", error))),
        Ok(_) if form == Form::Binary => Some(Ok(Input::Message(bytes.into()))),
        Ok(0) => None,
        Ok(_) => Some(Ok(line(bytes, form))),
    }
}

fn line(mut bytes: Vec<u8>, form: Form) -> Input {
    for end in [b'\n', b'\r'] {
        if bytes.last() != Some(&end) {
            break;
        }
        bytes.pop();
    }
    let Ok(line) = String::from_utf8(bytes) else {
        return Input::Mistake("a line of the input is not UTF-8: --binary sends bytes as they are".into());
    };
    match form {
        Form::Commands => command(&line).unwrap_or_else(|| Input::Message(without_one_slash(line).into())),
        Form::Jsonl => object(&line).unwrap_or_else(Input::Mistake),
        Form::Lines | Form::Binary => Input::Message(line.into()),
    }
}

/// A command, if the line is one.
fn command(line: &str) -> Option<Input> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match name {
        "/ping" => Input::Ping(rest.into()),
        "/pong" => Input::Pong(rest.into()),
        "/hex" => parse_hex(rest).map_or_else(
            || Input::Mistake("/hex takes bytes in hexadecimal digits, as /hex 00 ff".into()),
            |bytes| Input::Message(bytes.into()),
        ),
        "/close" => close(rest).unwrap_or_else(|| Input::Mistake("/close takes a code, as /close 4000 bye".into())),
        "/help" => Input::Help,
        _ => return None,
    })
}

fn close(rest: &str) -> Option<Input> {
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = if code.is_empty() { CloseCode::NORMAL } else { CloseCode(code.parse().ok()?) };
    Some(Input::Close(code, reason.into()))
}

/// What would be a command with one slash is a message with two.
fn without_one_slash(line: String) -> String {
    match line.strip_prefix('/') {
        Some(rest) if command(rest).is_some() => rest.into(),
        _ => line,
    }
}

/// An object with one of the keys `text`, `binary`, `ping`, `pong`, `close`.
fn object(line: &str) -> Result<Input, String> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("a line of the input is not JSON: {error}"))?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    if let Some(text) = text("text") {
        return Ok(Input::Message(text.into()));
    }
    if let Some(data) = text("binary") {
        let bytes = BASE64_STANDARD.decode(data).map_err(|_| "\"binary\" is not base64")?;
        return Ok(Input::Message(bytes.into()));
    }
    if let Some(data) = text("ping") {
        return Ok(Input::Ping(data.into()));
    }
    if let Some(data) = text("pong") {
        return Ok(Input::Pong(data.into()));
    }
    if let Some(code) = value.get("close").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()) {
        return Ok(Input::Close(CloseCode(code), text("reason").unwrap_or_default().into()));
    }
    Err("a line of the input is an object with \"text\", \"binary\" (base64), \"ping\", \"pong\" or \"close\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: Form, text: &[u8]) -> Vec<Input> {
        let mut input = text;
        std::iter::from_fn(|| next(&mut input, form)).map(Result::unwrap).collect()
    }

    fn text(text: &str) -> Input {
        Input::Message(text.into())
    }

    #[test]
    fn lines_are_messages() {
        assert_eq!(read(Form::Lines, b"a\r\n\n/ping\nlast"), [text("a"), text(""), text("/ping"), text("last")]);
        assert!(matches!(&read(Form::Lines, b"\xff\nb")[..], [Input::Mistake(_), Input::Message(_)]));
    }

    #[test]
    fn commands_are_done_and_a_slash_more_sends_them() {
        let input = b"/ping\n/ping a b\n/pong\n/hex 00 fF\n/close\n/close 4000 good bye\n/help\n";
        let (normal, other) = (CloseCode::NORMAL, CloseCode(4000));
        assert_eq!(
            read(Form::Commands, input),
            [
                Input::Ping(vec![]),
                Input::Ping(b"a b".into()),
                Input::Pong(vec![]),
                Input::Message(vec![0, 255].into()),
                Input::Close(normal, String::new()),
                Input::Close(other, "good bye".into()),
                Input::Help,
            ]
        );
        let sent = ["/ping x", "/nick me", "// a comment", "/pinging", " /ping"].map(text);
        assert_eq!(read(Form::Commands, b"//ping x\n/nick me\n// a comment\n/pinging\n /ping\n"), sent);
        for wrong in ["/hex 0", "/close x", "/close 70000"] {
            assert!(matches!(read(Form::Commands, wrong.as_bytes())[..], [Input::Mistake(_)]), "{wrong}");
        }
    }

    #[test]
    fn objects_say_what_to_do() {
        let input = br#"{"text":"a"}
            {"binary":"AP8="}
            {"ping":"p"}
            {"pong":""}
            {"close":4000,"reason":"r"}"#;
        let done = [
            text("a"),
            Input::Message(vec![0, 255].into()),
            Input::Ping(b"p".into()),
            Input::Pong(vec![]),
            Input::Close(CloseCode(4000), "r".into()),
        ];
        assert_eq!(read(Form::Jsonl, input), done);
        for wrong in ["", "a", "{}", r#"{"text":1}"#, r#"{"binary":"?"}"#, r#"{"close":70000}"#, "[]"] {
            assert!(matches!(read(Form::Jsonl, format!("{wrong}\n").as_bytes())[..], [Input::Mistake(_)]), "{wrong}");
        }
    }

    #[test]
    fn everything_is_one_binary_message() {
        let mut input = &b"a\n\xff"[..];
        assert_eq!(next(&mut input, Form::Binary).unwrap().unwrap(), Input::Message(b"a\n\xff"[..].into()));
    }
}
