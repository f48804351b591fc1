//! A server whose connections are streams, each for a thread that talks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bellwire_blocking::{MessageStream, Server, connect_stream};
use bellwire_core::{BoxError, ClosedBy, Config, ConnectError, Request, Response, ServerError, StreamError};

const PATIENCE: Duration = Duration::from_secs(30);

fn echo(messages: &mut MessageStream) -> Result<(), BoxError> {
    while let Some(message) = messages.recv() {
        let message = message?;
        if message == "fail" {
            return Err("as the client wants it".into());
        }
        assert_ne!(message, "panic");
        if message == "leave" {
            return Ok(());
        }
        if message == "wait" {
            // Nothing comes: that is an error of who talks.
            messages.recv_timeout(Duration::from_millis(1)).unwrap()?;
        }
        messages.send(message)?;
    }
    Ok(())
}

#[test]
fn connections_talk_each_on_its_thread_and_end_as_their_function_does() {
    let (sender, told) = mpsc::channel();
    let server = Server::bind("127.0.0.1:0").unwrap().config(Config::default().keepalive_interval(None));
    let server = server.on_error(move |error: &ServerError| sender.send(error.to_string()).unwrap());
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let running = thread::spawn(move || {
        server.run_streams(|request: &Request| match request.path() {
            "/echo" => Ok(echo),
            _ => Err(Response::not_found()),
        })
    });
    let url = format!("ws://{addr}/echo");
    let mut open: Vec<_> = (0..3).map(|_| connect_stream(&url).unwrap().0).collect();
    for (index, messages) in open.iter_mut().enumerate() {
        messages.send(index.to_string()).unwrap();
    }
    for (index, messages) in open.iter_mut().enumerate().rev() {
        assert_eq!(messages.recv_timeout(PATIENCE).unwrap().unwrap(), index.to_string());
    }
    assert_eq!(handle.connections(), 3);

    for (word, code, reason, report) in [
        ("leave", 1000, "Normal Closure", None),
        ("fail", 1011, "Unexpected Error", Some("the handler failed: as the client wants it")),
        ("panic", 1011, "Unexpected Error", None),
        ("wait", 1011, "Unexpected Error", Some("the handler failed: it took longer")),
    ] {
        let (mut messages, _) = connect_stream(&url).unwrap();
        messages.send(word).unwrap();
        assert!(messages.recv_timeout(PATIENCE).is_none(), "{word}");
        let closed = messages.closed().unwrap();
        assert_eq!((u16::from(closed.code), &*closed.reason, closed.by), (code, reason, ClosedBy::Peer), "{word}");
        if let Some(report) = report {
            let told = told.recv_timeout(PATIENCE).unwrap();
            assert!(told.starts_with(report), "{told}");
        }
    }
    // A peer that vanishes is known, and no failure of who talks.
    let (messages, _) = connect_stream(&url).unwrap();
    messages.socket().abort();
    let (mut last, _) = connect_stream(&url).unwrap();
    last.send("last").unwrap();
    assert_eq!(last.recv_timeout(PATIENCE).unwrap().unwrap(), "last");

    let error = connect_stream(format!("ws://{addr}/other")).unwrap_err();
    assert_eq!(error.response().map(|answer| answer.status()), Some(404));
    assert!(matches!(error, ConnectError::Handshake(_)));
    let mut plain = TcpStream::connect(addr).unwrap();
    plain.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");

    // Those that are left are closed, and see it.
    assert_eq!(handle.shutdown(PATIENCE), 0);
    running.join().unwrap().unwrap();
    for mut messages in open.into_iter().chain([last]) {
        assert!(messages.recv_timeout(PATIENCE).is_none());
        assert_eq!(messages.closed().unwrap().code, 1001);
        assert!(matches!(messages.send("late"), Err(StreamError::Send(_))));
    }
    // The plain request was told as refused.
    let rest: Vec<String> = told.try_iter().filter(|told| told.contains("handler")).collect();
    assert_eq!(rest, Vec::<String>::new());
}
