//! Streams of messages whose transports, peers or owners go wrong: those who wait learn it, and no thread is left.

// Threads are counted by what Linux says of them.
#![cfg(target_os = "linux")]

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_blocking::{MessageStream, Stream, accept_stream, connect_stream, connect_stream_over, reconnecting};
use bellwire_core::reconnect::{EndReason, Event, Policy};
use bellwire_core::{Config, StreamError, Target};

const PATIENCE: Duration = Duration::from_secs(20);

/// One test at a time, since threads are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many threads of this process are named so.
fn threads(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

#[track_caller]
fn no_thread_is_left() {
    let start = Instant::now();
    while threads("bellwire") > 0 {
        assert!(start.elapsed() < PATIENCE, "{} threads are left", threads("bellwire"));
        thread::sleep(Duration::from_millis(5));
    }
}

/// A transport that panics once it is told to, in reads or in writes.
struct Panicking {
    tcp: TcpStream,
    reads: Arc<AtomicBool>,
    writes: Arc<AtomicBool>,
}

impl Stream for Panicking {
    fn set_blocking(&self) -> io::Result<()> {
        self.tcp.set_nonblocking(false)
    }
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = Stream::read(&self.tcp, buffer)?;
        assert!(!self.reads.load(Ordering::Relaxed), "on purpose");
        Ok(count)
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.writes.load(Ordering::Relaxed), "on purpose");
        Stream::write(&self.tcp, bytes)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(timeout)
    }
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.tcp.shutdown(how)
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn target(addr: SocketAddr) -> Target {
    Target::new(format!("ws://{addr}/")).unwrap()
}

/// Two ends of a connection.
fn pair() -> (MessageStream, MessageStream) {
    let (listener, addr) = listen();
    let server = thread::spawn(move || accept_stream(listener.accept().unwrap().0, Config::default()).unwrap());
    let (client, _) = connect_stream(target(addr)).unwrap();
    assert!(threads("bellwire") >= 2);
    (client, server.join().unwrap())
}

#[test]
fn a_transport_that_panics_ends_the_stream() {
    let _alone = alone();
    for (panics_in_reads, panics_in_writes) in [(true, false), (false, true)] {
        let (listener, addr) = listen();
        let server = thread::spawn(move || accept_stream(listener.accept().unwrap().0, Config::default()).unwrap());
        let (reads, writes) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let tcp = TcpStream::connect(addr).unwrap();
        let stream = Panicking { tcp, reads: reads.clone(), writes: writes.clone() };
        let (mut client, _) = connect_stream_over(target(addr), stream).unwrap();
        let mut server = server.join().unwrap();
        reads.store(panics_in_reads, Ordering::Relaxed);
        writes.store(panics_in_writes, Ordering::Relaxed);
        server.send("now").unwrap();
        let _ = client.send("now");
        // Whatever comes before: there is an end.
        for _ in 0..3 {
            match client.recv_timeout(PATIENCE) {
                None => break,
                Some(Err(StreamError::Timeout)) => panic!("reads {panics_in_reads}: it does not end"),
                Some(_) => {}
            }
        }
        assert!(client.recv_timeout(PATIENCE).is_none(), "reads {panics_in_reads}");
        assert!(client.closed().is_some());
        drop(client);
        while server.recv().is_some() {}
        drop(server);
        no_thread_is_left();
    }
}

#[test]
fn no_thread_is_left_however_it_ends() {
    let _alone = alone();
    for way in 0..6 {
        let (mut client, mut server) = pair();
        server.send("hello").unwrap();
        match way {
            0 => drop((client, server)),
            1 => drop((server, client)),
            2 => {
                let (sender, receiver) = client.split();
                drop(sender);
                let closing = thread::spawn(move || server.close());
                assert!(receiver.count() > 0);
                assert!(closing.join().unwrap().clean);
            }
            3 => {
                let (mut sender, receiver) = client.split();
                drop(receiver);
                sender.send("last").unwrap();
                drop(sender);
                assert_eq!(server.map(Result::unwrap).last().unwrap(), "last");
            }
            4 => {
                client.socket().abort();
                while server.recv().is_some() {}
                drop((client, server));
            }
            _ => {
                let answering = thread::spawn(move || while server.recv().is_some() {});
                assert!(client.close().clean);
                answering.join().unwrap();
            }
        }
        no_thread_is_left();
    }
    // What is no request.
    for rubbish in [&b""[..], b"\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let (listener, addr) = listen();
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.write_all(rubbish).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let error = accept_stream(listener.accept().unwrap().0, Config::default()).unwrap_err();
        assert!(!error.to_string().is_empty());
        drop(peer);
        no_thread_is_left();
    }
}

#[test]
fn no_thread_is_left_of_a_client_that_connects_again() {
    let _alone = alone();
    let (listener, addr) = listen();
    let policy = Policy::new().first_delay(Duration::ZERO).max_delay(Duration::from_millis(10));
    // While it shakes hands, and as soon as it has.
    for answers in [false, true] {
        let mut stream = reconnecting(target(addr), policy.clone()).unwrap().stream().unwrap();
        let (tcp, _) = listener.accept().unwrap();
        if answers {
            let server = thread::spawn(move || accept_stream(tcp, Config::default()).unwrap());
            let Some(Event::Connected { .. }) = stream.recv() else { panic!() };
            let mut server = server.join().unwrap();
            drop(stream);
            while server.recv().is_some() {}
        } else {
            let handle = stream.handle();
            drop(stream);
            drop(tcp);
            assert_eq!(handle.wait().unwrap().reason, EndReason::Closed);
        }
        no_thread_is_left();
    }
}

#[test]
fn who_receives_on_another_thread_frees_a_sender_that_is_stuck() {
    let _alone = alone();
    const COUNT: usize = 3000;
    let (client, server) = pair();
    let (mut sender, receiver) = client.split();
    // Both send more than both take, before anybody receives.
    let theirs = thread::spawn(move || {
        let (mut sender, receiver) = server.split();
        let sending = thread::spawn(move || (0..COUNT).for_each(|_| sender.send("y".repeat(1000)).unwrap()));
        let received = receiver.map(Result::unwrap).take(COUNT).count();
        sending.join().unwrap();
        received
    });
    let (sent, stuck) = std::sync::mpsc::channel();
    let sending = thread::spawn(move || {
        (0..COUNT).for_each(|number| {
            sender.send("x".repeat(1000)).unwrap();
            sent.send(number).unwrap();
        });
        sender
    });
    let _ = stuck.recv().unwrap();
    assert_eq!(receiver.map(Result::unwrap).take(COUNT).count(), COUNT);
    let sender = sending.join().unwrap();
    assert_eq!(theirs.join().unwrap(), COUNT);
    drop(sender);
    no_thread_is_left();
}
