//! `bellwire connect` through pipes, as scripts run it.

mod support;

use std::fs;
use std::io::Write;

use bellwire::{CloseCode, Request, Response, SendError, listener};
use support::{Ended, Running, Served, answers, nobody, run};

#[test]
fn lines_are_sent_and_what_arrives_is_printed_and_nothing_else() {
    let server = Served::echo();
    let ended = run(&["connect", &server.url()], "hello\n\n/ping\n\u{e9}\r\nwithout an end");
    assert_eq!(ended.text(), "hello\n\n/ping\n\u{e9}\nwithout an end\n");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.err.contains(&format!("connected to {}", server.url())), "{ended:?}");
    assert!(!ended.err.contains('\x1b'), "{ended:?}");
}

#[test]
fn no_reply_is_missed_when_the_input_ends() {
    let server = Served::echo();
    let lines: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let ended = run(&["connect", &server.url(), "--quiet"], &lines);
    assert_eq!(ended.text(), lines);
    assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn a_url_needs_no_scheme() {
    let server = Served::echo();
    assert_eq!(run(&["connect", &server.addr.to_string()], "a").text(), "a\n");
}

#[test]
fn what_is_given_is_sent_and_as_many_replies_are_waited_for() {
    let server = Served::echo();
    let file = std::env::temp_dir().join(format!("bellwire-{}", std::process::id()));
    fs::write(&file, b"\x00\xff").unwrap();
    let arguments = ["connect", &server.url(), "--send", "a", "--file", file.to_str().unwrap(), "--send", "b"];
    let ended = run(&arguments, "this is not read");
    fs::remove_file(file).unwrap();
    assert_eq!((ended.text(), ended.status), ("a\n[2 bytes] 00 ff\nb\n", Some(0)), "{ended:?}");
}

#[test]
fn replies_that_do_not_come_have_a_status() {
    let server = Served::new(|_| Response::websocket(listener()));
    let ended = run(&["connect", &server.url(), "--send", "a", "--send", "b", "--wait", "0"], "");
    assert_eq!((ended.text(), ended.status), ("", Some(8)));
    assert!(ended.err.contains("2 messages that were waited for did not come"), "{ended:?}");
    // They are waited for as long as the server does not close.
    let server = Served::new(|_| Response::websocket(listener().on_message(|socket, _| socket.close())));
    assert_eq!(run(&["connect", &server.url(), "--send", "a", "--wait", "3600"], "").status, Some(8));
}

#[test]
fn it_closes_when_so_many_messages_have_come() {
    let server = Served::on_open(|socket| (0..5).for_each(|number| socket.send(&*number.to_string()).unwrap()));
    let mut running = Running::start(&["connect", &server.url(), "--count", "2"]);
    // Its input has not ended.
    let input = running.input.take();
    let ended = running.end();
    // The others had come as well.
    assert_eq!((ended.text(), ended.status), ("0\n1\n", Some(0)));
    drop(input);
}

#[test]
fn it_stays_when_the_input_has_ended() {
    let server = Served::new(|_| {
        Response::websocket(listener().on_message(|socket, message| {
            socket.send(message)?;
            let later = socket.clone();
            std::thread::spawn(move || later.close_with(CloseCode::GOING_AWAY, "enough"));
            Ok::<_, SendError>(())
        }))
    });
    let ended = run(&["connect", &server.url(), "--stay"], "a");
    assert_eq!((ended.text(), ended.status), ("a\n", Some(0)));
    assert!(ended.err.contains(r#"closed: 1001 "enough", closed by the peer"#), "{ended:?}");
}

#[test]
fn jsonl_says_all_that_happens() {
    let server = Served::echo();
    let input =
        "{\"text\":\"a\\nb\"}\n{\"binary\":\"AP8=\"}\n{\"ping\":\"p\"}\n{\"close\":4000,\"reason\":\"enough\"}\n";
    let ended = run(&["connect", &server.url(), "--jsonl", "--protocol", "unknown", "--deflate"], input);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let [open] = &ended.events("open")[..] else { panic!("{ended:?}") };
    assert_eq!(open["url"], *server.url());
    assert_eq!(open["peer"], *server.addr.to_string());
    assert_eq!(open["protocol"], serde_json::Value::Null);
    assert!(open["extension"].as_str().unwrap().starts_with("permessage-deflate"), "{open}");
    assert!(open["time"].as_str().unwrap().ends_with('Z'), "{open}");
    let [text, binary] = &ended.events("message")[..] else { panic!("{ended:?}") };
    assert_eq!((&text["text"], &binary["binary"]), (&"a\nb".into(), &"AP8=".into()));
    let [pong] = &ended.events("pong")[..] else { panic!("{ended:?}") };
    assert!(pong["data"] == "p" && pong["round_trip_ms"].as_f64().unwrap() > 0.0, "{pong}");
    let [closed] = &ended.events("closed")[..] else { panic!("{ended:?}") };
    assert_eq!((&closed["code"], &closed["reason"], &closed["clean"]), (&4000.into(), &"enough".into(), &true.into()));
}

#[test]
fn pings_are_sent_again_and_again() {
    let server = Served::echo();
    let mut running = Running::start(&["connect", &server.url(), "--jsonl", "--ping", "0.001"]);
    let numbers: Vec<_> = (0..3).map(|_| running.event("pong")["data"].clone()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
}

#[test]
fn binary_goes_through_as_it_is() {
    let server = Served::echo();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let ended = run(&["connect", &server.url(), "--binary", "--raw", "--count", "1"], &bytes);
    assert_eq!((ended.out, ended.status), (bytes, Some(0)));
    let ended = run(&["connect", &server.url(), "--binary", "--hex"], b"\x00hello");
    assert_eq!(ended.text(), "[6 bytes]\n00000000  00 68 65 6c 6c 6f                                |.hello|\n");
}

#[test]
fn timestamps_stand_before_messages() {
    let server = Served::echo();
    let ended = run(&["connect", &server.url(), "--send", "a", "--timestamps"], "");
    let (time, text) = ended.text().split_once(' ').unwrap();
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(text, "a\n");
}

/// Runs it against a server that sends back what it was asked with.
fn asked_with(arguments: &[&str]) -> Ended {
    let server = Served::new(|request: &Request| {
        let told = ["Authorization", "Origin", "X-A", "X-B"]
            .map(|name| request.header_values(name).map(|value| format!("{name}: {value}\n")).collect::<String>());
        let listener = listener().on_open(move |socket| socket.send(told.concat()));
        Response::websocket(listener).select_protocol(request, &["b"]).header("X-Answer", "42")
    });
    let url = server.url();
    run(&[&["connect", &url, "--count", "1"], arguments].concat(), "")
}

#[test]
fn headers_origins_and_credentials_are_sent() {
    let file = std::env::temp_dir().join(format!("bellwire-headers-{}", std::process::id()));
    fs::File::create(&file).unwrap().write_all(b"X-B: from a file\n\nX-B: twice\n").unwrap();
    let from_file = format!("@{}", file.display());
    let ended = asked_with(&[
        "--auth",
        "user:pa:ss",
        "-H",
        "X-A:1",
        "--header",
        &from_file,
        "--protocol",
        "a",
        "--protocol",
        "b",
        "-v",
    ]);
    fs::remove_file(file).unwrap();
    assert_eq!(ended.text(), "Authorization: Basic dXNlcjpwYTpzcw==\nX-A: 1\nX-B: from a file\nX-B: twice\n\n");
    assert!(ended.err.contains("subprotocol: b\n") && ended.err.contains("  X-Answer: 42\n"), "{ended:?}");
    assert_eq!(asked_with(&["--bearer", "42"]).text(), "Authorization: Bearer 42\n\n");
}

#[test]
fn every_kind_of_failure_has_its_status() {
    let status = |arguments: &[&str]| {
        let ended = run(arguments, "");
        assert!(ended.err.lines().last().unwrap().starts_with("bellwire: "), "{ended:?}");
        ended.status
    };
    let connect = |target: &str| status(&["connect", target]);
    assert_eq!(connect(&nobody().to_string()), Some(3));
    assert_eq!(connect("host.invalid"), Some(3));
    assert_eq!(connect(&Served::new(|_| Response::new(401)).url()), Some(4));
    assert_eq!(connect(&answers(b"SSH-2.0-OpenSSH\r\n\r\n").to_string()), Some(5));
    assert_eq!(connect(&answers(b"").to_string()), Some(3));
    let talkative = Served::on_open(|socket| socket.send("0123456789").unwrap());
    assert_eq!(status(&["connect", &talkative.url(), "--max-message", "9", "--stay"]), Some(5));
    let lossy = Served::new(|_| Response::websocket(listener().on_message(|socket, _| socket.abort())));
    assert_eq!(status(&["connect", &lossy.url(), "--send", "a"]), Some(6));
    let unhappy = Served::on_open(|socket| socket.close_with(4000, "no").unwrap());
    assert_eq!(status(&["connect", &unhappy.url(), "--stay"]), Some(7));
    let echo = Served::echo();
    assert_eq!(status(&["connect", &echo.url(), "--file", "/nonexistent"]), Some(1));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let usage = |arguments: &[&str], input: &[u8]| {
        let ended = run(arguments, input);
        assert_eq!((ended.status, ended.text()), (Some(2), ""), "{arguments:?}: {ended:?}");
        ended.err
    };
    for (arguments, says) in [
        (&["connect"][..], "a URL is missing"),
        (&[], "a command is missing"),
        (&["dance"], "there is no command"),
        (&["ws://user:secret@127.0.0.1:1"], "is `bellwire connect URL` meant?"),
        (&["connect", "ws://a", "ws://user:secret@b"], "an argument too many"),
        (&["connect", "ftp://a"], "scheme"),
        (&["connect", "a", "--wait", "x"], "--wait takes seconds"),
        (&["connect", "a", "--wait", "-1"], "--wait takes seconds"),
        (&["connect", "a", "--ping", "0"], "--ping takes seconds"),
        (&["connect", "a", "--dance"], "there is no option --dance"),
        (&["connect", "a", "-x"], "there is no option -x"),
        (&["connect", "a", "--hex", "--raw"], "exclude each other"),
        (&["connect", "a", "--stay", "--wait", "1"], "exclude each other"),
        (&["connect", "a", "--binary", "--jsonl"], "--binary"),
        (&["connect", "a", "--header", "secret"], "--header takes"),
        (&["connect", "a", "--auth", "secret"], "--auth takes"),
        (&["connect", "a", "--protocol", "a b"], "subprotocol"),
    ] {
        let err = usage(arguments, b"");
        assert!(err.contains(says) && !err.contains("secret"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_line_that_makes_no_sense_ends_it() {
    let server = Served::echo();
    let ended = run(&["connect", &server.url(), "--jsonl"], "{\"text\":\"a\"}\n{\"txet\":\"b\"}\n");
    assert_eq!(ended.status, Some(2));
    assert!(ended.events("error")[0]["message"].as_str().unwrap().contains("\"text\""), "{ended:?}");
    assert_eq!(run(&["connect", &server.url()], b"\xff\n").status, Some(2));
}

#[test]
fn secrets_are_not_printed() {
    let server = Served::new(|_| Response::new(401));
    let url = format!("ws://user:hunter2@{}/", server.addr);
    for arguments in [
        &["connect", &url][..],
        &["connect", &url, "--jsonl", "-v"],
        &["connect", &server.url(), "--bearer", "hunter2"],
    ] {
        let ended = run(arguments, "");
        assert_eq!(ended.status, Some(4));
        assert!(!ended.err.contains("hunter2") && !ended.text().contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn it_ends_when_nobody_reads_its_output() {
    let server = Served::echo();
    let mut running = Running::start(&["connect", &server.url(), "--stay", "--quiet"]);
    let mut input = running.input.take().unwrap();
    drop(running.output.take());
    writeln!(input, "a").unwrap();
    let ended = running.end();
    assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""));
    drop(input);
}

#[test]
fn help_and_version_are_printed() {
    for (arguments, says) in [
        (&["--help"][..], "Exit status"),
        (&["-h"], "Usage: bellwire COMMAND"),
        (&["connect", "--help"], "Usage: bellwire connect URL"),
        (&["listen", "-h"], "Usage: bellwire listen"),
        (&["--version"], "bellwire 0."),
    ] {
        let ended = run(arguments, "");
        assert!(ended.status == Some(0) && ended.text().contains(says), "{ended:?}");
        assert!(ended.text().lines().all(|line| line.chars().count() <= 100), "{ended:?}");
    }
}
