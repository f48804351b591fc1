//! What a driver tells its backend to do, to the last byte of a transport.

use bellwire_core::backend::{Driver, Step};
use bellwire_core::proto::Connection;
use bellwire_core::{Config, Role};

use crate::common::*;
use crate::logging::*;

fn ended_by_peer(role: Role) -> Driver {
    let (mut driver, _) = logged(role);
    assert_eq!(driver.step(START), Step::Read);
    receive(&mut driver, role, &[Frame::close(1000, "")]);
    driver
}

#[test]
fn a_server_flushes_shuts_down_lingers_and_is_done() {
    let mut driver = ended_by_peer(Role::Server);
    assert_eq!(driver.step(START), Step::Read, "the close frame is not written");
    assert_eq!(written(&mut driver), Frame::close(1000, "").sent_by(Role::Server));
    assert_eq!(driver.step(at(secs(1))), Step::Shutdown);
    assert_eq!(driver.step(at(secs(1))), Step::Read, "lingering");
    assert_eq!(driver.poll_timeout(), Some(at(secs(3))));
    driver.receive(at(secs(2)), b"rubbish".to_vec().as_mut_slice());
    assert_eq!(driver.step(at(secs(2))), Step::Read);
    driver.receive_eof(at(secs(2)));
    assert_eq!(driver.step(at(secs(2))), Step::Done);
    assert_eq!(driver.step(at(secs(2))), Step::Done);
}

#[test]
fn a_client_that_said_goodbye_waits_for_the_server_to_close_first() {
    let mut driver = ended_by_peer(Role::Client);
    written(&mut driver);
    assert_eq!(driver.step(at(secs(1))), Step::Read);
    assert_eq!(driver.step(at(secs(1))), Step::Read);
    assert_eq!(driver.poll_timeout(), Some(at(secs(3))));
    driver.receive_eof(at(secs(2)));
    leaves(&mut driver, at(secs(2)));
}

#[test]
fn e4_a_sending_side_that_does_not_close_holds_no_longer_than_the_linger_timeout() {
    let mut driver = ended_by_peer(Role::Client);
    written(&mut driver);
    assert_eq!(driver.step(at(secs(1))), Step::Read);
    driver.receive_eof(at(secs(2)));
    assert_eq!(driver.next_step(at(secs(2))), Step::Shutdown);
    assert_eq!(driver.poll_timeout(), Some(at(secs(4))));
    driver.handle_timeout(at(secs(4) - ms(1)));
    assert_eq!(driver.poll_timeout(), Some(at(secs(4))));
    driver.handle_timeout(at(secs(4)));
    assert!(driver.is_done());
}

#[test]
fn e4_whoever_aborts_does_not_wait_for_the_sending_side() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        driver.socket().unwrap().abort();
        driver.start(START);
        assert_eq!(driver.step(START), Step::Done);
        drop(driver);
        assert_eq!(log.take().last().unwrap(), "close 1006 ");
    }
}

#[test]
fn a_client_that_fails_the_connection_closes_first() {
    let (mut driver, _) = logged(Role::Client);
    receive(&mut driver, Role::Client, &[Frame::new(3, "")]);
    assert_eq!(driver.step(START), Step::Read);
    written(&mut driver);
    assert_eq!(driver.step(START), Step::Shutdown);
    assert_eq!(driver.step(START), Step::Read);
    driver.receive_eof(START);
    assert_eq!(driver.step(START), Step::Done);
}

#[test]
fn lingering_ends_after_its_timeout() {
    for role in ROLES {
        let mut driver = ended_by_peer(role);
        written(&mut driver);
        while driver.step(at(secs(1))) == Step::Shutdown {}
        driver.handle_timeout(at(secs(3) - ms(1)));
        assert_eq!(driver.step(at(secs(3) - ms(1))), Step::Read);
        driver.handle_timeout(at(secs(3)));
        match role {
            Role::Server => assert_eq!(driver.step(at(secs(3))), Step::Done),
            Role::Client => leaves(&mut driver, at(secs(3))),
        }
    }
}

#[test]
fn flushing_ends_after_the_close_timeout() {
    for role in ROLES {
        let log = Log::default();
        let mut driver = started(role, &Config::default(), logging(&log, |_, _| Ok(())));
        driver.receive(at(secs(5)), &mut Frame::close(1000, "").sent_by(peer_of(role)));
        assert_eq!(driver.step(at(secs(5))), Step::Read);
        assert_eq!(driver.poll_timeout(), Some(at(secs(15))));
        driver.handle_timeout(at(secs(15) - ms(1)));
        assert_eq!(driver.step(at(secs(15) - ms(1))), Step::Read);
        driver.handle_timeout(at(secs(15)));
        assert_eq!(driver.step(at(secs(15))), Step::Done);
        assert_eq!(log.take(), ["open", "close 1000 "]);
    }
}

#[test]
fn a_peer_that_ended_its_side_still_gets_what_is_queued() {
    for role in ROLES {
        let (mut driver, log) = logged(role);
        driver.socket().unwrap().send(vec![7; 100_000]).unwrap();
        receive(&mut driver, role, &[Frame::close(1000, "")]);
        driver.receive_eof(START);
        assert_eq!(driver.step(START), Step::Wait, "{role:?}: there is output, and nothing to read");
        assert_eq!(written(&mut driver), wire(&[Frame::binary([7; 100_000]), Frame::close(1000, "")], role));
        leaves(&mut driver, START);
        assert_eq!(log.take(), ["open", "close 1000 "]);
    }
}

#[test]
fn a_local_close_waits_for_the_peer_and_its_deadline() {
    for role in ROLES {
        let log = Log::default();
        let mut driver = started(role, &Config::default(), logging(&log, |_, _| Ok(())));
        driver.socket().unwrap().close().unwrap();
        written(&mut driver);
        assert_eq!((driver.step(START), driver.poll_timeout()), (Step::Read, Some(at(secs(10)))));
        driver.handle_timeout(at(secs(10)));
        assert_eq!(log.take(), ["open", "error close timeout", "close 1006 "]);
        leaves(&mut driver, at(secs(10)));
    }
}

#[test]
fn d16_a_callback_that_sends_much_stops_the_reading() {
    for role in ROLES {
        let log = Log::default();
        let listener =
            logging(
                &log,
                |socket, event| {
                    if event.starts_with("text") { Ok(socket.send(vec![0; 100_000])?) } else { Ok(()) }
                },
            );
        let mut driver = started(role, &Config::default(), listener);
        receive(&mut driver, role, &[Frame::text("more")]);
        assert!(driver.socket().unwrap().buffered() > 100_000);
        assert_eq!(driver.step(START), Step::Wait);
        driver.socket().unwrap().send("from elsewhere").unwrap();
        assert_eq!(driver.step(START), Step::Wait, "that does not let it go on, either");
        written(&mut driver);
        assert_eq!(driver.step(START), Step::Read);
    }
}

#[test]
fn d16_sends_from_elsewhere_do_not_stop_the_reading() {
    for role in ROLES {
        let (mut driver, _) = logged(role);
        driver.socket().unwrap().send(vec![0; 500_000]).unwrap();
        assert_eq!(driver.step(START), Step::Read, "two ends that wait for each other would wait for ever");
    }
}

#[test]
fn flushing_goes_on_as_long_as_the_peer_takes_something() {
    for role in ROLES {
        let log = Log::default();
        let mut driver = started(role, &Config::default(), logging(&log, |_, _| Ok(())));
        driver.socket().unwrap().send(vec![0; 10_000]).unwrap();
        driver.receive(at(secs(5)), &mut Frame::close(1000, "").sent_by(peer_of(role)));
        let output = driver.take_output().unwrap();
        for second in (6..60).step_by(4) {
            driver.wrote(at(secs(second)), 100);
            driver.handle_timeout(at(secs(second)));
            assert_eq!(driver.step(at(secs(second))), Step::Read, "{second}");
        }
        // It takes no more: one timeout, or two if the first has seen progress.
        while driver.step(START) != Step::Done {
            let deadline = driver.poll_timeout().unwrap();
            assert!(deadline <= at(secs(58 + 20)), "{deadline:?}");
            driver.handle_timeout(deadline);
        }
        drop(output);
    }
}

#[test]
fn the_deadlines_of_the_connection_are_the_driver_s() {
    for role in ROLES {
        let log = Log::default();
        let config = Config::default().idle_timeout(ms(100));
        let mut driver = started(role, &config, logging(&log, |_, _| Ok(())));
        assert_eq!(driver.poll_timeout(), Some(at(ms(100))));
        driver.handle_timeout(at(ms(99)));
        assert_eq!(log.take(), ["open"]);
        driver.handle_timeout(at(ms(100)));
        assert_eq!(log.take(), ["error connection idle timeout", "close 1001 Connection Idle Timeout"]);
    }
}

#[test]
fn a_driver_for_a_connection_that_somebody_else_upgraded_takes_the_bytes_already_read() {
    for role in ROLES {
        let log = Log::default();
        let connection: Connection = open(role, &timeless());
        let mut driver = Driver::connected(connection, logging(&log, |_, _| Ok(())));
        driver.start(START);
        driver.receive(START, &mut Frame::text("left over").sent_by(peer_of(role)));
        assert_eq!(log.take(), ["open", "text left over"]);
    }
}
