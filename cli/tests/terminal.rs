//! The program on a terminal: what people see.
#![cfg(unix)]

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use bellwire::{Response, listener};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::{Served, Watched, program};

/// The program, and whoever sits in front of it.
struct Terminal {
    child: Child,
    _watched: Watched,
    screen: File,
    /// What was read and not asked for.
    seen: String,
    /// What a terminal makes of all that was read.
    emulator: vt100::Parser,
}

const ROWS: u16 = 10;
const COLUMNS: u16 = 40;

impl Terminal {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        tcsetwinsize(&controller, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let end = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let stdio = || Stdio::from(end.try_clone().unwrap());
        let mut command = program(arguments);
        command.env("TERM", "xterm").envs(environment.iter().copied());
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        Self {
            _watched: Watched::new(&child),
            child,
            screen: File::from(controller),
            seen: String::new(),
            emulator: vt100::Parser::new(NonZero::new(ROWS).unwrap(), NonZero::new(COLUMNS).unwrap(), 0),
        }
    }

    /// Reads on until this is seen, and returns what came before.
    fn until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            let mut bytes = [0; 4096];
            let count = self.screen.read(&mut bytes).unwrap_or_else(|error| panic!("{error} after {:?}", self.seen));
            self.emulator.process(&bytes[..count]);
            self.seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        let seen = std::mem::take(&mut self.seen);
        let (before, after) = seen.split_once(text).unwrap();
        self.seen = after.into();
        before.into()
    }

    fn type_in(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// The rows that are on the screen, and the cursor's row and column.
    fn rows(&self) -> (Vec<String>, (u16, u16)) {
        let screen = self.emulator.screen();
        let mut rows: Vec<_> = screen.rows(0, COLUMNS).collect();
        rows.truncate(rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
        (rows, screen.cursor_position())
    }

    fn status(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_arrives_is_put_above_the_line_that_is_typed() {
    let server = Served::echo();
    let mut terminal = Terminal::start(&["connect", &server.url()], &[]);
    terminal.until("connected to ");
    terminal.until("\x1b[1B> ");
    terminal.type_in("hello\n");
    // The terminal itself echoes it.
    assert_eq!(terminal.until("hello\r\n"), "");
    // The place of the cursor is saved, a row is made for the message, and the place is restored, a row below.
    terminal.until("\x1b7\r\n\x1b[1A\r\x1b[1L\x1b[36m< hello\x1b[0m\x1b8\x1b[1B");
    terminal.type_in("\x04");
    terminal.until("closed: 1000");
    terminal.until("\r\x1b[K");
    assert_eq!(terminal.status(), Some(0));
}

/// Whatever arrives, and however far the screen has scrolled, what was typed is in the last row, with the cursor behind it.
#[test]
fn a_line_that_is_being_typed_stays_whole() {
    let (sender, sockets) = mpsc::channel();
    let (heard, hears) = mpsc::channel();
    let server = Served::new(move |_| {
        let (sender, heard) = (sender.clone(), heard.clone());
        let listener = listener().on_open(move |socket| sender.send(socket.clone()).unwrap());
        Response::websocket(listener.on_message(move |_, message| heard.send(message.into_owned()).unwrap()))
    });
    let mut terminal = Terminal::start(&["connect", &server.url()], &[]);
    let socket = sockets.recv().unwrap();
    let connected = format!("connected to {}", server.url());
    terminal.until("> ");
    terminal.type_in("hel");
    terminal.until("hel");
    assert_eq!(terminal.rows(), (vec![connected, "> hel".into()], (1, 5)));

    // Two columns are for the mark.
    let wide = "0123456789".repeat(10);
    let mut expected = Vec::new();
    for number in 0..12 {
        socket.send(&*number.to_string()).unwrap();
        socket.send(&*wide).unwrap();
        terminal.until(&format!("< {number}\x1b[0m"));
        terminal.until("\x1b[3B");
        expected.extend([format!("< {number}"), format!("< {}", &wide[..38]), wide[38..78].into(), wide[78..].into()]);
        let (rows, cursor) = terminal.rows();
        let (last, above) = rows.split_last().unwrap();
        assert_eq!((last.as_str(), cursor.1), ("> hel", 5), "{rows:#?}");
        assert!(expected.ends_with(above) || number < 2, "{rows:#?}");
        assert_eq!(usize::from(cursor.0), above.len(), "{rows:#?}");
    }
    terminal.type_in("lo\n");
    assert_eq!(hears.recv().unwrap(), "hello");
}

#[test]
fn commands_are_done() {
    let server = Served::echo();
    let mut terminal = Terminal::start(&["connect", &server.url()], &[]);
    terminal.until("> ");
    terminal.type_in("/ping\n");
    terminal.until("pong after ");
    terminal.type_in("/hex 00 ff\n");
    terminal.until("\x1b[33m< [2 bytes] 00 ff\x1b[0m");
    terminal.type_in("/help\n");
    terminal.until("sends a binary message");
    terminal.type_in("//help\n");
    terminal.until("< /help");
    terminal.type_in("/hex 0\n");
    terminal.until("\x1b[31mbellwire: /hex takes bytes");
    terminal.type_in("/close 4000 enough\n");
    terminal.until(r#"closed: 4000 "enough", closed by this side"#);
    assert_eq!(terminal.status(), Some(0));
    let mut terminal = Terminal::start(&["connect", &server.url(), "--no-commands"], &[]);
    terminal.until("connected");
    terminal.type_in("/help\n");
    terminal.until("< /help");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let server = Served::echo();
    for (arguments, environment) in
        [(&[][..], &[("NO_COLOR", "1")][..]), (&["--no-color"], &[]), (&[], &[("TERM", "dumb")])]
    {
        let url = server.url();
        let mut terminal = Terminal::start(&[&["connect", &url, "--send", "a"], arguments].concat(), environment);
        let before = terminal.until("< a") + &terminal.until("closed: 1000");
        assert!(!before.contains("\x1b[36m") && !before.contains("\x1b[32m"), "{before:?}");
    }
}

#[test]
fn a_server_cannot_command_the_terminal() {
    let server = Served::new(|_| {
        Response::websocket(listener().on_open(|socket| {
            socket.send("\x1b[2Jclear")?;
            socket.send(&[7; 100][..])?;
            socket.send("0123456789".repeat(8).as_str())
        }))
    });
    let mut terminal = Terminal::start(&["connect", &server.url(), "--count", "3", "--no-color"], &[]);
    terminal.until(r"< \u{1b}[2Jclear");
    terminal.until("[100 bytes] 07 07");
    terminal.until(".. (--hex shows all)");
    // Two columns for the mark: three rows of forty.
    terminal.until("\x1b[3A\r\x1b[3L< 0123456789");
    assert_eq!(terminal.status(), Some(0));
}

#[test]
fn a_bar_shows_how_far_the_load_is() {
    let server = Served::echo();
    let mut terminal = Terminal::start(&["bench", &server.url(), "--rate", "50", "--duration", "0.3"], &[]);
    terminal.until("\r[##########");
    terminal.until(" of 0.3 s, ");
    // It is taken away before the result.
    terminal.until("\r\x1b[K");
    terminal.until("15 sent, 15 answered");
    assert_eq!(terminal.status(), Some(0));
    let mut terminal = Terminal::start(&["bench", &server.url(), "--rate", "50", "--duration", "0.3", "--quiet"], &[]);
    assert!(!terminal.until("15 sent, 15 answered").contains('['));
}
