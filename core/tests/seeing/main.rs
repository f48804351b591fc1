//! What subscribers of `tracing` and recorders of `metrics` see of connections in memory, in virtual time.

mod collector;
mod events;
mod numbers;
mod recorder;

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bellwire_core::backend::{Driver, Service, Step};
use bellwire_core::proto::{Connection, SocketContext, Time};
use bellwire_core::{Config, Request, Response, Role, WebSocket, listener, testing};

pub(crate) const START: Time = Time::ZERO;

/// What must never be seen, wherever it stands.
pub(crate) const SECRET: &str = "s3cr3t";

pub(crate) fn at(milliseconds: u64) -> Time {
    Time::from_start(Duration::from_millis(milliseconds))
}

/// A driver of a connection that was set up elsewhere, with a listener that does this with messages.
pub(crate) fn driver(
    role: Role,
    config: Config,
    act: impl Fn(&WebSocket, &str) -> bellwire_core::Outcome + Send + 'static,
) -> Driver {
    let config = Arc::new(config);
    let mut connection = match role {
        Role::Server => Connection::server(config, START),
        Role::Client => Connection::client(config, Box::new(|bytes: &mut [u8]| bytes.fill(0)), START),
    };
    connection
        .set_context(SocketContext::new().path("/chat").protocol("mqtt").peer_addr(Some(([192, 0, 2, 1], 7).into())));
    let on_message = move |socket: &WebSocket, message: bellwire_core::Message<'_>| {
        act(socket, message.as_text().unwrap_or_default())
    };
    let mut driver = Driver::connected(
        connection,
        bellwire_core::listener::IntoListener::into_listener(listener().on_message(on_message)),
    );
    driver.start(START);
    driver
}

/// A frame of this kind as the peer of this end sends it; its mask key, if any, is zero.
pub(crate) fn frame(receiver: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let length = payload.len() as u8;
    match receiver {
        Role::Server => [&[0x80 | first, 0x80 | length, 0, 0, 0, 0], payload].concat(),
        Role::Client => [&[0x80 | first, length], payload].concat(),
    }
}

pub(crate) fn receive(driver: &mut Driver, now: Time, mut bytes: Vec<u8>) {
    driver.receive(now, &mut bytes);
    turn(driver, now);
}

/// Writes all there is, and settles.
pub(crate) fn turn(driver: &mut Driver, now: Time) -> usize {
    let mut written = 0;
    while let Some(output) = driver.take_output() {
        driver.wrote(now, output.len());
        written += output.len();
    }
    if driver.next_step(now) != Step::Done {
        let _ = driver.poll_pending(now, Waker::noop()).and_then(|()| driver.settle(Waker::noop()));
    }
    written
}
