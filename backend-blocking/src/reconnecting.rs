//! A client that connects again, on threads.

use std::fmt;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_core::backend::{Reconnector, Running};
use bellwire_core::listener::IntoListener;
use bellwire_core::proto::Entropy;
use bellwire_core::proto::client::IntoTarget;
use bellwire_core::reconnect::{self as polled, Connected, Disconnected, Ended, Event, Policy};
use bellwire_core::{BoxError, Closed, ConnectError, Outgoing, SendError, Target, WebSocket};

use crate::client::open;
use crate::connecting;
use crate::owner::Owner;
use crate::server::unix_time;
use crate::wait::{block_on, wait_until};
use crate::writer::WRITE_PATIENCE;

/// Prepares a client that connects, and connects again when the connection is lost, as the
/// [`Policy`](bellwire_core::reconnect::Policy) says. [`listen`](ReconnectBuilder::listen) or
/// [`stream`](ReconnectBuilder::stream) start it.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::blocking::reconnecting;
/// use bellwire::listener;
/// use bellwire::reconnect::Policy;
///
/// let feed = reconnecting("ws://127.0.0.1:9001/", Policy::new())?
///     .on_disconnected(|disconnected| eprintln!("{disconnected}"))
///     .listen(|_connected| {
///         listener()
///             .on_open(|socket| socket.send("subscribe"))
///             .on_message(|_, message| println!("{}", message.as_text().unwrap_or("(binary)")))
///     })?;
/// println!("{}", feed.wait()?); // or `close`, to be the one who ends it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ConnectError::Url`] and [`ConnectError::Config`], which say what is wrong with the target. What fails later is told
/// later.
pub fn reconnecting(target: impl IntoTarget, policy: Policy) -> Result<ReconnectBuilder, ConnectError> {
    // On a thread that may wait.
    let reconnector = Reconnector::new(target, policy, |target, listener| async move {
        open(target, listener).map(|connected| async move { ended(&connected) })
    });
    reconnector.map(ReconnectBuilder)
}

/// Waits until a connection has ended, and nothing more of it is written.
fn ended(connected: &connecting::Connected) -> Closed {
    let closed = connected.end.wait();
    // The second thread may be in its last write, which ends by itself.
    let until = Instant::now() + 2 * WRITE_PATIENCE;
    while connected.end.socket().buffered() > 0 && Instant::now() < until {
        thread::sleep(WRITE_PATIENCE / 10);
    }
    closed
}

/// Builds a client that connects again: what [`reconnecting`] returns.
#[derive(Debug)]
#[must_use = "call `listen` or `stream`"]
pub struct ReconnectBuilder(Reconnector);

impl ReconnectBuilder {
    /// Sets what is done before each try: it gets the target, and how many tries in a row have come to nothing, and
    /// returns the target that is to be tried, with a fresh token for example. Each time it begins with the target that
    /// was given first.
    ///
    /// An error counts as a try that has failed ([`Failure::Hook`](polled::Failure::Hook)).
    pub fn before_each<E: Into<BoxError> + Send + 'static>(
        mut self,
        mut hook: impl FnMut(Target, u32) -> Result<Target, E> + Send + 'static,
    ) -> Self {
        self.0.before_each(move |target, tries| ready(hook(target, tries)));
        self
    }

    /// Sets what is called when a connection has ended, after its `on_close`, and when a try has failed. A stream has
    /// [`Event::Disconnected`] instead.
    pub fn on_disconnected(mut self, tell: impl FnMut(Disconnected) + Send + 'static) -> Self {
        self.0.on_disconnected(tell);
        self
    }

    /// Sets what is called once, last, when nothing more will happen. [`Reconnecting::wait`] returns the same.
    pub fn on_end(mut self, tell: impl FnOnce(&Ended) + Send + 'static) -> Self {
        self.0.on_end(tell);
        self
    }

    /// Sets where the random delays are drawn from, for tests that want the same ones in each run.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.0.entropy(entropy);
        self
    }

    /// Connects, on a thread of its own, and gives each connection a listener: the function is called when the server has
    /// answered, right before the `on_open` of what it returns. One connection is over when the next one begins, so that
    /// everything that is called is called one after the other.
    ///
    /// # Errors
    /// [`ConnectError::Thread`] if there is none for it.
    pub fn listen<L: IntoListener>(
        self,
        make: impl Fn(&Connected) -> L + Send + Sync + 'static,
    ) -> Result<Reconnecting, ConnectError> {
        let (handle, running) = self.0.listen(move |connected| make(connected).into_listener());
        Ok(Reconnecting { handle, owner: run(running)? })
    }

    /// Connects, on a thread of its own, and returns what happens as a stream.
    ///
    /// # Errors
    /// [`ConnectError::Thread`] if there is none for it.
    pub fn stream(self) -> Result<ReconnectingStream, ConnectError> {
        let (stream, running) = self.0.stream();
        Ok(ReconnectingStream { stream, owner: run(running)? })
    }
}

/// Starts the thread. Returns whom it and those of the connections belong to.
fn run(running: Running) -> Result<Owner, ConnectError> {
    let (thread, owner) = (thread::Builder::new().name("bellwire-reconnecting".into()), Owner::unique());
    let run = move || {
        owner.adopt_this_thread();
        block_on(|clock| running.run(clock, unix_time));
    };
    thread.spawn(run).map(|_| owner).map_err(ConnectError::Thread)
}

/// A handle to a client that reconnects, as [`reconnect::Reconnecting`](polled::Reconnecting) is, which says what becomes
/// of messages. What that awaits, this waits for.
#[derive(Debug, Clone)]
pub struct Reconnecting {
    handle: polled::Reconnecting,
    /// Whom those threads belong to that are waited for.
    owner: Owner,
}

impl Reconnecting {
    /// Sends a text or binary message by the connection that there is: [`send`](polled::Reconnecting::send).
    ///
    /// # Errors
    /// Those of [`send`](polled::Reconnecting::send).
    pub fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.handle.send(message)
    }

    /// Returns the handle of the connection that there is: [`socket`](polled::Reconnecting::socket).
    pub fn socket(&self) -> Option<WebSocket> {
        self.handle.socket()
    }

    /// Returns `true` if there is a connection, and it is open.
    pub fn is_connected(&self) -> bool {
        self.handle.is_connected()
    }

    /// Waits until there is a connection, and what is sent leaves at once: [`connected`](polled::Reconnecting::connected).
    ///
    /// # Errors
    /// [`SendError::Closed`] if there will be no connection any more. In a callback of the client's own, which would be waited
    /// for, [`SendError::Offline`] if there is none at this moment: in `on_open` there is not, but for its socket.
    pub fn connected(&self) -> Result<WebSocket, SendError> {
        self.wait_for(self.handle.connected()).unwrap_or(Err(SendError::Offline))
    }

    /// Ends everything, and waits for that: closes the connection with 1000 "Normal Closure" after what was sent, or gives
    /// up waiting. A try, and what is done [before each](ReconnectBuilder::before_each), goes on until it is done: the
    /// former takes no longer than [`Config::open_timeout`](bellwire_core::Config::open_timeout).
    ///
    /// # Errors
    /// [`WouldDeadlock`] in what would be waited for: the callbacks of a listener, completions, and the functions of the
    /// builder. It ends then, and this does not wait for that.
    pub fn close(&self) -> Result<Arc<Ended>, WouldDeadlock> {
        self.wait_for(self.handle.close())
    }

    /// Waits until nothing more will happen, and says why.
    ///
    /// # Errors
    /// [`WouldDeadlock`] in what would be waited for, as [`close`](Self::close). Nothing is changed then.
    pub fn wait(&self) -> Result<Arc<Ended>, WouldDeadlock> {
        self.wait_for(self.handle.wait())
    }

    /// Waits, unless this thread is one of those that are waited for: then what is not there now will not come.
    fn wait_for<T>(&self, future: impl Future<Output = T>) -> Result<T, WouldDeadlock> {
        if !self.owner.owns_this_thread() {
            return Ok(block_on(|_| future));
        }
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(WouldDeadlock),
        }
    }

    /// Returns why nothing more will happen; `None` as long as it goes on.
    pub fn ended(&self) -> Option<Arc<Ended>> {
        self.handle.ended()
    }
}

/// The same handle, for tasks.
impl From<Reconnecting> for polled::Reconnecting {
    fn from(handle: Reconnecting) -> Self {
        handle.handle
    }
}

/// A client that reconnects as a stream of what happens, as [`reconnect::ReconnectingStream`](polled::ReconnectingStream)
/// is. It is an iterator, too.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::blocking::reconnecting;
/// use bellwire::reconnect::{Event, Policy};
///
/// let mut feed = reconnecting("ws://127.0.0.1:9001/", Policy::new())?.stream()?;
/// while let Some(event) = feed.recv() {
///     match event {
///         Event::Connected { socket, .. } => socket.send("subscribe")?,
///         Event::Message(message) => println!("{message:?}"),
///         Event::Disconnected(disconnected) => eprintln!("{disconnected}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it ends everything, and does not wait for that: before a program ends, [`close`](Self::close) it.
#[derive(Debug)]
pub struct ReconnectingStream {
    stream: polled::ReconnectingStream,
    owner: Owner,
}

impl ReconnectingStream {
    /// Waits for what happens next; `None` when nothing more will happen, for good: [`ended`](Self::ended) says why.
    pub fn recv(&mut self) -> Option<Event> {
        block_on(|_| self.stream.recv())
    }

    /// As [`recv`](Self::recv), and waits so long at most.
    ///
    /// # Errors
    /// [`Elapsed`] if nothing has happened by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, Elapsed> {
        // A time that the clock cannot express is never.
        wait_until(Instant::now().checked_add(timeout), self.stream.recv()).ok_or(Elapsed)
    }

    /// Sends a message: [`send`](polled::Reconnecting::send).
    ///
    /// # Errors
    /// Those of [`send`](polled::Reconnecting::send).
    pub fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.stream.send(message)
    }

    /// Returns a handle, which sends from any thread.
    pub fn handle(&self) -> Reconnecting {
        Reconnecting { handle: self.stream.handle().clone(), owner: self.owner }
    }

    /// Returns why nothing more will happen; `None` as long as it goes on.
    pub fn ended(&self) -> Option<Arc<Ended>> {
        self.stream.ended()
    }

    /// Ends everything, and waits for that, as [`Reconnecting::close`] does. What comes meanwhile is dropped.
    pub fn close(&mut self) -> Arc<Ended> {
        block_on(|_| self.stream.close())
    }
}

impl Iterator for ReconnectingStream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv()
    }
}

/// A client was to be waited for by something that it waits for itself: a callback of its listener, a completion, or a function
/// of its builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WouldDeadlock;

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is one of the client's own callbacks, which it would wait for: wait on another thread")
    }
}

impl std::error::Error for WouldDeadlock {}

/// Nothing has happened in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing has happened in time: wait longer, or go on and ask again")
    }
}

impl std::error::Error for Elapsed {}
