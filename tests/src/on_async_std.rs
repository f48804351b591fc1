//! async-std, and smol by the same backend.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use async_io::Async;
use bellwire::async_std::{self as backend, Runtime, Timer, connect_on, connect_over_on, upgraded_on};
use bellwire::listener::{IntoAnyListener, IntoListener, IntoResponse};
use bellwire::{Config, ConnectError, Request, Responder, Role};

use crate::backend::{Acceptor, boxed};
use crate::{Backend, Client, Connect, Driven, MemoryEnd, Over, Reported, Server, Setup, Shutdown, Task, Tasks};

/// The runtime of async-std.
pub type AsyncStd = OnFuturesIo<backend::AsyncStd>;

/// The runtime of smol, as its users make it one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SmolRuntime;

/// The runtime of smol.
pub type Smol = OnFuturesIo<SmolRuntime>;

impl Runtime for SmolRuntime {
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::start()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// A runtime that speaks futures-io.
#[derive(Debug)]
pub struct OnFuturesIo<R>(PhantomData<fn() -> R>);

fn run<R: Runtime + Default>(future: impl Future<Output = ()> + Send + 'static) -> Driven {
    let (ended, receiver) = mpsc::channel();
    R::default().spawn(async move {
        future.await;
        // Nobody may care.
        let _ = ended.send(());
    });
    Driven(receiver)
}

impl<R: Runtime + Default> Backend for OnFuturesIo<R> {
    type Memory = MemoryEnd;
    type MemoryPeer = MemoryEnd;

    fn start() -> Self {
        Self(PhantomData)
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        smol::block_on(backend::Server::bind_on(R::default(), addr))?.local_addr()
    }

    fn serve<A: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> Server {
        serve(setup, move |server: backend::Server<R>| server.run(handler))
    }

    fn serve_with(&self, setup: Setup, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Server {
        serve(setup, move |server: backend::Server<R>| server.run_with(handler))
    }

    fn connect(&self, connect: Connect, listener: impl IntoListener) -> Result<Client, ConnectError> {
        smol::block_on(connect_on(R::default(), connect.target()?, boxed(listener))).map(client)
    }

    fn connect_over(
        &self,
        connect: Connect,
        over: Over<MemoryEnd>,
        listener: impl IntoListener,
    ) -> Result<Client, ConnectError> {
        let (runtime, target, listener) = (R::default(), connect.target()?, boxed(listener));
        smol::block_on(async {
            match over {
                Over::Tcp(stream) => {
                    connect_over_on(runtime, target, Async::new(stream).unwrap(), listener).await.map(client)
                }
                #[cfg(unix)]
                Over::Unix(stream) => {
                    connect_over_on(runtime, target, Async::new(stream).unwrap(), listener).await.map(client)
                }
                Over::Memory(stream) => connect_over_on(runtime, target, stream, listener).await.map(client),
                Over::Scripted(stream) => connect_over_on(runtime, target, stream, listener).await.map(client),
            }
        })
    }

    fn acceptor<A: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> Acceptor<MemoryEnd> {
        let (reporter, reports) = mpsc::channel();
        let acceptor =
            backend::Acceptor::with(setup.config, handler, move |error| drop(reporter.send(Reported::from(error))));
        let other = acceptor.clone();
        let accept = move |over, peer: Option<SocketAddr>| {
            let runtime = R::default();
            match over {
                Over::Tcp(stream) => run::<R>(acceptor.accept_on(runtime, Async::new(stream).unwrap(), peer)),
                #[cfg(unix)]
                Over::Unix(stream) => run::<R>(acceptor.accept_on(runtime, Async::new(stream).unwrap(), peer)),
                Over::Memory(stream) => run::<R>(acceptor.accept_on(runtime, stream, peer)),
                Over::Scripted(stream) => run::<R>(acceptor.accept_on(runtime, stream, peer)),
            }
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
        let (runtime, listener) = (R::default(), boxed(listener));
        match over {
            Over::Tcp(stream) => {
                let stream = Async::new(stream).unwrap();
                run::<R>(upgraded_on(runtime, stream, leftover, role, config, listener))
            }
            #[cfg(unix)]
            Over::Unix(stream) => {
                let stream = Async::new(stream).unwrap();
                run::<R>(upgraded_on(runtime, stream, leftover, role, config, listener))
            }
            Over::Memory(stream) => run::<R>(upgraded_on(runtime, stream, leftover, role, config, listener)),
            Over::Scripted(stream) => run::<R>(upgraded_on(runtime, stream, leftover, role, config, listener)),
        }
    }

    fn memory(&self, capacity: usize) -> (MemoryEnd, MemoryEnd, Arc<AtomicUsize>) {
        let (end, peer) = MemoryEnd::pair(capacity);
        let writes = end.writes();
        (end, peer, writes)
    }
}

impl<R: Abort + Default> Tasks for OnFuturesIo<R> {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        R::spawn_abortable(future)
    }

    fn accepting<A: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
        stream: MemoryEnd,
    ) -> impl Future<Output = ()> + Send + 'static {
        backend::Acceptor::new(handler).accept_on(R::default(), stream, None)
    }

    fn connecting(
        &self,
        connect: Connect,
        stream: MemoryEnd,
        listener: impl IntoListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (target, listener) = (connect.target().unwrap(), boxed(listener));
        async move { drop(connect_over_on(R::default(), target, stream, listener).await) }
    }

    fn driving(
        &self,
        stream: MemoryEnd,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoAnyListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        upgraded_on(R::default(), stream, leftover, role, config, listener.into_any_listener())
    }

    fn serving<A: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> (SocketAddr, Shutdown, impl Future<Output = ()> + Send + 'static) {
        let server = backend::Server::from_listener_on(R::default(), Setup::default().listen()).unwrap();
        let (addr, stop) = (server.local_addr().unwrap(), server.handle());
        let shutdown = Box::new(move |grace| smol::block_on(stop.shutdown(grace)));
        (addr, shutdown, async move { server.run(handler).await.unwrap() })
    }
}

/// A runtime whose tasks can be aborted.
trait Abort: Runtime {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task;
}

impl Abort for backend::AsyncStd {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task {
        let task = async_std::task::spawn(future);
        Task(Box::new(|| assert_eq!(smol::block_on(task.cancel()), None, "it has ended by itself")))
    }
}

impl Abort for SmolRuntime {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task {
        let task = smol::spawn(future);
        Task(Box::new(|| assert_eq!(smol::block_on(task.cancel()), None, "it has ended by itself")))
    }
}

fn serve<R: Runtime + Default, T: Future<Output = io::Result<()>> + Send + 'static>(
    mut setup: Setup,
    action: impl FnOnce(backend::Server<R>) -> T,
) -> Server {
    let (reporter, reports) = mpsc::channel();
    let mut server = backend::Server::from_listener_on(R::default(), setup.listen())
        .unwrap()
        .config(setup.config)
        .on_error(move |error| drop(reporter.send(Reported::from(error))));
    if let Some(count) = setup.max_connections {
        server = server.max_connections(count);
    }
    let (addr, stop) = (server.local_addr().unwrap(), server.handle());
    let running = action(server);
    let ended = run::<R>(async move { running.await.unwrap() }).0;
    let counting = stop.clone();
    let shutdown = Arc::new(move |grace| smol::block_on(stop.shutdown(grace)));
    let connections = Arc::new(move || counting.connections());
    Server { addr, reports, logs: None, shutdown, connections, ended }
}

fn client(mut client: backend::Client) -> Client {
    assert_eq!(client.protocol(), client.response().protocol());
    let (socket, response) = (client.socket().clone(), client.response().clone());
    Client { socket, response, closed: Box::new(move || smol::block_on(client.closed())) }
}
