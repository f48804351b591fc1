//! No last word is lost: programs of a few lines that say something and return from `main`, each of them again and
//! again (`src/bin/last_words.rs`).

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use bellwire_tests::{AsyncStd, Blocking, Frame, Multi, OnTokio, Raw, Single, Smol, backends};

backends! {
    server {
        e1_a_server_that_is_shut_down_loses_no_last_word,
    }
    client {
        e1_a_client_that_closes_and_returns_loses_no_last_word,
        e1_what_on_open_sends_comes_before_a_close,
        e2_a_client_that_sends_and_returns_loses_no_last_word,
    }
}

mod streams {
    use super::*;

    backends! {
        server {
            e3_a_servers_stream_that_sends_and_returns_loses_no_last_word,
        }
        client {
            e3_a_stream_that_sends_and_returns_loses_no_last_word,
            e1_a_stream_that_closes_and_returns_loses_no_last_word,
        }
    }

    fn e3_a_servers_stream_that_sends_and_returns_loses_no_last_word<B: Named>() {
        again_and_again(|| {
            server::<B>("stream_server", |mut peer| {
                peer.expect([Frame::text(LAST_WORDS)]);
                peer.drain();
            })
        });
    }

    fn e3_a_stream_that_sends_and_returns_loses_no_last_word<B: Named>() {
        again_and_again(|| {
            client::<B>("stream_send", |mut peer| {
                peer.expect([Frame::text(LAST_WORDS)]);
                peer.drain();
            })
        });
    }

    fn e1_a_stream_that_closes_and_returns_loses_no_last_word<B: Named>() {
        again_and_again(|| client::<B>("stream_close", answer_close));
    }
}

const LAST_WORDS: &str = "last words";

/// How often each program runs: what is lost is lost now and then.
const RUNS: usize = 50;

/// How the programs call a backend, and how one sends and returns there.
pub(crate) trait Named {
    const NAME: &str;
    const SEND: &str;
}

impl Named for Blocking {
    const NAME: &str = "blocking";
    const SEND: &str = "send";
}

impl Named for OnTokio<Multi> {
    const NAME: &str = "tokio";
    const SEND: &str = "send";
}

impl Named for OnTokio<Single> {
    const NAME: &str = "tokio_single_threaded";
    const SEND: &str = "send";
}

/// These runtimes end without dropping their tasks: a program has to wait for what it sends.
impl Named for AsyncStd {
    const NAME: &str = "async_std";
    const SEND: &str = "send_and_wait";
}

impl Named for Smol {
    const NAME: &str = "smol";
    const SEND: &str = "send_and_wait";
}

fn e1_a_client_that_closes_and_returns_loses_no_last_word<B: Named>() {
    again_and_again(|| client::<B>("close", answer_close));
}

fn e1_what_on_open_sends_comes_before_a_close<B: Named>() {
    again_and_again(|| client::<B>("on_open", answer_close));
}

fn e2_a_client_that_sends_and_returns_loses_no_last_word<B: Named>() {
    again_and_again(|| {
        client::<B>(B::SEND, |mut peer| {
            peer.expect([Frame::text(LAST_WORDS)]);
            peer.drain();
        })
    });
}

fn e1_a_server_that_is_shut_down_loses_no_last_word<B: Named>() {
    again_and_again(|| {
        server::<B>("shutdown", |mut peer| {
            peer.expect([Frame::text(LAST_WORDS), Frame::close(1001, "Server Shutdown")]);
            peer.send([Frame::close(1001, "")]);
            peer.hang_up();
        })
    });
}

fn answer_close(mut peer: Raw) {
    peer.expect([Frame::text(LAST_WORDS), Frame::close(1000, "Normal Closure")]);
    peer.send([Frame::close(1000, "")]);
    peer.hang_up();
}

fn again_and_again(run: impl Fn()) {
    (0..RUNS).for_each(|_| run());
}

/// Runs a client's program against a peer.
fn client<B: Named>(program: &str, peer: impl FnOnce(Raw)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let running = start(&[program, B::NAME, &url]);
    let mut raw = Raw::accept(&listener);
    raw.write(&raw.switching(&[]));
    peer(raw);
    succeeds(running);
}

/// Runs a server's program, and a peer against it.
fn server<B: Named>(program: &str, peer: impl FnOnce(Raw)) {
    let mut running = start(&[program, B::NAME]);
    let mut addr = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut addr).unwrap();
    peer(Raw::open(addr.trim().parse().unwrap()));
    succeeds(running);
}

fn start(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_last_words")).args(args).stdout(Stdio::piped()).spawn().unwrap()
}

fn succeeds(mut running: Child) {
    assert!(running.wait().unwrap().success());
}
