//! `bellwire bench`, against servers whose slowness is known.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bellwire::{Request, Response, listener};
use serde_json::Value;
use support::{Served, nobody, run};

/// The result as an object, and the exit status.
fn result(url: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let ended = run(&[&["bench", url, "--json"], arguments].concat(), "");
    assert_eq!(ended.err, "");
    (serde_json::from_str(ended.text()).unwrap(), ended.status)
}

/// A server that stops for a while at the message of this number, and echoes all.
fn stalling(at: u32, time: Duration) -> Served {
    Served::new(move |_| {
        let listener = listener().with_state(0).on_message(move |count, socket, message| {
            if *count == at {
                thread::sleep(time);
            }
            *count += 1;
            socket.send(message)
        });
        Response::websocket(listener)
    })
}

/// How many latencies are at least as long.
fn slower(result: &Value, millis: f64) -> u64 {
    let buckets = result["histogram"].as_array().unwrap().iter();
    let slow = buckets.filter(|bucket| bucket["from_ms"].as_f64().unwrap() >= millis);
    slow.map(|bucket| bucket["count"].as_u64().unwrap()).sum()
}

#[test]
fn at_a_rate_all_messages_are_sent_and_counted() {
    let server = Served::echo();
    let (result, status) = result(&server.url(), &["--rate", "1000", "--duration", "0.3", "--connections", "7"]);
    assert_eq!(status, Some(0), "{result}");
    for (what, count) in [("sent", 300), ("answered", 300), ("unanswered", 0), ("different", 0), ("unasked", 0)] {
        assert_eq!(result[what], count, "{what}: {result}");
    }
    assert_eq!(slower(&result, 0.0), 300, "each answer is in the histogram");
    let latency = |name: &str| result["latency_ms"][name].as_f64().unwrap();
    let quantiles = ["min", "p50", "p90", "p99", "p99.9", "max"].map(latency);
    assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{result}");
}

#[test]
fn one_after_the_other_each_answer_sends_the_next() {
    let server = Served::echo();
    let (result, status) =
        result(&server.url(), &["--duration", "0.2", "--connections", "2", "--depth", "3", "--binary"]);
    assert_eq!(status, Some(0), "{result}");
    assert!(result["answered"].as_u64().unwrap() >= 6, "{result}");
    assert_eq!(result["sent"], result["answered"]);
    assert_eq!((&result["depth"], &result["rate"]), (&3.into(), &Value::Null));
}

/// The server stops for 400 ms at the 50th of 100 messages, which are due 10 ms apart. Who waits for each answer before
/// sending the next message sees one that is slow. But 26 messages are due more than 134 ms before it goes on, and have
/// to wait that long, however slow or fast this machine is.
#[test]
fn a_stall_is_seen_by_all_messages_that_were_due_in_it() {
    let server = stalling(50, Duration::from_millis(400));
    let (result, status) = result(&server.url(), &["--rate", "100", "--duration", "1"]);
    assert_eq!((status, &result["answered"]), (Some(0), &100.into()));
    assert!(slower(&result, 134.0) >= 26, "{result}");
    assert!(result["latency_ms"]["p90"].as_f64().unwrap() >= 134.0, "{result}");
    assert!(result["latency_ms"]["max"].as_f64().unwrap() >= 400.0, "{result}");
}

/// The server reads nothing for two seconds: not all fits into the queues, and the rest is sent when it goes on. But all was
/// due within the first 200 ms.
#[test]
fn what_a_server_does_not_take_is_sent_later_and_due_all_the_same() {
    let server = stalling(0, Duration::from_secs(2));
    let load = ["--rate", "200", "--duration", "0.2", "--size", "1000000", "--binary", "--wait", "60"];
    let (result, status) = result(&server.url(), &load);
    assert_eq!((status, &result["answered"]), (Some(0), &40.into()), "{result}");
    assert_eq!(slower(&result, 1073.0), 40, "{result}");
}

#[test]
fn what_has_no_answer_counts_with_the_time_that_it_has_waited() {
    let server = Served::new(|_| Response::websocket(listener()));
    let (result, status) = result(&server.url(), &["--rate", "10", "--duration", "0.5", "--wait", "0.1"]);
    assert_eq!(status, Some(8));
    assert_eq!((&result["sent"], &result["answered"], &result["unanswered"]), (&5.into(), &0.into(), &5.into()));
    assert_eq!(slower(&result, 67.0), 5, "{result}");
}

#[test]
fn other_answers_are_counted() {
    let server = Served::new(|_| Response::websocket(listener().on_message(|socket, _| socket.send("other"))));
    let (told, status) = result(&server.url(), &["--rate", "50", "--duration", "0.1"]);
    assert_eq!((status, &told["answered"], &told["different"]), (Some(8), &5.into(), &5.into()));
    let (told, status) = result(&server.url(), &["--rate", "50", "--duration", "0.1", "--message", "mine"]);
    assert_eq!((status, &told["different"], &told["size"]), (Some(0), &0.into(), &4.into()));
    let twice = Served::new(|_| {
        Response::websocket(listener().on_message(|socket, message| {
            socket.send(message)?;
            socket.send(message)
        }))
    });
    let (told, _) = result(&twice.url(), &["--rate", "50", "--duration", "0.1"]);
    assert_eq!(told["answered"].as_u64().unwrap() + told["unasked"].as_u64().unwrap(), 10, "{told}");
}

#[test]
fn connections_that_fail_are_told() {
    let ended = run(&["bench", &nobody().to_string(), "--duration", "1"], "");
    assert!(ended.status == Some(3) && ended.text().is_empty(), "{ended:?}");
    // Every second one is refused.
    let asked = AtomicU32::new(0);
    let server = Served::new(move |_: &Request| {
        if asked.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return Response::new(503);
        }
        Response::websocket(listener().on_message(|socket, message| socket.send(message)))
    });
    let (told, status) = result(&server.url(), &["--connections", "4", "--rate", "50", "--duration", "0.1"]);
    assert_eq!((status, &told["answered"]), (Some(4), &5.into()), "{told}");
    let errors: Vec<_> = told["errors"].as_object().unwrap().iter().collect();
    assert!(matches!(errors[..], [(text, count)] if text.contains("503") && *count == 2), "{told}");
    let lossy = Served::new(|_| Response::websocket(listener().on_message(|socket, _| socket.abort())));
    let (told, status) = result(&lossy.url(), &["--duration", "60"]);
    assert_eq!((status, &told["unanswered"]), (Some(6), &1.into()), "{told}");
}

#[test]
fn results_are_for_people_too() {
    let server = Served::echo();
    let ended = run(&["bench", &server.url(), "--rate", "50", "--duration", "0.1", "--size", "1000"], "");
    assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""));
    for says in ["5 sent, 5 answered\n", "messages/s of 1,000 bytes", "p99.9", "##########"] {
        assert!(ended.text().contains(says), "{ended:?}");
    }
}

#[test]
fn each_second_is_told_in_jsonl() {
    let server = Served::echo();
    let ended = run(&["bench", &server.url(), "--rate", "50", "--duration", "1.2", "--jsonl"], "");
    assert_eq!(ended.events("progress")[0]["second"], 1);
    assert_eq!((ended.events("result")[0]["answered"].as_u64(), ended.status), (Some(60), Some(0)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        &["bench"][..],
        &["bench", "a", "--rate", "0"],
        &["bench", "a", "--rate", "NaN"],
        &["bench", "a", "--rate", "1", "--depth", "1"],
        &["bench", "a", "--depth", "0"],
        &["bench", "a", "--connections", "0"],
        &["bench", "a", "--duration", "0"],
        &["bench", "a", "--json", "--jsonl"],
        &["bench", "a", "--hex"],
    ] {
        let ended = run(arguments, "");
        assert!(ended.status == Some(2) && ended.err.contains("see --help"), "{arguments:?}: {ended:?}");
    }
}
