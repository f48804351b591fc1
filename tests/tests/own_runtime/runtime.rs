//! A runtime over mio: an executor of one thread with its sleeps and sockets, and what bellwire needs to know of it.
//! What is polled here is polled on that thread, so no event can slip in between a call that would block and its waker.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bellwire::backend::{self, Adopt, Resolve, Runtime, Sockets, Transport};
use bellwire::proto::Time;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Registry, Token};
use socket2::SockRef;

const WAKER: Token = Token(0);

/// A handle of the executor.
#[derive(Clone)]
pub(crate) struct Mio(Arc<Core>);

struct Core {
    registry: Registry,
    waker: mio::Waker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: usize,
    ready: VecDeque<Arc<Task>>,
    /// Who waits for a socket.
    waiting: BTreeMap<Token, Waker>,
    sleeping: BTreeMap<(Instant, usize), Waker>,
}

struct Task {
    /// `None` once it has ended.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    core: Arc<Core>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let core = self.core.clone();
        core.lock().ready.push_back(self);
        core.wake();
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut future = self.future.lock().unwrap();
        if future.as_mut().is_some_and(|future| future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()) {
            *future = None;
        }
    }
}

/// Ends the sleep of the thread.
impl Wake for Core {
    fn wake(self: Arc<Self>) {
        self.waker.wake().unwrap();
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn new_id(&self) -> usize {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    /// Sleeps until something happens, and wakes whoever waits for that.
    fn sleep(&self, poll: &mut mio::Poll, events: &mut Events) {
        let first = self.lock().sleeping.keys().next().copied();
        let timeout = first.map(|(until, _)| until.saturating_duration_since(Instant::now()));
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            polled => polled.unwrap(),
        }
        let mut state = self.lock();
        let later = state.sleeping.split_off(&(Instant::now(), usize::MAX));
        let mut woken: Vec<_> = mem::replace(&mut state.sleeping, later).into_values().collect();
        woken.extend(events.iter().filter_map(|event| state.waiting.remove(&event.token())));
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Mio {
    /// Runs a future to its end on this thread, and what it spawns meanwhile.
    pub(crate) fn block_on<F: Future>(main: impl FnOnce(Self) -> F) -> F::Output {
        let mut poll = mio::Poll::new().unwrap();
        let (registry, waker) =
            (poll.registry().try_clone().unwrap(), mio::Waker::new(poll.registry(), WAKER).unwrap());
        let core = Arc::new(Core { registry, waker, state: Mutex::default() });
        let (mut main, waker) = (pin!(main(Self(core.clone()))), Waker::from(core.clone()));
        let mut events = Events::with_capacity(64);
        loop {
            if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            let ready = mem::take(&mut core.lock().ready);
            ready.into_iter().for_each(Task::run);
            core.sleep(&mut poll, &mut events);
        }
    }

    fn socket<S: Source>(&self, mut io: S) -> io::Result<Socket<S>> {
        let token = Token(self.0.new_id());
        self.0.registry.register(&mut io, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Socket { io, token, core: self.0.clone() })
    }
}

/// A socket of the executor, for one task.
pub(crate) struct Socket<S: Source> {
    io: S,
    token: Token,
    core: Arc<Core>,
}

impl<S: Source> Socket<S> {
    /// Does something with the socket, and waits for it if that would block.
    fn poll<T>(&self, cx: &Context<'_>, act: impl FnOnce(&S) -> io::Result<T>) -> Poll<io::Result<T>> {
        match act(&self.io) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.core.lock().waiting.insert(self.token, cx.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

impl<S: Source> Drop for Socket<S> {
    fn drop(&mut self) {
        let _ = self.core.registry.deregister(&mut self.io);
        let waker = self.core.lock().waiting.remove(&self.token);
        drop(waker);
    }
}

impl Transport for Socket<TcpStream> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |mut stream| stream.read(buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll(cx, |mut stream| stream.write_vectored(slices))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io.shutdown(Shutdown::Write))
    }
}

/// The clock and the one sleep of a connection.
pub(crate) struct Timer {
    core: Arc<Core>,
    id: usize,
    start: Instant,
    deadline: Option<Instant>,
}

impl Timer {
    fn forget(&self) {
        let waker = self.deadline.and_then(|deadline| self.core.lock().sleeping.remove(&(deadline, self.id)));
        drop(waker);
    }
}

impl backend::Timer for Timer {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn set(&mut self, deadline: Time) {
        self.forget();
        self.deadline = self.start.checked_add(deadline.since_start());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        self.core.lock().sleeping.insert((deadline, self.id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}

// What bellwire needs to know of it.

impl Runtime for Mio {
    type Timer = Timer;
    type Listener = Socket<TcpListener>;
    type Stream = Socket<TcpStream>;

    fn timer(&self) -> Timer {
        Timer { core: self.0.clone(), id: self.0.new_id(), start: Instant::now(), deadline: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Arc::new(Task { future: Mutex::new(Some(Box::pin(task))), core: self.0.clone() }).wake();
    }

    async fn bind(&self, addr: SocketAddr) -> io::Result<Socket<TcpListener>> {
        self.socket(TcpListener::bind(addr)?)
    }

    fn local_addr(&self, listener: &Socket<TcpListener>) -> io::Result<SocketAddr> {
        listener.io.local_addr()
    }

    async fn accept(&self, listener: &Socket<TcpListener>) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = poll_fn(|cx| listener.poll(cx, TcpListener::accept)).await?;
        stream.set_nodelay(true)?;
        Ok((self.socket(stream)?, Some(peer)))
    }

    async fn connect(&self, addr: SocketAddr, sockets: &Sockets) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, set_up) = match sockets.open(addr)? {
            None => (TcpStream::connect(addr)?, false),
            Some(socket) => {
                socket.set_nonblocking(true)?;
                // It only begins: whether it succeeds is seen below.
                let _ = SockRef::from(&socket).connect(&addr.into());
                (TcpStream::from_std(socket), true)
            }
        };
        let socket = self.socket(stream)?;
        let connected = |stream: &TcpStream| match stream.take_error()? {
            Some(error) => Err(error),
            None => stream.peer_addr().map_err(|_| ErrorKind::WouldBlock.into()),
        };
        let peer = poll_fn(|cx| socket.poll(cx, connected)).await?;
        if !set_up {
            socket.io.set_nodelay(true)?;
        }
        Ok((socket, Some(peer)))
    }

    fn unix_time() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn print(line: &str) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// As the standard library looks addresses up: it blocks, which a runtime for more than tests would not.
impl<A: ToSocketAddrs> Resolve<A> for Mio {
    async fn resolve(&self, addr: A) -> io::Result<Vec<SocketAddr>> {
        Ok(addr.to_socket_addrs()?.collect())
    }
}

impl Adopt<Socket<TcpStream>> for Mio {
    type Transport = Socket<TcpStream>;

    fn adopt(&self, stream: Socket<TcpStream>) -> Socket<TcpStream> {
        stream
    }
}
