//! What a server says that refuses: in the error, and in what the `client` example prints, which is run as a program.
//! And how that exits.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bellwire::{Request, Response};
use bellwire_tests::{
    AsyncStd, Backend, Blocking, Connect, Flavor, Frame, OnTokio, Setup, Smol, Trust, backends, echo,
};

use crate::client::{fail, raw_server};

backends! {
    client {
        u13_what_a_server_says_that_refuses_is_in_the_error,
        u14_the_client_example_prints_what_a_server_says_that_refuses,
        u14_the_client_example_fails_when_a_reply_does_not_come,
        u14_the_client_example_fails_when_the_server_closes_without_a_reply,
        u14_the_client_example_checks_a_certificate_with_the_roots_of_a_file,
    }
    pair {
        u14_the_client_example_follows_as_many_redirects_as_it_is_told,
        u14_the_client_example_connects_again,
        u13_what_our_server_says_that_refuses_is_in_our_clients_error,
        u14_the_client_example_prints_a_reply_to_each_and_succeeds,
    }
}

/// What the example calls a backend.
trait Named: Backend {
    const NAME: &'static str;
}

impl Named for Blocking {
    const NAME: &'static str = "blocking";
}

impl<F: Flavor> Named for OnTokio<F> {
    const NAME: &'static str = "tokio";
}

impl Named for AsyncStd {
    const NAME: &'static str = "async-std";
}

impl Named for Smol {
    const NAME: &'static str = "smol";
}

/// Whether the example has succeeded, and what it has printed as output and as errors.
fn client<B: Named>(args: &[&str]) -> (bool, String, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(["--backend", B::NAME])
        .args(args)
        .stdin(Stdio::null())
        .output();
    let Output { status, stdout, stderr } = program.unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 29\r\n\r\nYou: <b>no</b>\n\u{1b}[2Jnot today.\n";

fn u13_what_a_server_says_that_refuses_is_in_the_error<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(REFUSAL.as_bytes());
        raw.drain();
    });
    let error = fail(&backend, Connect::to(url));
    let said = r#"the server refused the WebSocket with status 403: "You: <b>no</b>\n\u{1b}[2Jnot today.""#;
    assert_eq!(error.to_string(), said);
    server.join().unwrap();
}

fn u13_what_our_server_says_that_refuses_is_in_our_clients_error<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::text("x".repeat(10_000)).with_status(429));
    let error = fail(&backend, Connect::to(server.url("/"))).to_string();
    assert!(error.contains("429: \"xxx") && error.ends_with("x\"..") && error.len() < 300, "{error}");
}

fn u14_the_client_example_prints_what_a_server_says_that_refuses<B: Named>() {
    let (url, server) = raw_server(|mut raw| {
        raw.write(REFUSAL.as_bytes());
        raw.drain();
    });
    let (success, printed, errors) = client::<B>(&[&url, "--send", "hello"]);
    assert!(!success && printed.is_empty(), "{printed}{errors}");
    assert!(errors.contains("You: <b>no</b>\n\u{fffd}[2Jnot today.\n"), "{errors:?}");
    assert!(errors.contains("status 403"), "{errors}");
    server.join().unwrap();
}

fn u14_the_client_example_fails_when_a_reply_does_not_come<B: Named>() {
    for (replies, why) in [(0, "2 replies did not come"), (1, "a reply did not come")] {
        let (url, server) = raw_server(move |mut raw| {
            raw.write(&raw.switching(&[]));
            raw.expect([Frame::text("one"), Frame::text("two")]);
            raw.send((0..replies).map(|_| Frame::text("reply")));
            raw.expect([Frame::close(1000, "Normal Closure")]);
            raw.send([Frame::close(1000, "")]);
            raw.hang_up();
        });
        let (success, printed, errors) = client::<B>(&[&url, "--send", "one", "--send", "two", "--wait", "0.3"]);
        assert!(!success && errors.contains(why), "{printed}{errors}");
        assert_eq!(printed, "reply\n".repeat(replies));
        server.join().unwrap();
    }
}

fn u14_the_client_example_fails_when_the_server_closes_without_a_reply<B: Named>() {
    let (url, server) = raw_server(|mut raw| {
        raw.write(&raw.switching(&[]));
        raw.expect([Frame::text("hello")]);
        raw.send([Frame::close(1000, "")]);
        raw.expect([Frame::close(1000, "")]);
        raw.hang_up();
    });
    let (success, printed, errors) = client::<B>(&[&url, "--send", "hello"]);
    assert!(!success && printed.is_empty() && errors.contains("a reply did not come"), "{printed}{errors}");
    server.join().unwrap();
}

fn u14_the_client_example_prints_a_reply_to_each_and_succeeds<B: Named>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let (success, printed, errors) = client::<B>(&[&server.url("/"), "--send", "one", "--send", "two"]);
    assert_eq!((success, printed.as_str(), errors.as_str()), (true, "one\ntwo\n", ""));
}

fn u14_the_client_example_follows_as_many_redirects_as_it_is_told<B: Named>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request: &Request| match request.path() {
        "/old" => Response::new(307).header("Location", "/new"),
        _ => Response::websocket(echo()),
    });
    let url = server.url("/old");
    let (success, printed, errors) = client::<B>(&[&url, "--redirects", "1", "--send", "hello"]);
    assert!(success && printed == "hello\n", "{printed}{errors}");
    let (success, _, errors) = client::<B>(&[&url, "--send", "hello"]);
    assert!(!success && errors.contains("307"), "{errors}");
}

fn u14_the_client_example_checks_a_certificate_with_the_roots_of_a_file<B: Named>() {
    let server = bellwire::blocking::Server::bind("127.0.0.1:0").unwrap().tls(Trust::shared().server());
    let (url, handle) = (format!("wss://{}/", server.local_addr().unwrap()), server.handle());
    let running = thread::spawn(move || server.on_error(|_| ()).run(|_| Response::websocket(echo())));
    for (whose, trust, trusts) in [("shared", Trust::shared(), true), ("other", &Trust::new(), false)] {
        // The port is this test's own.
        let name = format!("bellwire-{whose}-{}", url.rsplit(':').next().unwrap().trim_end_matches('/'));
        let file = std::env::temp_dir().join(name);
        fs::write(&file, trust.root_pem()).unwrap();
        let (success, printed, errors) = client::<B>(&[&url, "--ca", file.to_str().unwrap(), "--send", "hello"]);
        fs::remove_file(file).unwrap();
        assert!(success == trusts && (printed == "hello\n") == trusts, "{whose}: {printed}{errors}");
        assert_eq!(errors.contains("certificate is not trusted"), !trusts, "{whose}: {errors}");
    }
    handle.shutdown(Duration::from_secs(1));
    running.join().unwrap().unwrap();
}

fn u14_the_client_example_connects_again<B: Named>() {
    let (backend, asked) = (B::start(), AtomicU32::new(0));
    let server = backend.serve(Setup::default(), move |_: &Request| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Response::new(503),
        _ => Response::websocket(echo()),
    });
    let (success, printed, errors) = client::<B>(&[&server.url("/"), "--reconnect", "--send", "hello"]);
    assert!(success && printed == "hello\n", "{printed}{errors}");
    assert!(errors.contains("503") && errors.contains("another try in "), "{errors}");
}
