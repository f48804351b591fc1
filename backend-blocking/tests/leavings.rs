//! What is left of ways that lead nowhere: no thread, and no descriptor. They are counted, so that this is one test in a
//! process of its own.
#![cfg(target_os = "linux")]

mod trust;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bellwire_blocking::{Server, accept_stream, connect_stream};
use bellwire_core::{Config, ConnectError, Proxy, Target};

use trust::{shared, trust, trust_of};

const PATIENCE: Duration = Duration::from_secs(30);

fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count()
}

/// What a bad peer does with a client.
type Bad = fn(TcpStream);

/// Lets a peer do this with one client after the other.
fn peer(bad: Bad) -> u16 {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    thread::spawn(move || listening.incoming().for_each(|client| bad(client.unwrap())));
    port
}

fn says(mut client: TcpStream, bytes: &[u8]) {
    let _ = client.read(&mut [0; 4096]);
    let _ = client.write_all(bytes);
}

/// Until the client has left.
fn waits(mut client: TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    while client.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
}

#[test]
fn nothing_is_left_of_what_has_failed() {
    const TIMES: usize = 20;
    let bad: [Bad; 6] = [
        drop,
        waits,
        |client| says(client, b"rubbish\r\n\r\n"),
        |client| says(client, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
        |client| says(client, &[0x15, 3, 3, 0, 2, 2, 40]),
        |client| {
            // Half an answer, and no more.
            let _ = (&client).write_all(b"HTTP/1.1 101 Switch");
            waits(client);
        },
    ];
    let ports: Vec<u16> = bad.into_iter().map(peer).collect();
    let (client, _) = shared();
    let (_, untrusted) = trust_of(trust());
    let server = Server::bind("127.0.0.1:0").unwrap().tls(untrusted).on_error(|_| ());
    let (untrusted, handle) = (server.local_addr().unwrap().port(), server.handle());
    let running = thread::spawn(move || server.run(|_| bellwire_core::Response::new(204)));
    let target = |url: String| {
        let config =
            Config::default().open_timeout(Duration::from_millis(60)).linger_timeout(Duration::from_millis(10));
        Target::new(url).unwrap().tls(client.clone()).config(config)
    };
    let fails = |target: Target| -> ConnectError { connect_stream(target).unwrap_err() };
    let try_all = || {
        for port in ports.iter().chain([&untrusted]) {
            fails(target(format!("ws://127.0.0.1:{port}/")));
            fails(target(format!("wss://127.0.0.1:{port}/")));
            for scheme in ["http", "https", "socks5"] {
                let proxy = Proxy::new(format!("{scheme}://127.0.0.1:{port}")).unwrap();
                fails(target("wss://127.0.0.1:1/".into()).proxy(proxy));
            }
        }
    };
    // What is made once is made.
    try_all();
    let settled = || {
        let (start, mut now) = (Instant::now(), (count("task"), count("fd")));
        // Threads end a little after what they have served.
        while start.elapsed() < Duration::from_millis(500) {
            thread::sleep(Duration::from_millis(20));
            now = now.min((count("task"), count("fd")));
        }
        now
    };
    let before = settled();
    for _ in 0..TIMES {
        try_all();
    }
    let start = Instant::now();
    while settled() > before {
        assert!(start.elapsed() < PATIENCE, "{before:?} have become {:?}", settled());
    }

    // And on the other side.
    let (addrs, addr) = mpsc::channel();
    let accepting = thread::spawn(move || {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        addrs.send(listening.local_addr().unwrap()).unwrap();
        for _ in 0..2 * TIMES {
            accept_stream(listening.accept().unwrap().0, Config::default()).unwrap_err();
        }
    });
    let addr = addr.recv().unwrap();
    for _ in 0..TIMES {
        drop(TcpStream::connect(addr).unwrap());
        let mut wrong = TcpStream::connect(addr).unwrap();
        wrong.write_all(b"rubbish\r\n\r\n").unwrap();
        waits(wrong);
    }
    accepting.join().unwrap();
    while settled() > before {
        assert!(start.elapsed() < 2 * PATIENCE, "{before:?} have become {:?}", settled());
    }
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}
