//! async-std, and smol by the same backend.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use async_io::Async;
use bellwire::futures_io::{self as backend, Executor, FuturesIo, connect_over, upgraded};
use bellwire::listener::{IntoAnyListener, IntoListener, IntoResponse};
use bellwire::{Config, ConnectError, Request, Responder, Role, async_std, smol};

use crate::backend::{Acceptor, boxed};
use crate::{
    Backend, Client, Connect, Driven, MemoryEnd, Over, Reported, Server, Setup, Shutdown, Task, Tasks, over_tls,
};

/// The runtime of async-std.
pub type AsyncStd = OnFuturesIo<async_std::AsyncStd>;

/// The runtime of smol.
pub type Smol = OnFuturesIo<smol::Smol>;

/// A runtime that speaks futures-io.
#[derive(Debug)]
pub struct OnFuturesIo<E>(PhantomData<fn() -> E>);

fn runtime<E: Executor + Default>() -> FuturesIo<E> {
    FuturesIo::default()
}

fn run<E: Executor + Default>(future: impl Future<Output = ()> + Send + 'static) -> Driven {
    let (ended, receiver) = mpsc::channel();
    E::default().spawn(async move {
        future.await;
        // Nobody may care.
        let _ = ended.send(());
    });
    Driven(receiver)
}

impl<E: Executor + Default> Backend for OnFuturesIo<E> {
    type Memory = MemoryEnd;
    type MemoryPeer = MemoryEnd;

    fn start() -> Self {
        Self(PhantomData)
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        ::smol::block_on(backend::Server::bind_on(runtime::<E>(), addr))?.local_addr()
    }

    fn serve<A: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> Server {
        serve(setup, move |server: backend::Server<FuturesIo<E>>| server.run(handler))
    }

    fn serve_with(&self, setup: Setup, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Server {
        serve(setup, move |server: backend::Server<FuturesIo<E>>| server.run_with(handler))
    }

    fn connect(&self, connect: Connect, listener: impl IntoListener) -> Result<Client, ConnectError> {
        ::smol::block_on(backend::connect(runtime::<E>(), connect.for_network()?, boxed(listener))).map(client)
    }

    fn connect_over(
        &self,
        connect: Connect,
        over: Over<MemoryEnd>,
        listener: impl IntoListener,
    ) -> Result<Client, ConnectError> {
        let (runtime, target, listener) = (runtime::<E>(), connect.target()?, boxed(listener));
        ::smol::block_on(async {
            match over {
                Over::Tcp(stream) => {
                    connect_over(runtime, target, Async::new(stream).unwrap(), listener).await.map(client)
                }
                #[cfg(unix)]
                Over::Unix(stream) => {
                    connect_over(runtime, target, Async::new(stream).unwrap(), listener).await.map(client)
                }
                Over::Memory(stream) => connect_over(runtime, target, stream, listener).await.map(client),
                Over::Scripted(stream) => connect_over(runtime, target, stream, listener).await.map(client),
            }
        })
    }

    fn acceptor<A: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> Acceptor<MemoryEnd> {
        let (reporter, reports) = mpsc::channel();
        let acceptor = backend::Acceptor::<FuturesIo<E>>::new(handler)
            .config(setup.config)
            .on_error(move |error| drop(reporter.send(Reported::from(error))))
            .proxy_protocol(setup.proxy_protocol.iter().map(ToString::to_string))
            .unwrap();
        let other = acceptor.clone();
        let accept = move |over, peer: Option<SocketAddr>| match over {
            Over::Tcp(stream) => run::<E>(acceptor.accept(Async::new(stream).unwrap(), peer)),
            #[cfg(unix)]
            Over::Unix(stream) => run::<E>(acceptor.accept(Async::new(stream).unwrap(), peer)),
            Over::Memory(stream) => run::<E>(acceptor.accept(stream, peer)),
            Over::Scripted(stream) => run::<E>(acceptor.accept(stream, peer)),
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
        let (runtime, listener) = (runtime::<E>(), boxed(listener));
        match over {
            Over::Tcp(stream) => {
                let stream = Async::new(stream).unwrap();
                run::<E>(upgraded(runtime, stream, leftover, role, config, listener))
            }
            #[cfg(unix)]
            Over::Unix(stream) => {
                let stream = Async::new(stream).unwrap();
                run::<E>(upgraded(runtime, stream, leftover, role, config, listener))
            }
            Over::Memory(stream) => run::<E>(upgraded(runtime, stream, leftover, role, config, listener)),
            Over::Scripted(stream) => run::<E>(upgraded(runtime, stream, leftover, role, config, listener)),
        }
    }

    fn memory(&self, capacity: usize) -> (MemoryEnd, MemoryEnd, Arc<AtomicUsize>) {
        let (end, peer) = MemoryEnd::pair(capacity);
        let writes = end.writes();
        (end, peer, writes)
    }
}

impl<E: Abort + Default> Tasks for OnFuturesIo<E> {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        E::spawn_abortable(future)
    }

    fn accepting<A: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
        stream: MemoryEnd,
    ) -> impl Future<Output = ()> + Send + 'static {
        backend::Acceptor::<FuturesIo<E>>::new(handler).accept(stream, None)
    }

    fn connecting(
        &self,
        connect: Connect,
        stream: MemoryEnd,
        listener: impl IntoListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (target, listener) = (connect.target().unwrap(), boxed(listener));
        async move { drop(connect_over(runtime::<E>(), target, stream, listener).await) }
    }

    fn driving(
        &self,
        stream: MemoryEnd,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoAnyListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        upgraded(runtime::<E>(), stream, leftover, role, config, listener.into_any_listener())
    }

    fn serving<A: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> (SocketAddr, Shutdown, impl Future<Output = ()> + Send + 'static) {
        let server = backend::Server::from_listener_on(runtime::<E>(), Async::new(Setup::default().listen()).unwrap());
        let (addr, stop) = (server.local_addr().unwrap(), server.handle());
        let shutdown = Box::new(move |grace| ::smol::block_on(stop.shutdown(grace)));
        (addr, shutdown, async move { server.run(handler).await.unwrap() })
    }
}

/// A runtime whose tasks can be aborted.
trait Abort: Executor {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task;
}

impl Abort for async_std::AsyncStd {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task {
        let task = ::async_std::task::spawn(future);
        Task(Box::new(|| assert_eq!(::smol::block_on(task.cancel()), None, "it has ended by itself")))
    }
}

impl Abort for smol::Smol {
    fn spawn_abortable(future: impl Future<Output = ()> + Send + 'static) -> Task {
        let task = ::smol::spawn(future);
        Task(Box::new(|| assert_eq!(::smol::block_on(task.cancel()), None, "it has ended by itself")))
    }
}

fn serve<E: Executor + Default, T: Future<Output = io::Result<()>> + Send + 'static>(
    mut setup: Setup,
    action: impl FnOnce(backend::Server<FuturesIo<E>>) -> T,
) -> Server {
    let secured = over_tls::secure(&mut setup);
    let (reporter, reports) = mpsc::channel();
    let mut server = backend::Server::from_listener_on(runtime::<E>(), Async::new(setup.listen()).unwrap())
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
    let (addr, stop) = (server.local_addr().unwrap(), server.handle());
    let running = action(server);
    let ended = run::<E>(async move { running.await.unwrap() }).0;
    let (counting, draining) = (stop.clone(), stop.clone());
    let shutdown = Arc::new(move |grace| ::smol::block_on(stop.shutdown(grace)));
    let drain = Arc::new(move |over, grace| ::smol::block_on(draining.drain(over, grace)));
    let connections = Arc::new(move || counting.connections());
    let addr = if secured { over_tls::hide(addr) } else { addr };
    Server { addr, reports, logs: None, shutdown, drain, connections, ended }
}

fn client(mut client: backend::Client) -> Client {
    assert_eq!(client.protocol(), client.response().protocol());
    let (socket, response) = (client.socket().clone(), client.response().clone());
    Client { socket, response, closed: Box::new(move || ::smol::block_on(client.closed())) }
}
