//! Who waits for the end of a connection: told once, in whatever way it ends, before its listener is.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bellwire_core::backend::Driver;
use bellwire_core::listener::{IntoAnyListener, IntoListener};
use bellwire_core::{Config, Outcome, Role, SendError, Socket, WebSocket, async_listener, listener, stream};

use crate::common::*;
use crate::logging::*;

/// Logs how the connection has ended.
fn tell(socket: &WebSocket, log: &Log) {
    let (told, log) = (socket.clone(), log.clone());
    socket.when_closed(move || log.add(format!("told {}", told.closed().map_or(0, |closed| closed.code.0))));
}

/// Fails where that is asked for.
fn act(_: &WebSocket, line: &str) -> Outcome {
    match line {
        "text fail" => Err("failed".into()),
        "text panic" => panic!("panicked"),
        _ => Ok(()),
    }
}

struct Way {
    name: &'static str,
    end: fn(&mut Option<Driver>, Role),
    code: u16,
}

const fn way(name: &'static str, code: u16, end: fn(&mut Option<Driver>, Role)) -> Way {
    Way { name, end, code }
}

fn driver(driver: &mut Option<Driver>) -> &mut Driver {
    driver.as_mut().unwrap()
}

fn hears(this: &mut Option<Driver>, role: Role, frame: Frame) {
    receive(driver(this), role, &[frame]);
}

const WAYS: [Way; 12] = [
    way("the peer closes", 3000, |this, role| hears(this, role, Frame::close(3000, "bye"))),
    way("this side closes, and the peer answers", 1000, |this, role| {
        driver(this).socket().unwrap().close().unwrap();
        written(driver(this));
        hears(this, role, Frame::close(1000, ""));
    }),
    way("this side closes, and the peer does not answer", 1006, |this, _| {
        driver(this).socket().unwrap().close().unwrap();
        driver(this).handle_timeout(START);
        written(driver(this));
        driver(this).handle_timeout(at(secs(60)));
    }),
    way("an abort", 1006, |this, _| {
        driver(this).socket().unwrap().abort();
        let _ = driver(this).poll_pending(START, Waker::noop());
    }),
    way("a violation", 1002, |this, role| hears(this, role, Frame::new(3, ""))),
    way("no more bytes", 1006, |this, _| driver(this).receive_eof(START)),
    way("a transport that fails", 1006, |this, _| driver(this).transport_failed(START, io::Error::other("broken"))),
    way("a transport that is reset", 1006, |this, _| {
        driver(this).transport_failed(START, io::Error::from(io::ErrorKind::ConnectionReset));
    }),
    way("a callback that fails", 1011, |this, role| hears(this, role, Frame::text("fail"))),
    way("a callback that panics", 1011, |this, role| hears(this, role, Frame::text("panic"))),
    way("a peer that says nothing", 1011, |this, _| {
        for minute in 1..10 {
            driver(this).handle_timeout(at(secs(60 * minute)));
            written_at(driver(this), at(secs(60 * minute)));
        }
    }),
    way("a driver that is dropped", 1006, |this, _| *this = None),
];

#[test]
fn u23_who_waits_for_the_end_is_told_once_before_the_listener_in_whatever_way_it_comes() {
    for role in ROLES {
        for Way { name, end, code } in WAYS {
            let log = Log::default();
            let inside = log.clone();
            let listener = logging(&log, move |socket, line| {
                if line == "open" {
                    tell(socket, &inside);
                }
                act(socket, line)
            });
            let mut driver = Some(started(role, &Config::default(), listener));
            let socket = driver.as_ref().unwrap().socket().unwrap().clone();
            tell(&socket, &log);
            log.take();
            end(&mut driver, role);
            let mut lines = log.take();
            let close = lines.pop().unwrap();
            assert!(close.starts_with(&format!("close {code} ")), "{role:?}, {name}: {close}");
            let told = format!("told {code}");
            assert_eq!(lines.split_off(lines.len() - 2), [told.clone(), told.clone()], "{role:?}, {name}: {lines:?}");
            assert!(lines.iter().all(|line| line.starts_with("error ") || line.starts_with("text ")), "{lines:?}");
            // Not once more, and at once from now on.
            drop(driver);
            assert_eq!(log.take(), [""; 0], "{role:?}, {name}");
            tell(&socket, &log);
            assert_eq!(log.take(), [told], "{role:?}, {name}");
        }
    }
}

#[test]
fn u23_in_on_error_the_end_is_not_told_yet_and_in_on_close_it_is() {
    let (log, told) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let counted = told.clone();
    let inside = log.clone();
    let listener = logging(&log, move |socket, line| {
        let count = counted.clone();
        if line == "open" {
            socket.when_closed(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
        } else {
            inside.add(counted.load(Ordering::SeqCst).to_string());
        }
        Ok(())
    });
    let mut driver = started(Role::Server, &timeless(), listener);
    driver.receive_eof(START);
    let lines = log.take();
    assert_eq!((lines[2].as_str(), lines[4].as_str()), ("0", "1"), "{lines:?}");
}

#[test]
fn u23_a_connection_that_never_opened_tells_its_end_as_well() {
    let driver = Driver::connected(open(Role::Client, &timeless()), listener().into_listener());
    let (socket, log) = (driver.socket().unwrap().clone(), Log::default());
    tell(&socket, &log);
    drop(driver);
    assert_eq!(log.take(), ["told 0"]);
    tell(&socket, &log);
    assert_eq!(log.take(), ["told 0"]);
}

#[test]
fn u23_a_stream_has_ended_when_its_peers_close_is_answered() {
    let (listener, opened) = stream();
    let mut driver = started(Role::Server, &timeless(), listener.into_any_listener());
    let mut messages = bellwire_core::testing::now_or_never(opened).unwrap().unwrap();
    let log = Log::default();
    tell(messages.socket(), &log);
    receive(&mut driver, Role::Server, &[Frame::text("last"), Frame::close(1000, "")]);
    let _ = driver.poll_pending(START, Waker::noop());
    assert_eq!(log.take(), [""; 0], "it can still be answered");
    let mut next = || {
        let next = bellwire_core::testing::now_or_never(messages.recv());
        let _ = driver.poll_pending(START, Waker::noop());
        next
    };
    assert!(next().is_some());
    assert!(next().is_none());
    assert_eq!(log.take(), ["told 1000"]);
    assert!(next().unwrap().is_none());
}

#[test]
fn u23_a_callback_that_is_pending_is_dropped_before_the_end_is_told() {
    let log = Log::default();
    struct Dropped(Log);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    let (inside, closing) = (log.clone(), log.clone());
    let listener = async_listener()
        .on_message(move |socket: WebSocket, _| {
            tell(&socket, &inside);
            let held = Dropped(inside.clone());
            async move {
                let _held = held;
                std::future::pending::<()>().await;
            }
        })
        .on_close(move |_, code, _| closing.add(format!("close {code}")));
    let mut driver = started(Role::Server, &timeless(), listener.into_any_listener());
    receive(&mut driver, Role::Server, &[Frame::text("x")]);
    let _ = driver.poll_pending(START, Waker::noop());
    assert_eq!(log.take(), [""; 0]);
    driver.receive_eof(START);
    assert_eq!(log.take(), ["dropped", "told 1006", "close 1006"]);
}

#[test]
fn u23_who_is_told_may_call_the_connection_panic_and_wait_for_the_end_once_more() {
    let (mut driver, log) = logged(Role::Server);
    let socket = driver.socket().unwrap().clone();
    socket.when_closed(|| panic!("its own affair"));
    let (inner, inside) = (socket.clone(), log.clone());
    socket.when_closed(move || {
        assert_eq!((inner.send("x"), inner.is_open()), (Err(SendError::Closed), false));
        inner.abort();
        let again = inside.clone();
        inner.when_closed(move || again.add("once more"));
        inside.add("told");
    });
    receive(&mut driver, Role::Server, &[Frame::close(1000, "")]);
    assert_eq!(log.take(), ["open", "once more", "told", "close 1000 "]);
}

#[test]
fn u23_what_waits_for_the_end_keeps_nothing_alive_behind_it() {
    let held = Arc::new(());
    let (mut driver, _) = logged(Role::Client);
    let socket = driver.socket().unwrap().clone();
    let (itself, captured) = (socket.clone(), held.clone());
    socket.when_closed(move || drop((itself, captured)));
    assert_eq!(Arc::strong_count(&held), 2);
    receive(&mut driver, Role::Client, &[Frame::close(1000, "")]);
    assert_eq!(Arc::strong_count(&held), 1);
    // Nor does it keep the connection open.
    let (driver, log) = logged(Role::Server);
    let (itself, captured) = (driver.socket().unwrap().clone(), held.clone());
    driver.socket().unwrap().when_closed(move || drop((itself, captured)));
    drop(driver);
    assert_eq!((log.take().len(), Arc::strong_count(&held)), (3, 1));
}

#[test]
fn u23_what_is_still_written_behind_the_end_is_told_as_before() {
    let (mut driver, log) = logged(Role::Server);
    let results = Arc::new(Mutex::new(Vec::new()));
    let socket = driver.socket().unwrap().clone();
    let result = results.clone();
    socket.send_with("last", move |outcome| result.lock().unwrap().push(outcome));
    tell(&socket, &log);
    log.take();
    receive(&mut driver, Role::Server, &[Frame::close(1000, "")]);
    assert_eq!(log.take(), ["told 1000", "close 1000 "]);
    assert_eq!(*results.lock().unwrap(), []);
    written(&mut driver);
    assert_eq!(*results.lock().unwrap(), [Ok(())]);
}

struct Wrapper(Option<WebSocket>);

impl Socket for Wrapper {
    fn inner(&self) -> Option<&dyn Socket> {
        self.0.as_ref().map(WebSocket::as_socket)
    }
}

#[test]
fn u23_a_wrapper_ends_with_what_it_wraps_and_is_over_without() {
    let (driver, log) = logged(Role::Server);
    let socket = driver.socket().unwrap().clone();
    tell(&WebSocket::new(Wrapper(Some(socket))), &log);
    assert_eq!(log.take(), ["open"]);
    drop(driver);
    assert_eq!(log.take()[1..], ["told 1006", "close 1006 "]);
    tell(&WebSocket::new(Wrapper(None)), &log);
    assert_eq!(log.take(), ["told 0"]);
}
