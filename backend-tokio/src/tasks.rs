//! A server's connections, each a task of its own, and their end.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::drive::Drive;

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Running,
    /// No more connections are accepted, and those that have not sent a request yet are dropped.
    Closing,
    /// All connections are dropped.
    Dropping,
    /// Nobody waits any more.
    Over,
}

/// The connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// A [`Stage`].
    stage: AtomicU8,
    alive: Mutex<Alive>,
    /// Somebody has left, or the stage has changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Alive {
    next: u64,
    /// How to wake each.
    wakers: HashMap<u64, Waker>,
    /// How many there are, those included that have not left a waker yet.
    count: usize,
}

impl Tasks {
    /// Takes a connection in.
    pub(crate) fn spawn(self: &Arc<Self>, drive: Drive<TcpStream>) {
        let place = Place::new(self.clone());
        tokio::spawn(Task { drive, place });
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Running,
            1 => Stage::Closing,
            2 => Stage::Dropping,
            _ => Stage::Over,
        }
    }

    /// Goes on to a stage, and lets everybody know.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
        let wakers: Vec<_> = self.lock().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        self.changed.notify_waiters();
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Waits until something is so: about the number of connections, or the stage.
    pub(crate) async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            // Made first: from here on no change is missed.
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that its server may end.
struct Task {
    // Dropped in this order: who waits for the last connection finds its callbacks done.
    drive: Drive<TcpStream>,
    place: Place,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.place.sit(cx);
        match self.place.tasks.stage() {
            Stage::Running => {}
            Stage::Closing if !self.drive.driver().is_handshaking() => {}
            Stage::Closing | Stage::Dropping | Stage::Over => return Poll::Ready(()),
        }
        Pin::new(&mut self.drive).poll(cx)
    }
}

/// A place among a server's connections, until it is dropped.
struct Place {
    tasks: Arc<Tasks>,
    id: u64,
    seated: bool,
}

impl Place {
    fn new(tasks: Arc<Tasks>) -> Self {
        let mut alive = tasks.lock();
        alive.count += 1;
        alive.next += 1;
        let id = alive.next;
        drop(alive);
        Self { tasks, id, seated: false }
    }

    /// Leaves a waker, once: a task has but one.
    fn sit(&mut self, cx: &Context<'_>) {
        if !self.seated {
            self.seated = true;
            self.tasks.lock().wakers.insert(self.id, cx.waker().clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = {
            let mut alive = self.tasks.lock();
            alive.count -= 1;
            alive.wakers.remove(&self.id)
        };
        drop(waker);
        self.tasks.changed.notify_waiters();
    }
}
