//! The tokio runtime, with two threads and with one.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;

use bellwire::listener::{IntoAnyListener, IntoListener, IntoResponse};
use bellwire::tokio::{connect_over, upgraded};
use bellwire::{Config, ConnectError, Request, Responder, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::backend::{Acceptor, boxed};
use crate::{
    Backend, Client, Connect, Driven, Ending, Over, PATIENCE, Reported, Scripted, Server, Setup, Shutdown, Task, Tasks,
    over_hyper, over_tls,
};

/// The tokio backend on a runtime of two threads.
pub type Tokio = OnTokio<Multi>;

/// The tokio backend on a runtime of one thread.
pub type TokioSingle = OnTokio<Single>;

/// A runtime of several threads.
#[derive(Debug)]
pub enum Multi {}

/// A runtime of one thread.
#[derive(Debug)]
pub enum Single {}

/// How to build a runtime.
pub trait Flavor: Send + Sync + 'static {
    /// The builder.
    fn builder() -> Builder;
}

impl Flavor for Multi {
    fn builder() -> Builder {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    }
}

impl Flavor for Single {
    fn builder() -> Builder {
        Builder::new_current_thread()
    }
}

/// A runtime on a thread of its own, until this is dropped.
#[derive(Debug)]
pub struct OnTokio<F> {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    flavor: PhantomData<fn() -> F>,
}

impl<F> OnTokio<F> {
    /// The runtime's handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    fn run(&self, future: impl Future<Output = ()> + Send + 'static) -> Driven {
        run(&self.handle, future)
    }
}

fn run(handle: &Handle, future: impl Future<Output = ()> + Send + 'static) -> Driven {
    let (ended, receiver) = mpsc::channel();
    handle.spawn(async move {
        future.await;
        // Nobody may care.
        let _ = ended.send(());
    });
    Driven(receiver)
}

impl<F: Flavor> Backend for OnTokio<F> {
    type Memory = CountingDuplex;
    type MemoryPeer = Bridge;

    fn start() -> Self {
        let runtime = F::builder().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        });
        Self { handle, stop: Some(stop), flavor: PhantomData }
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.handle.block_on(bellwire::tokio::Server::bind(addr))?.local_addr()
    }

    fn serve<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Server {
        match over_hyper::by().filter(|_| setup.tls.is_none()) {
            Some(by) => over_hyper::serve(by, &self.handle, setup, bellwire::tower::service(handler)),
            None => self.start_server(setup, move |server| server.run(handler)),
        }
    }

    fn serve_with(&self, setup: Setup, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Server {
        match over_hyper::by().filter(|_| setup.tls.is_none()) {
            Some(by) => over_hyper::serve(by, &self.handle, setup, bellwire::tower::service_with(handler)),
            None => self.start_server(setup, move |server| server.run_with(handler)),
        }
    }

    fn connect(&self, connect: Connect, listener: impl IntoListener) -> Result<Client, ConnectError> {
        let (target, listener) = (connect.for_network()?, boxed(listener));
        self.handle.block_on(bellwire::tokio::connect(target, listener)).map(|client| self.client(client))
    }

    fn connect_over(
        &self,
        connect: Connect,
        over: Over<CountingDuplex>,
        listener: impl IntoListener,
    ) -> Result<Client, ConnectError> {
        let (target, listener) = (connect.target()?, boxed(listener));
        self.handle
            .block_on(async {
                match over.into_tokio() {
                    Converted::Tcp(stream) => connect_over(target, stream, listener).await,
                    #[cfg(unix)]
                    Converted::Unix(stream) => connect_over(target, stream, listener).await,
                    Converted::Memory(stream) => connect_over(target, stream, listener).await,
                    Converted::Scripted(stream) => connect_over(target, stream, listener).await,
                }
            })
            .map(|client| self.client(client))
    }

    fn acceptor<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Acceptor<CountingDuplex> {
        let (reporter, reports) = mpsc::channel();
        let acceptor = bellwire::tokio::Acceptor::new(handler)
            .config(setup.config)
            .on_error(move |error| drop(reporter.send(Reported::from(error))))
            .proxy_protocol(setup.proxy_protocol.iter().map(ToString::to_string))
            .unwrap();
        let (other, handle) = (acceptor.clone(), self.handle.clone());
        let accept = move |over: Over<CountingDuplex>, peer: Option<SocketAddr>| {
            let acceptor = acceptor.clone();
            run(&handle, async move {
                match over.into_tokio() {
                    Converted::Tcp(stream) => acceptor.accept(stream, peer).await,
                    #[cfg(unix)]
                    Converted::Unix(stream) => acceptor.accept(stream, peer).await,
                    Converted::Memory(stream) => acceptor.accept(stream, peer).await,
                    Converted::Scripted(stream) => acceptor.accept(stream, peer).await,
                }
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
        over: Over<CountingDuplex>,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoListener,
    ) -> Driven {
        let listener = boxed(listener);
        self.run(async move {
            match over.into_tokio() {
                Converted::Tcp(stream) => upgraded(stream, leftover, role, config, listener).await,
                #[cfg(unix)]
                Converted::Unix(stream) => upgraded(stream, leftover, role, config, listener).await,
                Converted::Memory(stream) => upgraded(stream, leftover, role, config, listener).await,
                Converted::Scripted(stream) => upgraded(stream, leftover, role, config, listener).await,
            }
        })
    }

    fn memory(&self, capacity: usize) -> (CountingDuplex, Bridge, Arc<AtomicUsize>) {
        let (stream, peer) = tokio::io::duplex(capacity);
        let writes = Arc::new(AtomicUsize::new(0));
        (
            CountingDuplex { stream, writes: writes.clone() },
            Bridge { handle: self.handle.clone(), stream: peer },
            writes,
        )
    }
}

impl<F: Flavor> Tasks for OnTokio<F> {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let handle = self.handle.clone();
        let task = handle.spawn(future);
        Task(Box::new(move || {
            task.abort();
            assert!(handle.block_on(task).is_err_and(|error| error.is_cancelled()), "it has ended by itself");
        }))
    }

    fn accepting<R: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        stream: CountingDuplex,
    ) -> impl Future<Output = ()> + Send + 'static {
        let _entered = self.handle.enter();
        bellwire::tokio::Acceptor::new(handler).accept(stream, None)
    }

    fn connecting(
        &self,
        connect: Connect,
        stream: CountingDuplex,
        listener: impl IntoListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (target, listener) = (connect.target().unwrap(), boxed(listener));
        async move { drop(connect_over(target, stream, listener).await) }
    }

    fn driving(
        &self,
        stream: CountingDuplex,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoAnyListener,
    ) -> impl Future<Output = ()> + Send + 'static {
        let _entered = self.handle.enter();
        upgraded(stream, leftover, role, config, listener.into_any_listener())
    }

    fn serving<R: IntoResponse + 'static>(
        &self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> (SocketAddr, Shutdown, impl Future<Output = ()> + Send + 'static) {
        let server = self.handle.block_on(bellwire::tokio::Server::bind("127.0.0.1:0")).unwrap();
        let (addr, stop, handle) = (server.local_addr().unwrap(), server.handle(), self.handle.clone());
        let shutdown = Box::new(move |grace| handle.block_on(stop.shutdown(grace)));
        (addr, shutdown, async move { server.run(handler).await.unwrap() })
    }
}

impl<F: Flavor> Ending for OnTokio<F> {
    fn end(&mut self) {
        drop(self.stop.take());
    }
}

impl<F> OnTokio<F> {
    fn start_server<T: Future<Output = io::Result<()>> + Send + 'static>(
        &self,
        mut setup: Setup,
        run: impl FnOnce(bellwire::tokio::Server) -> T,
    ) -> Server {
        let secured = over_tls::secure(&mut setup);
        let _entered = self.handle.enter();
        let (reporter, reports) = mpsc::channel();
        let listener = setup.listen();
        listener.set_nonblocking(true).unwrap();
        let mut server = bellwire::tokio::Server::from_listener(tokio::net::TcpListener::from_std(listener).unwrap())
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
        let (addr, stop, handle) = (server.local_addr().unwrap(), server.handle(), self.handle.clone());
        let running = run(server);
        let ended = self.run(async move { running.await.unwrap() }).0;
        let (counting, draining, drainer) = (stop.clone(), stop.clone(), self.handle.clone());
        let shutdown = Arc::new(move |grace| handle.block_on(stop.shutdown(grace)));
        let drain = Arc::new(move |over, grace| drainer.block_on(draining.drain(over, grace)));
        let connections = Arc::new(move || counting.connections());
        let addr = if secured { over_tls::hide(addr) } else { addr };
        Server { addr, reports, logs: None, shutdown, drain, connections, ended }
    }

    fn client(&self, mut client: bellwire::tokio::Client) -> Client {
        assert_eq!(client.protocol(), client.response().protocol());
        let (socket, response) = (client.socket().clone(), client.response().clone());
        let handle = self.handle.clone();
        Client { socket, response, closed: Box::new(move || handle.block_on(client.closed())) }
    }
}

enum Converted {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Memory(CountingDuplex),
    Scripted(Scripted),
}

impl Over<CountingDuplex> {
    /// Inside of a runtime.
    fn into_tokio(self) -> Converted {
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true).unwrap();
                Converted::Tcp(tokio::net::TcpStream::from_std(stream).unwrap())
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                stream.set_nonblocking(true).unwrap();
                Converted::Unix(tokio::net::UnixStream::from_std(stream).unwrap())
            }
            Self::Memory(stream) => Converted::Memory(stream),
            Self::Scripted(stream) => Converted::Scripted(stream),
        }
    }
}

/// tokio's transport in memory, which counts how often it is written to.
#[derive(Debug)]
pub struct CountingDuplex {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CountingDuplex {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CountingDuplex {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The other end, for a thread.
#[derive(Debug)]
pub struct Bridge {
    handle: Handle,
    stream: DuplexStream,
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = &mut self.stream;
        self.handle.block_on(async { timeout(PATIENCE, stream.read(buffer)).await }).unwrap_or_else(|_| Err(late()))
    }
}

impl Write for Bridge {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = &mut self.stream;
        self.handle.block_on(async { timeout(PATIENCE, stream.write(bytes)).await }).unwrap_or_else(|_| Err(late()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn late() -> io::Error {
    ErrorKind::TimedOut.into()
}
