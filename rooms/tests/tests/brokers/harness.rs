//! What the other tests stand on: a broker really stops, and a relay really cuts.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bellwire_rooms_tests::{Broker, Kind, Relay, Way, wait_until};

fn read(port: u16, wait: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(b"PING\r\n")?;
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
#[ignore = "needs nats-server and redis-server"]
fn brokers_answer_until_they_are_stopped_and_again_when_they_are_back() {
    for kind in Kind::ALL {
        let mut broker = Broker::start(kind);
        let answers = |broker: &Broker| read(broker.port(), bellwire_rooms_tests::PATIENCE);
        assert!(!answers(&broker).unwrap().is_empty());
        broker.stop();
        assert_eq!(answers(&broker).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        broker.restart();
        assert!(!answers(&broker).unwrap().is_empty());
        broker.pause();
        assert_eq!(read(broker.port(), SHORT).unwrap_err().kind(), ErrorKind::WouldBlock);
        broker.resume();
        assert!(!answers(&broker).unwrap().is_empty());
        broker.kill();
        assert_eq!(answers(&broker).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
#[ignore = "needs nats-server and redis-server"]
fn a_relay_is_a_way_to_the_broker_that_can_be_closed() {
    for kind in Kind::ALL {
        let broker = Broker::secured(kind, "s3cret");
        let relay = Relay::to(broker.port());
        assert!(matches!(read(relay.port(), bellwire_rooms_tests::PATIENCE), Ok(answer) if !answer.is_empty()));
        for silent in [Way::Held, Way::Slow, Way::BlackHole] {
            relay.set(silent);
            assert_eq!(read(relay.port(), SHORT).unwrap_err().kind(), ErrorKind::WouldBlock, "{silent:?}");
        }
        relay.set(Way::Cut);
        wait_until("an end", || !matches!(read(relay.port(), SHORT), Ok(answer) if !answer.is_empty()));
        relay.set(Way::Rubbish);
        wait_until("rubbish", || read(relay.port(), SHORT).is_ok_and(|answer| answer.starts_with(b"\xFFrubbish")));
        relay.set(Way::Open);
        assert!(matches!(read(relay.port(), SHORT), Ok(answer) if !answer.starts_with(b"\xFF")));
        assert_eq!(broker.channels("x"), [].into());
    }
}
