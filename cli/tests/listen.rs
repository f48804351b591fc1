//! `bellwire listen`, with `bellwire connect` as its clients.

mod support;

use support::{Ended, Running, run};

/// The server on a free port, and its URL.
fn listening(arguments: &[&str]) -> (Running, String) {
    let mut server = Running::start(&[&["listen", "127.0.0.1:0", "--jsonl"], arguments].concat());
    let url = server.event("listening")["url"].as_str().unwrap().into();
    (server, url)
}

#[test]
fn what_arrives_is_printed() {
    let (mut server, url) = listening(&["--once", "-v", "--protocol", "b", "--deflate"]);
    let arguments = ["connect", &format!("{url}a?b"), "--protocol", "a", "--protocol", "b", "--deflate", "--jsonl"];
    let ended = run(&arguments, "{\"text\":\"hello\"}\n{\"binary\":\"AP8=\"}\n{\"ping\":\"p\"}\n");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let open = server.event("open");
    assert_eq!((&open["target"], &open["protocol"], &open["connection"]), (&"/a?b".into(), &"b".into(), &1.into()));
    assert!(open["extension"].as_str().unwrap().starts_with("permessage-deflate"), "{open}");
    assert!(open["headers"].as_array().unwrap().iter().any(|header| header[0] == "Sec-WebSocket-Key"), "{open}");
    assert_eq!(server.event("message")["text"], "hello");
    assert_eq!(server.event("message")["binary"], "AP8=");
    assert_eq!(server.event("ping")["data"], "p");
    assert_eq!(server.event("closed")["code"], 1000);
    // One connection was enough.
    assert_eq!(server.end().status, Some(0));
}

#[test]
fn lines_go_to_all() {
    let (mut server, url) = listening(&[]);
    let clients = [(); 2].map(|()| Running::start(&["connect", &url, "--stay"]));
    (0..2).for_each(|_| drop(server.event("open")));
    server.type_line(r#"{"text":"hello"}"#);
    server.type_line(r#"{"ping":"p"}"#);
    (0..2).for_each(|_| assert!(server.event("pong")["round_trip_ms"].as_f64().unwrap() > 0.0));
    server.type_line(r#"{"close":4000,"reason":"enough"}"#);
    for client in clients {
        let ended = client.end();
        assert_eq!((ended.text(), ended.status), ("hello\n", Some(7)), "{ended:?}");
        assert!(ended.err.contains(r#"4000 "enough""#), "{ended:?}");
    }
}

#[test]
fn messages_come_back_if_that_is_wanted() {
    let (_server, url) = listening(&["--echo"]);
    assert_eq!(run(&["connect", &url], "a\nb\n").text(), "a\nb\n");
}

#[test]
fn its_input_may_end_before_it_does() {
    let (mut server, url) = listening(&["--once"]);
    drop(server.input.take());
    assert_eq!(run(&["connect", &url], "a\n").status, Some(0));
    assert_eq!(server.event("message")["text"], "a");
    assert_eq!(server.end().status, Some(0));
}

#[test]
fn refused_requests_are_told() {
    let (mut server, url) = listening(&[]);
    let ended = run(&["connect", &url, "--origin", "http://elsewhere.example"], "");
    assert_eq!(ended.status, Some(4));
    assert!(server.event("error")["message"].as_str().unwrap().contains("http://elsewhere.example"));
    let (_server, url) = listening(&["--any-origin"]);
    assert_eq!(run(&["connect", &url, "--origin", "http://elsewhere.example"], "").status, Some(0));
}

#[test]
fn an_address_in_use_is_a_failure() {
    let (_server, url) = listening(&[]);
    let addr = url.trim_start_matches("ws://").trim_end_matches('/');
    let ended: Ended = run(&["listen", addr], "");
    assert!(ended.status == Some(1) && ended.err.starts_with("bellwire: cannot listen on"), "{ended:?}");
    assert_eq!(run(&["listen", "1", "2"], "").status, Some(2));
    assert_eq!(run(&["listen", "--auth", "a:b"], "").status, Some(2));
}

#[cfg(unix)]
fn interrupt(running: &Running) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(running.pid() as i32).unwrap(), Signal::INT).unwrap();
}

/// It has told of a try that has failed, so by then it listens to signals.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_what_is_not_connected() {
    let mut running = Running::start(&["connect", &support::nobody().to_string(), "--reconnect", "--jsonl"]);
    running.event("retry");
    interrupt(&running);
    assert_eq!(running.end().status, Some(130));
}

#[cfg(unix)]
#[test]
fn ctrl_c_closes_what_is_open() {
    let (mut server, url) = listening(&["--echo"]);
    let [mut one, mut other] = [(); 2].map(|()| Running::start(&["connect", &url, "--jsonl"]));
    (0..2).for_each(|_| drop(server.event("open")));
    for client in [&mut one, &mut other] {
        client.type_line(r#"{"text":"a"}"#);
        // By then it listens to signals.
        client.event("message");
    }
    interrupt(&one);
    assert_eq!(one.end().status, Some(130));
    assert_eq!(server.event("closed")["code"], 1000);
    interrupt(&server);
    let ended = other.end();
    assert_eq!((ended.status, &ended.events("closed")[0]["code"]), (Some(0), &1001.into()), "{ended:?}");
    assert_eq!(server.end().status, Some(0));
}
