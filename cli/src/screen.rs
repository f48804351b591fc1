//! Where text goes: a file or a pipe gets it as it is; a terminal gets it in colours, harmless, and above the line that
//! somebody types there.

use std::borrow::Cow;
use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// The width of a terminal that does not say it.
const WIDTH: usize = 80;

/// The most rows that are put above the typed line in one step: fewer than any terminal has.
const ROWS: usize = 8;

/// What is asked for once, before the next line is typed.
const PROMPT: &str = "> ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// A colour, as the number that ECMA-48 gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    stream: Stream,
    is_terminal: bool,
    colours: bool,
    /// Somebody types on it.
    is_typed_on: bool,
}

impl Screen {
    /// Looks what the stream is. Colours only on a terminal, and not if the user has said so (<https://no-color.org>).
    pub(crate) fn new(stream: Stream, colours: bool) -> Self {
        let is_terminal = match stream {
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        };
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let obeys = is_terminal && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            stream,
            is_terminal,
            colours: obeys && colours && !no_color,
            is_typed_on: obeys && io::stdin().is_terminal(),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints lines, and ends the last one.
    pub(crate) fn print(&self, colour: Option<Colour>, text: &str) -> io::Result<()> {
        if !self.is_terminal {
            return self.write(format!("{text}\n").as_bytes());
        }
        let colour = colour.filter(|_| self.colours);
        let mut written = String::new();
        for line in harmless(text).split('\n') {
            if self.is_typed_on {
                for (piece, rows) in pieces(line, self.width()) {
                    above_the_typed_line(&mut written, rows, colour, piece);
                }
            } else {
                coloured(&mut written, colour, line);
                written.push('\n');
            }
        }
        self.write(written.as_bytes())
    }

    /// Asks for the next line, if somebody types here.
    pub(crate) fn prompt(&self) -> io::Result<()> {
        if self.is_typed_on { self.write(PROMPT.as_bytes()) } else { Ok(()) }
    }

    /// Takes the prompt away, and what was typed behind it.
    pub(crate) fn end_prompt(&self) -> io::Result<()> {
        if self.is_typed_on { self.write(b"\r\x1b[K") } else { Ok(()) }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self.stream {
            Stream::Out => write_all(io::stdout().lock(), bytes),
            Stream::Err => write_all(io::stderr().lock(), bytes),
        }
    }

    fn width(&self) -> usize {
        let size = match self.stream {
            Stream::Out => terminal_size::terminal_size_of(io::stdout()),
            Stream::Err => terminal_size::terminal_size_of(io::stderr()),
        };
        size.map_or(WIDTH, |(width, _)| usize::from(width.0)).max(1)
    }
}

fn write_all(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn coloured(written: &mut String, colour: Option<Colour>, text: &str) {
    match colour {
        Some(colour) => {
            let _ = write!(written, "\x1b[{}m{text}\x1b[0m", colour as u8);
        }
        None => written.push_str(text),
    }
}

/// The terminal itself keeps what is typed until Enter, and tells nobody. So the line stays where it is on the screen, its
/// cursor as well, and moves down: the cursor's place is saved, rows are made free below (at the bottom that scrolls),
/// then inserted above, and the place is restored, as many rows down as there are, which end at the bottom.
fn above_the_typed_line(written: &mut String, rows: usize, colour: Option<Colour>, text: &str) {
    let _ = write!(written, "\x1b7{}\x1b[{rows}A\r\x1b[{rows}L", "\n".repeat(rows));
    coloured(written, colour, text);
    let _ = write!(written, "\x1b8\x1b[{rows}B");
}

/// Cuts a line into pieces, each with the number of rows that it takes. The terminal itself wraps ASCII, so that it can
/// be copied as one line. How wide other characters are, is a terminal's secret: they count as two columns, and are cut
/// at each row.
fn pieces(line: &str, width: usize) -> Vec<(&str, usize)> {
    if line.is_empty() {
        return vec![("", 1)];
    }
    let most = if line.is_ascii() { width * ROWS } else { width };
    let (mut found, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (end, columns) = fitting(rest, most);
        let (piece, others) = rest.split_at(end);
        found.push((piece, columns.div_ceil(width).clamp(1, ROWS)));
        rest = others;
    }
    found
}

/// How many bytes fit into so many columns, at least those of one character, and how many columns these take.
fn fitting(text: &str, most: usize) -> (usize, usize) {
    let mut columns = 0;
    for (at, c) in text.char_indices() {
        let wide = columns + if c.is_ascii() { 1 } else { 2 };
        if wide > most && at > 0 {
            return (at, columns);
        }
        columns = wide;
    }
    (text.len(), columns)
}

/// A terminal obeys control characters, and what comes from a peer must not command it. Nor may it turn the direction of
/// the text around.
fn harmless(text: &str) -> Cow<'_, str> {
    let harmful =
        |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.replace("\r\n", "\n").chars() {
        let start = shown.len();
        match c {
            '\t' => (column % 8..8).for_each(|_| shown.push(' ')),
            c if harmful(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        column = if c == '\n' { 0 } else { column + shown.len() - start };
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_shown() {
        assert_eq!(harmless("plain \u{e9}\nlines"), "plain \u{e9}\nlines");
        assert_eq!(harmless("\x1b[2J\x07\r\u{9b}1m\x7f"), r"\u{1b}[2J\u{7}\u{d}\u{9b}1m\u{7f}");
        assert_eq!(harmless("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(harmless("a\tb\r\n\tc"), "a       b\n        c");
    }

    #[test]
    fn pieces_are_as_many_rows_as_they_say() {
        assert_eq!(pieces("", 10), [("", 1)]);
        assert_eq!(pieces("0123456789", 10), [("0123456789", 1)]);
        assert_eq!(pieces("0123456789a", 10), [("0123456789a", 2)]);
        let long = "x".repeat(85);
        assert_eq!(pieces(&long, 10), [(&long[..80], 8), ("xxxxx", 1)]);
        assert_eq!(pieces("\u{e9}\u{e9}\u{e9}ab", 5), [("\u{e9}\u{e9}", 1), ("\u{e9}ab", 1)]);
        assert_eq!(pieces("\u{e9}\u{e9}", 1), [("\u{e9}", 2), ("\u{e9}", 2)]);
    }
}
