//! Messages that are compressed once and sent to many, those that are not to be compressed, and what is forgotten.

use bellwire_core::config::Deflate;
use bellwire_core::proto::Connection;
use bellwire_core::{Config, Outgoing, Prepared, Role};

use super::{agreed, deflating};
use crate::common::*;

const TEXT: &str = "a message that is long enough to be compressed, and long enough again to be worth it, and again";

pub(super) fn output(connection: &mut Connection) -> Vec<u8> {
    let bytes: Vec<u8> = connection.output().pieces().flatten().copied().collect();
    connection.wrote(START, bytes.len());
    bytes
}

/// What the other end reads in these bytes.
pub(super) fn read(connection: &mut Connection, mut bytes: Vec<u8>) -> Vec<Seen> {
    let mut input = &mut bytes[..];
    std::iter::from_fn(|| connection.next_event(START, &mut input).map(Seen::from)).collect()
}

fn pair(config: &Config, parameters: &str) -> [Connection; 2] {
    [Role::Server, Role::Client].map(|role| deflating(role, config, agreed(parameters)))
}

/// RSV1 of the first frame.
fn is_compressed(bytes: &[u8]) -> bool {
    bytes[0] & 0x40 != 0
}

#[test]
fn a_prepared_message_is_the_same_bytes_for_each_connection_with_such_a_window() {
    let config = timeless().deflate(Deflate::default());
    let long = TEXT.repeat(30);
    let prepared = Prepared::new(&long);
    let mut frames = vec![];
    for parameters in
        ["", "; server_max_window_bits=9", "", "; server_max_window_bits=9", "; server_no_context_takeover"]
    {
        let [mut server, mut client] = pair(&config, parameters);
        server.send(TEXT).unwrap();
        assert_eq!(read(&mut client, output(&mut server)), [Seen::text(TEXT)]);
        server.send(&prepared).unwrap();
        let bytes = output(&mut server);
        assert!(is_compressed(&bytes) && bytes.len() < long.len() / 4);
        assert_eq!(read(&mut client, bytes.clone()), [Seen::text(&long)]);
        frames.push(bytes);
    }
    assert_eq!([&frames[0], &frames[1], &frames[0]], [&frames[2], &frames[3], &frames[4]]);
}

#[test]
fn what_follows_a_prepared_message_may_refer_to_it() {
    for (deflate, is_shorter) in [
        (Deflate::default(), true),
        (Deflate::default().history(0), false),
        // It has not seen the message, and what it has seen is further back than it thinks.
        (Deflate::default().own_compressor(true), false),
    ] {
        let config = timeless().deflate(deflate);
        let [mut server, mut client] = pair(&config, "");
        let before = "something else, which is in the window when the prepared message comes";
        for message in [before, before] {
            server.send(message).unwrap();
            assert_eq!(read(&mut client, output(&mut server)), [Seen::text(message)]);
        }
        server.send(Prepared::new(TEXT)).unwrap();
        let alone = output(&mut server);
        assert_eq!(read(&mut client, alone.clone()), [Seen::text(TEXT)]);
        server.send(TEXT).unwrap();
        let after = output(&mut server);
        assert!(is_compressed(&after));
        assert_eq!(after.len() < alone.len() / 2, is_shorter, "{deflate:?}: {} {}", alone.len(), after.len());
        assert_eq!(read(&mut client, after), [Seen::text(TEXT)]);
        server.send(before).unwrap();
        assert_eq!(read(&mut client, output(&mut server)), [Seen::text(before)]);
    }
}

#[test]
fn a_prepared_message_that_gets_no_shorter_is_sent_as_it_is() {
    let noise = super::noise(1, 500);
    let [mut server, mut client] = pair(&timeless().deflate(Deflate::default()), "");
    server.send(Prepared::new(&noise)).unwrap();
    let bytes = output(&mut server);
    assert!(!is_compressed(&bytes));
    assert_eq!(read(&mut client, bytes), [Seen::Binary(noise)]);
}

#[test]
fn a_client_masks_each_prepared_message_anew() {
    let [mut server, mut client] = pair(&timeless().deflate(Deflate::default()), "");
    let prepared = Prepared::new(TEXT);
    for _ in 0..2 {
        client.send(&prepared).unwrap();
        let bytes = output(&mut client);
        assert!(is_compressed(&bytes) && bytes[1] & 0x80 != 0);
        assert_eq!(read(&mut server, bytes), [Seen::text(TEXT)]);
    }
}

#[test]
fn a_message_that_is_not_to_be_compressed_is_not_and_is_not_referred_to() {
    let config = timeless().deflate(Deflate::default().threshold(0));
    let [mut server, mut client] = pair(&config, "");
    let prepared = Prepared::new(Outgoing::from(TEXT).uncompressed());
    for message in [Outgoing::from(TEXT), String::from(TEXT).into(), (&prepared).into(), prepared.clone().into()] {
        server.send(message.uncompressed()).unwrap();
        server.send(&prepared).unwrap();
        let bytes = output(&mut server);
        assert_eq!(bytes.len(), 2 * (2 + TEXT.len()));
        assert!(!is_compressed(&bytes));
        assert_eq!(read(&mut client, bytes), [Seen::text(TEXT), Seen::text(TEXT)]);
    }
    // Prepared first, and said afterwards.
    let prepared = Prepared::new(TEXT);
    for message in [Outgoing::from(&prepared), prepared.clone().into()] {
        server.send(Prepared::new(message.uncompressed())).unwrap();
        let bytes = output(&mut server);
        assert!(!is_compressed(&bytes));
        assert_eq!(read(&mut client, bytes), [Seen::text(TEXT)]);
    }
    server.send(TEXT).unwrap();
    let bytes = output(&mut server);
    assert!(is_compressed(&bytes) && bytes.len() > TEXT.len() / 3);
    assert_eq!(read(&mut client, bytes), [Seen::text(TEXT)]);
}

/// RFC 7692 obliges no sender to refer to anything: an idle connection's memory is given back.
#[test]
fn a_connection_that_sends_nothing_between_two_keepalive_pings_forgets_what_it_sent() {
    for deflate in [Deflate::default(), Deflate::default().own_compressor(true)] {
        let config = Config::default().keepalive_interval(secs(20)).pong_timeout(secs(20)).deflate(deflate);
        let [mut server, mut client] = pair(&config, "");
        let mut send = |server: &mut Connection, now| {
            server.send(TEXT).unwrap();
            let bytes: Vec<u8> = server.output().pieces().flatten().copied().collect();
            server.wrote(now, bytes.len());
            assert_eq!(read(&mut client, bytes.clone()), [Seen::text(TEXT)]);
            bytes.len()
        };
        let (first, second) = (send(&mut server, START), send(&mut server, START));
        assert!(second < first / 2);
        let ping = |server: &mut Connection, now| {
            server.handle_timeout(now);
            let ping: Vec<u8> = server.output().pieces().flatten().copied().collect();
            assert_eq!(ping, b"\x89\x00");
            server.wrote(now, ping.len());
            // The peer is there, and says no more than that.
            let mut pong = wire(&[Frame::pong("")], Role::Client);
            assert!(server.next_event(now, &mut &mut pong[..]).is_some());
        };
        ping(&mut server, at(secs(20)));
        assert!(send(&mut server, at(secs(21))) <= second, "it has sent before that ping");
        ping(&mut server, at(secs(41)));
        ping(&mut server, at(secs(62)));
        assert_eq!(send(&mut server, at(secs(63))), first);
        assert!(send(&mut server, at(secs(64))) <= second);
    }
}
