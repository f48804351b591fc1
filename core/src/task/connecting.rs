//! The opening handshake of a client on a runtime that polls, from the name of a host to a task.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Poll, ready};
use std::io::{self, ErrorKind, IoSlice};

use super::client::Client;
use super::runtime::Runtime;
use super::timer::{Limit, Timer, in_time};
use crate::api::AnyListener;
use crate::config::Config;
use crate::drive::limits::HANDSHAKE_BUFFER;
use crate::drive::{Driver, Race};
use crate::handshake::client::{Handshake, Phase, Response};
use crate::handshake::{ConnectError, Target};
use crate::protocol::Connection;
use crate::task::{Task, Transport};
use crate::time::Time;

/// An opening handshake and the timer that its deadline goes by, from before the host is resolved.
#[derive(Debug)]
pub struct Opening<C> {
    handshake: Handshake,
    timer: C,
    start: Time,
}

/// What a handshake has come to: the connection, the server's answer, and what was read after it.
pub(super) type Established = (Connection, Response, Vec<u8>);

impl<C: Timer> Opening<C> {
    /// Begins a handshake: the deadline of everything that follows counts from now.
    pub fn new(target: &Target, timer: C) -> Self {
        let start = timer.now();
        Self { handshake: target.handshake(start), timer, start }
    }

    /// Begins anew with another target, within the deadline of the first.
    pub(super) fn turn_to(&mut self, target: &Target) {
        self.handshake = target.handshake(self.start);
    }

    /// Sets where the other end of the transport is, for [`WebSocket::peer_addr`](crate::WebSocket::peer_addr).
    #[must_use]
    pub fn peer_addr(mut self, addr: Option<SocketAddr>) -> Self {
        self.set_peer_addr(addr);
        self
    }

    pub(super) fn config(&self) -> &Config {
        self.handshake.config()
    }

    pub(super) fn set_peer_addr(&mut self, addr: Option<SocketAddr>) {
        self.handshake.set_peer_addr(addr);
    }

    /// Resolves the host, and tries its addresses as RFC 8305 says ([`Race`]): 250 ms apart, until the first succeeds;
    /// the others are dropped then. So one that swallows everything does not hide the next.
    ///
    /// # Errors
    /// [`ConnectError::Resolve`], [`ConnectError::Connect`], [`ConnectError::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future drops what it was about.
    pub async fn connect<S, F: Future<Output = io::Result<S>>>(
        &mut self,
        resolving: impl Future<Output = io::Result<Vec<SocketAddr>>>,
        connecting: impl Fn(SocketAddr) -> F,
    ) -> Result<S, ConnectError> {
        let deadline = self.handshake.poll_timeout();
        let resolved = self.in_time(Phase::Resolve, resolving).await?;
        let (mut race, mut attempts) = (Race::new(resolved.map_err(ConnectError::Resolve)?), Vec::new());
        loop {
            if let Some(addr) = race.next(self.timer.now()) {
                attempts.push((addr, Box::pin(connecting(addr))));
            }
            if race.is_lost() {
                return Err(ConnectError::Connect(race.into_error()));
            }
            let until = deadline.into_iter().chain(race.poll_timeout()).min();
            match in_time(&mut self.timer, until, first(&mut attempts)).await {
                Some((_, Ok(stream))) => return Ok(stream),
                Some((addr, Err(error))) => race.failed(addr, error),
                None if until == deadline => return Err(ConnectError::Timeout(Phase::Connect)),
                None => {}
            }
        }
    }

    /// Waits for a part of connecting, within the deadline of the whole.
    pub(super) async fn in_time<T>(
        &mut self,
        phase: Phase,
        future: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        let deadline = self.handshake.poll_timeout();
        in_time(&mut self.timer, deadline, future).await.ok_or(ConnectError::Timeout(phase))
    }

    /// Makes the handshake, and runs `on_open`. The task is to be spawned.
    ///
    /// # Errors
    /// Those [`ConnectError`]s that come after connecting.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport; no callback has run then, and none will.
    pub async fn finish<T: Transport>(
        mut self,
        mut transport: T,
        listener: AnyListener,
    ) -> Result<(Client, Task<T, C>), ConnectError> {
        let established = self.shake_hands(&mut transport).await?;
        open(self.timer, established, transport, listener)
    }

    /// As [`open`], and lets a task of its own drive the connection.
    pub(super) fn spawn<R: Runtime<Timer = C>>(
        self,
        runtime: &R,
        mut established: Established,
        transport: impl Transport + Send + 'static,
        listener: AnyListener,
    ) -> Result<Client, ConnectError>
    where
        C: Send + 'static,
    {
        established.0.set_opened(R::unix_time());
        let (client, task) = open(self.timer, established, transport, listener)?;
        runtime.spawn(task);
        Ok(client)
    }

    /// Makes the handshake. If there is no connection, the peer is told that nothing more comes, as far as the transport
    /// does that in time.
    pub(super) async fn shake_hands(&mut self, transport: &mut impl Transport) -> Result<Established, ConnectError> {
        let result = self.converse(transport).await;
        if result.is_err() {
            let until = self.handshake.hang_up_by(self.timer.now());
            let shutdown = core::future::poll_fn(|cx| transport.poll_shutdown(cx));
            // Whether that fails or not: there is nothing more to say.
            let _ = in_time(&mut self.timer, Some(until), shutdown).await;
        }
        result
    }

    /// Writes the request, and reads the answer.
    async fn converse(&mut self, transport: &mut impl Transport) -> Result<Established, ConnectError> {
        let Self { handshake, timer, .. } = self;
        let deadline = handshake.poll_timeout();
        let mut limit = Limit::new(deadline);
        while !handshake.output().is_empty() {
            match limit.wait(timer, write(transport, handshake.output())).await {
                Some(Ok(0)) => return Err(ConnectError::Io(ErrorKind::WriteZero.into())),
                Some(Ok(count)) => handshake.wrote(count),
                Some(Err(error)) => return Err(ConnectError::Io(error)),
                None => return Err(timed_out(handshake, timer.now())),
            }
        }
        let mut buffer = vec![0; HANDSHAKE_BUFFER];
        loop {
            match limit.wait(timer, flush_and_read(transport, &mut buffer)).await {
                Some(Ok(0)) => return Err(handshake.receive_eof().into()),
                Some(Ok(count)) => {
                    let mut input = buffer.get_mut(..count).unwrap_or_default();
                    if let Some(result) = handshake.receive(timer.now(), &mut input) {
                        let (connection, response) = result?;
                        return Ok((connection, response, input.to_vec()));
                    }
                }
                Some(Err(error)) => return Err(handshake.transport_failed(error)),
                None => return Err(timed_out(handshake, timer.now())),
            }
        }
    }
}

/// Opens the connection of a handshake that was made, and runs `on_open`.
pub(super) fn open<T: Transport, C: Timer>(
    timer: C,
    (connection, response, mut leftover): Established,
    transport: T,
    mut listener: AnyListener,
) -> Result<(Client, Task<T, C>), ConnectError> {
    listener.answered(&response);
    let driver = Driver::connected(connection, listener);
    let socket = driver.socket().cloned().ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
    let registry = Arc::default();
    let mut task = Task::new(transport, driver, timer, &registry);
    task.start(&mut leftover);
    Ok((Client::new(socket, response, registry), task))
}

/// Waits for the first attempt that is done, and takes it out.
async fn first<F: Future>(attempts: &mut Vec<(SocketAddr, Pin<Box<F>>)>) -> (SocketAddr, F::Output) {
    core::future::poll_fn(|cx| {
        for (index, (addr, attempt)) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(output) = attempt.as_mut().poll(cx) {
                let addr = *addr;
                drop(attempts.swap_remove(index));
                return Poll::Ready((addr, output));
            }
        }
        Poll::Pending
    })
    .await
}

/// A refusal whose body takes too long is told as well.
fn timed_out(handshake: &mut Handshake, now: Time) -> ConnectError {
    handshake.handle_timeout(now).map_or(ConnectError::Timeout(Phase::Handshake), ConnectError::from)
}

pub(super) async fn write(transport: &mut impl Transport, bytes: &[u8]) -> io::Result<usize> {
    core::future::poll_fn(|cx| transport.poll_write(cx, &[IoSlice::new(bytes)])).await
}

/// Streams that buffer by themselves, such as TLS, hold the request back until they are flushed.
pub(super) async fn flush_and_read(transport: &mut impl Transport, buffer: &mut [u8]) -> io::Result<usize> {
    core::future::poll_fn(|cx| {
        ready!(transport.poll_flush(cx))?;
        transport.poll_read(cx, buffer)
    })
    .await
}
