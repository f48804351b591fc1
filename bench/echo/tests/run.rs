//! The tool as it is used, with a server that is right and one that is wrong. Both are this program: it starts itself.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use bellwire::config::Deflate;
use bellwire::{Config, Response, WebSocket, listener};

/// A test that is a server where the environment says on which port.
fn serve(echo: impl Fn(&WebSocket, bellwire::Message<'_>) -> bellwire::Outcome + Copy + Send + Sync + 'static) {
    serve_with(Deflate::default(), echo);
}

fn serve_with(
    deflate: Deflate,
    echo: impl Fn(&WebSocket, bellwire::Message<'_>) -> bellwire::Outcome + Copy + Send + Sync + 'static,
) {
    let Ok(port) = std::env::var("BENCH_PORT") else { return };
    let config = Config::default();
    let config = match std::env::var("BENCH_DEFLATE").as_deref() {
        Ok("alone") => config.deflate(deflate.no_context_takeover()),
        Ok("takeover") => config.deflate(deflate),
        _ => config,
    };
    let listener = move |_: &bellwire::Request| Response::websocket(listener().on_message(echo));
    bellwire::blocking::Server::bind(format!("127.0.0.1:{port}")).unwrap().config(config).run(listener).unwrap();
}

#[test]
#[ignore = "a server"]
fn right_server() {
    serve(|socket, message| Ok(socket.send(message)?));
}

#[test]
#[ignore = "a server"]
fn wrong_server() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    serve(|socket, message| {
        let text = message.as_text().unwrap_or_default();
        // Right for a while: the tool has to look at each.
        match COUNT.fetch_add(1, Ordering::Relaxed) {
            0..50 => Ok(socket.send(text)?),
            _ => Ok(socket.send(text.to_uppercase())?),
        }
    });
}

#[test]
#[ignore = "a server"]
fn uncompressed_server() {
    serve_with(Deflate::default().threshold(usize::MAX), |socket, message| Ok(socket.send(message)?));
}

fn run(servers: &[&str], scenarios: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire-bench-echo"));
    command.args(["--servers", ",", "--rounds", "2", "--window", "0.05", "--connections", "4", "--only", scenarios]);
    let this = std::env::current_exe().unwrap();
    for server in servers {
        let program = this.display();
        command.arg("--server");
        let deflate = if scenarios.starts_with("deflate") { "BENCH_DEFLATE={deflate} " } else { "" };
        command.arg(format!("{server}=env BENCH_PORT={{port}} {deflate}{program} --ignored --exact {server}_server"));
    }
    command.output().unwrap()
}

/// The cells of a server's row, without its name.
fn cells(output: &Output, server: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let row = text.lines().find(|line| line.starts_with(&format!("| {server} "))).expect("the server has a row");
    row.split('|').skip(2).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_server_that_is_right_has_figures() {
    let output = run(&["right"], "small,fragments,binary");
    assert!(output.status.success(), "{output:?}");
    let cells = cells(&output, "right");
    // Processor time and rate. The spread of two rounds may be nothing, and latencies need messages enough.
    for cell in [&cells[0], &cells[2]] {
        assert!(cell.replace(',', "").parse::<f64>().is_ok_and(|figure| figure > 0.0), "{cells:?}");
    }
}

#[test]
fn a_server_that_is_wrong_has_none_and_the_other_keeps_its_own() {
    let output = run(&["wrong", "right"], "small");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\nwrong: a wrong echo: its byte "), "{text}");
    assert!(cells(&output, "wrong").iter().all(|cell| cell == "–"), "{text}");
    assert!(cells(&output, "right")[..3].iter().all(|cell| cell != "–"), "{text}");
}

#[test]
fn messages_are_compressed_both_ways() {
    let output = run(&["right"], "deflate,deflate-takeover");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("to server B").count(), 2, "{text}");
    let bytes = cells(&output, "right").pop().unwrap().parse::<f64>().unwrap();
    assert!(bytes < 700.0, "of 1,024: {text}");
}

#[test]
fn a_server_that_does_not_compress_has_no_figures() {
    for server in ["uncompressed", "wrong"] {
        let output = run(&[server], "deflate-takeover");
        assert!(!output.status.success());
        assert!(cells(&output, server).iter().all(|cell| cell == "–"), "{output:?}");
    }
}

#[test]
fn connections_are_counted_idle_and_coming_and_going() {
    let output = run(&["right"], "idle,churn");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("after an echo B") && text.contains("CPU µs"), "{text}");
}

#[test]
fn pictures_are_drawn_where_they_are_wanted() {
    let folder = std::env::temp_dir().join(format!("bench-echo-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwire-bench-echo"));
    command.args(["--servers", ",", "--only", "small", "--quick", "--plots"]).arg(&folder);
    assert!(command.status().unwrap().success());
    let picture = std::fs::read_to_string(folder.join("small.svg")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"), "{picture}");
}
