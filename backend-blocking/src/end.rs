//! The end of a connection, for those who wait for it.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use bellwire_core::{Closed, ClosedBy, WebSocket};

use crate::writer::is_writer_of;

/// How long dropping its owner may wait if there is no close timeout.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

/// A connection and the thread that drives it.
#[derive(Debug)]
pub(crate) struct End {
    socket: WebSocket,
    /// How long dropping its owner may wait.
    patience: Duration,
    id: ThreadId,
    /// `None` once it has ended, or if it is its server that waits for it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl End {
    pub(crate) fn new(socket: WebSocket, close_timeout: Option<Duration>, thread: JoinHandle<()>) -> Self {
        let end = Self::of_server(socket, close_timeout, thread.thread().id());
        Self { thread: Mutex::new(Some(thread)), ..end }
    }

    /// That of a connection whose thread its server waits for.
    pub(crate) fn of_server(socket: WebSocket, close_timeout: Option<Duration>, id: ThreadId) -> Self {
        Self { socket, patience: close_timeout.unwrap_or(DROP_PATIENCE), id, thread: Mutex::default() }
    }

    pub(crate) fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// Waits until the thread has ended, and says how the connection did. On one of the two threads that would be waited
    /// for it does not wait.
    pub(crate) fn wait(&self) -> Closed {
        if !self.is_on_own_thread() {
            if let Some(thread) = self.take_thread() {
                // However it ended: the driver has seen to `on_close`.
                let _ = thread.join();
            }
        }
        self.socket.closed().unwrap_or_else(|| Closed::abnormal(ClosedBy::Local))
    }

    /// Waits until what is queued is written, or will not be any more, but not for ever.
    pub(crate) fn drain(&self) {
        if self.is_on_own_thread() {
            return;
        }
        let (sender, written) = mpsc::channel();
        let socket = self.socket.as_socket();
        // The receiver may be gone already.
        socket.when_written(socket.queued(), Box::new(move |_| sender.send(()).unwrap_or_default()));
        let _ = written.recv_timeout(self.patience);
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_on_own_thread(&self) -> bool {
        thread::current().id() == self.id || is_writer_of(&self.socket)
    }
}
