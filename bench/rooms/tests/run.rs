//! The tool as it is used, with a chat that is right and with some that are wrong. All are this program: it starts
//! itself.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bellwire::{Config, Listener, Message, Outcome, Request, Response, WebSocket, broadcast};

/// A test that is a server where the environment says on which port. What a publisher sends goes to all members, as
/// `publish` says.
fn serve(publish: impl Fn(&[WebSocket], Message<'_>) + Copy + Send + Sync + 'static) {
    let Ok(port) = std::env::var("BENCH_PORT") else { return };
    let members = Arc::<Mutex<Vec<WebSocket>>>::default();
    let handler = move |request: &Request| {
        Response::websocket(Chat { members: members.clone(), publishes: request.path() == "/publisher", publish })
    };
    let server = bellwire::blocking::Server::bind(format!("127.0.0.1:{port}")).unwrap().config(Config::default());
    server.run(handler).unwrap();
}

struct Chat<F> {
    members: Arc<Mutex<Vec<WebSocket>>>,
    publishes: bool,
    publish: F,
}

impl<F: Fn(&[WebSocket], Message<'_>) + Send + 'static> Listener for Chat<F> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        if !self.publishes {
            self.members.lock().unwrap().push(socket.clone());
        }
        Ok(())
    }

    fn on_message(&mut self, _: &WebSocket, message: Message<'_>) -> Outcome {
        (self.publish)(&self.members.lock().unwrap(), message);
        Ok(())
    }
}

/// Whether it is time to be wrong: not at once, since all is to be looked at.
fn once() -> bool {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) == 100
}

#[test]
#[ignore = "a server"]
fn right_server() {
    serve(|members, message| drop(broadcast(members, message)));
}

#[test]
#[ignore = "a server"]
fn losing_server() {
    serve(|members, message| drop(broadcast(if once() { &members[1..] } else { members }, message)));
}

#[test]
#[ignore = "a server"]
fn doubling_server() {
    serve(|members, message| {
        broadcast(members, message);
        if once() {
            broadcast(&members[..1], message);
        }
    });
}

#[test]
#[ignore = "a server"]
fn wrong_server() {
    serve(|members, message| {
        let text = message.as_text().unwrap_or_default();
        broadcast(members, &*if once() { text.replace('x', "y") } else { text.to_owned() });
    });
}

fn run(servers: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire-bench-rooms"));
    command.args(["--servers", ",", "--members", "5", "--rounds", "2", "--window", "0.05"]).args(more);
    let program = std::env::current_exe().unwrap();
    for server in servers {
        command.arg("--server");
        command
            .arg(format!("{server}=env BENCH_PORT={{port}} {} --ignored --exact {server}_server", program.display()));
    }
    command.output().unwrap()
}

/// The cells of a server's rows, without its name.
fn cells(output: &Output, server: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().filter(|line| line.starts_with(&format!("| {server} ")));
    rows.flat_map(|row| row.split('|').skip(2).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()))
        .collect()
}

#[test]
fn a_chat_that_is_right_has_figures() {
    let output = run(&["right"], &["--only", "one-32,one-1k"]);
    assert!(output.status.success(), "{output:?}");
    let cells = cells(&output, "right");
    // For each scenario: two depths of five figures each, of which two need a baseline and a broker, and the times.
    assert_eq!(cells.len(), 2 * (5 + 5 + 2), "{cells:?}");
    for at in [0, 4, 5, 9, 12, 16] {
        assert!(cells[at].replace(',', "").parse::<f64>().is_ok_and(|figure| figure > 0.0), "{at}: {cells:?}");
    }
}

#[test]
fn a_chat_that_is_wrong_has_none_and_the_other_keeps_its_own() {
    let output = run(&["losing", "doubling", "wrong", "right"], &["--only", "one-32"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    for (server, why) in [("losing", "lost"), ("doubling", "doubled"), ("wrong", "a wrong delivery: ")] {
        assert!(text.contains(&format!("\n{server}: {why}")), "{text}");
        assert!(cells(&output, server).iter().all(|cell| cell == "–"), "{text}");
    }
    assert!(cells(&output, "right")[0] != "–", "{text}");
}

#[test]
fn a_chat_that_does_not_start_says_so() {
    let output = run(&[], &["--only", "one-32", "--server", "gone=false {port}"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\ngone: it does not start: "), "{text}");
}
