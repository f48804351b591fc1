//! The threads of the standard library.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;

use bellwire::blocking::{connect_over, upgraded};
use bellwire::listener::{IntoListener, IntoResponse};
use bellwire::{Config, ConnectError, Request, Responder, Role, blocking};

use crate::backend::{Acceptor, boxed};
use crate::{Backend, Client, Connect, Driven, MemoryEnd, Over, Reported, Server, Setup, over_tls};

/// The blocking backend.
#[derive(Debug)]
pub struct Blocking;

impl Backend for Blocking {
    type Memory = MemoryEnd;
    type MemoryPeer = MemoryEnd;

    fn start() -> Self {
        Self
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        blocking::Server::bind(addr)?.local_addr()
    }

    fn serve<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Server {
        serve(setup, move |server| server.run(handler))
    }

    fn serve_with(&self, setup: Setup, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Server {
        serve(setup, move |server| server.run_with(handler))
    }

    fn connect(&self, connect: Connect, listener: impl IntoListener) -> Result<Client, ConnectError> {
        blocking::connect(connect.for_network()?, listener).map(client)
    }

    fn connect_over(
        &self,
        connect: Connect,
        over: Over<MemoryEnd>,
        listener: impl IntoListener,
    ) -> Result<Client, ConnectError> {
        let target = connect.target()?;
        match over {
            Over::Tcp(stream) => connect_over(target, stream, listener),
            #[cfg(unix)]
            Over::Unix(stream) => connect_over(target, stream, listener),
            Over::Memory(stream) => connect_over(target, stream, listener),
            Over::Scripted(stream) => connect_over(target, stream, listener),
        }
        .map(client)
    }

    fn acceptor<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Acceptor<MemoryEnd> {
        let (reporter, reports) = mpsc::channel();
        let acceptor = blocking::Acceptor::new(handler)
            .config(setup.config)
            .on_error(move |error| drop(reporter.send(Reported::from(error))))
            .proxy_protocol(setup.proxy_protocol.iter().map(ToString::to_string))
            .unwrap();
        let other = acceptor.clone();
        let accept = move |over, peer: Option<SocketAddr>| {
            let acceptor = acceptor.clone();
            run(move || match over {
                Over::Tcp(stream) => acceptor.accept(stream, peer),
                #[cfg(unix)]
                Over::Unix(stream) => acceptor.accept(stream, peer),
                Over::Memory(stream) => acceptor.accept(stream, peer),
                Over::Scripted(stream) => acceptor.accept(stream, peer),
            })
        };
        let counting = other.clone();
        Acceptor {
            reports,
            accept: Box::new(accept),
            close_all: Box::new(move || other.close_all()),
            connections: Box::new(move || counting.connections()),
        }
    }

    fn upgraded(
        &self,
        over: Over<MemoryEnd>,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoListener,
    ) -> Driven {
        let listener = boxed(listener);
        run(move || match over {
            Over::Tcp(stream) => upgraded(stream, leftover, role, config, listener),
            #[cfg(unix)]
            Over::Unix(stream) => upgraded(stream, leftover, role, config, listener),
            Over::Memory(stream) => upgraded(stream, leftover, role, config, listener),
            Over::Scripted(stream) => upgraded(stream, leftover, role, config, listener),
        })
    }

    fn memory(&self, capacity: usize) -> (MemoryEnd, MemoryEnd, Arc<AtomicUsize>) {
        let (end, peer) = MemoryEnd::pair(capacity);
        let writes = end.writes();
        (end, peer, writes)
    }
}

fn serve(mut setup: Setup, action: impl FnOnce(blocking::Server) -> io::Result<()> + Send + 'static) -> Server {
    let secured = over_tls::secure(&mut setup);
    let (reporter, reports) = mpsc::channel();
    let mut server = blocking::Server::from_listener(setup.listen())
        .config(setup.config)
        .on_error(move |error| drop(reporter.send(Reported::from(error))))
        .proxy_protocol(setup.proxy_protocol.iter().map(ToString::to_string))
        .unwrap();
    if let Some(count) = setup.max_connections {
        server = server.max_connections(count);
    }
    if let Some(tls) = setup.tls {
        server = server.tls(tls);
    }
    let (addr, handle) = (server.local_addr().unwrap(), server.handle());
    let ended = run(move || action(server).unwrap()).0;
    let (counting, draining) = (handle.clone(), handle.clone());
    let addr = if secured { over_tls::hide(addr) } else { addr };
    Server {
        addr,
        reports,
        logs: None,
        shutdown: Arc::new(move |grace| handle.shutdown(grace)),
        drain: Arc::new(move |over, grace| draining.drain(over, grace)),
        connections: Arc::new(move || counting.connections()),
        ended,
    }
}

fn run(action: impl FnOnce() + Send + 'static) -> Driven {
    let (ended, receiver) = mpsc::channel();
    thread::spawn(move || {
        action();
        // Nobody may care.
        let _ = ended.send(());
    });
    Driven(receiver)
}

fn client(mut client: blocking::Client) -> Client {
    assert_eq!(client.protocol(), client.response().protocol());
    let (socket, response) = (client.socket().clone(), client.response().clone());
    Client { socket, response, closed: Box::new(move || client.closed()) }
}
