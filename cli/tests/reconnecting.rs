//! `bellwire connect --reconnect`, against servers that lose connections.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};

use bellwire::{Request, Response, listener};
use support::{Running, Served, nobody, run};

/// A server whose first connection is lost with the first message after its greeting. All others echo.
fn losing() -> Served {
    let connections = AtomicU32::new(0);
    Served::new(move |_: &Request| {
        let is_first = connections.fetch_add(1, Ordering::Relaxed) == 0;
        Response::websocket(listener().on_message(move |socket, message| {
            if is_first && message != "greeting" {
                socket.abort();
                return Ok(());
            }
            socket.send(message)
        }))
    })
}

#[test]
fn a_lost_connection_is_made_again() {
    let server = losing();
    let mut running = Running::start(&["connect", &server.url(), "--jsonl", "--reconnect", "--on-open", "greeting"]);
    running.event("open");
    assert_eq!(running.event("message")["text"], "greeting");
    running.type_line(r#"{"text":"lost"}"#);
    assert_eq!(running.event("closed")["code"], 1006);
    let retry = running.event("retry");
    assert!(retry["tries"] == 1 && retry["in_ms"].as_f64().unwrap() <= 1000.0, "{retry}");
    // It waits for a connection, and so does what is read from the input.
    running.type_line(r#"{"text":"kept"}"#);
    running.event("open");
    assert_eq!(running.event("message")["text"], "greeting");
    assert_eq!(running.event("message")["text"], "kept");
    let ended = running.end();
    assert_eq!((ended.status, &ended.events("closed")[0]["code"]), (Some(0), &1000.into()), "{ended:?}");
}

#[test]
fn without_the_option_it_is_not() {
    let ended = run(&["connect", &losing().url(), "--stay"], "lost\n");
    assert!(ended.status == Some(6) && !ended.err.contains("another try"), "{ended:?}");
}

#[test]
fn after_so_many_tries_it_gives_up() {
    let ended = run(&["connect", &nobody().to_string(), "--tries", "2", "--jsonl"], "a");
    assert_eq!((ended.status, ended.events("retry").len()), (Some(3), 1), "{ended:?}");
}

#[test]
fn what_does_not_help_is_not_tried() {
    let refuses = Served::new(|_| Response::new(404));
    let ended = run(&["connect", &refuses.url(), "--reconnect", "--jsonl"], "a");
    assert_eq!((ended.status, ended.events("retry").len()), (Some(4), 0), "{ended:?}");
    let closes = Served::on_open(|socket| socket.close_with(4000, "no").unwrap());
    let ended = run(&["connect", &closes.url(), "--reconnect", "--stay", "--jsonl"], "");
    assert_eq!((ended.status, ended.events("retry").len()), (Some(7), 0), "{ended:?}");
    assert_eq!(run(&["connect", "a", "--tries", "0"], "").status, Some(2));
}
